"""T41: random operations on a shard, crashes among them, agree with a model of a few lines. Hypothesis chooses."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from core.append import LOCAL, MEMORY
from core.errors import Fenced, SequenceGap
from tests.support.shards import STREAM, TENANT, append, objects_on, open_on, random_id, stored_rows
from tests.support.simfs import SimFileSystem

EXAMPLES = 25
STEPS = 50
PRODUCERS = ("a", "b", "c")


class ShardAgainstModel(RuleBasedStateMachine):
    """The model: the numbers in offset order, how many of them are durable, and what each producer may send next."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.fs = SimFileSystem()
        self.shard = open_on(self.fs, file_ids=random_id)
        self.rows: list[int] = []
        self.durable = 0
        self.epochs = dict.fromkeys(PRODUCERS, 0)
        self.sequences: dict[str, int] = {}  # of the producers that are open
        self.next_number = 0

    @rule(producer=st.sampled_from(PRODUCERS))
    def open_producer(self, producer: str) -> None:
        opened = self.shard.open_producer(TENANT, STREAM, producer)
        assert opened.epoch == self.epochs[producer] + 1
        self.epochs[producer], self.sequences[producer] = opened.epoch, 0
        self.durable = len(self.rows)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data(), count=st.integers(1, 4), level=st.sampled_from((LOCAL, LOCAL, MEMORY)))
    def append(self, data: st.DataObject, count: int, level: str) -> None:
        producer = data.draw(st.sampled_from(sorted(self.sequences)))
        numbers = list(range(self.next_number, self.next_number + count))
        self.next_number += count
        ack = append(self.shard, producer, self.epochs[producer], self.sequences[producer], numbers, level)
        assert (ack.first_offset, ack.last_offset, ack.duplicate) == (len(self.rows), len(self.rows) + count - 1, False)
        self.rows += numbers
        self.sequences[producer] += 1
        if level == LOCAL:
            self.durable = len(self.rows)

    @precondition(lambda self: any(self.sequences.values()))
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        producer = data.draw(st.sampled_from(sorted(name for name, next_ in self.sequences.items() if next_)))
        sequence = data.draw(st.integers(0, self.sequences[producer] - 1))
        assert append(self.shard, producer, self.epochs[producer], sequence, [-1]).duplicate
        self.durable = len(self.rows)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def refused(self, data: st.DataObject) -> None:
        producer = data.draw(st.sampled_from(sorted(self.sequences)))
        try:
            append(self.shard, producer, self.epochs[producer], self.sequences[producer] + 1, [-1])
        except SequenceGap as gap:
            assert gap.expected == self.sequences[producer]
        else:
            raise AssertionError("a gap was accepted")
        if self.epochs[producer] > 1:
            try:
                append(self.shard, producer, self.epochs[producer] - 1, 0, [-1])
            except Fenced:
                return
            raise AssertionError("a batch of an old epoch was accepted")

    @rule()
    def flush(self) -> None:
        assert self.shard.flush() <= len(self.rows)
        self.durable = len(self.rows)

    @rule()
    def restart(self) -> None:
        self.shard.close()
        self.shard = open_on(self.fs, file_ids=random_id)
        self.durable = len(self.rows)

    @rule()
    def kill(self) -> None:
        self.shard.abandon()
        self.fs = self.fs.killed()
        self.shard = open_on(self.fs, file_ids=random_id)
        self.durable = len(self.rows)  # recovery made durable what it found

    @rule(choice=st.integers(0, 2**32 - 1))
    def cut_power(self, choice: int) -> None:
        self.shard.abandon()
        rng = random.Random(choice)
        self.fs = rng.choice(list(self.fs.crash_states(rng, 6)))
        self.shard = open_on(self.fs, file_ids=random_id)
        left = [n for _, n in stored_rows(self.shard, objects_on(self.fs))]
        assert left == self.rows[: len(left)] and len(left) >= self.durable
        self.rows, self.durable = left, len(left)
        self.sequences.clear()  # of what was sent last, nobody can say: open again

    @invariant()
    def agrees(self) -> None:
        type(self).steps += 1
        assert stored_rows(self.shard, objects_on(self.fs)) == list(enumerate(self.rows))


def agree(seed: int) -> dict[str, int]:
    """EXAMPLES random courses of up to STEPS steps."""
    machine = hypothesis_seed(seed)(type("Machine", (ShardAgainstModel,), {"steps": 0}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    return {"examples": EXAMPLES, "steps": machine.steps}
