"""Owns what a coordinator remembers of texts: statements, and plans as long as the streams hold the same paths."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from core.clock import Clock
from core.errors import InvalidQuery
from core.limits import QUESTION_KEPT_BYTES_MAX
from query.executor import Executor
from query.fragment import DistributedPlan
from query.holdings import Holding, merged_shape
from query.parse import DESCRIBE, SHOW, Statement, parse
from query.plan import plan
from storage.stream_settings import StreamSettings

_KEPT_MAX: Final = 500

Question = tuple[str, str, str | None]  # text, parameters as text, dialect
_Kept = TypeVar("_Kept")


class Planner:
    """Parses and plans, each question once while nothing changes. Thread-safe."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._statements: _Recent[Statement] = _Recent()
        self._plans: _Recent[DistributedPlan] = _Recent()

    def parse(self, question: Question, parameters: Any) -> Statement:
        """The statement of a question. Raises InvalidQuery."""
        statement = self._statements.get(question)
        if statement is None:
            text, _, dialect = question
            try:
                statement = parse(text, parameters, dialect)
            except RecursionError as error:
                raise InvalidQuery("the query is nested too deeply: write it flatter") from error
            if _is_small(question):
                self._statements.put(question, statement)
        return statement

    def plan(
        self,
        question: Question,
        statement: Statement,
        holdings: Mapping[str, Sequence[Holding]],
        settings: Mapping[str, StreamSettings],
    ) -> DistributedPlan:
        """The plan of `statement` over streams of which the shards hold `holdings`. Raises InvalidQuery."""
        shapes = {stream: merged_shape(held) for stream, held in holdings.items()}
        attributes = {stream: settings[stream].timestamp for stream in holdings}
        if statement.kind in (SHOW, DESCRIBE):
            return plan(statement, shapes, self._executor, time_attributes=attributes)
        read = tuple((stream, shape.signature, attributes[stream]) for stream, shape in shapes.items())
        planned = self._plans.get((question, read))
        if planned is None:
            now_us = self._clock.now_us()
            planned = plan(statement, shapes, self._executor, now_us=now_us, time_attributes=attributes)
            if planned.repeatable and _is_small(question):
                self._plans.put((question, read), planned)
        return planned


def _is_small(question: Question) -> bool:
    text, parameters, _ = question
    return len(text) + len(parameters) <= QUESTION_KEPT_BYTES_MAX


class _Recent(Generic[_Kept]):
    """The values used last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, _Kept] = OrderedDict()

    def get(self, key: Hashable) -> _Kept | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: _Kept) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > _KEPT_MAX:
                self._values.popitem(last=False)
