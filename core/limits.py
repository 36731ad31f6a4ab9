"""Every hard limit of Malamute, with its unit and its reason. Settings may be smaller, never larger."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# --- names -------------------------------------------------------------------------------------------------------
PRODUCER_ID_BYTES_MAX = 256  # stands in every WAL record header and in the manifest
POSITION_BYTES_MAX = 4 * KIB  # an opaque source position; Kafka and file positions take under 100

# --- events ------------------------------------------------------------------------------------------------------
RECORD_BYTES_MAX = 16 * MIB  # one JSON line; larger ones are rejected by name, not split
NESTING_DEPTH_MAX = 64  # deepest real event in our samples: 8
EVENT_PATHS_MAX = 10_000  # distinct paths of one event: a hostile event must not make a million columns
EVENT_PATH_BYTES_MAX = 256 * KIB  # all paths of one event: a long key above many short ones is small only as JSON
PATH_BYTES_MAX = 4 * KIB  # a column name; longer ones are kept in _rest
MAX_PATHS_DEFAULT = 1_000  # columns per segment before the rarest go to _rest

# --- batches -----------------------------------------------------------------------------------------------------
BATCH_ROWS_MAX = 1_000_000  # rows of one append
BATCH_BYTES_MAX = 256 * MIB  # decoded bytes of one append; keeps Arrow's 32-bit string offsets safe
PATH_BYTES_USUAL = 64  # on average over the paths of an event; in our samples it is under 50
BATCH_LONG_PATH_BYTES_MAX = 32 * MIB  # what paths take beyond that in all events: then objects stay JSON text
BATCH_REJECTED_MAX = 1_000_000  # events of one batch that are named as rejected: what follows the last is not read
BATCH_CELLS_MAX = 10 * MIB  # rows times attribute columns: what is sparser goes to _rest, or 8 bytes a cell add up
BATCH_CELLS_PER_VALUE_MAX = 32  # the same of small batches; in our samples it is up to 28
BATCH_CELLS_FEW = MIB  # so many are never too many
BATCH_ROWS_TARGET = 65_536  # what producers send at a time: a Ray call costs ~1 ms
BATCH_BYTES_TARGET = 16 * MIB

# --- WAL ---------------------------------------------------------------------------------------------------------
WAL_FILE_BYTES_TARGET = 128 * MIB  # rotation size
WAL_RECORD_BYTES_MAX = 512 * MIB  # a larger length field is damage, not a record
WAL_OBJECT_INTERVAL_MS_DEFAULT = 150  # batches of a shard wait so long for each other: 7 PUTs a second cost 3 $ a day
WAL_OBJECT_INTERVAL_MS_MAX = 10_000
WAL_OBJECT_BYTES_TARGET = 4 * MIB  # a WAL object is cut at this size: one full batch of a producer does not wait
WAL_OBJECTS_IN_FLIGHT_MAX = 4  # PUTs of one shard at once: hides the latency of a store, bounds the memory
WAL_OBJECT_READS_AHEAD = 8  # GETs of a replay at once
WAL_OBJECT_CREATE_ATTEMPTS = 3  # beyond those of the object store itself, when it cannot say whether it has the object

# --- dedup by id ---------------------------------------------------------------------------------------------------
DEDUP_IDS_MAX = 32 * MIB  # ids of one stream that a shard knows, 0.6 GiB in memory: beyond, the oldest are forgotten

# --- shard -------------------------------------------------------------------------------------------------------
MEMTABLE_BYTES_TARGET = 48 * MIB  # flush at this size: ~0.3 M generated log events, ~12 MB of Parquet
MEMTABLE_BYTES_TARGET_MAX = 512 * MIB  # settings may go up to here: columns are merged with 32-bit string offsets
MEMTABLE_BYTES_MAX = 3 * MEMTABLE_BYTES_TARGET  # active + being flushed; beyond it appends are Overloaded
ADMISSION_WAIT_S = 0.5  # an append waits so long for a flush to make room: cheaper than to refuse and send it again
FLUSH_AGE_S_DEFAULT = 60.0  # an idle shard flushes what is older
ROW_GROUP_ROWS = 131_072  # unit of pruning; DuckDB has no page index
INDEX_VALUES_ROWS_MIN = 4_096  # a smaller row group is cheap to read: neither value lists nor string zone maps
INDEX_FILTER_BYTES_MAX = 512 * KIB  # token bloom of a column and row group: ~3 tokens a row that occur nowhere else
FLUSH_WINDOWS_MAX = 64  # files of one stream per flush; beyond it wider windows are used
SMALL_WINDOW_ROWS = 4_096  # a window with fewer rows of a flush is small
SMALL_WINDOWS_MAX = 8  # files of small windows per flush and stream; beyond it they go to wider windows together
PRODUCERS_MAX = 100_000  # producer states per shard; the idlest are forgotten beyond it
PRODUCER_IDLE_S_MAX = 7 * 86_400  # dedup window of an idle producer
MANIFEST_VERSIONS_KEPT = 16  # older ones are deleted by the writer

# --- named snapshots and backups -----------------------------------------------------------------------------------
# From its manifests to its object; a slower one is taken anew. Segments that are replaced live longer than that.
SNAPSHOT_TAKE_S_MAX = 60.0
SNAPSHOT_ATTEMPTS = 3
SNAPSHOTS_MAX = 1_000  # of one tenant: what removes segments reads all of them
BACKUP_LEASE_S = 86_400.0  # a backup or clone holds its files for so long; one that takes longer goes on with the next
COPIES_AT_ONCE = 4  # files of a backup, clone or restore that are on their way: each is in memory whole

# --- compaction ------------------------------------------------------------------------------------------------------
COMPACTION_ROWS_TARGET = 1_000_000  # of a merged segment: a query reads it in one task, and skips it as a whole
COMPACTION_BYTES_TARGET = 128 * MIB  # of a merged segment's file, which is in memory until it is uploaded
COMPACTION_INPUTS_MAX = 32  # of one merge: each is copied once for that many, and all of them are open
COMPACTION_LEVEL_FACTOR = 4  # segments that overlap before they are merged: each level is narrower by so much
COMPACTION_LEVELS_MAX = 3  # ranges of 1/16 of all keys; each further level copies every row once more
COMPACTION_COLD_S = 3_600.0  # a window that ended, and got nothing for so long, is finished
COMPACTION_MERGE_S_MAX = 1_800.0  # a merge takes seconds to minutes; one that takes longer is refused
COMPACTION_LEASE_S = 15.0  # a compactor that was not heard of for so long is dead: others get its merge
COMPACTION_RENEW_S = 3.0  # how often a compactor says that it is at work
COMPACTION_LOOK_S = 30.0  # how often a shard plans anew while nothing changes: windows become cold
COMPACTION_RETRY_S = 600.0  # a merge that failed is left alone for so long
COMPACTION_POLL_S = 0.5  # how often a shard, or a compactor, looks for a merge
COMPACTION_BUSY_S = 0.2  # a shard that was asked for something so lately is busy
COMPACTION_BUSY_SHARE = 0.2  # of the time of a core that goes into merges while the shard is busy
GARBAGE_GRACE_S = 120.0  # beyond the longest query: for clocks that differ and answers that are late
COMPACTION_SLICE_BYTES_MAX = 128 * MIB  # rows that are merged in memory at once, a row group at most
COMPACTION_SORT_BYTES_MAX = 256 * MIB  # each sort column of all rows of a merge
COMPACTION_GROUP_BYTES_MAX = 128 * MIB  # a row group before it is encoded: wide ones have fewer rows

# --- deletes and retention ---------------------------------------------------------------------------------------
DELETES_PENDING_MAX = 100  # of a tenant: each is a condition on every row of its stream until it is done
DELETES_DONE_KEPT = 1_000  # with their proofs
DELETE_STEP_S = 2.0  # how long a shard looks through segments at a time, beside everything else
RETENTION_LOOK_S = 30.0  # how often a coordinator looks what retention does not keep
DELETE_POLL_S = 0.2  # how often a client asks whether a delete is done
DELETE_LOOK_S = 0.5  # how often a coordinator goes on with deletes
DELETE_HELD_LOOK_S = 30.0  # how often it looks whether named snapshots let go of files
DELETE_RETRY_S = 2.0  # pause after a step of a delete that failed

# --- queries -----------------------------------------------------------------------------------------------------
SQL_BYTES_MAX = 256 * KIB
SQL_DEPTH_MAX = 200  # brackets in a text that does not parse
SQL_ALIASED_NODES_MAX = 20_000  # what aliases stand for in all places of a select list: some 2 s to bind
SEARCH_BYTES_MAX = 64 * KIB  # the text of a search
SEARCH_TERMS_MAX = 1_000  # each is an expression that every event is asked for
AGGREGATE_GROUPS_MAX = 4  # paths of one aggregate request: one query each
AGGREGATE_MEASURES_MAX = 20
AGGREGATE_ROWS_MAX = 10_000  # groups that one aggregate request keeps: people look at tens
AGGREGATE_POINTS_MAX = 10_000  # intervals of one timeseries
AGGREGATE_SERIES_ROWS_MAX = 200_000  # groups times intervals: they are put together in Python
SEARCH_DEPTH_MAX = 50  # parentheses in a search: people write under 5, and each is a frame of the parser
QUERY_SECONDS_DEFAULT = 300.0
QUERY_SECONDS_MAX = 86_400.0
QUESTION_KEPT_BYTES_MAX = 16 * KIB  # of text and parameters of a query whose plan is kept
SEARCH_PAGE_ROWS_MAX = 10_000  # events of one page of a search
GATHER_BYTES_MAX = 2 * GIB  # Arrow bytes that all leaves may send to one query: the coordinator keeps them
# Of what one call of a function in a query makes; the engine calls it for about two thousand rows at a time.
MADE_ELEMENTS_MAX = 100_000
MADE_TEXT_MAX = 262_144  # characters
TEXTS_COMPARED_MAX = 100_000_000  # product of the lengths of two texts of which a distance is asked
STATE_BYTES_MAX = 256 * KIB  # partial states of one segment and query that are kept; larger ones are computed again
STATE_GROUPS_MAX = 2_048  # groups of one segment beyond which its states are combined at once and not kept

RESULT_CACHE_BYTES = 64 * MIB  # answers that a coordinator keeps for the same question over the same snapshot
RESULT_CACHED_BYTES_MAX = 4 * MIB  # one such answer
HOT_COLUMNS_BYTES = 64 * MIB  # per process, of decoded columns of small segments
STATE_CACHE_BYTES_DEFAULT = 64 * MIB  # partial states in a worker's memory: some hundred thousand of a few groups each
STATE_CACHE_DISK_BYTES_DEFAULT = GIB  # and behind it on its disk
TASK_SEGMENTS_MAX = 64  # of one task: bounds how long a worker is taken before the next query gets its turn
TASK_ROWS_MAX = 8_000_000  # of one task: some 0.2 s of a thread
LEAVES_RUNNING_MAX = 4  # of one worker
TENANT_LEAVES_RUNNING_MAX = 2  # of one tenant on one worker
TENANT_LEAVES_CROWDED_MAX = 1  # while others ask too: measured beside a flood, 39 ms for a light question, not 74 ms
ADMISSION_CROWDED_S = 5.0  # how long a tenant that asked is counted as one who may ask again
PROGRESS_SEGMENTS_MAX = 8  # of one task, where every task brings an early result
STREAM_ROWS_MAX = 500_000  # rows of one task whose rows are passed on at once: two of them are in memory
TASKS_IN_FLIGHT_MAX = 2  # of one query on one worker: the next is there when one is done
QUERY_POLL_S = 0.05  # how soon a coordinator sees that a query is cancelled
HEDGE_AFTER_S = 0.5  # a task is not sent to a second worker before: most take milliseconds
QUERY_RETRY_AFTER_S = 0.5  # when to come back while too many queries wait
QUERIES_RUNNING_MAX = 8  # of one coordinator
TENANT_QUERIES_RUNNING_MAX = 4  # of one tenant: the others always find a free slot
QUERIES_WAITING_MAX = 36  # of one coordinator: with those that run fewer than it has threads
TENANT_QUERIES_WAITING_MAX = 16  # of one tenant; more are Overloaded
CURSORS_MAX = 32  # results of one coordinator that are taken part by part: each has a few parts on their way
TENANT_CURSORS_MAX = 16  # of one tenant
CURSOR_IDLE_S = 10.0  # whose taker was away for so long makes room for others

# --- producers ---------------------------------------------------------------------------------------------------
RETRY_SECONDS_DEFAULT = 120.0  # a shard is back within seconds; after this the caller is told
RETRY_BACKOFF_S_MIN = 0.05
RETRY_BACKOFF_S_MAX = 2.0
ACK_WAIT_S_MAX = 60.0  # one attempt; afterwards the outcome is unknown and the batch is sent again
LINGER_S_DEFAULT = 0.2  # a producer sends what it has after this time
PRODUCER_QUEUE_BATCHES_MAX = 4  # batches waiting in a producer before send() blocks

# --- sources -----------------------------------------------------------------------------------------------------
SOURCE_BATCH_BYTES_TARGET = BATCH_BYTES_TARGET // 4  # a batch with a position is one append: wide events need room
SOURCE_LINGER_S = 0.5  # a source sends what it has of a partition after this time
SOURCE_RETRY_S = 15.0  # so often a source says that the store does not take its events; it goes on trying
SOURCE_PAUSE_S = 0.5  # between two tries
SOURCE_REOPEN_S = 86_400.0  # its producers are opened again: shards forget idle ones after PRODUCER_IDLE_S_MAX
SOURCE_REPORT_S = 10.0  # between two lines of progress
SOURCE_RELEASE_S_MAX = 20.0  # how long a batch in flight holds up a rebalance; what comes later is fenced
SOURCE_FENCED_S_MAX = 60.0  # a partition that another source took is Kafka's to take away in this time
SOURCE_THREADS_MAX = 32  # partitions of one source that write at once, most of which wait for a shard
REFUSED_VALUE_BYTES_MAX = MIB  # of a record that is no event, kept with the reason

# --- shards of a deployment --------------------------------------------------------------------------------------
SHARDS_MAX = 1_024  # of one placement: every query asks all of them
SCALE_WAIT_S_DEFAULT = 600.0  # until a change is done: processes are begun, and every shard flushes
SCALE_POLL_S = 0.2  # how often somebody who waits for a change asks
SCALE_LOOK_S = 2.0  # how often a coordinator looks how busy its shards are
SCALE_BEGIN_S_MAX = 20.0  # until a new shard serves; then it is said what it lacks, and waited on
PLACEMENTS_LOOK_S = 30.0  # how often a coordinator looks whether another one changed the placement: one LIST each time
SCALE_RETRY_S = 1.0  # pause after a step of a change that failed
PLACEMENT_RETRY_S = 0.05  # how often a process asks whether a change is done: it takes some tenths of a second
PLACEMENTS_KEPT = 100  # of those that are no longer in force

# --- object stores -------------------------------------------------------------------------------------------------
UPLOAD_PARTS_BYTES_MIN = 64 * MIB  # segments from here on are uploaded in parts, each of which is paid for
UPLOAD_PART_BYTES = 16 * MIB  # S3 asks for 5 MiB at least; a part that fails costs so much
UPLOAD_PARTS_AT_ONCE = 4  # of one upload: hides the latency of a store
OBJECT_RETRIES_PER_S = 10.0  # of one process and store, after the burst: a server that is down is not hammered
OBJECT_RETRIES_BURST = 100  # what fails in a hiccup is sent again at once
SEGMENTS_OPENED_AT_ONCE = 4  # of one process: each is in memory twice while it comes, 256 MiB at most
HEDGE_READ_SAMPLES = 128  # latest reads of which the 95th percentile says what is late
HEDGE_READ_S_FIRST = 1.0  # and what is late as long as there are few of them
HEDGE_READ_S_MIN = 0.05  # a second request is not worth less: S3 answers most within that

# --- actors ------------------------------------------------------------------------------------------------------
SHARD_APPENDS_MAX = 32  # concurrent appends of one shard; they share fdatasyncs, more wait in Ray's queue
SHARD_QUERIES_MAX = 32  # threads of a shard or reader for queries, most of which wait for their turn
COORDINATOR_QUERIES_MAX = 48  # threads of a coordinator for queries, most of which wait for their turn
ACTOR_CALLS_PENDING_MAX = 64  # unanswered calls of one process to one actor, 2 * SHARD_APPENDS_MAX; more are Overloaded
ACTOR_CALLS_RETRY_S = 0.2  # when to come back then: an append takes 10 to 100 ms
FLUSH_POLL_S = 0.05  # how often a shard looks whether a flush is due
FLUSH_RETRY_S = 1.0  # pause after a failed flush
SHARD_LOOK_S = 2.0  # how often a coordinator looks whether a shard answers and has its disk
SHARD_SILENT_LOOKS_MAX = 15  # so often without an answer a shard hangs and is ended: 30 s, a quarter of the
# time that producers try; the longest silence of one that worked, its machine overloaded for a minute, was 1.7 s
DISK_LOOK_WAIT_S_MAX = 20.0  # a node that did not say by then whether it has the disk: beginning a process takes 2 s
CONTROL_WAIT_S_MAX = 60.0  # a question to the coordinator; afterwards it counts as unanswered
SEGMENT_CACHE_BYTES_DEFAULT = 4 * GIB  # per process, for segments of remote storage
PARTS_CACHE_BYTES_DEFAULT = 2 * GIB  # and beside them for parts of segments
PART_SHARE_MAX = 0.5  # of a segment's bytes, beyond which all of it is read
PART_GAP_BYTES = MIB  # between two parts that are read by one request: what a request takes, a store sends that much
INDEX_CACHE_BYTES_DEFAULT = 256 * MIB  # per process, indexes of segments in memory: of some 250 full segments
LAUNCH_WAIT_S_MAX = 600.0  # recovery of a shard: replay runs at millions of events a second
STOP_WAIT_S_MAX = 120.0  # the last flush of a shard
SCRUB_FIRST_S = 60.0  # after its beginning a deployment scrubs: one that runs for a moment has no process more
SCRUB_AGREE_S = 600.0  # so long rounds have to agree on what a flush or a merge may just be writing or removing
SCRUB_RETRY_S = 60.0  # pause after a round that was cut off, as by a store that is away
STATUS_WAIT_S_MAX = 5.0  # a shard that does not say its numbers by then is shown as unavailable
