//! Bitmaps over the rows of a segment that are kept for when they are asked for again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Words that are kept at most, beside the last bitmap.
const MOST_WORDS: usize = 1 << 18;
/// Bitmaps that are kept at most: a look for one takes no longer than to make one over a few hundred rows.
const MOST: usize = 64;

/// Bitmaps by the text of what made them, those that were asked for last at the end.
#[derive(Debug, Default)]
pub(super) struct KeptBitmaps(Mutex<Vec<(String, Arc<[u64]>)>>);

impl KeptBitmaps {
    /// The bitmap of a key, made if it is not kept.
    pub(super) fn get<E>(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Vec<u64>, E>,
    ) -> Result<Arc<[u64]>, E> {
        if let Some(found) = self.find(key) {
            return Ok(found);
        }
        // Made without the lock: another query may make the same meanwhile, but none waits.
        let made: Arc<[u64]> = make()?.into();
        let mut kept = self.lock();
        kept.retain(|(other, _)| other != key);
        kept.push((key.to_owned(), Arc::clone(&made)));
        let mut words: usize = kept.iter().map(|(_, bitmap)| bitmap.len()).sum();
        let mut old = 0;
        while kept.len() - old > 1 && (words > MOST_WORDS || kept.len() - old > MOST) {
            words -= kept[old].1.len();
            old += 1;
        }
        kept.drain(..old);
        Ok(made)
    }

    fn find(&self, key: &str) -> Option<Arc<[u64]>> {
        let mut kept = self.lock();
        let at = kept.iter().rposition(|(other, _)| other == key)?;
        kept[at..].rotate_left(1);
        kept.last().map(|(_, bitmap)| Arc::clone(bitmap))
    }

    /// Bitmaps are whole whenever the lock is free: one that a panic left is as good as any.
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<[u64]>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(kept: &KeptBitmaps, key: &str, words: usize) -> (usize, bool) {
        let mut made = false;
        let bitmap = kept.get(key, || {
            made = true;
            Ok::<_, Infallible>(vec![7; words])
        });
        (bitmap.unwrap().len(), made)
    }

    #[test]
    fn what_was_asked_for_last_is_kept() {
        let kept = KeptBitmaps::default();
        assert_eq!(get(&kept, "a", 1), (1, true));
        assert_eq!(get(&kept, "a", 2), (1, false));
        for n in 0..MOST - 1 {
            assert!(get(&kept, &n.to_string(), 1).1);
        }
        assert_eq!(get(&kept, "a", 1), (1, false));
        assert!(get(&kept, "one too many", 1).1);
        assert!(get(&kept, "0", 1).1 && !get(&kept, "a", 1).1);
        assert!(get(&kept, "large", MOST_WORDS + 1).1 && !get(&kept, "large", 1).1);
        assert!(get(&kept, "a", 1).1);
    }

    #[test]
    fn what_could_not_be_made_is_not_kept() {
        let kept = KeptBitmaps::default();
        assert_eq!(kept.get("a", || Err::<Vec<u64>, _>("damage")), Err("damage"));
        assert!(get(&kept, "a", 1).1);
    }
}
