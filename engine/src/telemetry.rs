//! Spans for `tracing` and counters for `metrics` (feature `telemetry`, off by default, and nothing is compiled in then).
//!
//! A query is a span `query` of the target `latewood::query`, at the level debug; within it is a span `stage` for each stage of
//! its [`Profile`](crate::Profile), in order, entered while the stage runs. The writer's work (`commit`, `flush`, `merge`,
//! `optimize`, `bulk load`, `train`) has spans of the target `latewood::storage`, tuning has some of `latewood::tune`. Fields
//! and labels are names of collections, plans and stages, and numbers: never an id, a text, a payload, a filter or a vector.
//! `docs/telemetry.md` lists all of them.
//!
//! Without a recorder and a subscriber the counters and spans go nowhere. The host installs its own, such as an exporter for
//! Prometheus; this one counts queries and nothing else:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use latewood::{Database, Document, Metric, SchemaBuilder};
//! use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
//!
//! #[derive(Default)]
//! struct Queries(Arc<AtomicU64>);
//!
//! impl Recorder for Queries {
//!     fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
//!     fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
//!     fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
//!     fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
//!         match key.name() {
//!             "latewood_queries_total" => Counter::from_arc(self.0.clone()),
//!             _ => Counter::noop(),
//!         }
//!     }
//!     fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
//!         Gauge::noop()
//!     }
//!     fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
//!         Histogram::noop()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("latewood-telemetry-{}", std::process::id()));
//! # std::fs::remove_dir_all(&folder).ok();
//! let queries = Queries::default();
//! let count = queries.0.clone();
//! metrics::set_global_recorder(queries)?;
//! latewood::telemetry::describe();
//!
//! let db = Database::open(&folder)?;
//! let points = db.create_collection("points", SchemaBuilder::new().dense(2, Metric::InnerProduct))?;
//! points.upsert(Document::new("a").dense([0.5, 0.5]))?;
//! points.query().dense([1.0, 0.0]).run()?;
//! assert_eq!(count.load(Ordering::Relaxed), 1);
//! # db.close()?;
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(())
//! # }
//! ```

#[cfg(not(feature = "telemetry"))]
mod off;
#[cfg(feature = "telemetry")]
mod on;

#[cfg(not(feature = "telemetry"))]
pub(crate) use off::{Around, Asked, background_failed};
#[cfg(feature = "telemetry")]
pub use on::describe;
#[cfg(feature = "telemetry")]
pub(crate) use on::{Around, Asked, background_failed};

/// What has a span without counters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// One document followed through a query.
    ExplainHit,
    /// The token index measured.
    Tune,
    /// The graph measured.
    TuneDense,
}
