//! Spans, counters and gauges of writes. Without the feature `telemetry` nothing of it is compiled in.

#[cfg(not(feature = "telemetry"))]
mod off;
#[cfg(feature = "telemetry")]
mod on;

#[cfg(not(feature = "telemetry"))]
pub(crate) use off::{Applied, Task, background_failed, dropped, gauge};
#[cfg(feature = "telemetry")]
pub use on::describe;
#[cfg(feature = "telemetry")]
pub(crate) use on::{Applied, Task, background_failed, dropped, gauge};

/// What a task of the writer does. Its name is that of its span, and its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A group of small writes, into the log.
    Commit,
    /// A memtable becomes a segment.
    Flush,
    /// Segments become one.
    Merge,
    /// Everything that `optimize` does to the files.
    Optimize,
    /// Many documents become a segment.
    BulkLoad,
    /// A codebook is made.
    Train,
}
