//! What a named plan needs.

use super::Planner;
use crate::error::QueryError;
use crate::plan::{Leg, PlanName};

impl Planner<'_> {
    /// What a named plan needs and does not have.
    pub(super) fn check_needs(&self, name: &PlanName) -> Result<(), QueryError> {
        let (request, statistics) = (self.case.request, self.case.statistics);
        let missing = |needs, cure| {
            Err(QueryError::PlanNeeds {
                plan: name.to_string(),
                needs,
                cure,
            })
        };
        for leg in name.legs() {
            let Some(field) = leg.field() else { continue };
            let known = match leg {
                Leg::Sparse(_) => statistics.sparse.contains_key(field),
                _ => statistics.vectors.contains_key(field),
            };
            if !known {
                let dense = statistics.vectors.keys().map(|name| format!("dense:{name}"));
                let sparse = statistics.sparse.keys().map(|name| format!("sparse:{name}"));
                let known: Vec<String> = dense.chain(sparse).collect();
                return Err(QueryError::UnknownVector {
                    name: field.to_owned(),
                    known: if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    },
                });
            }
            if !request.vectors.contains_key(field) {
                return missing(
                    "a query vector for each field that it names",
                    "give it by the field's name",
                );
            }
        }
        if name.uses_words() && statistics.lexical.is_none() {
            return missing(
                "a lexical index",
                "the collection has none, and one is chosen when a collection is created: ask for another plan",
            );
        }
        if name.uses_words() && request.lexical.is_none() && request.text.is_none() {
            return missing("words to look for", "give a text or a lexical query");
        }
        if name.uses_dense() && statistics.dense.is_none() {
            return missing("a dense field", "the collection has none: ask for maxsim or auto");
        }
        if name.uses_tokens() && statistics.tokens.is_none() {
            return missing(
                "a token-matrix field",
                "the collection has none: ask for dense or auto",
            );
        }
        if name.uses_dense() && request.dense.is_none() {
            return missing(
                "a dense query vector",
                "give one, or a text to a collection with an encoder",
            );
        }
        if name.uses_tokens() && request.tokens.is_none() {
            return missing(
                "a query token matrix",
                "give one, or a text to a collection with an encoder",
            );
        }
        if name.reranks() && !statistics.reranker {
            return missing(
                "a reranker",
                "open the collection with one, or ask for a plan without rerank",
            );
        }
        if name.reranks() && request.text.is_none() {
            return missing(
                "the query's text",
                "give the text beside the vectors, for the cross-encoder to read",
            );
        }
        if name.reranks() && !statistics.text && statistics.documents > 0 {
            return missing(
                "documents with a text",
                "store their texts, or ask for a plan without rerank",
            );
        }
        Ok(())
    }
}
