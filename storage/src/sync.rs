//! Locks, and the pointer that readers follow. `interleavings/tests` builds what is made of them on others, whose
//! every interleaving it can choose.

pub(crate) use arc_swap::ArcSwap as Swap;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
