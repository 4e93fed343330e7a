//! Many documents: read, encoded and written at once, in bounded memory.

mod pipeline;
mod position;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use position::Position;

use crate::cancel::CancelToken;
use crate::collection::{Collection, OptimizeProgress};
use crate::document::Document;
use crate::error::Error;
use crate::import::TokenFile;

type Documents<'a> = Box<dyn Iterator<Item = Result<Document, Error>> + Send + 'a>;
type OnProgress<'a> = Box<dyn FnMut(&IngestProgress) + 'a>;
type OnOptimize<'a> = Box<dyn Fn(&OptimizeProgress) + Sync + 'a>;

/// An ingest under construction.
///
/// Documents are written in chunks, each durable and searchable as a whole. An error or a cancellation stops the ingest
/// between two chunks, and what was written is kept.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # use latewood::{Database, import};
/// # let collection = Database::open("db")?.collection("notes")?;
/// let report = collection
///     .try_ingest(import::JsonLines::open("notes.jsonl")?)
///     .resume(import::fingerprint(&["notes.jsonl"])?)
///     .on_progress(|p| println!("{} documents", p.documents))
///     .run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is written before run()"]
pub struct Ingest<'a> {
    collection: &'a Collection,
    documents: Documents<'a>,
    encode_batch: usize,
    resume: Option<String>,
    on_progress: Option<OnProgress<'a>>,
    on_optimize: Option<OnOptimize<'a>>,
    cancel: CancelToken,
    optimize: bool,
    awaited: Option<TokenFile>,
}

/// How far an ingest is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IngestProgress {
    /// Documents read and encoded, the skipped ones included.
    pub documents: u64,
    /// Tokens of those that have a token matrix, the skipped ones not included.
    pub tokens: u64,
    /// Documents that an earlier, interrupted ingest of the same input had written.
    pub skipped: u64,
    /// Documents that are durable and searchable, the skipped ones included.
    pub written: u64,
    /// Time since the start.
    pub elapsed: Duration,
}

/// What an ingest did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Documents written.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Documents that an earlier, interrupted ingest of the same input had written.
    pub skipped: u64,
    /// Time until everything was written, with that of a codebook that was trained before.
    pub ingest: Duration,
    /// Time of the optimize after it.
    pub optimize: Duration,
}

impl<'a> Ingest<'a> {
    pub(crate) fn new(
        collection: &'a Collection,
        documents: impl Iterator<Item = Result<Document, Error>> + Send + 'a,
    ) -> Self {
        const ENCODE_BATCH: usize = 512;
        Self {
            collection,
            documents: Box::new(documents),
            encode_batch: ENCODE_BATCH,
            resume: None,
            on_progress: None,
            on_optimize: None,
            cancel: CancelToken::new(),
            optimize: false,
            awaited: None,
        }
    }

    /// The tokens of the documents, to train a codebook on where there is none.
    pub(crate) fn train_on(mut self, tokens: Option<TokenFile>) -> Self {
        self.awaited = tokens;
        self
    }

    /// Documents that the encoder gets at once, and sorts by length. Default: 512.
    pub fn encode_batch(mut self, documents: usize) -> Self {
        self.encode_batch = documents.max(1);
        self
    }

    /// Goes on where an earlier ingest of the same input was interrupted. `input` identifies it, as
    /// [`fingerprint`](crate::import::fingerprint) does; its documents must come in the same order again.
    pub fn resume(mut self, input: impl Into<String>) -> Self {
        self.resume = Some(input.into());
        self
    }

    /// Is called on the calling thread after every batch.
    pub fn on_progress(mut self, progress: impl FnMut(&IngestProgress) + 'a) -> Self {
        self.on_progress = Some(Box::new(progress));
        self
    }

    /// Is called while a codebook is trained before the ingest, and while the collection is optimized after it.
    pub fn on_optimize(mut self, progress: impl Fn(&OptimizeProgress) + Sync + 'a) -> Self {
        self.on_optimize = Some(Box::new(progress));
        self
    }

    /// Stops when the token is cancelled.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Whether the collection is optimized when everything is written. Default: no.
    pub fn optimize(mut self, optimize: bool) -> Self {
        self.optimize = optimize;
        self
    }

    /// Runs the ingest.
    pub fn run(mut self) -> Result<IngestReport, Error> {
        let begun = Instant::now();
        let position = match &self.resume {
            Some(input) => Position::find(self.collection, input)?,
            None => Position::default(),
        };
        let mut report = IngestReport {
            skipped: position.documents,
            ..IngestReport::default()
        };
        if !position.complete {
            self.train()?;
            pipeline::run(&mut self, position, begun, &mut report)?;
        }
        report.ingest = begun.elapsed();
        if self.optimize {
            self.collection.optimize(|progress| self.tell(progress))?;
            report.optimize = begun.elapsed() - report.ingest;
        }
        if let Some(input) = &self.resume {
            Position::forget(self.collection, input)?;
        }
        Ok(report)
    }
}

impl Ingest<'_> {
    /// Trains the codebook that the documents are to be coded with, where that can be done before they are written.
    fn train(&self) -> Result<(), Error> {
        let (store, Some(awaited)) = (&self.collection.store, &self.awaited) else {
            return Ok(());
        };
        // What does not fit the schema is refused by the load, which says which document it is.
        let fits = store
            .schema()
            .tokens
            .as_ref()
            .is_some_and(|spec| spec.dim == awaited.dim());
        if fits && store.should_train_for(awaited.tokens()) {
            awaited.with_tokens(|tokens| store.train_for(tokens, &|step| self.tell(&step.into())))?;
        }
        Ok(())
    }

    fn tell(&self, progress: &OptimizeProgress) -> ControlFlow<()> {
        if let Some(callback) = &self.on_optimize {
            callback(progress);
        }
        if self.cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl std::fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("collection", &self.collection.name())
            .finish_non_exhaustive()
    }
}
