"""Owns what the actors that run leaves have in common: the worker of a process, made from its configuration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from core.limits import (
    HOT_COLUMNS_BYTES,
    SEGMENTS_OPENED_AT_ONCE,
    STATE_CACHE_BYTES_DEFAULT,
    STATE_CACHE_DISK_BYTES_DEFAULT,
)
from query.executor import Executor
from query.fragment import DistributedPlan, LeafResult
from query.hot_columns import HotColumns
from query.merge import run_merge
from query.state_cache import StateCache
from query.worker import Worker
from storage.deployment import (
    ShardConfig,
    data_directories,
    is_remote,
    partial_segments,
    segment_files,
    segment_indexes,
    spill_directory,
)
from storage.fs import LocalFileSystem


def make_worker(config: ShardConfig, owner: str) -> Worker:
    """The worker of this process; `owner` names its directories."""
    executor = Executor(
        threads=config.query_threads,
        memory_bytes=config.query_bytes_max,
        temp_directory=spill_directory(config, owner),
        data_directories=data_directories(config),
    )
    states = StateCache(
        STATE_CACHE_BYTES_DEFAULT,
        LocalFileSystem(),
        f"{config.cache_directory}/states-{owner}",
        STATE_CACHE_DISK_BYTES_DEFAULT,
    )
    openers = None
    if is_remote(config):
        openers = ThreadPoolExecutor(SEGMENTS_OPENED_AT_ONCE, thread_name_prefix="open segments")
    hot = HotColumns(HOT_COLUMNS_BYTES)
    parts = partial_segments(config)
    return Worker(executor, segment_files(config), segment_indexes(config), states, hot, openers, parts)


def rows_of(worker: Worker, plan: DistributedPlan, result: LeafResult, query_id: str) -> pa.Table:
    """The rows that a piecewise plan makes of one task's result."""
    return run_merge(plan, [result], worker.executor, query_id=query_id)
