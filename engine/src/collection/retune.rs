//! Tuning the token index anew in the background, when what it was tuned on has changed. Flushes and merges go on meanwhile;
//! once one has replaced what is measured, the tuning breaks off, and is begun again in the next pause.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use latewood_query::{QuerySource, TuneOptions, Tuned, tune};
use latewood_storage::CollectionStore;

use super::Collection;
use super::pseudo_queries::pseudo_queries;
use super::tune::{K, QUERIES, SEED};
use crate::database::Shared;
use crate::error::Error;
use crate::telemetry;

/// Time for queries on the one thread that does it.
const BUDGET: Duration = Duration::from_secs(8);

/// Between two looks whether a flush or a merge is done.
const MOMENT: Duration = Duration::from_millis(10);

/// A collection that nobody is kept from closing.
struct Loose {
    name: Arc<str>,
    shared: Weak<Shared>,
    store: Weak<CollectionStore>,
}

impl Collection {
    /// Has a background thread tune the collection after a codebook was trained or what changed was merged. Queries go on
    /// with what was tuned before, or the defaults.
    pub(super) fn retune_when_settled(&self) {
        let loose = Loose {
            name: Arc::clone(&self.name),
            shared: Arc::downgrade(&self.shared),
            store: Arc::downgrade(&self.store),
        };
        self.store.on_settled(move || {
            if let Err(error) = loose.retune() {
                tracing::warn!(collection = &*loose.name, %error, "the token index could not be tuned anew");
                telemetry::background_failed(&loose.name);
            }
        });
    }
}

impl Loose {
    fn collection(&self) -> Option<Collection> {
        Some(Collection {
            name: Arc::clone(&self.name),
            shared: self.shared.upgrade()?,
            store: self.store.upgrade()?,
        })
    }

    /// Whether the database is gone or going.
    fn is_left(&self) -> bool {
        let closing = self.store.upgrade().is_none_or(|store| store.is_closing());
        closing || self.shared.strong_count() == 0
    }

    fn retune(&self) -> Result<(), Error> {
        let Some(collection) = self.collection() else {
            return Ok(());
        };
        // A table from the caller's own queries says more than one from made-up queries, as long as it holds.
        let table = collection.tuned_table();
        if table.is_some_and(|table| table.source == QuerySource::Caller) && !collection.is_outdated()? {
            return Ok(());
        }
        let _span = telemetry::Around::begin(telemetry::Work::Tune, collection.name());
        let snapshot = collection.snapshot()?;
        let queries = pseudo_queries(&snapshot, QUERIES, SEED)?;
        let cost = collection.cost_model();
        drop(collection);
        let is_replaced = || {
            self.store
                .upgrade()
                .is_some_and(|store| !store.is_in_force(&snapshot))
        };
        let is_busy = || self.store.upgrade().is_some_and(|store| store.is_busy());
        let go_on = |_, _| {
            while is_busy() && !self.is_left() && !is_replaced() {
                std::thread::sleep(MOMENT);
            }
            if self.is_left() || is_replaced() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let options = TuneOptions {
            k: K,
            source: QuerySource::Documents,
            budget: BUDGET,
            pool: None,
            progress: &go_on,
        };
        let tuned = tune(&snapshot, &queries, &cost, &options)?;
        drop(snapshot);
        match (tuned, self.collection()) {
            (Tuned::Table(table), Some(collection)) if !self.is_left() => collection.keep_table(&table),
            _ => Ok(()),
        }
    }
}
