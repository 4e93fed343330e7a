//! Scores from codes for the documents that the centroid interaction put first, as far down as it pays.

use std::cell::RefCell;

use latewood_codecs::Within;

use super::Scope;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::{Scored, TopK, keep_best};

/// What was read.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
    /// Of these, those whose codes were scored, and once more for those of the last few documents.
    pub(crate) scored: u64,
}

/// Documents between two looks at whether to go on; the same on any number of threads, so that the answer is.
const BLOCK: usize = 32;
/// The same among the documents of which all tokens are scored.
const FINAL_BLOCK: usize = 17;
/// Documents that the difference of the two scores is learnt from before it is relied on.
const LEARNT_FROM: u32 = 48;
/// How near the best centroid of a group of query tokens a token's centroid must come for its codes to be read at first, in
/// standard deviations of what residuals add: 4 tokens in 10 of the package descriptions, at a cost of 0.001 of recall@10.
const WITHIN: f32 = 0.8;
/// Where more is wanted than this margin gives, more tokens are read too.
const USUAL_MARGIN: f64 = 4.0;

#[expect(clippy::cast_possible_truncation, reason = "a few units")]
fn within(margin: f64) -> f32 {
    WITHIN * (margin / USUAL_MARGIN).powi(4).max(1.0) as f32
}

/// Scores documents anew from their codes and keeps the best `finalists`. They are looked at best first by their centroid
/// interaction, and first of all over the tokens that are likely to hold a maximum ([`WITHIN`]); once even `margin`
/// standard deviations more than the usual gain would not lift the next one above the `keep`-th best, the rest is left.
/// The best few are then scored over all of their tokens.
pub(crate) fn by_codes(
    scope: &Scope<'_>,
    scorer: &mut TokenScorer<'_>,
    found: &mut Vec<Scored>,
    keep: usize,
    finalists: usize,
    margin: f64,
) -> Read {
    let mut scored = Vec::new();
    let all = std::mem::take(found);
    let mut read = descend(
        scope,
        scorer,
        all,
        keep,
        (margin, within(margin)),
        |document, _| {
            scored.push(document);
        },
    );
    scored.sort_unstable();
    read.scored += over_all_tokens(scope, scorer, &mut scored, keep, 2 * finalists + 8, margin);
    keep_best(&mut scored, finalists);
    *found = scored;
    read
}

/// As [`by_codes`], as far down as `most`: the documents that were scored, each with the least margin that reaches it, in
/// rising order of that.
pub(crate) fn margins(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    found: Vec<Scored>,
    keep: usize,
    most: f64,
) -> Vec<(Position, f64)> {
    let mut reached = Vec::new();
    descend(scope, scorer, found, keep, (most, WITHIN), |document, margin| {
        reached.push((document.position, margin));
    });
    reached
}

/// Scores documents best first while the margin lasts; `each` gets them with their new score and the margin that it took.
fn descend(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    found: Vec<Scored>,
    keep: usize,
    (margin, within): (f64, f32),
    mut each: impl FnMut(Scored, f64),
) -> Read {
    let (mut best, mut gains) = (TopK::new(keep.max(1)), Gains::default());
    let (mut read, mut reached) = (Read::default(), f64::NEG_INFINITY);
    let mut rest = BestFirst::new(found);
    let within = scorer.within(within);
    loop {
        let block = scope
            .ahead
            .all(|wanted| rest.next_block(|soon| scorer.read_ahead(soon.position, wanted)));
        if block.is_empty() {
            break;
        }
        if gains.count >= LEARNT_FROM
            && let Some(first) = block.first()
        {
            let short = f64::from(best.threshold()) - f64::from(first.score);
            reached = gains.margin_of(short).max(reached);
            if reached > margin {
                break;
            }
        }
        let (scores, tokens) = over_likely_tokens(scope, scorer, block, &within);
        read.scored += tokens;
        read.documents += block.len() as u64;
        for (document, score) in block.iter().zip(scores) {
            gains.add(f64::from(score - document.score));
            best.push(score, document.position);
            read.tokens += scorer.tokens_of(document.position) as u64;
            each(Scored { score, ..*document }, reached);
        }
    }
    read
}

/// Documents that are put in order as far as they are looked at; of equal scores, in the order in which they came.
struct BestFirst {
    all: Vec<Scored>,
    /// The places of the documents behind their scores, which a comparison of one number orders best first.
    order: Vec<u64>,
    taken: usize,
    sorted: usize,
    /// How far those are told of that come soon.
    heard: usize,
    block: Vec<Scored>,
}

impl BestFirst {
    fn new(all: Vec<Scored>) -> Self {
        let key = |(found, at): (&Scored, u32)| (u64::from(descending(found.score)) << 32) | u64::from(at);
        let order = all.iter().zip(0..).map(key).collect();
        Self {
            all,
            order,
            taken: 0,
            sorted: 0,
            heard: 0,
            block: Vec::with_capacity(BLOCK),
        }
    }

    /// The next best, [`BLOCK`] of them while there are so many; `soon` hears of them, and of those of the block after it.
    fn next_block(&mut self, soon: impl FnMut(&Scored)) -> &[Scored] {
        if self.taken == self.sorted {
            // As many again as before, so that the selections together cost no more than a few passes.
            let rest = &mut self.order[self.sorted..];
            let count = self.sorted.max(8 * BLOCK).min(rest.len());
            if count > 0 && count < rest.len() {
                rest.select_nth_unstable(count - 1);
            }
            rest[..count].sort_unstable();
            self.sorted += count;
        }
        let first = self.taken;
        self.taken = self.sorted.min(first + BLOCK);
        let place = |key: &u64| usize::try_from(key & u64::from(u32::MAX)).ok();
        let at = |key| place(key).and_then(|place| self.all.get(place));
        let heard = self.sorted.min(self.taken + BLOCK);
        let unheard = self.order.get(self.heard..heard).unwrap_or_default();
        unheard.iter().filter_map(at).for_each(soon);
        self.heard = heard;
        self.block.clear();
        self.block
            .extend(self.order[first..self.taken].iter().filter_map(at));
        &self.block
    }
}

/// A number that is the less the greater the score is, in the order of [`f32::total_cmp`].
fn descending(score: f32) -> u32 {
    let bits = score.to_bits();
    let ascending = if bits >> 31 == 0 { bits | (1 << 31) } else { !bits };
    !ascending
}

/// Documents of a block that one task scores where there are several threads.
const SHARE: usize = 8;
/// How many documents ahead of the one that is scored have their tokens chosen, and what scoring them reads fetched: what
/// is fetched waits for memory while others are scored.
const CHOSEN_AHEAD: usize = 6;

/// Scores documents over the tokens that are likely to hold a maximum; returns the scores and how many tokens those are.
fn over_likely_tokens(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    documents: &[Scored],
    within: &[Within],
) -> (Vec<f32>, u64) {
    let shares: Vec<&[Scored]> = documents
        .chunks(if scope.is_shared() {
            SHARE
        } else {
            documents.len().max(1)
        })
        .collect();
    let scored = scope.map(&shares, |share| {
        CHOSEN.with_borrow_mut(|chosen| chosen.score(scorer, share, within))
    });
    let mut all = Vec::with_capacity(documents.len());
    let mut tokens = 0;
    for (scores, of_these) in scored {
        all.extend(scores);
        tokens += of_these;
    }
    (all, tokens)
}

thread_local! {
    static CHOSEN: RefCell<Chosen> = RefCell::default();
}

/// The places of the tokens of documents that are likely to hold a maximum, one document after another.
#[derive(Default)]
struct Chosen {
    places: Vec<u32>,
    ends: Vec<usize>,
}

impl Chosen {
    fn score(
        &mut self,
        scorer: &TokenScorer<'_>,
        documents: &[Scored],
        within: &[Within],
    ) -> (Vec<f32>, u64) {
        self.places.clear();
        self.ends.clear();
        let mut first = 0;
        let scores = documents.iter().enumerate().map(|(at, document)| {
            let ahead = documents.iter().take(at + 1 + CHOSEN_AHEAD).skip(self.ends.len());
            for next in ahead {
                scorer.contenders(next.position, within, &mut self.places);
                self.ends.push(self.places.len());
            }
            let places = first..self.ends.get(at).copied().unwrap_or(first);
            first = places.end;
            scorer.grouped(document.position, self.places.get(places).unwrap_or_default())
        });
        let scores = scores.collect();
        (scores, self.places.len() as u64)
    }
}

/// Scores documents, best first by their scores over some tokens, over the codes of all of them, while the margin lasts,
/// at least `least` of them, and drops the rest; returns how many tokens those are.
fn over_all_tokens(
    scope: &Scope<'_>,
    scorer: &mut TokenScorer<'_>,
    documents: &mut Vec<Scored>,
    keep: usize,
    least: usize,
    margin: f64,
) -> u64 {
    let (mut anew, mut done) = (Anew::new(keep), 0);
    while let Some(first) = documents.get(done) {
        if done >= least && anew.margin_of(first) > margin {
            break;
        }
        let end = documents.len().min(done + FINAL_BLOCK);
        let block = &mut documents[done..end];
        for document in &*block {
            scorer.ask(document.position);
        }
        scorer.score_asked();
        let reader: &TokenScorer<'_> = scorer;
        let scores = scope.map(block, |document| reader.coded_alone(document.position));
        anew.take(scorer, block, scores);
        done = end;
    }
    documents.truncate(done);
    anew.tokens
}

/// Documents between two looks at whether an exact score can still change the answer.
const EXACT_BLOCK: usize = 4;
/// Deviations of what exact scores add to scores from codes that are allowed for.
const EXACT_MARGIN: f64 = 6.0;

/// Scores documents over the best tier, best first by their scores so far, and keeps the `keep` best. Those that even
/// [`EXACT_MARGIN`] standard deviations more than the usual gain would not lift among them are dropped unread: scores from
/// codes are off their exact ones by a rounding, those of original tokens by far more. Returns the tokens that were read.
pub(crate) fn exactly(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    found: &mut Vec<Scored>,
    keep: usize,
) -> u64 {
    let mut anew = Anew::new(keep);
    anew.score_exactly(scope, scorer, found, (keep, EXACT_BLOCK));
    keep_best(found, keep);
    anew.tokens
}

/// Documents whose best tier is asked of the disk at once.
const READ_AHEAD: usize = 32;
/// Documents of which the difference is learnt before it is relied on, where few are scored.
const FEW: usize = 8;

/// Scores documents over the best tier, best first by their scores so far, as long as [`EXACT_MARGIN`] standard deviations
/// more than the usual gain would lift the next among the `keep` best of these and of those `found`, and drops the rest. Returns
/// the tokens that were read.
pub(crate) fn beside(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    documents: &mut Vec<Scored>,
    found: &[Scored],
    keep: usize,
) -> u64 {
    let mut anew = Anew::new(keep);
    for known in found {
        anew.best.push(known.score, known.position);
    }
    anew.score_exactly(scope, scorer, documents, (FEW, FEW));
    anew.tokens
}

/// Documents that were scored anew, and what their new scores add to those before.
struct Anew {
    best: TopK,
    gains: Gains,
    tokens: u64,
}

impl Anew {
    fn new(keep: usize) -> Self {
        Self {
            best: TopK::new(keep.max(1)),
            gains: Gains::default(),
            tokens: 0,
        }
    }

    /// Scores documents over the best tier, best first, `least` of them and then `block` at a time while the margin lasts, and
    /// drops the rest.
    fn score_exactly(
        &mut self,
        scope: &Scope<'_>,
        scorer: &TokenScorer<'_>,
        documents: &mut Vec<Scored>,
        (least, block): (usize, usize),
    ) {
        documents.sort_unstable();
        let soon = &documents[..documents.len().min(least.max(READ_AHEAD))];
        scope.ahead.each(soon, |document, wanted| {
            scorer.read_best_ahead(document.position, wanted);
        });
        let mut done = 0;
        while let Some(first) = documents.get(done) {
            if done >= least && self.margin_of(first) > EXACT_MARGIN {
                break;
            }
            let end = documents.len().min(done + least.saturating_sub(done).max(block));
            let block = &mut documents[done..end];
            let scores = scope.map(block, |document| scorer.exact_alone(document.position));
            self.take(scorer, block, scores);
            done = end;
        }
        documents.truncate(done);
    }

    /// Gives documents their new scores.
    fn take(&mut self, scorer: &TokenScorer<'_>, documents: &mut [Scored], scores: Vec<f32>) {
        for (document, score) in documents.iter_mut().zip(scores) {
            self.gains.add(f64::from(score - document.score));
            self.best.push(score, document.position);
            document.score = score;
            self.tokens += scorer.tokens_of(document.position) as u64;
        }
    }

    /// How many standard deviations more than the mean a document would have to gain to be among the best.
    fn margin_of(&self, document: &Scored) -> f64 {
        self.gains
            .margin_of(f64::from(self.best.threshold()) - f64::from(document.score))
    }
}

/// Mean and variance of a stream (Welford, Technometrics 4(3), 1962).
#[derive(Default)]
struct Gains {
    count: u32,
    mean: f64,
    squares: f64,
}

impl Gains {
    fn add(&mut self, gain: f64) {
        self.count += 1;
        let before = gain - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (gain - self.mean);
    }

    /// How many standard deviations more than the mean a gain is.
    fn margin_of(&self, gain: f64) -> f64 {
        let deviation = (self.squares / f64::from(self.count.max(1))).sqrt();
        let more = gain - self.mean;
        if deviation > 0.0 {
            more / deviation
        } else if more > 0.0 {
            f64::INFINITY
        } else {
            f64::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, BestFirst, Gains};
    use crate::hits::Position;
    use crate::top_k::Scored;

    proptest! {
        #[test]
        fn blocks_are_what_a_sort_gives(scores in prop::collection::vec(-40i16..40, 0..3000)) {
            let at = |ordinal| Position { segment: 0, ordinal };
            let all: Vec<Scored> = scores.iter().zip(0..)
                .map(|(&score, ordinal)| Scored { score: f32::from(score), position: at(ordinal) }).collect();
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let mut blocks = BestFirst::new(all);
            let (mut heard, mut taken) = (Vec::new(), 0);
            for expected in sorted.chunks(BLOCK) {
                let before = heard.len();
                let block = blocks.next_block(|soon| heard.push(*soon)).to_vec();
                prop_assert_eq!(&block, expected);
                prop_assert!(heard.len() >= before);
                taken += block.len();
                prop_assert!((taken..=taken + BLOCK).contains(&heard.len()));
            }
            prop_assert_eq!(heard, sorted);
            prop_assert!(blocks.next_block(|_| ()).is_empty());
        }
    }

    #[test]
    fn a_margin_is_in_deviations_from_the_mean() {
        let mut gains = Gains::default();
        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|gain| gains.add(gain));
        assert!((gains.margin_of(3.0 + 3.5 * 3.5f64.sqrt()) - 3.5).abs() < 1e-12);
        let mut same = Gains::default();
        [2.0, 2.0].into_iter().for_each(|gain| same.add(gain));
        assert_eq!(
            [same.margin_of(2.0), same.margin_of(2.1)],
            [f64::NEG_INFINITY, f64::INFINITY]
        );
    }
}
