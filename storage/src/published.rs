//! What readers see, and the one way to change it.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Result;
use crate::sync::{Mutex, PoisonError, Swap};

/// A value that readers take as it is and that changes as a whole.
#[derive(Debug)]
pub(crate) struct Published<T> {
    now: Swap<T>,
    changing: Mutex<()>,
}

impl<T> Published<T> {
    pub(crate) fn new(first: T) -> Self {
        Self {
            now: Swap::from_pointee(first),
            changing: Mutex::new(()),
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
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, result) = change(&self.now.load_full())?;
        self.now.store(Arc::new(next));
        Ok(result)
    }
}
