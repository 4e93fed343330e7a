//! The process ends at a chosen call to the disk.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Call, Hook};
use crate::random::Random;

/// When, with respect to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    /// A write of half the bytes.
    Half,
    After,
}

/// The `nth` call of a kind, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    call: Call,
    when: When,
    nth: u64,
}

impl Point {
    /// One of the calls that change something; early ones more often than late ones.
    pub(super) fn choose(random: &mut Random) -> Self {
        const FEWEST: u64 = 8;
        let calls: Vec<Call> = Call::ALL.into_iter().filter(|call| call.changes()).collect();
        let call = calls[random.index(calls.len())];
        let halves = if call == Call::Write { 3 } else { 2 };
        let range = FEWEST << random.below(5);
        Self {
            call,
            when: [When::Before, When::After, When::Half][random.index(halves)],
            nth: random.below(range),
        }
    }

    /// The site, without the count.
    pub(super) fn site(&self) -> String {
        format!("{:?} {:?}", self.when, self.call).to_lowercase()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?},{:?},{}", self.call, self.when, self.nth)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let find = || {
            let [call, when, nth] = parts[..] else { return None };
            Some(Self {
                call: Call::ALL.into_iter().find(|known| format!("{known:?}") == call)?,
                when: [When::Before, When::Half, When::After]
                    .into_iter()
                    .find(|known| format!("{known:?}") == when)?,
                nth: nth.parse().ok()?,
            })
        };
        find().ok_or_else(|| format!("expected call,moment,number, got {text}"))
    }
}

/// Ends the process at a point.
#[derive(Debug)]
pub(super) struct Ending {
    point: Point,
    before: AtomicU64,
    after: AtomicU64,
}

impl Ending {
    pub(super) fn at(point: Point) -> Self {
        Self {
            point,
            before: AtomicU64::new(0),
            after: AtomicU64::new(0),
        }
    }
}

impl Hook for Ending {
    fn before(&self, call: Call, _path: &Path, len: usize) -> io::Result<usize> {
        if call != self.point.call {
            return Ok(len);
        }
        let reached = self.before.fetch_add(1, Ordering::SeqCst) == self.point.nth;
        match self.point.when {
            When::Before if reached => std::process::abort(),
            When::Half if reached => Ok(len.div_ceil(2)),
            _ => Ok(len),
        }
    }

    fn after(&self, call: Call, _path: &Path) {
        if call == self.point.call
            && self.after.fetch_add(1, Ordering::SeqCst) == self.point.nth
            && self.point.when != When::Before
        {
            std::process::abort();
        }
    }
}
