//! The tokens that a codebook is trained on: drawn by chance, and read where they are stored.

use std::sync::{Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use latewood_codecs::{OriginalRows, ResidualCodec, TokenMatrix};

use super::options::{ProgressFn, Stage, report};
use super::random::SplitMix64;
use super::tokens::TokensView;
use super::train::{AwaitedTokens, TrainingSet};
use super::view::SegmentView;
use crate::document::Record;
use crate::error::{Result, StorageError};
use crate::schema::TokensSpec;
use crate::wire::to_u32;

/// Most tokens that the quantizer is fitted to.
const MOST_HELD_OUT: usize = 50_000;
/// Passages between two reports of progress.
const PASSAGES: usize = 4096;
/// Tokens, each from another place of its file, between two looks at how much memory they have brought in.
const TOKENS: usize = 16;
/// Where raw tokens wait beside coded ones, the codebook in use did not fit them: no more than so many coded passages are
/// drawn for each raw one, so that the next codebook does.
const CODED_PER_RAW: usize = 3;

/// The tokens of a segment.
struct Source<'a> {
    coded: bool,
    tokens: TokensView<'a>,
    original: Option<OriginalRows<'a>>,
}

/// A live document with tokens.
#[derive(Clone, Copy)]
enum Passage<'a> {
    Stored { source: usize, ordinal: u32 },
    Fresh(&'a Record),
    Awaited(u32),
}

/// A token of the sample: its passage, its place in it, and its own place in an order that is left to chance.
#[derive(Clone, Copy)]
struct Token {
    passage: u32,
    token: u32,
    rank: u32,
}

/// The place of a token of the sample, in the order of the collection.
pub(super) type Drawn = u32;

/// The tokens to learn from. Of them the first in the order of chance are held out.
pub(super) struct Sample<'a> {
    dim: usize,
    views: &'a [SegmentView],
    sources: Vec<Source<'a>>,
    passages: Vec<Passage<'a>>,
    awaited: Option<&'a AwaitedTokens<'a>>,
    /// The first token that could not be read.
    fault: Mutex<Option<StorageError>>,
    /// In the order of the collection.
    drawn: Vec<Token>,
    held_out: usize,
    /// Centroids that the collection should have.
    pub(super) centroids: usize,
    /// Tokens of the collection, those that are awaited included.
    pub(super) collection_tokens: u64,
}

impl<'a> Sample<'a> {
    /// Draws `each` tokens a centroid, and those to be held out, from passages that are drawn by the reference's formula.
    pub(super) fn draw(
        spec: &TokensSpec,
        set: &TrainingSet<'a>,
        each: usize,
        random: &mut SplitMix64,
        progress: &ProgressFn<'_>,
    ) -> Result<Self> {
        let mut sample = Self {
            dim: spec.dim,
            views: set.segments,
            sources: Vec::new(),
            passages: Vec::new(),
            awaited: set.awaited,
            fault: Mutex::default(),
            drawn: Vec::new(),
            held_out: 0,
            centroids: 0,
            collection_tokens: 0,
        };
        let lengths = sample.find_passages(set)?;
        sample.collection_tokens = lengths.iter().map(|&length| length as u64).sum();
        let passages = sample.favour_raw(random);
        let wanted = ResidualCodec::sample_passages(passages.len() as u64);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let chosen = choose(passages.len(), wanted, random).into_iter();
        let chosen: Vec<usize> = chosen.filter_map(|at| passages.get(at).copied()).collect();
        let length_of = |passage: &usize| lengths.get(*passage).copied().unwrap_or(0);
        let tokens: usize = chosen.iter().map(length_of).sum();
        if tokens == 0 {
            return Err(StorageError::InvalidOption {
                name: "codebook",
                expected: "at least one live document with tokens to learn from".to_owned(),
                got: format!("{} documents", lengths.len()),
            });
        }
        // The reference estimates the collection's tokens from the sample's documents; here they are known.
        sample.centroids = ResidualCodec::num_centroids(sample.collection_tokens);
        sample.held_out = (tokens / 20).min(MOST_HELD_OUT);
        let most = sample.centroids.saturating_mul(each);
        let picked = choose(tokens, sample.held_out.saturating_add(most), random);
        let mut ranks: Vec<u32> = (0..to_u32(picked.len())?).collect();
        random.shuffle(&mut ranks);
        sample.drawn.reserve_exact(picked.len());
        let mut picked = picked.into_iter().zip(ranks).peekable();
        let mut first = 0;
        for (done, passage) in chosen.iter().enumerate() {
            let past = first + length_of(passage);
            while let Some((token, rank)) = picked.next_if(|(token, _)| *token < past) {
                sample.drawn.push(Token {
                    passage: to_u32(*passage)?,
                    token: to_u32(token - first)?,
                    rank,
                });
            }
            first = past;
            if done % PASSAGES == 0 || done + 1 == chosen.len() {
                report(progress, Stage::Sample, done + 1, chosen.len())?;
            }
        }
        Ok(sample)
    }

    /// Fills in sources and passages: live documents with tokens. Returns the number of tokens of each.
    fn find_passages(&mut self, set: &TrainingSet<'a>) -> Result<Vec<usize>> {
        let mut lengths = Vec::new();
        for view in set.segments {
            let Some(tokens) = view.segment.tokens()? else {
                continue;
            };
            let original = view.segment.original()?;
            let source = self.sources.len();
            for ordinal in view.live_runs().into_iter().flatten() {
                self.passages.push(Passage::Stored { source, ordinal });
                lengths.push(tokens.range(ordinal).len());
            }
            let coded = view.segment.codebook_id().is_some();
            self.sources.push(Source {
                coded,
                tokens,
                original,
            });
        }
        for record in set.records {
            if let Some(tokens) = &record.tokens {
                self.passages.push(Passage::Fresh(record));
                lengths.push(tokens.len());
            }
        }
        for (document, &length) in (0..).zip(set.awaited.map_or(&[][..], |awaited| awaited.lengths)) {
            self.passages.push(Passage::Awaited(document));
            lengths.push(length as usize);
        }
        Ok(lengths)
    }

    /// The passages to draw from: all of them, or fewer of those that are coded, each as likely, where these are far more
    /// than the raw ones.
    fn favour_raw(&self, random: &mut SplitMix64) -> Vec<usize> {
        let is_coded = |passage: &Passage<'_>| match passage {
            Passage::Stored { source, .. } => self.sources.get(*source).is_some_and(|source| source.coded),
            Passage::Fresh(_) | Passage::Awaited(_) => false,
        };
        let all = || self.passages.iter().enumerate();
        let coded: Vec<usize> = all()
            .filter(|(_, passage)| is_coded(passage))
            .map(|(at, _)| at)
            .collect();
        let most = CODED_PER_RAW.saturating_mul(self.passages.len() - coded.len());
        if most == 0 || coded.len() <= most {
            return (0..self.passages.len()).collect();
        }
        let kept = choose(coded.len(), most, random).into_iter();
        let raw = all().filter(|(_, passage)| !is_coded(passage)).map(|(at, _)| at);
        let mut passages: Vec<usize> = kept.filter_map(|at| coded.get(at).copied()).chain(raw).collect();
        passages.sort_unstable();
        passages
    }

    /// Numbers a token.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Number of tokens to train on.
    pub(super) fn rows(&self) -> usize {
        self.drawn.len() - self.held_out
    }

    /// So many of the tokens to train on, chosen by chance, the same ones first at every call.
    pub(super) fn first(&self, rows: usize) -> Vec<Drawn> {
        self.ranked(self.held_out..self.held_out.saturating_add(rows))
    }

    /// The tokens held out; of a sample too small for that all of them.
    pub(super) fn held_out(&self) -> Vec<Drawn> {
        if self.held_out == 0 {
            return self.ranked(0..self.drawn.len());
        }
        self.ranked(0..self.held_out)
    }

    fn ranked(&self, ranks: std::ops::Range<usize>) -> Vec<Drawn> {
        let places = (0..).zip(&self.drawn);
        let is_in = |(_, token): &(Drawn, &Token)| ranks.contains(&(token.rank as usize));
        places.filter(is_in).map(|(place, _)| place).collect()
    }

    /// Reads tokens, row after row.
    pub(super) fn read(&self, tokens: &[Drawn]) -> Vec<f32> {
        let mut values = vec![0.0; tokens.len() * self.dim];
        for (at, (token, out)) in tokens.iter().zip(values.chunks_exact_mut(self.dim)).enumerate() {
            self.read_one(*token, out);
            if at % TOKENS == 0
                && let Some(view) = self.views.first()
            {
                view.segment.relieve();
            }
        }
        values
    }

    /// Reads a token to a slice of exactly its numbers.
    pub(super) fn read_one(&self, place: Drawn, out: &mut [f32]) {
        let Some(token) = self.drawn.get(place as usize) else {
            return;
        };
        match self.passages.get(token.passage as usize) {
            Some(Passage::Stored { source, ordinal }) => {
                if let Some(Source { tokens, original, .. }) = self.sources.get(*source) {
                    let at = tokens.range(*ordinal).start + token.token as usize;
                    match original {
                        Some(original) => original.decode(at, out),
                        None => tokens.decode(at, out),
                    }
                }
            }
            Some(Passage::Fresh(record)) => {
                let rows = record.tokens.iter().flat_map(|tokens| tokens.as_f16());
                let row = rows.skip(token.token as usize * self.dim);
                out.iter_mut().zip(row).for_each(|(to, from)| *to = from.to_f32());
            }
            Some(Passage::Awaited(document)) => {
                self.read_awaited(*document as usize, token.token as usize, out)
            }
            None => {}
        }
    }

    /// Reads a token as it will be stored. What cannot be read is left zero, and so is what cannot be stored: the load says which
    /// document it is.
    fn read_awaited(&self, document: usize, token: usize, out: &mut [f32]) {
        let Some(awaited) = self.awaited else {
            return;
        };
        if let Err(error) = (awaited.read)(document, token, out) {
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| StorageError::io("read a sample of", awaited.path, error));
        }
        match TokenMatrix::from_f32(self.dim, out) {
            Ok(stored) => stored.as_f16().convert_to_f32_slice(out),
            Err(_) => out.fill(0.0),
        }
    }

    /// The first token that could not be read, if there was one.
    pub(super) fn fault(&self) -> Result<()> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.take().map_or(Ok(()), Err)
    }
}

/// `wanted` of the numbers below `of`, ascending, each equally likely: Knuth's selection sampling (TAOCP 2, 3.4.2 S).
fn choose(of: usize, wanted: usize, random: &mut SplitMix64) -> Vec<usize> {
    let wanted = wanted.min(of);
    let mut chosen = Vec::with_capacity(wanted);
    for number in 0..of {
        if chosen.len() == wanted {
            break;
        }
        if random.below((of - number) as u64) < (wanted - chosen.len()) as u64 {
            chosen.push(number);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{SplitMix64, choose};

    #[test]
    fn every_number_is_chosen_about_as_often() {
        let mut random = SplitMix64::new(3);
        let mut times = [0u32; 10];
        for _ in 0..10_000 {
            let chosen = choose(10, 3, &mut random);
            assert_eq!(chosen.len(), 3);
            assert!(chosen.is_sorted_by(|a, b| a < b));
            chosen.into_iter().for_each(|n| times[n] += 1);
        }
        assert!(times.iter().all(|&t| (2700..3300).contains(&t)), "{times:?}");
        assert_eq!(choose(4, 9, &mut random), [0, 1, 2, 3]);
    }
}
