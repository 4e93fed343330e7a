//! What scoring tokens costs, for profiles.

use latewood_codecs::MaxSimQuery;
use latewood_storage::Snapshot;

use crate::profile::StageProfile;

/// What a token costs in bytes and operations, for profiles.
#[derive(Clone, Copy)]
pub(super) struct Units {
    pub(super) dim: u64,
    pub(super) query_tokens: u64,
    code_bytes: u64,
    best_bytes: u64,
}

impl Units {
    pub(super) fn of(snapshot: &Snapshot, query: &MaxSimQuery) -> Self {
        let dim = query.dim() as u64;
        let (code_bytes, best_bytes) = match &snapshot.schema().tokens {
            Some(spec) => {
                let codes = dim * u64::from(spec.bits) / 8 + 4;
                (
                    codes,
                    spec.original
                        .map_or(codes, |codec| codec.row_bytes(spec.dim) as u64),
                )
            }
            None => (0, 0),
        };
        Self {
            dim,
            query_tokens: query.num_tokens() as u64,
            code_bytes,
            best_bytes,
        }
    }

    pub(super) fn stage(self, name: &str, before: u64, after: usize, tokens: u64) -> StageProfile {
        StageProfile {
            name: name.to_owned(),
            candidates_in: before,
            candidates_out: after as u64,
            flops: 2 * tokens * self.query_tokens * self.dim,
            work: tokens * self.query_tokens,
            ..StageProfile::default()
        }
    }

    pub(super) fn codes(self, name: &str, before: u64, after: usize, tokens: u64) -> StageProfile {
        StageProfile {
            bytes: tokens * self.code_bytes,
            ..self.stage(name, before, after, tokens)
        }
    }

    pub(super) fn best(self, name: &str, before: u64, after: usize, tokens: u64) -> StageProfile {
        StageProfile {
            bytes: tokens * self.best_bytes,
            ..self.stage(name, before, after, tokens)
        }
    }

    pub(super) fn interaction(self, before: u64, after: usize, tokens: u64) -> StageProfile {
        let stage = self.stage("maxsim index: interaction", before, after, tokens);
        StageProfile {
            bytes: tokens * 2,
            flops: tokens * self.query_tokens,
            ..stage
        }
    }
}
