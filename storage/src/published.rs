//! What readers see, and the one way to change it.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Result;
use crate::sync::{Mutex, PoisonError, Swap};

/// A value that readers take as it is and that changes as a whole.
#[derive(Debug)]
pub(crate) struct Published<T> {
    now: Swap<T>,
    /// What was replaced while someone read it, so that no reader has to take it apart; held while the value is changed.
    before: Mutex<Vec<Arc<T>>>,
}

impl<T> Published<T> {
    pub(crate) fn new(first: T) -> Self {
        Self {
            now: Swap::from_pointee(first),
            before: Mutex::new(Vec::new()),
        }
    }

    /// The value as it is now, for a look; waits for no one.
    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> {
        self.now.load()
    }

    /// The value as it is now, to be kept; waits for no one.
    pub(crate) fn load_full(&self) -> Arc<T> {
        self.now.load_full()
    }

    /// Replaces the value by what `change` makes of it; an error leaves it as it was. One change is made after another, so
    /// that none is lost.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&Arc<T>) -> Result<(T, R)>) -> Result<R> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now.load_full();
        let (next, result) = change(&now)?;
        self.now.store(Arc::new(next));
        before.push(now);
        before.retain(is_read);
        Ok(result)
    }

    /// Lets go of what was replaced and is no longer read; whether nothing is left. [`Self::change`] does so as well.
    pub(crate) fn forget_unread(&self) -> bool {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.retain(is_read);
        before.is_empty()
    }
}

fn is_read<T>(value: &Arc<T>) -> bool {
    Arc::strong_count(value) > 1
}
