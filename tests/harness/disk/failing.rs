//! A hook that lets one call fail, once or for as long as the disk is full.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Call, Hook, RecordingDisk};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// One call ends with EIO; of a write nothing is done.
    Broken,
    /// One write takes half of the bytes, and its rest ends with EIO.
    Short,
    /// The disk is full from this call on: a write takes half of the bytes, and everything that needs room ends with ENOSPC.
    Full,
}

/// A hook that fails at the n-th call of a kind, once it is told to. What a sync that failed should have made durable is
/// lost.
#[derive(Debug)]
pub struct Failing {
    disk: RecordingDisk,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<(Call, Failure)>,
    /// Calls of the kind that pass before one fails.
    left: u64,
    fired: bool,
    /// The rest of a short write fails next.
    rest: bool,
}

impl Failing {
    /// A hook for the calls to this disk.
    pub fn new(disk: &RecordingDisk) -> Self {
        Self {
            disk: disk.clone(),
            state: Mutex::default(),
        }
    }

    /// Fails at the `n`-th call of this kind from now on, counted from 0.
    pub fn arm(&self, call: Call, failure: Failure, n: u64) {
        *self.lock() = State {
            armed: Some((call, failure)),
            left: n,
            ..State::default()
        };
    }

    /// The disk is well again. Whether anything had failed.
    pub fn disarm(&self) -> bool {
        std::mem::take(&mut *self.lock()).fired
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Hook for Failing {
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<usize> {
        let verdict = self.verdict(call, len);
        if verdict.is_err() && matches!(call, Call::Sync | Call::SyncDir) {
            self.disk.fail_sync(path);
        }
        verdict
    }
}

impl Failing {
    fn verdict(&self, call: Call, len: usize) -> io::Result<usize> {
        let mut state = self.lock();
        let Some((armed, failure)) = state.armed else {
            return Ok(len);
        };
        if state.fired {
            let full = failure == Failure::Full && call.needs_room();
            let rest = std::mem::take(&mut state.rest) && call == Call::Write;
            return match (full, rest) {
                (true, _) => Err(io::Error::from_raw_os_error(ENOSPC)),
                (_, true) => Err(io::Error::from_raw_os_error(EIO)),
                _ => Ok(len),
            };
        }
        if call != armed {
            return Ok(len);
        }
        if state.left > 0 {
            state.left -= 1;
            return Ok(len);
        }
        state.fired = true;
        match failure {
            Failure::Broken => Err(io::Error::from_raw_os_error(EIO)),
            Failure::Short if len > 1 => {
                state.rest = true;
                Ok(len / 2)
            }
            Failure::Short => Err(io::Error::from_raw_os_error(EIO)),
            Failure::Full if len > 1 => Ok(len / 2),
            Failure::Full => Err(io::Error::from_raw_os_error(ENOSPC)),
        }
    }
}
