//! How the tokens are made.
//!
//! A token is the sum of what its type (word) says, what its document's context says, and noise. A context is shared in
//! part by a topic and by a family of documents, and so is a part of the noise: documents of one family nearly repeat each
//! other's tokens, as descriptions of packages from one source do. Types follow Zipf's law, and frequent types vary less;
//! families and topics grow in number with the documents. A query takes types and context of one document, says them in
//! its own way, and adds noise; half of its tokens are near copies of others, as those of `[MASK]` are.
//!
//! The constants are fitted to token embeddings of Debian package descriptions (a ColBERT of 128 dimensions). Both sides
//! of this table are 8,000 documents of 538,000 tokens, 60 queries, and 4,096 centroids of four passes of k-means:
//!
//! | statistic | real | made up |
//! |---|---|---|
//! | cluster size: 10%, 50%, 90%, 99% | 39, 110, 254, 465 | 39, 107, 254, 458 |
//! | cluster size falls as rank to the minus ... (ranks 10 to 1,000; 100 to 4,000) | 0.31; 0.73 | 0.30; 0.74 |
//! | posting list: 10%, 50%, 90%, 99% | 10, 58, 178, 350 | 21, 64, 151, 288 |
//! | tokens a posting | 1.64 | 1.68 |
//! | norm of the residual: mean | 0.65 | 0.67 |
//! | variance of residuals in the first 8, 32, 64 principal axes | 0.18, 0.47, 0.72 | 0.20, 0.51, 0.74 |
//! | cosine of two tokens: of one document, of any two | 0.31, 0.05 | 0.34, 0.06 |
//! | cosine of two residuals of one document | 0.23 | 0.26 |
//! | query token and its 1st, 8th, 32nd centroid: mean cosine | 0.68, 0.54, 0.46 | 0.68, 0.54, 0.47 |
//! | query tokens of which no earlier one has a cosine above 0.95 | 16.0 | 16.0 |
//! | score of the 1st, 2nd, 10th, 100th, 1,000th document | 23.0, 20.3, 18.5, 16.5, 14.2 | 21.5, 20.1, 18.2, 16.2, 13.2 |
//! | postings of a query in 8, 32 lists a token | 39,600, 133,000 | 27,900, 98,400 |
//!
//! What differs most are the lists that queries visit, which are a quarter to a third shorter than the real ones.
//! docs/benchmarks.md has what the index does with both.

use latewood_benches::random::Random;

use crate::spectrum::Spectrum;

/// Tokens of a query.
pub(crate) const QUERY_TOKENS: usize = 32;

/// Types, as many as a BERT vocabulary has.
const TYPES: usize = 30_522;
/// Exponent of Zipf's law over types.
const TYPE_EXPONENT: f64 = 1.0;
/// Documents of one family, on average.
const FAMILY_DOCUMENTS: u32 = 6;
/// Types that a family is about, and that a topic is about.
const FAMILY_TYPES: usize = 36;
const TOPIC_TYPES: usize = 300;
/// Share of a document's tokens that are of the family's types; the others are of any type.
const FAMILY_SHARE: f64 = 0.6;

/// The parts of a token's squared length.
const OF_TOKEN: Parts = Parts {
    common: 0.05,
    kind: 0.46,
    topic: 0.16,
    family: 0.05,
    document: 0.07,
};
/// Noise: its size differs between types, and again from token to token, within these.
const LEAST_NOISE: f32 = 0.02;
const MOST_NOISE: f32 = 0.38;
/// How much of the size of the noise the type decides.
const OF_TYPE: f64 = 0.7;
/// The part of the noise that tokens of one type and family share.
const SHARED_NOISE: f32 = 0.5;

/// The parts of a query token's squared length.
const OF_QUERY: Parts = Parts {
    common: 0.24,
    kind: 0.46,
    topic: 0.08,
    family: 0.03,
    document: 0.09,
};
const QUERY_NOISE: f32 = 0.10;
/// Tokens of a query that stand for words, and for mixtures of two of them; the others are near copies of the mixtures.
const QUERY_WORDS: usize = 10;
const QUERY_MASKS: usize = 6;
/// How far near copies are from what they copy.
const COPY_NOISE: f32 = 0.03;

/// Streams of random numbers, one for each kind of thing.
const STREAM_TYPES: u64 = 1 << 60;
const STREAM_TOPICS: u64 = 2 << 60;
const STREAM_FAMILIES: u64 = 3 << 60;
const STREAM_DOCUMENTS: u64 = 4 << 60;
const STREAM_NOISE: u64 = 5 << 60;
const STREAM_QUERIES: u64 = 6 << 60;

/// Makes documents and queries, each from its number alone.
pub(crate) struct Model {
    seed: u64,
    dim: usize,
    spectrum: Spectrum,
    common: Vec<f32>,
    /// Cumulative shares of the types.
    zipf: Vec<f64>,
    /// A row for each type.
    types: Vec<f32>,
    families: usize,
    topics: usize,
}

/// How much of a token's squared length comes from what.
struct Parts {
    common: f32,
    kind: f32,
    topic: f32,
    family: f32,
    document: f32,
}

/// What the tokens of a document have in common.
struct Context {
    family: usize,
    types: Vec<usize>,
    /// Of unit length, expected: topic, family, document.
    vectors: [Vec<f32>; 3],
}

impl Model {
    pub(crate) fn new(seed: u64, dim: usize, documents: u32) -> Self {
        let spectrum = Spectrum::new(seed, dim);
        let common = spectrum.draw(&mut Random::new(seed, 0));
        let types =
            (0..TYPES as u64).flat_map(|number| spectrum.draw(&mut Random::new(seed, STREAM_TYPES + number)));
        let types = types.collect();
        let families = (documents / FAMILY_DOCUMENTS).max(1) as usize;
        Self {
            seed,
            dim,
            spectrum,
            common,
            zipf: zipf(TYPES, TYPE_EXPONENT),
            types,
            families,
            topics: families.isqrt().max(1),
        }
    }

    /// Appends the tokens of a document, row after row.
    pub(crate) fn document(&self, number: u32, length: u32, rows: &mut Vec<f32>) {
        let mut random = Random::new(self.seed, STREAM_DOCUMENTS + u64::from(number));
        let context = self.context(&mut random);
        for _ in 0..length {
            let kind = self.kind(&context, &mut random);
            let row = self.token(&context, kind, &mut random);
            rows.extend(row);
        }
    }

    fn context(&self, random: &mut Random) -> Context {
        let family = random.below(self.families);
        let mut of_family = Random::new(self.seed, STREAM_FAMILIES + family as u64);
        // Topics of a few families and of many.
        let skewed = of_family.unit() * of_family.unit();
        let topic = (skewed * self.topics as f64) as usize;
        let types = (0..FAMILY_TYPES)
            .map(|_| self.topical(topic, &mut of_family))
            .collect();
        let mut of_topic = Random::new(self.seed, STREAM_TOPICS + topic as u64);
        let vectors = [&mut of_topic, &mut of_family, random].map(|random| self.spectrum.draw(random));
        Context {
            family,
            types,
            vectors,
        }
    }

    /// A type of a topic: the topic has its own list, of which the first are the most frequent.
    fn topical(&self, topic: usize, random: &mut Random) -> usize {
        let place = (random.unit() * random.unit() * TOPIC_TYPES as f64) as u64;
        let mut of_place = Random::new(self.seed ^ place, STREAM_TOPICS + topic as u64);
        (of_place.unit().powi(4) * TYPES as f64) as usize
    }

    /// The type of a document's next token.
    fn kind(&self, context: &Context, random: &mut Random) -> usize {
        if random.unit() < FAMILY_SHARE {
            return context.types[random.below(context.types.len())];
        }
        let share = random.unit();
        self.zipf
            .partition_point(|&cumulative| cumulative < share)
            .min(TYPES - 1)
    }

    /// A vector of a type in a context, without noise and before its rotation.
    fn meant(&self, context: &Context, kind: usize, parts: &Parts) -> Vec<f32> {
        let [topic, family, document] = &context.vectors;
        let sources = [
            (parts.common, self.common.as_slice()),
            (parts.kind, &self.types[kind * self.dim..(kind + 1) * self.dim]),
            (parts.topic, topic),
            (parts.family, family),
            (parts.document, document),
        ];
        let mut out = vec![0.0; self.dim];
        for (energy, source) in sources {
            let scale = energy.sqrt();
            out.iter_mut()
                .zip(source)
                .for_each(|(out, value)| *out += scale * value);
        }
        out
    }

    fn token(&self, context: &Context, kind: usize, random: &mut Random) -> Vec<f32> {
        let mut row = self.meant(context, kind, &OF_TOKEN);
        // Frequent types are the compact ones.
        let of_type = (kind as f64 / TYPES as f64).sqrt().sqrt();
        let spread = (OF_TYPE * of_type + (1.0 - OF_TYPE) * random.unit()) as f32;
        let noise = LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * spread;
        let pair = (context.family * TYPES + kind) as u64;
        let mut shared = Random::new(self.seed, STREAM_NOISE + pair);
        self.spectrum.add(&mut shared, noise * SHARED_NOISE, &mut row);
        self.spectrum.add(random, noise * (1.0 - SHARED_NOISE), &mut row);
        self.spectrum.rotate(&mut row);
        row
    }

    /// Appends the tokens of a query, row after row, about one of `documents` documents.
    pub(crate) fn query(&self, number: u32, documents: u32, rows: &mut Vec<f32>) {
        let mut random = Random::new(self.seed, STREAM_QUERIES + u64::from(number));
        let document = random.below(documents as usize) as u64;
        let mut of_document = Random::new(self.seed, STREAM_DOCUMENTS + document);
        let context = self.context(&mut of_document);
        let mut meant: Vec<Vec<f32>> = (0..QUERY_WORDS)
            .map(|_| self.meant(&context, self.kind(&context, &mut of_document), &OF_QUERY))
            .collect();
        for _ in 0..QUERY_MASKS {
            let pair = [random.below(QUERY_WORDS), random.below(QUERY_WORDS)];
            let mixed = (0..self.dim).map(|at| f32::midpoint(meant[pair[0]][at], meant[pair[1]][at]));
            let mixed = mixed.collect();
            meant.push(mixed);
        }
        for row in &mut meant {
            self.spectrum.add(&mut random, QUERY_NOISE, row);
        }
        for _ in meant.len()..QUERY_TOKENS {
            let mut copy = meant[QUERY_WORDS + random.below(QUERY_MASKS)].clone();
            self.spectrum.add(&mut random, COPY_NOISE, &mut copy);
            meant.push(copy);
        }
        for mut row in meant {
            self.spectrum.rotate(&mut row);
            rows.extend(row);
        }
    }
}

/// Cumulative shares of `count` things of which the r-th has a share in proportion to r to the minus `exponent`.
fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut cumulative: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    cumulative.iter_mut().for_each(|share| *share /= sum);
    cumulative
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn a_query_is_nearer_to_its_document_than_to_another() {
        let model = Model::new(1, 64, 600);
        let mut better = 0;
        for number in 0..20 {
            let mut query = Vec::new();
            model.query(number, 600, &mut query);
            let mut random = Random::new(1, STREAM_QUERIES + u64::from(number));
            let own = random.below(600) as u32;
            let score = |document: u32| -> f32 {
                let mut rows = Vec::new();
                model.document(document, 60, &mut rows);
                let best = |q: &[f32]| rows.chunks(64).map(|row| dot(q, row)).fold(f32::MIN, f32::max);
                query.chunks(64).map(best).sum()
            };
            better += usize::from((0..10).all(|other| other == own || score(own) > score(other)));
        }
        assert!(better >= 18, "{better} of 20");
    }

    #[test]
    fn tokens_of_one_document_are_alike_and_types_are_zipfian() {
        let model = Model::new(3, 64, 6_000);
        let mut rows = Vec::new();
        (0..100).for_each(|document| model.document(document, 20, &mut rows));
        let tokens: Vec<&[f32]> = rows.chunks(64).collect();
        let mean = |step: usize| {
            let pairs = tokens.iter().zip(&tokens[step..]);
            pairs.map(|(a, b)| dot(a, b)).sum::<f32>() / (tokens.len() - step) as f32
        };
        assert!(mean(1) > mean(200) + 0.15, "{} {}", mean(1), mean(200));
        let shares = zipf(1_000, 1.0);
        assert!((shares[9] / shares[0] - 2.929).abs() < 0.01 && (shares[999] - 1.0).abs() < 1e-12);
    }
}
