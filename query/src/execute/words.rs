//! Stages that search by words, and that make one ranking of several.

use latewood_storage::VectorValue;

use super::Run;
use crate::error::QueryError;
use crate::fusion::Fusion;
use crate::lexical;
use crate::plan::Leg;
use crate::profile::StageProfile;
use crate::sparse;
use crate::top_k::Scored;

impl Run<'_> {
    /// The matching documents that have the query's words, the best first.
    pub(super) fn bm25(&mut self, keep: usize) -> Result<Vec<Scored>, QueryError> {
        let Some(words) = self.request.words() else {
            return Err(QueryError::OtherSnapshot { what: "plan" });
        };
        let found = lexical::search(&self.scope(), &words, keep)?;
        let top = found.top.into_sorted();
        self.watch.stage(StageProfile {
            name: "bm25".to_owned(),
            candidates_in: self.matches.count(),
            candidates_out: top.len() as u64,
            // A posting takes about twelve bits.
            bytes: found.scored + found.scored / 2,
            flops: 5 * found.scored,
            work: found.scored,
            note: Some(format!("{} terms, {} postings scored", found.terms, found.scored)),
            ..StageProfile::default()
        });
        Ok(top)
    }

    /// The matching documents that have dimensions of the query's sparse vector, the best first.
    pub(super) fn sparse(&mut self, field: &str, keep: usize) -> Result<Vec<Scored>, QueryError> {
        let Some(VectorValue::Sparse(query)) = self.request.vectors.get(field) else {
            return Err(QueryError::OtherSnapshot { what: "plan" });
        };
        let found = sparse::search(&self.scope(), field, query, keep)?;
        let top = found.top.into_sorted();
        self.watch.stage(StageProfile {
            name: format!("sparse:{field}"),
            candidates_in: self.matches.count(),
            candidates_out: top.len() as u64,
            // A posting takes about fourteen bits; a document that is scored about a hundred entries of five bytes.
            bytes: 2 * found.postings + 500 * found.scored,
            flops: 2 * found.postings,
            work: found.postings,
            note: Some(format!(
                "{} dimensions, {} postings read, {} documents scored exactly",
                query.len(),
                found.postings,
                found.scored
            )),
            ..StageProfile::default()
        });
        Ok(top)
    }

    /// One ranking of the candidates of several searches.
    pub(super) fn fuse(&mut self, fusion: &Fusion, legs: &[(Leg, Vec<Scored>)], keep: usize) -> Vec<Scored> {
        let pairs = |found: &[Scored]| found.iter().map(|s| (s.position, s.score)).collect();
        let pairs: Vec<_> = legs
            .iter()
            .map(|(leg, found)| (leg.clone(), pairs(found)))
            .collect();
        let fused = fusion.fuse(&pairs, keep).into_iter();
        let fused: Vec<Scored> = fused
            .map(|(position, score)| Scored { score, position })
            .collect();
        self.watch.stage(StageProfile {
            name: "fuse".to_owned(),
            candidates_in: legs.iter().map(|(_, found)| found.len() as u64).sum(),
            candidates_out: fused.len() as u64,
            note: Some(fusion.to_string()),
            ..StageProfile::default()
        });
        fused
    }
}
