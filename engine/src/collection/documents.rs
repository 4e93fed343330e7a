//! Reading documents by their place in a snapshot.

use std::sync::Arc;

use latewood_query::{Matches, Position};
use latewood_storage::{DocumentId, Payload, Record, Snapshot};

use super::Collection;
use crate::document::Document;
use crate::error::Error;

/// The text of the document at a place.
pub(crate) fn text_at(snapshot: &Snapshot, at: Position) -> Result<Option<String>, Error> {
    match snapshot.segments().get(at.segment as usize) {
        Some(view) => Ok(view.segment.text(at.ordinal)?),
        None => Ok(snapshot
            .memtable()
            .get(at.ordinal)
            .and_then(|record| record.text.clone())),
    }
}

/// The payload of the document at a place.
pub(crate) fn payload_at(snapshot: &Snapshot, at: Position) -> Result<Payload, Error> {
    match snapshot.segments().get(at.segment as usize) {
        Some(view) => Ok(view.segment.payload(at.ordinal)?),
        None => Ok(snapshot
            .memtable()
            .get(at.ordinal)
            .map(|record| record.payload.clone())
            .unwrap_or_default()),
    }
}

/// The id of the document at a place.
pub(super) fn id_at(snapshot: &Snapshot, at: Position) -> Result<Option<DocumentId>, Error> {
    match snapshot.segments().get(at.segment as usize) {
        Some(view) => Ok(Some(view.segment.document_id(at.ordinal)?)),
        None => Ok(snapshot
            .memtable()
            .get(at.ordinal)
            .map(|record| record.id.clone())),
    }
}

/// The whole document at a place.
pub(super) fn record_at(snapshot: &Snapshot, at: Position) -> Result<Option<Record>, Error> {
    // Who reads documents here and there finds half a megabyte for each.
    snapshot.relieve();
    match snapshot.segments().get(at.segment as usize) {
        Some(view) => Ok(Some(view.segment.record(at.ordinal)?)),
        None => Ok(snapshot
            .memtable()
            .get(at.ordinal)
            .map(|record| Record::clone(record))),
    }
}

/// Where the documents are that match, in the order in which they are stored.
pub(super) fn positions(matches: &Matches) -> impl Iterator<Item = Position> + '_ {
    let memtable = u32::try_from(matches.segments().len()).unwrap_or(u32::MAX);
    let segments = (0_u32..).zip(matches.segments());
    let stored =
        segments.flat_map(|(segment, rows)| rows.iter().map(move |ordinal| Position { segment, ordinal }));
    stored.chain(matches.memtable().iter().map(move |&ordinal| Position {
        segment: memtable,
        ordinal,
    }))
}

/// All documents of one moment, in the order in which they are stored. Later writes do not change it.
#[derive(Debug)]
pub struct Documents {
    snapshot: Arc<Snapshot>,
    matches: Matches,
    next: Position,
}

impl Documents {
    pub(super) fn new(collection: &Collection) -> Result<Self, Error> {
        let snapshot = collection.snapshot()?;
        let matches = Matches::evaluate(&snapshot, None)?;
        Ok(Self {
            snapshot,
            matches,
            next: Position {
                segment: 0,
                ordinal: 0,
            },
        })
    }

    /// How many documents there are.
    pub fn total(&self) -> u64 {
        self.matches.count()
    }

    fn advance(&mut self) -> Option<Position> {
        while let Some(rows) = self.matches.segments().get(self.next.segment as usize) {
            if let Some(ordinal) = rows.iter_in(self.next.ordinal..rows.rows()).next() {
                self.next.ordinal = ordinal + 1;
                return Some(Position {
                    segment: self.next.segment,
                    ordinal,
                });
            }
            self.next = Position {
                segment: self.next.segment + 1,
                ordinal: 0,
            };
        }
        let slot = self.matches.memtable().get(self.next.ordinal as usize)?;
        self.next.ordinal += 1;
        Some(Position {
            segment: self.next.segment,
            ordinal: *slot,
        })
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.advance()?;
        record_at(&self.snapshot, at)
            .transpose()
            .map(|record| record.map(Document::from))
    }
}
