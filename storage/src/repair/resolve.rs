//! Which version of each document is the newest.
//!
//! A segment says which change was the last that it knows of. So a row is older than any later change to its document, and
//! newer than any earlier one; of two rows, that of the segment which knows of more is newer.

use std::collections::HashSet;

use super::logs::{Change, Logged};
use super::parts::{Found, Part};
use super::report::RepairReport;
use crate::document::{DocumentId, Record};

/// Buries what newer versions replace, and returns the documents whose newest version is in the logs.
pub(super) fn resolve(found: &mut Found, logged: Logged, report: &mut RepairReport) -> Vec<Record> {
    for part in &mut found.parts {
        let load = logged
            .loads
            .iter()
            .filter(|(_, segment)| **segment == part.id)
            .map(|(load, _)| *load);
        part.sequence = load.max().unwrap_or(0).max(part.sequence);
    }
    let lost_tombstones = found.parts.iter().any(|part| !part.tombstones_known);
    if lost_tombstones {
        bury_older_rows(&mut found.parts);
    }
    // Tombstones that are whole know of every change before the manifest, and so before its last bulk load.
    let last_load = found
        .manifest
        .as_ref()
        .and_then(|m| m.loads.iter().copied().max())
        .unwrap_or(0);
    let flushed = match &found.manifest {
        Some(manifest) => manifest.sequence,
        None => found
            .parts
            .iter()
            .map(|part| part.segment.origin().flushed)
            .max()
            .unwrap_or(0),
    };
    let mut records = Vec::new();
    for change in logged.changes {
        if change.sequence > flushed && is_newest(&found.parts, &change, last_load) {
            for part in &mut found.parts {
                if let Some(row) = part.find(&change.id) {
                    part.dead.insert(row);
                }
            }
            records.extend(change.record);
        }
    }
    note_lost_tombstones(found, report);
    records
}

/// Whether a change is newer than every row of its document.
fn is_newest(parts: &[Part], change: &Change, last_load: u64) -> bool {
    parts.iter().all(|part| match part.find(&change.id) {
        Some(_) => part.sequence < change.sequence && !(part.tombstones_known && change.sequence < last_load),
        None => true,
    })
}

/// Where tombstones are lost, a document may have several rows: only the newest stays.
fn bury_older_rows(parts: &mut [Part]) {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| {
        let part = parts.get(*index);
        std::cmp::Reverse(part.map(|part| (part.sequence, part.id)))
    });
    let mut seen: HashSet<DocumentId> = HashSet::new();
    for index in order {
        let Some(part) = parts.get_mut(index) else {
            continue;
        };
        let rows: Vec<u32> = part.live().collect();
        for row in rows {
            if let Some(id) = part.id_of(row)
                && !seen.insert(id)
            {
                part.dead.insert(row);
            }
        }
    }
}

fn note_lost_tombstones(found: &Found, report: &mut RepairReport) {
    for part in found.parts.iter().filter(|part| !part.tombstones_known) {
        let rows = part.live().count();
        let why = if found.manifest.is_some() {
            "the list of deleted rows is lost"
        } else {
            "the manifest is lost, and with it which list of deleted rows was in force"
        };
        report.uncertain.push(format!(
            "segment {}: {why}; of its {rows} documents, those that were deleted and not written again may be back",
            part.id
        ));
    }
}
