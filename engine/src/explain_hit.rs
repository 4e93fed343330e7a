//! Why a document is where it is among the hits of a query.

use std::time::Instant;

use latewood_query::{HitPath, Position, Resources};
use latewood_storage::{DocumentId, Place, Snapshot};
use serde::Serialize;

use crate::collection::text_at;
use crate::error::Error;
use crate::search::tables::Tables;
use crate::search::{Prepared, Query};
use crate::telemetry;

/// One document's way through a query.
#[derive(Clone, Debug, Serialize)]
pub struct HitExplanation {
    /// The document.
    pub id: DocumentId,
    /// Plan, ranks and scores by stage, and which token of the query matched which of the document.
    #[serde(flatten)]
    pub path: HitPath,
    /// The query's tokens in the order of its matrix, where the encoder knows them.
    pub query_tokens: Option<Vec<String>>,
    /// The document's tokens in the order of its matrix, where the encoder knows them: not of pooled tokens, nor of a document
    /// that came with a matrix of its own size.
    pub document_tokens: Option<Vec<String>>,
}

impl Query<'_> {
    /// Runs the query and follows one document through it: its rank and score when each stage ended, whether it is among the hits
    /// or not, and the document's token that each token of the query matched. Where the plan scores by late
    /// interaction, the matches' scores sum to the MaxSim score. Groups, diversity and `order_by` are left out.
    ///
    /// # Errors
    /// As [`Query::run`], and an id that no document has.
    pub fn explain_hit(self, id: impl Into<DocumentId>) -> Result<HitExplanation, Error> {
        let id = id.into();
        let (collection, begun) = (self.collection, Instant::now());
        let _span = telemetry::Around::begin(telemetry::Work::ExplainHit, collection.name());
        let Prepared {
            snapshot,
            request,
            reranker,
            ..
        } = self.prepare()?;
        let Some(position) = position(&snapshot, &id)? else {
            let collection = collection.name().to_owned();
            return Err(Error::NoDocument { collection, id });
        };
        let tables = Tables::of(collection);
        let resources = Resources {
            pool: collection.shared.threads.pool()?,
            ..tables.resources(reranker.as_deref(), begun.elapsed())
        };
        let cost = collection.cost_model();
        let path = latewood_query::explain_hit(&snapshot, &request, &cost, resources, position)?;
        let (mut query_tokens, mut document_tokens) = (None, None);
        if let (Some(alignment), true) = (&path.alignment, snapshot.schema().encoder.is_some()) {
            let encoder = collection.encoder()?;
            let text = text_at(&snapshot, position)?;
            query_tokens = request.text.and_then(|text| encoder.query_tokens(&text));
            document_tokens = text.and_then(|text| encoder.document_tokens(&text));
            // What does not count as many is of other vectors than those that were scored.
            query_tokens = query_tokens.filter(|names| names.len() == alignment.matches.len());
            document_tokens = document_tokens.filter(|names| names.len() == alignment.document_tokens);
        }
        Ok(HitExplanation {
            id,
            path,
            query_tokens,
            document_tokens,
        })
    }
}

fn position(snapshot: &Snapshot, id: &DocumentId) -> Result<Option<Position>, Error> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(snapshot.find(id)?.map(|place| match place {
        Place::Memtable { slot } => Position {
            segment: number(snapshot.segments().len()),
            ordinal: slot,
        },
        Place::Segment { segment, ordinal } => Position {
            segment: number(segment),
            ordinal,
        },
    }))
}
