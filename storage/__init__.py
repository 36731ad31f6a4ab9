"""WAL, memtable, segments, manifests, object store. Never touches Ray, ingest or query."""
