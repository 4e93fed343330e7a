//! Whether more residual bits than 1 pay, by how each width would rank.

use latewood_codecs::{MaxSimQuery, OriginalCodec};
use latewood_storage::StorageError;
use serde::Serialize;

use super::Collection;
use super::advise::{AdviseOptions, Answer};
use super::advise_originals::{Originals, Stop, whole};
use super::advise_pool::Pool;
use super::advise_settings::{Settings, mean};
use super::advise_storage::StorageBill;
use super::advise_widths::{BITS, Scores, WIDTHS, score};
use crate::error::Error;
use crate::evaluation::{Judged, Judgments, Measures, Paired, Table, Verdict, judge};

/// What was measured of the residual bits of token codes.
#[derive(Clone, Debug, Serialize)]
pub struct Widths {
    /// Whether to use more than 1 bit: `Use` names the cheapest width that gains enough over 1 bit
    /// ([`Widths::used`]), `Skip` says that 1 bit does, `Inconclusive` how many judged queries would tell. Its
    /// option counts in [`Widths::widths`] after the first.
    #[serde(flatten)]
    pub judged: Judged,
    /// Codes of 1, 2 and 4 bits, and whole tokens; cheapest first. The first is the baseline.
    pub widths: Vec<Width>,
    /// Queries that were measured.
    pub queries: usize,
    /// Documents of each query's late interaction search that were ranked anew, beside all that are relevant to it.
    pub depth: usize,
    /// Documents that were coded at each width.
    pub documents: usize,
    /// How it was measured.
    pub note: String,
}

/// How token codes of a width rank, and what they take.
#[derive(Clone, Debug, Serialize)]
pub struct Width {
    /// Bits of residual a number.
    pub bits: u8,
    /// The codec of whole tokens, if documents are scored by these; they are kept beside codes.
    pub original: Option<OriginalCodec>,
    /// Whether the collection scores by it as it is.
    pub current: bool,
    /// Mean nDCG@10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Its difference from codes of 1 bit, each query by itself.
    pub gain: Paired,
    /// Its difference from what the collection scores by.
    pub gain_over_current: Paired,
    /// Bytes of a document's tokens: codes, and whole tokens beside them; without posting lists and centroids.
    pub bytes_per_document: f64,
}

impl Answer<Widths> {
    /// The verdict, where there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Measured(widths) => Some(widths.judged.verdict),
            Self::NotMeasured { .. } => None,
        }
    }

    /// As [`Widths::used`], where it was measured.
    #[must_use]
    pub fn used(&self) -> Option<&Width> {
        match self {
            Self::Measured(widths) => widths.used(),
            Self::NotMeasured { .. } => None,
        }
    }
}

impl Widths {
    /// The width that the verdict says to use: the first, 1 bit, where more is to be skipped; none for an inconclusive one.
    #[must_use]
    pub fn used(&self) -> Option<&Width> {
        match self.judged.verdict {
            Verdict::Use { option } => self.widths.get(option + 1),
            Verdict::Skip => self.widths.first(),
            Verdict::Inconclusive { .. } => None,
        }
    }
}

pub(super) fn bits_advice(
    collection: &Collection,
    settings: &Settings,
    judgments: &Judgments,
    options: &AdviseOptions,
    storage: Option<&StorageBill>,
) -> Result<Answer<Widths>, Error> {
    match measured(collection, settings, judgments, options, storage) {
        Ok(widths) => Ok(Answer::Measured(Box::new(widths))),
        Err(Stop::Reason(reason)) => Ok(Answer::NotMeasured { reason }),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn measured(
    collection: &Collection,
    settings: &Settings,
    judgments: &Judgments,
    options: &AdviseOptions,
    storage: Option<&StorageBill>,
) -> Result<Widths, Stop> {
    let reason = |reason: &str| Stop::Reason(reason.to_owned());
    let schema = collection.schema();
    let Some(spec) = &schema.tokens else {
        return Err(reason(
            "the collection has no token matrices: create one with an encoder that gives them",
        ));
    };
    if options.bits_documents == 0 {
        return Err(reason(
            "it was not asked for: no document may be coded at other widths",
        ));
    }
    let snapshot = collection.snapshot()?;
    let pool = Pool::draw(&snapshot, settings, judgments, options.bits_documents)?.ok_or_else(|| {
        reason(
            "the collection has no encoder, and the judged queries are texts: create it with the encoder that made its tokens",
        )
    })?;
    if pool.queries.is_empty() {
        return Err(Stop::Reason(format!(
            "the documents of one query are more than {}: allow for more (--bits-documents)",
            options.bits_documents
        )));
    }
    let Some(codebook) = snapshot.codebook() else {
        return Err(reason(
            "the tokens are not coded yet: latewood optimize, once there are enough of them",
        ));
    };
    let queries = queries(collection, settings, pool.queries.len())?;
    let mut originals = Originals::new(collection, &snapshot)?;
    let threads = collection.shared.threads.pool()?;
    let scores = score(&pool, &queries, codebook, &mut originals, threads)?;
    let table = table(settings, judgments, &pool, &scores);
    let (one, more) = (table[..1].to_vec(), table[1..].to_vec());
    let own = BITS.iter().position(|bits| *bits == spec.bits).unwrap_or(0);
    let current = spec.original.map_or(own, |_| WIDTHS - 1);
    let widths = (0..WIDTHS).map(|at| Width {
        // Whole tokens are kept beside the narrowest codes, which find what they score.
        bits: BITS.get(at).copied().unwrap_or(BITS[0]),
        original: (at >= BITS.len()).then(|| whole(&schema)),
        current: at == current,
        ndcg_at_10: mean(&table[at]),
        gain: paired(&table[at], &table[0], options.seed),
        gain_over_current: paired(&table[at], &table[current], options.seed),
        bytes_per_document: storage.map_or(0.0, |bill| bytes(bill, at, whole(&schema), spec.dim)),
    });
    Ok(Widths {
        judged: judge(&one, |_| &more, options.worth, options.seed),
        widths: widths.collect(),
        queries: pool.queries.len(),
        depth: pool.depth,
        documents: pool.documents.len(),
        note: note(
            &pool,
            settings.answers.len(),
            originals.encoded,
            snapshot.codebooks().len(),
        ),
    })
}

/// The token matrices of the first queries.
fn queries(collection: &Collection, settings: &Settings, count: usize) -> Result<Vec<MaxSimQuery>, Error> {
    let encoder = collection.encoder()?;
    let encode = |text: &str| -> Result<MaxSimQuery, Error> {
        let tokens = encoder.encode_query(text)?.tokens.unwrap_or_default();
        let dim = encoder.token_dim().unwrap_or_default();
        Ok(MaxSimQuery::new(dim, &tokens).map_err(StorageError::from)?)
    };
    settings.answers[..count]
        .iter()
        .map(|answer| encode(&answer.text))
        .collect()
}

/// nDCG@10 of each query: a row a width.
fn table(settings: &Settings, judgments: &Judgments, pool: &Pool, scores: &[Scores]) -> Table {
    let ndcg = |query: usize, width: usize| {
        let mut ranking: Vec<(usize, f32)> = scores[query]
            .iter()
            .zip(&pool.queries[query])
            .filter_map(|(scores, document)| Some((*document, scores.as_ref()?[width])))
            .collect();
        // Of equal scores the one that was ahead stays ahead.
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        let first = ranking.iter().take(10);
        let ids: Vec<String> = first
            .map(|(document, _)| pool.documents[*document].to_string())
            .collect();
        let measures = Measures::of(judgments, &settings.answers[query].query, &ids);
        measures.map_or(0.0, |measures| measures.ndcg_at_10)
    };
    (0..WIDTHS)
        .map(|width| (0..scores.len()).map(|query| ndcg(query, width)).collect())
        .collect()
}

fn paired(row: &[f64], against: &[f64], seed: u64) -> Paired {
    let differences: Vec<f64> = row.iter().zip(against).map(|(a, b)| a - b).collect();
    Paired::of(&differences, seed)
}

fn bytes(bill: &StorageBill, width: usize, original: OriginalCodec, dim: usize) -> f64 {
    let codes = |at: usize| bill.bits.get(at).map_or(0.0, |(_, bytes)| *bytes);
    if width < BITS.len() {
        return codes(width);
    }
    let token = original.row_bytes(dim) + original.row_factors() * size_of::<f32>();
    codes(0) + bill.tokens_per_document * token as f64
}

fn note(pool: &Pool, asked: usize, encoded: usize, codebooks: usize) -> String {
    let mut note = format!(
        "{} documents were coded at each width{}: the first {} of each query's late interaction search and those judged \
         relevant; others count as never found",
        pool.documents.len(),
        if encoded > 0 {
            ", from tokens that their texts were encoded to again"
        } else {
            ""
        },
        pool.depth
    );
    if pool.queries.len() < asked {
        let measured = pool.queries.len();
        note += &format!(
            "; of {asked} queries the first {measured}: more documents were not allowed (--bits-documents)"
        );
    }
    if codebooks > 1 {
        note += &format!("; by the newest of {codebooks} codebooks");
    }
    note
}
