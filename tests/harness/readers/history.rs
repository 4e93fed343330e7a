//! What the writer does, as it follows from a seed, and what the collection holds after each change.

use latewood::{DenseCodec, Document, FieldType, Metric, SchemaBuilder};

use crate::random::Random;

/// Groups of documents; those of one are written and removed together.
pub(super) const GROUPS: u64 = 12;
/// Documents of a group.
pub(super) const EACH: u64 = 6;
/// The document that says the number of the last change.
pub(super) const CLOCK: u64 = 0;

/// One change, which the collection shows whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The documents of a group are written, in a batch.
    Write(u64),
    /// They are removed.
    Remove(u64),
    /// They are loaded as a segment.
    Load(u64),
}

/// The changes one after another, and what they have made.
#[derive(Clone, Debug)]
pub(super) struct History {
    random: Random,
    /// The number of the last change; 0 before the first.
    pub(super) number: u64,
    /// The number of the change that wrote each group; none where it is removed.
    pub(super) groups: [Option<u64>; GROUPS as usize],
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            number: 0,
            groups: [None; GROUPS as usize],
        }
    }

    /// The next change.
    pub(super) fn next(&mut self) -> Change {
        let group = self.random.below(GROUPS);
        let change = match self.random.below(10) {
            0..=5 => Change::Write(group),
            6..=7 => Change::Remove(group),
            _ => Change::Load(group),
        };
        self.number += 1;
        self.groups[group as usize] = match change {
            Change::Remove(_) => None,
            Change::Write(_) | Change::Load(_) => Some(self.number),
        };
        change
    }

    /// Goes on to a change that has been made.
    pub(super) fn advance(&mut self, number: u64) {
        while self.number < number {
            self.next();
        }
    }

    /// Ids of the documents, and the changes that wrote them, in order of the ids.
    pub(super) fn documents(&self) -> Vec<(u64, u64)> {
        let clock = (self.number > 0).then_some((CLOCK, self.number));
        let groups = (0..GROUPS).zip(&self.groups);
        let written = groups.filter_map(|(group, number)| Some((group, (*number)?)));
        clock
            .into_iter()
            .chain(written.flat_map(|(group, number)| ids(group).map(move |id| (id, number))))
            .collect()
    }
}

/// The documents of a group.
pub(super) fn ids(group: u64) -> impl Iterator<Item = u64> {
    (0..EACH).map(move |i| 1 + group * EACH + i)
}

pub(super) fn schema() -> SchemaBuilder {
    SchemaBuilder::new()
        .dense(4, Metric::L2)
        .dense_codec(DenseCodec::F32)
        .tokens(8, 2)
        .field("change", FieldType::Int)
        .field("group", FieldType::Int)
}

/// The document of an id as a change writes it. Those of a group are equally near to any vector.
pub(super) fn document(id: u64, change: u64) -> Document {
    let group = id.checked_sub(1).map_or(GROUPS, |i| i / EACH);
    let token = |hot: u64| (0..8).map(|i| if i == hot % 8 { 1.0 } else { 0.0 }).collect();
    let tokens: Vec<Vec<f32>> = (0..2 + id % 3).map(|i| token(group + i)).collect();
    Document::new(id)
        .text(format!("change {change} wrote {id}"))
        .field("change", change)
        .field("group", group)
        .dense(vec![group as f32, (change % 1024) as f32, 0.0, 1.0])
        .tokens(tokens)
}
