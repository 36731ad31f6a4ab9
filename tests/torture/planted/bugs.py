"""Owns the bugs: what is wrong, where, which text becomes which, and what must notice it. Data."""

from __future__ import annotations

from typing import Final

from tests.torture.planted.bug import Bug
from tests.torture.planted.day_bugs import DAY_BUGS
from tests.torture.planted.deployment_bugs import DEPLOYMENT_BUGS

_WAL_CRASH: Final = "tests/unit/test_wal_crash.py"
_SHARD_CRASH: Final = "tests/unit/test_shard_crash.py"
_WAL: Final = "tests/unit/test_wal.py"
_WAL_RECOVERY: Final = "tests/unit/test_wal_recovery.py"
_SHARD: Final = "tests/unit/test_shard.py"
_MANIFEST: Final = "tests/unit/test_manifest.py"
_OBJECT_WAL: Final = "tests/unit/test_object_wal.py"
_INTERLEAVINGS: Final = "tests/unit/test_object_wal_interleavings.py"
_STATES: Final = "tests/unit/test_query_states.py"
_DEDUP: Final = "tests/unit/test_dedup.py"
_SNAPSHOTS: Final = "tests/unit/test_named_snapshots.py"
_SNAPSHOT_GARBAGE: Final = "tests/unit/test_snapshot_garbage.py"
_BACKUP: Final = "tests/unit/test_backup.py"
_ERASURE: Final = "tests/unit/test_erasure.py"
_HIDDEN: Final = "tests/unit/test_query_hidden.py"
_RETENTION: Final = "tests/unit/test_retention.py"
_MERGE: Final = "tests/unit/test_compaction_merge.py"
_COMPACTION: Final = "tests/unit/test_compaction_shard.py"
_WALK: Final = "tests/unit/test_compaction_walk.py"
_COMPACTION_VERIFY: Final = "tests/unit/test_compaction_verify.py"
_SENDER: Final = "tests/unit/test_sender.py"

BUGS: Final = (
    # --- deletes and retention --------------------------------------------------------------------------------------
    Bug(
        "a merge of segments is taken for looked through when one of them was",
        "storage/replacement.py",
        "through = min(segment.deleted_through for segment in live)",
        "through = max(segment.deleted_through for segment in live)",
        _ERASURE,
    ),
    Bug(
        "what was written after the delete began goes as well",
        "query/hidden.py",
        'ELSE 0 END" if bounds',
        'ELSE 0 END + 1" if bounds',
        _HIDDEN,
    ),
    Bug(
        "a segment counts as looked through for the next delete too",
        "storage/deletes.py",
        "if segment.deleted_through < self.id",
        "if segment.deleted_through + 1 < self.id",
        _ERASURE,
    ),
    Bug(
        "two deletes of a stream run at the same time",
        "storage/deletes.py",
        "        if delete.state == HELD or stream not in running:\n",
        "        if True:\n",
        _ERASURE,
    ),
    Bug(
        "kept answers still hold what is deleted",
        "query/course.py",
        "self.options.at, identities, settings, self.hidden)",
        "self.options.at, identities, settings)",
        _HIDDEN,
    ),
    Bug(
        "erased events are not counted",
        "storage/manifest_format.py",
        "        erased=_more_erased(current.erased, edit.erased),\n",
        "        erased=current.erased,\n",
        _ERASURE,
    ),
    Bug(
        "retention takes a segment whose newest event is at the cut",
        "storage/retention.py",
        "if segment.timestamp_max_us < cut_us}",
        "if segment.timestamp_max_us <= cut_us}",
        _RETENTION,
    ),
    # --- compaction -------------------------------------------------------------------------------------------------
    Bug(
        "replaced segments are deleted at once",
        "storage/garbage.py",
        "if segment.at_us <= latest_us and segment.name not in leased",
        "if segment.name not in leased",
        _WALK,
    ),
    Bug(
        "replaced segments are taken for orphans",
        "storage/recovery.py",
        "    live |= {*removed, *map(index_key, removed)}\n",
        "",
        _WALK,
    ),
    Bug(
        "what was merged for an older owner is published",
        "storage/replacement.py",
        "    if epoch != manifest.epoch:\n",
        "    if False:\n",
        _COMPACTION,
    ),
    Bug(
        "segments are replaced that are gone",
        "storage/replacement.py",
        "    if gone:\n",
        "    if False:\n",
        _COMPACTION,
    ),
    Bug(
        "rows of one input are taken for those of the next",
        "storage/compaction_merge.py",
        "            base += part.rows\n",
        "            base += part.rows - 1\n",
        _MERGE,
    ),
    Bug(
        "rows of one key are cut apart",
        "storage/compaction_keys.py",
        "            place = self._change_from(max(piece * rows // pieces, cuts[-1] + 1))\n",
        "            place = max(piece * rows // pieces, cuts[-1] + 1)\n",
        _MERGE,
    ),
    Bug(
        "events that were merged meanwhile are missed by verify",
        "storage/verify_shard.py",
        "runs_from(seen.runs, settled)",
        "seen.runs[seen.runs[:, 0] >= settled]",
        _COMPACTION_VERIFY,
    ),
    # --- syncs ------------------------------------------------------------------------------------------------------
    Bug(
        "the WAL is not synced",
        "storage/wal_file.py",
        "            self._file.sync()\n",
        "            pass\n",
        _WAL_CRASH,
    ),
    Bug(
        "the name of a new WAL file is not synced",
        "storage/wal_file.py",
        "            fs.sync_directory(directory)\n",
        "",
        _WAL_CRASH,
    ),
    Bug(
        "an object is not synced before it gets its name",
        "storage/local_objects.py",
        "                file.sync()\n",
        "",
        _SHARD_CRASH,
    ),
    Bug(
        "the name of an object is not synced",
        "storage/local_objects.py",
        "            self._fs.unlink(temporary)\n            self._fs.sync_directory(directory)\n",
        "            self._fs.unlink(temporary)\n",
        _SHARD_CRASH,
    ),
    Bug(
        "a group is synced only when all of it asked for that",
        "storage/wal.py",
        "if any(ticket.sync for ticket in group):",
        "if all(ticket.sync for ticket in group):",
        _WAL,
    ),
    Bug(
        "a batch is visible before it is synced",
        "storage/wal.py",
        "        if any(ticket.sync for ticket in group):\n            self._active.sync()\n"
        "        self._on_committed([ticket.record for ticket in group])\n",
        "        self._on_committed([ticket.record for ticket in group])\n"
        "        if any(ticket.sync for ticket in group):\n            self._active.sync()\n",
        f"{_WAL} {_SHARD}",
    ),
    Bug(
        "a commit does not wait for the one that writes",
        "storage/wal.py",
        "            while self._leading and not ticket.done:\n                self._condition.wait()\n"
        "            lead = not ticket.done\n",
        "            lead = not ticket.done and not self._leading\n",
        f"{_WAL} {_SHARD}",
    ),
    Bug(
        "a duplicate is acknowledged before what it repeats is synced",
        "storage/shard.py",
        "ticket = self._wal.enqueue(record, sync=level != MEMORY)",
        "ticket = self._wal.enqueue(record, sync=False)",
        _SHARD,
    ),
    # --- errors -----------------------------------------------------------------------------------------------------
    Bug(
        "a failed sync is passed over",
        "storage/wal_file.py",
        "            self._file.sync()\n",
        "            try:\n                self._file.sync()\n            except OSError:\n                pass\n",
        "round T9:1",
    ),
    Bug(
        "a WAL goes on after a failure",
        "storage/wal.py",
        "                if failure is not None:\n                    self._poison(failure)\n",
        "",
        _WAL,
    ),
    Bug(
        "a file is used again after a failed sync",
        "storage/wal_file.py",
        "        self._usable = False\n        yield\n",
        "        yield\n",
        _WAL,
    ),
    Bug(
        "a link that failed is said to be none although it was made",
        "storage/local_objects.py",
        "if not isinstance(error, FileExistsError) and self._is_there(path):",
        "if False:",
        "round T10:3",
    ),
    # --- damage -----------------------------------------------------------------------------------------------------
    Bug(
        "the checksum of a WAL record is not compared",
        "storage/wal_format.py",
        "    if google_crc32c.extend(expected, data.slice(start, end - start)) != crc:\n",
        "    if False:\n",
        _WAL_RECOVERY,
    ),
    Bug(
        "the checksum of a manifest is not compared",
        "storage/envelope.py",
        "    if google_crc32c.value(data[:_CHECKED_HEADER_BYTES] + block) != crc:\n",
        "    if False:\n",
        "tests/unit/test_manifest_format.py",
    ),
    Bug(
        "the checksum of a segment is not compared",
        "storage/segment_reader.py",
        "if (size, crc) != (segment.bytes, segment.crc32c):",
        "if size != segment.bytes:",
        "round T8:1",
    ),
    Bug(
        "the checksum of an index is not compared",
        "storage/segment_index.py",
        "if (len(data), crc) != (segment.index_bytes, segment.index_crc32c):",
        "if len(data) != segment.index_bytes:",
        "tests/unit/test_segment_index.py",
    ),
    Bug(
        "damage before a mark is taken for a torn tail",
        "storage/wal_recovery.py",
        "if later is not None and later.synced_position > stop:",
        "if False:",
        _WAL_RECOVERY,
    ),
    Bug(
        "a torn tail is taken for damage",
        "storage/wal_recovery.py",
        "if later is not None and later.synced_position > stop:",
        "if later is not None:",
        _WAL_RECOVERY,
    ),
    Bug(
        "a file may end without the seal that its successor implies",
        "storage/wal_recovery.py",
        "            complete = complete and sealed\n",
        "            complete = complete or sealed\n",
        _WAL_RECOVERY,
    ),
    # --- recovery ---------------------------------------------------------------------------------------------------
    Bug(
        "replay leaves out the last record",
        "storage/wal_recovery.py",
        "    return frames, position\n",
        "    return frames[:-1], position\n",
        _WAL_RECOVERY,
    ),
    Bug(
        "a tail that was never synced is not carried over",
        "storage/wal.py",
        "self._header(recovery.base_offset), recovery.unsynced)",
        "self._header(recovery.next_offset), ())",
        _WAL_CRASH,
    ),
    Bug(
        "orphans include the indexes of segments that live",
        "storage/recovery.py",
        "    live |= {index_key(segment.name) for segment in manifest.segments if segment.index_bytes}\n",
        "",
        _SHARD_CRASH,
    ),
    Bug(
        "a shard without its WAL is served",
        "storage/recovery.py",
        "    if newest is not None and newest.version > 0:\n        manifests.check_wal(newest)\n",
        "    if False:\n        manifests.check_wal(newest)\n",
        _SHARD,
    ),
    # --- snapshots and backups ------------------------------------------------------------------------------------
    Bug(
        "what a named snapshot holds is deleted",
        "storage/garbage.py",
        " and segment.name not in leased]",
        "]",
        _SNAPSHOT_GARBAGE,
    ),
    Bug(
        "a snapshot counts however long it took",
        "storage/named_snapshots.py",
        "if self._is_whole(snapshot) and self._clock.steady_s() - started_s <= SNAPSHOT_TAKE_S_MAX:",
        "if True:",
        f"{_SNAPSHOT_GARBAGE} {_SNAPSHOTS}",
    ),
    Bug(
        "the ids that a backup copies are deleted under it",
        "storage/shard.py",
        "sorted(self._doomed_runs - leased)",
        "sorted(self._doomed_runs)",
        _BACKUP,
    ),
    Bug(
        "files are copied without looking at their checksums",
        "storage/snapshot_files.py",
        "    if (len(data), crc) != (file.bytes, file.crc32c):\n",
        "    if len(data) != file.bytes:\n",
        _BACKUP,
    ),
    Bug(
        "a deployment begins on half a restored storage",
        "storage/storage_format.py",
        "    if is_there(objects, RESTORE_KEY):\n",
        "    if False:\n",
        _BACKUP,
    ),
    Bug(
        "a storage is marked as restored before it is whole",
        "storage/restore.py",
        "    _begin(snapshot, target)\n",
        "    _begin(snapshot, target)\n    target.delete([RESTORE_KEY])\n",
        _BACKUP,
    ),
    # --- flush ------------------------------------------------------------------------------------------------------
    Bug(
        "the memtable goes before the manifest is published",
        "storage/shard.py",
        "                manifest = self._publish(",
        "                self._frozen = None\n                manifest = self._publish(",
        "round T10:3",
    ),
    Bug(
        "a flush does not write its producers",
        "storage/shard.py",
        "            producers=producers,\n            wal_start",
        "            producers=self._manifest.producers,\n            wal_start",
        _SHARD,
    ),
    Bug(
        "a flush writes the producers of now, not those of its floor",
        "storage/shard.py",
        "_retained(self._frozen_producers)",
        "_retained(self._committed)",
        _SHARD,
    ),
    Bug(
        "WAL files go one offset too early",
        "storage/wal.py",
        "self._sealed[0].needed_until > floor:",
        "self._sealed[0].needed_until > floor + 1:",
        _WAL,
    ),
    Bug(
        "a manifest more than is kept is deleted",
        "storage/manifest.py",
        "        if manifest.version >= self._versions_kept:\n"
        "            self._doomed.add(manifest_key(self._shard, manifest.version - self._versions_kept))\n",
        "        if manifest.version >= self._versions_kept:\n"
        "            self._doomed.add(manifest_key(self._shard, manifest.version - self._versions_kept + 1))\n",
        _MANIFEST,
    ),
    # --- exactly once -----------------------------------------------------------------------------------------------
    Bug(
        "the state of a producer is not kept after its batch",
        "storage/shard.py",
        "                self._committed[entry.producer] = entry.state\n",
        "",
        "round T17:1",
    ),
    Bug(
        "a batch of an old epoch is accepted",
        "storage/producers.py",
        "    if epoch < state.epoch:\n",
        "    if False:\n",
        "round T41:1",
    ),
    Bug(
        "the last sequence is accepted again",
        "storage/producers.py",
        "    if sequence <= state.last_sequence:\n",
        "    if sequence < state.last_sequence:\n",
        "round T17:1",
    ),
    Bug(
        "a gap is accepted",
        "storage/producers.py",
        "    if sequence > expected:\n",
        "    if sequence > expected + 1:\n",
        "round T41:1",
    ),
    Bug(
        "the last offset of an acknowledgement is one too high",
        "storage/producers.py",
        "        last_offset=first_offset + rows - 1 if rows else -1,\n",
        "        last_offset=first_offset + rows if rows else -1,\n",
        "round T41:1",
    ),
    Bug(
        "a refused batch uses up its sequence",
        "ingest/sender.py",
        "            self._sequence = flight.request.sequence\n            raise\n",
        "            raise\n",
        _SENDER,
    ),
    Bug(
        "the ids of a batch are not remembered",
        "storage/dedup.py",
        "        self.index.add(judged.new)\n",
        "",
        "round T17 ids:5",
    ),
    Bug(
        "equal ids of one batch are both stored",
        "storage/dedup.py",
        "        duplicate[1:] |= (high[1:] == high[:-1]) & (low[1:] == low[:-1])\n",
        "",
        _DEDUP,
    ),
    Bug(
        "the oldest ids that a manifest names are not read",
        "storage/dedup.py",
        "            if number >= self._oldest:\n",
        "            if number > self._oldest:\n",
        f"{_DEDUP} tests/unit/test_dedup_crash.py",
    ),
    # --- owners -----------------------------------------------------------------------------------------------------
    Bug(
        "a manifest is taken for ours whoever created it",
        "storage/manifest.py",
        "            if not (unsettled.doubtful and self._holds(key, unsettled.data)):\n",
        "            if False:\n",
        _MANIFEST,
    ),
    Bug(
        "an object that is there is written over",
        "storage/local_objects.py",
        "                self._fs.link(temporary, path)\n",
        "                if self._fs.exists(path):\n                    self._fs.unlink(path)\n"
        "                self._fs.link(temporary, path)\n",
        "tests/unit/test_objects.py::test_an_object_is_created_once_and_never_changes",
    ),
    Bug(
        "nobody looks for manifests beyond the one created",
        "storage/manifest.py",
        "        if newer:\n            self._lost(manifest)\n",
        "",
        _MANIFEST,
    ),
    Bug(
        "what another owner wrote into the log counts as ours",
        "storage/object_wal_recovery.py",
        "            return None if found == joined(data) else found\n",
        "            return None\n",
        _INTERLEAVINGS,
    ),
    Bug(
        "an object is confirmed before those of lower numbers",
        "storage/object_wal.py",
        "if self._delivering or cut is None or not cut.created:",
        "if self._delivering or cut is None:",
        _OBJECT_WAL,
    ),
    Bug(
        "the log of an older owner is read without ending it",
        "storage/object_wal_recovery.py",
        "    return create_or_read(self._objects, key, fence) or fence\n",
        "    return fence\n",
        _INTERLEAVINGS,
    ),
    Bug(
        "fences go with the objects before them",
        "storage/object_wal_recovery.py",
        " and position < start and info.size != FENCE_OBJECT_BYTES\n",
        " and position < start\n",
        f"{_OBJECT_WAL} {_INTERLEAVINGS}",
    ),
    # --- queries ----------------------------------------------------------------------------------------------------
    Bug(
        "a long text's upper bound is rounded down",
        "storage/zone_maps.py",
        "    following = ord(cut[-1]) + 1\n",
        "    following = ord(cut[-1])\n",
        "tests/unit/test_segment_index.py tests/unit/test_segment_writer.py",
    ),
    Bug(
        "a word is looked for in the block of another",
        "storage/token_blooms.py",
        "    upper, bits = _probe(token)\n",
        "    upper, bits = _probe(token[::-1])\n",
        "tests/unit/test_segment_tokens.py",
    ),
    Bug(
        "a segment whose least value is the bound is left out",
        "query/pruning.py",
        "        return bool(low <= value)\n",
        "        return bool(low < value)\n",
        "tests/unit/test_query_plan.py",
    ),
    Bug(
        "a segment that ends where the range begins is left out",
        "query/fragment.py",
        "        if self.start_us is not None and last_us < self.start_us:\n",
        "        if self.start_us is not None and last_us <= self.start_us:\n",
        "tests/unit/test_query_tasks.py",
    ),
    Bug(
        "kept states are not told apart by their conditions",
        "query/states.py",
        "    return state_key(segment, statement(scan, relation, open_conditions(scan, segment)))\n",
        "    return state_key(segment, statement(scan, relation, []))\n",
        _STATES,
    ),
    Bug(
        "a pinned snapshot is let go of too early",
        "storage/pins.py",
        "now_s - at_s > self._seconds_max]",
        "now_s - at_s >= 0]",
        "tests/unit/test_pins.py",
    ),
    *DAY_BUGS,
    *DEPLOYMENT_BUGS,
)
