//! Whether a first stage scans or searches an index: an ordered list of rules.

use crate::explain::{Count, Duration};
use crate::plan::Estimate;

/// Below this many matching documents an index is never worth entering.
const FEW_DOCUMENTS: u64 = 256;

/// The two ways to run a first stage, with what each should take.
pub(super) struct Access {
    pub(super) exact: bool,
    /// Why nothing but everything will do for the recall that is asked.
    pub(super) everything: Option<String>,
    pub(super) matching: u64,
    pub(super) documents: u64,
    pub(super) wanted: u64,
    pub(super) scan: Estimate,
    pub(super) index: Option<Estimate>,
    pub(super) kind: &'static str,
}

/// A rule about the first stage: whether to scan, and why.
type AccessRule = fn(&Access) -> Option<(bool, String)>;

/// In order. A scan is exact, so an index has to be cheaper to be taken.
const ACCESS_RULES: &[AccessRule] = &[
    exact_asked,
    everything_asked,
    no_index,
    few_match,
    scan_is_cheaper,
    index_is_cheaper,
];

impl Access {
    /// Whether to scan, and why: what the first rule says that has an answer.
    pub(super) fn decide(&self) -> (bool, String) {
        let decided = ACCESS_RULES.iter().find_map(|rule| rule(self));
        decided.unwrap_or((true, "a scan needs nothing but the vectors".to_owned()))
    }
}

fn exact_asked(access: &Access) -> Option<(bool, String)> {
    access.exact.then(|| {
        (
            true,
            "an exact answer is asked for, so every matching document is scored".to_owned(),
        )
    })
}

fn everything_asked(access: &Access) -> Option<(bool, String)> {
    access.everything.as_ref().map(|why| (true, why.clone()))
}

fn no_index(access: &Access) -> Option<(bool, String)> {
    access
        .index
        .is_none()
        .then(|| (true, format!("no segment has a {} yet", access.kind)))
}

fn few_match(access: &Access) -> Option<(bool, String)> {
    let few = FEW_DOCUMENTS.max(access.wanted);
    let reason = if access.matching < access.documents {
        format!(
            "the filter leaves {} of {} documents; scoring them all is cheaper than finding them in a {}",
            Count(access.matching),
            Count(access.documents),
            access.kind
        )
    } else {
        format!(
            "{} documents are few enough to score them all",
            Count(access.matching)
        )
    };
    (access.matching <= few).then_some((true, reason))
}

fn scan_is_cheaper(access: &Access) -> Option<(bool, String)> {
    let (scan, index) = (access.scan.microseconds, access.index?.microseconds);
    let reason = format!(
        "scoring all {} documents takes about {}, the {} about {}",
        Count(access.matching),
        Duration(scan),
        access.kind,
        Duration(index)
    );
    (scan <= index).then_some((true, reason))
}

fn index_is_cheaper(access: &Access) -> Option<(bool, String)> {
    let (scan, index) = (access.scan.microseconds, access.index?.microseconds);
    let reason = format!(
        "the {} takes about {}, scoring all {} documents about {}",
        access.kind,
        Duration(index),
        Count(access.matching),
        Duration(scan)
    );
    Some((false, reason))
}
