//! The changes that can still be read from logs.

use std::collections::HashMap;
use std::path::Path;

use crate::backend::StorageBackend;
use crate::document::{DocumentId, Record};
use crate::error::{IoContext, Result};
use crate::operation::Operation;
use crate::wal::{FrameKind, decode_batch, decode_ids, log_path, whole_frames};
use crate::wire::{Reader, number_in_name};

/// The last change to a document.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) id: DocumentId,
    /// `None`: it was deleted.
    pub(super) record: Option<Record>,
    pub(super) sequence: u64,
}

/// What logs still say.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// The last change to each document, in order.
    pub(super) changes: Vec<Change>,
    /// Bulk loads: the sequence number of each, and its segment.
    pub(super) loads: HashMap<u64, u64>,
    /// The highest sequence number seen.
    pub(super) last: u64,
    /// The highest number of a log.
    pub(super) highest_log: u64,
    /// Sequence numbers between the first and the last that are missing.
    pub(super) missing: u64,
}

/// Reads every whole frame of the logs from `first` on. A bulk load takes back the changes before it if `in_force` says so
/// of its sequence number and its segment.
pub(super) fn read_logs(
    backend: &dyn StorageBackend,
    dir: &Path,
    first: u64,
    after: u64,
    in_force: &dyn Fn(u64, Option<u64>) -> bool,
) -> Result<Logged> {
    let folder = dir.join("wal");
    let names = match backend.list(&folder) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).at("list", &folder),
    };
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|entry| number_in_name(&entry.name))
        .collect();
    numbers.sort_unstable();
    let mut reading = Reading {
        logged: Logged::default(),
        slots: Vec::new(),
        at: HashMap::new(),
        expected: after + 1,
    };
    reading.logged.last = after;
    for number in numbers {
        reading.logged.highest_log = number;
        let path = log_path(dir, number);
        if number < first {
            continue;
        }
        let bytes = backend.map(&path).at("map", &path)?;
        for frame in whole_frames(&bytes) {
            if frame.sequence < reading.expected {
                continue;
            }
            reading.logged.missing += frame.sequence - reading.expected;
            let mut payload = Reader::with_base(&path, frame.payload, frame.offset);
            if reading
                .frame(frame.kind, frame.sequence, &mut payload, in_force)
                .is_err()
            {
                reading.logged.missing += 1;
            }
            reading.expected = frame.sequence.saturating_add(1);
            reading.logged.last = frame.sequence;
        }
    }
    reading.logged.changes = reading.slots.into_iter().flatten().collect();
    Ok(reading.logged)
}

struct Reading {
    logged: Logged,
    slots: Vec<Option<Change>>,
    at: HashMap<DocumentId, usize>,
    expected: u64,
}

impl Reading {
    fn frame(
        &mut self,
        kind: FrameKind,
        sequence: u64,
        payload: &mut Reader<'_>,
        in_force: &dyn Fn(u64, Option<u64>) -> bool,
    ) -> Result<()> {
        match kind {
            FrameKind::Batch => {
                for operation in decode_batch(payload)? {
                    let (id, record) = match operation {
                        Operation::Upsert(record) => (record.id.clone(), Some(record)),
                        Operation::Delete(id) => (id, None),
                    };
                    self.forget(&id);
                    self.at.insert(id.clone(), self.slots.len());
                    self.slots.push(Some(Change { id, record, sequence }));
                }
            }
            FrameKind::Replaced => {
                let replaced = decode_ids(payload)?;
                if in_force(sequence, replaced.segment) {
                    replaced.ids.iter().for_each(|id| self.forget(id));
                    self.logged
                        .loads
                        .extend(replaced.segment.map(|segment| (sequence, segment)));
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &DocumentId) {
        if let Some(slot) = self.at.remove(id).and_then(|at| self.slots.get_mut(at)) {
            *slot = None;
        }
    }
}
