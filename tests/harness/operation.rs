//! Every kind of operation of the public API, chosen by a generator, and what it makes of a collection.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use latewood::{
    Collection, Database, DenseCodec, Document, DocumentId, Error, FieldType, Metric, SchemaBuilder,
};

use crate::ledger::{Collections, Contents, Ledger};
use crate::random::Random;

/// Ids are below this.
pub const IDS: u64 = 32;

/// An operation on a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates it.
    Create,
    /// Drops it.
    Drop,
    /// Writes a document.
    Upsert(u64),
    /// Removes a document.
    Delete(u64),
    /// Writes and removes several at once.
    Batch(BTreeMap<u64, bool>),
    /// Loads several as a segment.
    Ingest(Vec<u64>),
    /// Moves the memtable into a segment.
    Flush,
    /// Merges, trains, reclaims.
    Optimize,
}

impl Operation {
    /// The kinds, by name.
    pub const KINDS: [&str; 8] = [
        "create", "drop", "upsert", "delete", "batch", "ingest", "flush", "optimize",
    ];

    /// Its kind's name.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[match self {
            Self::Create => 0,
            Self::Drop => 1,
            Self::Upsert(_) => 2,
            Self::Delete(_) => 3,
            Self::Batch(_) => 4,
            Self::Ingest(_) => 5,
            Self::Flush => 6,
            Self::Optimize => 7,
        }]
    }

    /// One for a collection that exists, or creates one that does not.
    pub fn choose(random: &mut Random, exists: bool) -> Self {
        if !exists {
            return Self::Create;
        }
        let id = random.below(IDS);
        match random.below(40) {
            0..=12 => Self::Upsert(id),
            13..=18 => Self::Delete(id),
            19..=27 => Self::Batch(
                (0..1 + random.below(8))
                    .map(|_| (random.below(IDS), !random.one_in(3)))
                    .collect(),
            ),
            28..=32 => {
                let ids: BTreeMap<u64, ()> = (0..1 + random.below(12))
                    .map(|_| (random.below(IDS), ()))
                    .collect();
                Self::Ingest(ids.into_keys().collect())
            }
            33..=36 => Self::Flush,
            37..=38 => Self::Optimize,
            _ => Self::Drop,
        }
    }

    /// One of a kind.
    pub fn of_kind(kind: &str, random: &mut Random) -> Self {
        loop {
            let operation = Self::choose(random, kind != "create");
            if operation.kind() == kind {
                return operation;
            }
        }
    }

    /// What it makes of a collection's contents; none if there is no such collection.
    pub fn outcome(&self, before: Option<&Contents>, version: u64) -> Option<Contents> {
        let mut after = before.cloned().unwrap_or_default();
        match self {
            Self::Drop => return None,
            Self::Create | Self::Flush | Self::Optimize => {}
            Self::Upsert(id) => drop(after.insert(*id, version)),
            Self::Delete(id) => drop(after.remove(id)),
            Self::Batch(changes) => {
                for (id, keep) in changes {
                    match keep {
                        true => drop(after.insert(*id, version)),
                        false => drop(after.remove(id)),
                    }
                }
            }
            Self::Ingest(ids) => after.extend(ids.iter().map(|id| (*id, version))),
        }
        Some(after)
    }

    /// Whether it is durable on return under every setting, with everything before it in its collection.
    pub fn is_always_durable(&self) -> bool {
        matches!(
            self,
            Self::Create | Self::Drop | Self::Ingest(_) | Self::Flush | Self::Optimize
        )
    }

    /// Does it.
    pub fn run(&self, database: &Database, collection: &str, version: u64) -> Result<(), Error> {
        let open = || database.collection(collection);
        match self {
            Self::Create => database.create_collection(collection, schema()).map(drop),
            Self::Drop => database.drop_collection(collection),
            Self::Upsert(id) => open()?.upsert(document(*id, version)),
            Self::Delete(id) => open()?.delete(*id),
            Self::Batch(changes) => {
                let collection = open()?;
                let mut batch = collection.batch();
                for (id, keep) in changes {
                    batch = match keep {
                        true => batch.upsert(document(*id, version)),
                        false => batch.delete(*id),
                    };
                }
                batch.commit()
            }
            Self::Ingest(ids) => {
                let documents: Vec<Document> = ids.iter().map(|id| document(*id, version)).collect();
                open()?.ingest(documents).run().map(drop)
            }
            Self::Flush => open()?.flush(),
            Self::Optimize => open()?.optimize(|_| ControlFlow::Continue(())).map(drop),
        }
    }

    /// Writes it down before and after it is done; what it refused is not acknowledged.
    pub fn run_and_note(
        &self,
        database: &Database,
        collection: &str,
        version: u64,
        ledger: &Mutex<Ledger>,
        durable: bool,
    ) -> Result<(), Error> {
        let hold = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.outcome(hold().current(collection), version);
        hold().begin(collection, outcome);
        let done = self.run(database, collection, version);
        match &done {
            Ok(()) => hold().acknowledge(durable || self.is_always_durable()),
            Err(_) => hold().refuse(),
        }
        done
    }
}

/// Dense vectors, tokens, a field, and named vectors that some documents have.
pub fn schema() -> SchemaBuilder {
    SchemaBuilder::new()
        .dense(4, Metric::L2)
        .dense_codec(DenseCodec::F32)
        .vector_as("title", 3, Metric::InnerProduct, DenseCodec::F32)
        .sparse("words")
        .tokens(8, 2)
        .field("version", FieldType::Int)
}

/// A document whose every part tells its id and version.
pub fn document(id: u64, version: u64) -> Document {
    let row = |hot: u64| (0..8).map(|i| if i == hot % 8 { 1.0 } else { 0.0 }).collect();
    let tokens: Vec<Vec<f32>> = (0..1 + id % 3).map(|token| row(id + token)).collect();
    let filler = "Rings are counted from the bark inwards. ".repeat((id % 40) as usize);
    let whole = Document::new(id)
        .text(format!("{version} of {id}. {filler}"))
        .field("version", version)
        .dense(vec![id as f32, (version % 4096) as f32, 0.0, 1.0])
        .tokens(tokens);
    let (number, share) = (id as u32, (version % 8) as f32);
    match id % 3 {
        0 => whole,
        1 => whole.vector("title", vec![id as f32, share, 1.0]),
        _ => whole.vector("title", vec![share, id as f32, 1.0]).sparse(
            "words",
            vec![number, 1_000 + number],
            vec![1.0, 0.5 + share],
        ),
    }
}

/// Everything in a database, read whole and searched; an error says what is not of one piece.
pub fn read_all(database: &Database) -> Result<Collections, String> {
    let found = list_all(database)?;
    for (name, contents) in &found {
        let hit = database
            .collection(name)
            .and_then(|collection| nearest(&collection, contents));
        if let Some(wrong) = hit.map_err(|error| format!("{name}: {error}"))? {
            return Err(format!("{name}: {wrong}"));
        }
    }
    Ok(found)
}

/// Everything in a database, read whole. Unlike a search this does not open the catalog.
pub fn list_all(database: &Database) -> Result<Collections, String> {
    let names = database.collections().map_err(|error| error.to_string())?;
    names
        .into_iter()
        .map(|name| {
            let collection = database
                .collection(&name)
                .map_err(|error| format!("{name}: {error}"))?;
            let contents = read(&collection).map_err(|error| format!("{name}: {error}"))?;
            Ok((name, contents))
        })
        .collect()
}

fn read(collection: &Collection) -> Result<Contents, String> {
    let mut found = Contents::new();
    for read in collection.documents().map_err(|error| error.to_string())? {
        let read = read.map_err(|error| error.to_string())?;
        let DocumentId::U64(id) = read.id else {
            return Err(format!("id {} was never written", read.id));
        };
        let Some(version) = read.payload["version"].as_u64() else {
            return Err(format!("document {id} has the payload {}", read.payload));
        };
        let expected = document(id, version);
        let tokens = |document: &Document| document.tokens.as_ref().map_or(0, |rows| rows.to_rows().len());
        if (&read.text, &read.dense, &read.vectors) != (&expected.text, &expected.dense, &expected.vectors)
            || tokens(&read) != tokens(&expected)
        {
            return Err(format!("document {id} is not of one piece: {read:?}"));
        }
        if found.insert(id, version).is_some() {
            return Err(format!("document {id} is there twice"));
        }
    }
    let count = collection.count(None).map_err(|error| error.to_string())?;
    if count != found.len() as u64 {
        return Err(format!("{count} documents are counted, {} found", found.len()));
    }
    for (id, version) in &found {
        match collection.get(*id) {
            Ok(Some(read)) if read.payload["version"] == *version => {}
            other => return Err(format!("document {id} is listed, and got as {other:?}")),
        }
    }
    Ok(found)
}

/// Searches for one of the documents; what is wrong with the answer.
fn nearest(collection: &Collection, found: &Contents) -> Result<Option<String>, Error> {
    let Some((id, version)) = found.iter().max_by_key(|(_, version)| **version) else {
        return Ok(None);
    };
    let dense = document(*id, *version).dense.unwrap_or_default();
    let hits = collection.query().dense(dense).limit(1).run()?;
    let right = hits.first().is_some_and(|hit| hit.id == (*id).into());
    Ok((!right).then(|| format!("document {id} is there, and is not found by its vector")))
}
