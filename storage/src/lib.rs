//! Storage of Latewood: WAL, memtable, immutable segments, manifest, catalog.
