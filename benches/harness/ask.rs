//! Token queries through the public API, on several collections in turn, so that what disturbs one disturbs all.

use std::time::Instant;

use latewood::{
    Collection, Document, DocumentId, Error, Filter, PlanName, QueryTokens, TokenMatrix, TokenRows,
};

use crate::Failure;
use crate::dataset::Dataset;
use crate::times::Times;

/// Queries that run before the first that is timed.
const WARM_UP: usize = 5;

/// How queries are asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Hits of a query.
    pub k: usize,
    /// The recall that is asked; none for the default.
    pub recall: Option<f64>,
}

/// What the queries found and took.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Ids of the hits of each query, best first.
    pub found: Vec<Vec<u32>>,
    /// Of each query.
    pub times: Times,
}

/// Token matrices as queries, from rows of `dim` numbers.
#[must_use]
pub fn queries(rows: &[Vec<f32>], dim: usize) -> Vec<QueryTokens> {
    let matrix = |query: &Vec<f32>| -> Vec<Vec<f32>> { query.chunks(dim).map(<[f32]>::to_vec).collect() };
    rows.iter().map(|query| matrix(query).into()).collect()
}

/// One query: its hits by number, and its milliseconds.
///
/// # Errors
/// What the query says; ids that are no numbers.
pub fn one(
    collection: &Collection,
    query: &QueryTokens,
    ask: Ask,
    filter: Option<&Filter>,
) -> Result<(Vec<u32>, f64), Failure> {
    let mut asked = collection
        .query()
        .tokens(query.clone())
        .plan(PlanName::MAXSIM)
        .limit(ask.k)
        .with_payload(false);
    if let Some(recall) = ask.recall {
        asked = asked.recall(recall);
    }
    if let Some(filter) = filter {
        asked = asked.filter(filter.clone());
    }
    let begun = Instant::now();
    let hits = asked.run()?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    let numbers: Result<Vec<u32>, Failure> = hits.iter().map(|hit| number_of(&hit.id)).collect();
    Ok((numbers?, milliseconds))
}

/// Every query on each of the collections in turn; `filters` has one for each query, or none.
///
/// # Errors
/// As [`one`].
pub fn all(
    collections: &[&Collection],
    queries: &[QueryTokens],
    ask: Ask,
    filters: &[Filter],
) -> Result<Vec<Answers>, Failure> {
    let mut found = vec![Vec::with_capacity(queries.len()); collections.len()];
    let mut times = vec![Vec::with_capacity(queries.len()); collections.len()];
    for (at, query) in queries.iter().enumerate().take(WARM_UP) {
        for collection in collections {
            one(collection, query, ask, filters.get(at))?;
        }
    }
    for (at, query) in queries.iter().enumerate() {
        for (place, collection) in collections.iter().enumerate() {
            let (hits, milliseconds) = one(collection, query, ask, filters.get(at))?;
            found[place].push(hits);
            times[place].push(milliseconds);
        }
    }
    let answers = found.into_iter().zip(times).map(|(found, times)| Answers {
        found,
        times: Times::new(times),
    });
    Ok(answers.collect())
}

/// The number that is a document's id.
///
/// # Errors
/// An id of another kind.
pub fn number_of(id: &DocumentId) -> Result<u32, Failure> {
    match id {
        DocumentId::U64(number) => Ok(u32::try_from(*number)?),
        DocumentId::Str(id) => {
            Err(format!("a document {id:?}: expected the numbers of a collection made here").into())
        }
    }
}

/// The matrices of the documents of a folder of embeddings, in order.
///
/// # Errors
/// As [`Dataset::documents_to_ingest`](crate::dataset::Dataset::documents_to_ingest); a document without tokens.
pub fn matrices(data: &Dataset) -> Result<Vec<TokenMatrix>, Failure> {
    let tokens = |document: Result<Document, Error>| match document?.tokens {
        Some(TokenRows::Matrix(matrix)) => Ok(matrix),
        _ => Err("expected a token matrix for each document".into()),
    };
    data.documents_to_ingest()?.map(tokens).collect()
}
