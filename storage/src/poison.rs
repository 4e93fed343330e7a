//! Remembers the first failure after which what is on the disk is uncertain. From then on writes are refused.

use std::sync::OnceLock;

use crate::error::{Result, StorageError};

/// The first such failure of a collection.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<String>);

impl Poison {
    /// Refuses all writes from now on.
    pub(crate) fn set(&self, reason: String) {
        tracing::error!(%reason, "writes are refused until the collection is opened again");
        let _ = self.0.set(reason);
    }

    /// An error once there was a failure.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(reason) => Err(StorageError::Poisoned {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Poisons on drop, so that a panic in between does. Disarm it at the end.
#[derive(Debug)]
pub(crate) struct PoisonOnPanic<'a> {
    poison: &'a Poison,
    what: &'static str,
}

impl<'a> PoisonOnPanic<'a> {
    pub(crate) fn new(poison: &'a Poison, what: &'static str) -> Self {
        Self { poison, what }
    }
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.poison.set(format!("{} panicked", self.what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_poisons_and_the_first_reason_stays() {
        let poison = Poison::default();
        drop(PoisonOnPanic::new(&poison, "nothing"));
        poison.check().unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = PoisonOnPanic::new(&poison, "a flush");
            panic!("for the test");
        }));
        assert!(result.is_err());
        poison.set("later".to_owned());
        assert!(
            poison
                .check()
                .unwrap_err()
                .to_string()
                .contains("a flush panicked")
        );
    }
}
