"""Owns carrying out a merge: read, merge, check, upload. Stateless: all it knows of a shard is a job. Never publishes.

Whatever is uploaded and not published after all is deleted; what cannot be deleted is an orphan, which the shard
deletes when it opens the next time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from core.errors import Unavailable
from core.ids import ShardId
from storage.compaction_inputs import OpenSegment
from storage.compaction_merge import merge_segments
from storage.compaction_output import Pause
from storage.compaction_plan import Merge
from storage.keys import index_key, segment_key
from storage.objects import ObjectStore
from storage.replacement import Replacement
from storage.segment_writer import put_segment
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.windows import Window


@dataclass(frozen=True, slots=True)
class Job:
    """A merge that a shard gives out, of events that `shard` wrote: that one, or one whose segments it took over.

    `numbers` are name parts for what comes out of it, the first names the job.
    """

    shard: ShardId
    epoch: int
    merge: Merge
    settings: StreamSettings
    numbers: tuple[str, ...]

    @property
    def name(self) -> str:
        """What no other job of the shard is called."""
        return self.numbers[0]


def carry_out(job: Job, objects: ObjectStore, open_segment: OpenSegment, pause: Pause) -> Replacement:
    """Merge and upload; returns what to propose to the shard.

    Raises Unavailable, NotFound or Corrupt (an input), InvariantViolation (an output), UnknownOutcome, or what `pause`
    raises; then nothing is left that could be deleted.
    """
    inputs, window = job.merge.inputs, _window(job.merge.inputs[0])
    tenant, settings = inputs[0].tenant, job.settings
    names = [segment_key(job.shard, tenant, settings.name, window.label, number) for number in job.numbers]
    outputs: list[Segment] = []
    try:
        merged = merge_segments(inputs, settings, job.shard, job.merge.pieces, open_segment, pause, cold=job.merge.cold)
        for number, encoded in enumerate(merged):
            outputs.append(put_segment(encoded, names[number], tenant, settings, window, objects, job.merge.level))
    except BaseException:
        discard(objects, names)
        raise
    return Replacement(job.name, job.epoch, tuple(segment.name for segment in inputs), tuple(outputs))


def discard(objects: ObjectStore, names: list[str]) -> None:
    """Delete segments that will not be published."""
    with suppress(Unavailable):
        objects.delete([key for name in names for key in (name, index_key(name))])


def _window(segment: Segment) -> Window:
    return Window(segment.window_start_us, segment.window_end_us)
