//! The queries that `latewood recall` and `latewood tune` measure late interaction with.

use super::args::MeasuredQueriesArgs;
use super::matrices::read_matrices;
use super::output::Failure;
use crate::import::{NpyReader, read_queries};
use crate::{Collection, QueryTokens};

/// The queries of the file that was named, if one was; an error where the collection has no token matrices.
pub(super) fn given(
    args: &MeasuredQueriesArgs,
    collection: &Collection,
) -> Result<Option<Vec<QueryTokens>>, Failure> {
    if collection.schema().tokens.is_none() {
        return Err(Failure::Said(
            format!("the collection {} has no token matrices", collection.name()),
            "recall is measured for late interaction: give a collection with --multi or a ColBERT encoder",
        ));
    }
    let Some(path) = &args.queries else {
        return Ok(None);
    };
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut queries: Vec<QueryTokens> = Vec::new();
    if path.extension().is_some_and(|extension| extension == "npy") {
        let matrices = read_matrices(path, args.querylens.as_deref())?;
        queries.extend(matrices.into_iter().take(limit).map(QueryTokens::from));
    } else {
        let encoder = collection.encoder()?;
        for query in read_queries(path)?.into_iter().take(limit) {
            queries.extend(encoder.encode_query(&query.text)?.tokens.map(QueryTokens::from));
        }
    }
    Ok(Some(queries))
}

/// The dense vectors of the queries of the file that was named, if one was; an error where the collection has none.
pub(super) fn given_dense(
    args: &MeasuredQueriesArgs,
    collection: &Collection,
) -> Result<Option<Vec<Vec<f32>>>, Failure> {
    if collection.schema().dense.is_none() {
        return Err(Failure::Said(
            format!("the collection {} has no dense vectors", collection.name()),
            "leave --dense out to measure late interaction",
        ));
    }
    let Some(path) = &args.queries else {
        return Ok(None);
    };
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut queries: Vec<Vec<f32>> = Vec::new();
    if path.extension().is_some_and(|extension| extension == "npy") {
        let mut reader = NpyReader::open(path)?;
        while reader.remaining() > 0 && queries.len() < limit {
            let mut vector = Vec::with_capacity(reader.row_len());
            reader.read_f32(1, &mut vector)?;
            queries.push(vector);
        }
    } else {
        let encoder = collection.encoder()?;
        for query in read_queries(path)?.into_iter().take(limit) {
            queries.extend(encoder.encode_query(&query.text)?.dense);
        }
    }
    Ok(Some(queries))
}

/// What is said where there are no queries.
pub(super) fn none() -> Failure {
    Failure::Said(
        "there is no query to measure with".to_owned(),
        "give a file with queries, or ingest documents for queries to be made of",
    )
}
