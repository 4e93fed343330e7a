//! Every kernel of every instruction set that this machine has, against sums in double precision, over ragged shapes.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use half::f16;
use latewood_codecs::kernel::Isa;
use latewood_codecs::{
    CodecError, Codes, DenseCodec, DenseCodes, DenseParts, DenseQuery, DenseRows, Int4Codec, Int4Rows,
    MaxSimQuery, Metric, OriginalCodec, OriginalRows, Quantizer, ResidualCodec, ResidualCodes, ResidualQuery,
    ResidualRows,
};
use proptest::prelude::*;

/// Query tokens, document tokens, dimension: every count of rows that a register tile can be left with, the limits of
/// each, and what lies around whole panels.
fn shapes() -> Vec<(usize, usize, usize)> {
    let mut shapes: Vec<_> = (1..=26).map(|rows| (33, rows, 40)).collect();
    shapes.extend([1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 511, 512].map(|tokens| (tokens, 29, 24)));
    shapes.extend(
        [
            8, 16, 24, 48, 56, 64, 72, 96, 120, 128, 136, 384, 768, 1000, 1016, 1024,
        ]
        .map(|dim| (19, 37, dim)),
    );
    shapes.extend([(3, 8192, 8), (32, 180, 128), (32, 1030, 128)]);
    shapes
}

/// Numbers in -1..1 that are the same on every run (xorshift).
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let unit = (state >> 40) as f32 / 8_388_608.0;
        unit - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn unit_rows(count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rows = numbers(count * dim, seed);
    for row in rows.chunks_exact_mut(dim) {
        Metric::Cosine.prepare(row).unwrap();
        row.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
    }
    rows
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

fn maxsim(query: &[f32], document: &[f32], dim: usize) -> f64 {
    let most = |q| {
        document
            .chunks_exact(dim)
            .map(|d| dot(q, d))
            .fold(f64::NEG_INFINITY, f64::max)
    };
    query.chunks_exact(dim).map(most).sum()
}

fn tokens_of(query: &MaxSimQuery) -> f64 {
    f64::from(u16::try_from(query.num_tokens()).unwrap())
}

#[test]
fn maxsim_of_every_precision_is_the_sum_of_maxima() {
    for (n, rows, dim) in shapes() {
        let (query, document) = (unit_rows(n, dim, 1), unit_rows(rows, dim, 2));
        let narrow: Vec<f16> = document.iter().map(|v| f16::from_f32(*v)).collect();
        let expected = maxsim(&query, &document, dim);
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        OriginalCodec::Int8.encode(&document, dim, &mut codes, &mut scales);
        let original = OriginalRows::new(OriginalCodec::Int8, dim, &codes, &scales).unwrap();
        let mut decoded = vec![0.0; rows * dim];
        original.decode(0, &mut decoded);
        let rounded = maxsim(&query, &decoded, dim);
        for isa in Isa::available() {
            let query = MaxSimQuery::with_isa(dim, &query, isa).unwrap();
            let bound = 1e-6 * tokens_of(&query) + 1e-6;
            for (got, expected) in [
                (query.score_f32(&document), expected),
                (query.score_f16(&narrow), expected),
                (query.score_original(original), rounded),
            ] {
                assert!(
                    (f64::from(got) - expected).abs() <= bound,
                    "{isa} {n}x{rows}x{dim}: {got} for {expected}"
                );
            }
        }
    }
}

/// Codecs of random centroids.
fn codecs(bits: u8, dim: usize, k: usize) -> [ResidualCodec; 2] {
    let centroids = unit_rows(k, dim, 3);
    let heldout = near(&centroids, dim, 300, 4);
    [
        ResidualCodec::fit_trellis(bits, dim, &centroids, &heldout).unwrap(),
        ResidualCodec::fit_buckets(bits, dim, centroids, &heldout).unwrap(),
    ]
}

fn near(centroids: &[f32], dim: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut tokens = unit_rows(count, dim, seed);
    for (at, token) in tokens.chunks_exact_mut(dim).enumerate() {
        let c = &centroids[at * 7 % (centroids.len() / dim) * dim..][..dim];
        token.iter_mut().zip(c).for_each(|(t, c)| *t = 0.5 * *t + c);
        Metric::Cosine.prepare(token).unwrap();
    }
    tokens
}

#[test]
fn residual_scores_are_those_of_the_reconstruction() {
    for (n, rows, dim) in shapes() {
        for codec in [1, 2, 4].into_iter().flat_map(|bits| codecs(bits, dim, 21)) {
            let bits = codec.bits();
            let query = unit_rows(n, dim, 5);
            let mut codes = ResidualCodes::default();
            codec.encode(&near(codec.centroids(), dim, rows, 6), &mut codes);
            let mut document = vec![0.0; rows * dim];
            let residuals = codes.residuals.chunks_exact(dim * usize::from(bits) / 8);
            let parts = codes.codes.iter().zip(residuals).zip(&codes.factors);
            for (((code, residual), factors), out) in parts.zip(document.chunks_exact_mut(dim)) {
                codec.decode(*code, residual, *factors, out);
            }
            let expected = maxsim(&query, &document, dim);
            let short: Vec<u16> = codes.codes.iter().map(|c| u16::try_from(*c).unwrap()).collect();
            let (mut quick, mut levels, mut contenders) = (Vec::new(), Vec::new(), Vec::new());
            for isa in Isa::available() {
                let query = MaxSimQuery::with_isa(dim, &query, isa).unwrap();
                let bound = query_bound(&codec, query.tokens());
                let mut bound_query = ResidualQuery::new(&codec, &query).unwrap();
                let unscored = bound_query.score(codes.rows());
                let exact = f64::from(bound_query.score_exact(codes.rows()));
                let context = format!("{isa} {n}x{rows}x{dim} at {bits} bits");
                assert!(
                    (exact - expected).abs() <= 4e-6 * tokens_of(&query) + 1e-6,
                    "{context}: {exact} for {expected}"
                );
                assert_eq!(f64::from(unscored), exact, "{context}: no centroid is scored yet");
                some_tokens_of_it(&mut bound_query, codes.rows(), &context);
                groups_score_like_their_tokens(&mut bound_query, codes.rows(), &context);
                let prefiltered = f64::from(bound_query.score_exact(codes.rows()));
                assert!((exact - prefiltered).abs() <= 1e-6 * exact.abs(), "{context}");
                let score = bound_query.score(codes.rows());
                assert!(
                    (f64::from(score) - expected).abs() <= bound,
                    "{context}: {score} for {expected} +- {bound}"
                );
                let from_short = ResidualRows {
                    codes: Codes::U16(&short),
                    ..codes.rows()
                };
                assert_eq!(bound_query.score(from_short), score);
                quick.push(score);
                for (c, scores) in codec
                    .centroids()
                    .chunks_exact(dim)
                    .zip(bound_query.centroid_scores().chunks_exact(n))
                {
                    for (q, score) in query.tokens().chunks_exact(dim).zip(scores) {
                        let bound = rounding(q, c);
                        assert!((f64::from(*score) - dot(q, c)).abs() < bound, "{context}");
                    }
                }
                let centroids: Vec<f32> = codes
                    .codes
                    .iter()
                    .flat_map(|c| codec.centroid(*c))
                    .copied()
                    .collect();
                let interaction = f64::from(bound_query.centroid_interaction(codes.rows().codes));
                // Random tokens are hardly ever alike: nearly every group is one.
                assert!(bound_query.num_groups() <= n && (dim < 24 || bound_query.num_groups() == n));
                let expected = maxsim(query.tokens(), &centroids, dim);
                // Half a level, and what is below 0 counts as 0.
                let below = |q: &[f32]| centroids.chunks_exact(dim).all(|c| dot(q, c) < 0.0);
                let mut bound: f64 = query
                    .tokens()
                    .chunks_exact(dim)
                    .map(|q| rounding(q, codec.centroid(0)) + 0.51 / 255.0 + if below(q) { 1.0 } else { 0.0 })
                    .sum();
                if bound_query.num_groups() < n {
                    // Tokens of a group differ by an angle of 0.65 at most.
                    bound += 1.2 * tokens_of(&query);
                }
                levels.push(bound_query.centroid_levels().to_vec());
                contenders.push(by_centroids(&bound_query, codes.rows(), &short));
                assert!((interaction - expected).abs() < bound, "{context}");
            }
            assert!(
                levels.iter().all(|l| *l == levels[0]),
                "levels at {n}x{rows}x{dim}"
            );
            assert!(
                contenders.iter().all(|c| *c == contenders[0]),
                "contenders at {n}x{rows}x{dim}"
            );
            // The integer products are the same everywhere; only the order of the last few f32 operations differs.
            assert!(
                quick
                    .iter()
                    .all(|s| (s - quick[0]).abs() <= 1e-6 * quick[0].abs() + 1e-5),
                "{quick:?}"
            );
        }
    }
}

/// The interaction and some contenders, in both widths of code; a code beyond the last is the last.
fn by_centroids(bound: &ResidualQuery<'_>, rows: ResidualRows<'_>, short: &[u16]) -> (f32, Vec<u32>) {
    let last = u32::try_from(bound.centroid_levels().len() / bound.level_units().len() - 1).unwrap();
    let beyond: Vec<u32> = short
        .iter()
        .map(|c| {
            if u32::from(*c) == last {
                u32::MAX
            } else {
                u32::from(*c)
            }
        })
        .collect();
    let widths = [rows.codes, Codes::U16(short), Codes::U32(&beyond)];
    let [first, others @ ..] = widths.map(|codes| {
        let (rows, mut places) = (ResidualRows { codes, ..rows }, Vec::new());
        bound.contenders(rows, &bound.within(0.8), &mut places);
        (bound.centroid_interaction(codes), places)
    });
    assert!(others.iter().all(|other| *other == first));
    first
}

/// Scores over some tokens are those of a document of these tokens; contenders hold the maxima of the centroids.
fn some_tokens_of_it(bound: &mut ResidualQuery<'_>, rows: ResidualRows<'_>, context: &str) {
    let mut places = vec![7];
    bound.contenders(rows, &bound.within(0.0), &mut places);
    let places = places.split_off(1);
    assert!(
        !places.is_empty() && places.is_sorted_by(|a, b| a < b),
        "{context}"
    );
    let pick = |rows: ResidualRows<'_>| {
        let mut some = ResidualCodes::default();
        let bytes = rows.residuals.len() / rows.len();
        for place in &places {
            let at = *place as usize;
            some.codes.push(rows.codes.get(at));
            some.residuals
                .extend_from_slice(&rows.residuals[at * bytes..][..bytes]);
            some.factors.push(rows.factors[at]);
        }
        some
    };
    let some = pick(rows);
    assert_eq!(
        bound.centroid_interaction(some.rows().codes),
        bound.centroid_interaction(rows.codes),
        "{context}: contenders within 0 hold every maximum"
    );
    assert_eq!(
        bound.score_groups(rows, &places),
        bound.score_groups(some.rows(), &every(places.len())),
        "{context}"
    );
    let mut all = Vec::new();
    bound.contenders(rows, &bound.within(f32::INFINITY), &mut all);
    assert_eq!(
        all,
        every(rows.len()),
        "{context}: all are within the length of a query token"
    );
}

fn every(rows: usize) -> Vec<u32> {
    (0..u32::try_from(rows).unwrap()).collect()
}

/// Where no two query tokens are alike, the groups score what the tokens score, but for the rounding of levels, which are
/// never below 0.
fn groups_score_like_their_tokens(bound: &mut ResidualQuery<'_>, rows: ResidualRows<'_>, context: &str) {
    let grouped = f64::from(bound.score_groups(rows, &every(rows.len())));
    bound.complete();
    let groups = bound.num_groups();
    let scores = bound.centroid_scores();
    let tokens = scores.len() / (bound.centroid_levels().len() / bound.level_units().len());
    if tokens != groups {
        return;
    }
    let scores = bound.centroid_scores().to_vec();
    let least = |token: usize| {
        let of = |at: usize| scores[rows.codes.get(at) as usize * tokens + token];
        (0..rows.len()).map(of).fold(0.0, f32::min)
    };
    let off: f32 = (0..groups).map(|at| bound.level_units()[at] - least(at)).sum();
    let score = f64::from(bound.score(rows));
    assert!(
        (grouped - score).abs() <= 1.5 * f64::from(off),
        "{context}: groups {grouped}, tokens {score} +- {off}"
    );
}

/// What rounding two rows to int8 can take from their dot product.
fn rounding(a: &[f32], b: &[f32]) -> f64 {
    let (a_error, b_error) = (half_steps(a), half_steps(b));
    let norm = |row: &[f32]| dot(row, row).sqrt();
    a_error * norm(b) + (norm(a) + a_error) * b_error + 4e-6
}

/// The length of half an int8 step in every dimension.
fn half_steps(row: &[f32]) -> f64 {
    let most = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    f64::from(most) / 254.0 * f64::from(u16::try_from(row.len()).unwrap()).sqrt()
}

/// The documented bound on [`ResidualQuery::score`], summed over the tokens of a query of unit vectors.
fn query_bound(codec: &ResidualCodec, query: &[f32]) -> f64 {
    let dim = codec.dim();
    let root = f64::from(u16::try_from(dim).unwrap()).sqrt();
    let most = match codec.quantizer() {
        Quantizer::Buckets(buckets) => {
            f64::from(buckets.weights().iter().fold(0.0f32, |m, w| m.max(w.abs())))
        }
        // The greatest entry of a table is below 3.5.
        Quantizer::Trellis(trellis) => 3.5 * f64::from(*trellis.scales().last().unwrap()),
    };
    let (weights, weight_error) = (most * root, most / 254.0 * root);
    let tokens = query.chunks_exact(dim).map(|q| {
        let norm = dot(q, q).sqrt();
        // Turned, a query token's greatest number is at most its norm.
        let error = match codec.quantizer() {
            Quantizer::Buckets(_) => half_steps(q),
            Quantizer::Trellis(_) => norm / 254.0 * root,
        };
        // The reconstruction is at least half as long as its centroid in these tests.
        let residual = error * weights + (norm + error) * weight_error;
        2.0 * (residual + rounding(q, codec.centroid(0))) + norm / 16384.0
    });
    tokens.sum()
}

#[test]
fn the_nearest_centroid_is_that_of_brute_force() {
    for (k, count, dim) in [
        (1, 5, 8),
        (3, 97, 16),
        (15, 11, 24),
        (16, 12, 32),
        (17, 13, 40),
        (300, 200, 128),
        (2100, 101, 64),
    ] {
        let centroids = unit_rows(k, dim, 8);
        let mut tokens = near(&centroids, dim, count, 9);
        tokens.extend(unit_rows(count, dim, 10));
        tokens.extend(vec![0.0; dim]);
        // Codecs keep half precision, so the oracle reads the codec's own centroids.
        let codec = ResidualCodec::from_parts(dim, 1, centroids, vec![0.0], vec![0.0; 2]).unwrap();
        for isa in Isa::available() {
            let mut codes = Vec::new();
            codec.assign_with_isa(isa, &tokens, &mut codes).unwrap();
            assert_eq!(codes.len(), tokens.len() / dim);
            for (token, code) in tokens.chunks_exact(dim).zip(&codes) {
                let scores = codec.centroids().chunks_exact(dim).map(|c| dot(token, c));
                let best = scores.fold(f64::NEG_INFINITY, f64::max);
                let got = dot(token, codec.centroid(*code));
                assert!(best - got <= 2e-7, "{isa} {k}x{dim}: {got} for {best}");
            }
            assert_eq!(
                codes.last(),
                Some(&0),
                "of centroids that tie the lowest is taken"
            );
        }
    }
}

#[test]
fn tied_centroids_give_the_lowest_code() {
    let dim = 16;
    let mut centroids = unit_rows(40, dim, 11);
    let third = centroids[3 * dim..4 * dim].to_vec();
    centroids[17 * dim..18 * dim].copy_from_slice(&third);
    centroids[39 * dim..].copy_from_slice(&third);
    let codec = ResidualCodec::from_parts(dim, 2, centroids, vec![0.0; 3], vec![0.0; 4]).unwrap();
    for isa in Isa::available() {
        let mut codes = Vec::new();
        codec.assign_with_isa(isa, &third, &mut codes).unwrap();
        assert_eq!(codes, [3], "{isa}");
    }
}

proptest! {
    #[test]
    fn dense_scores_are_those_of_the_decoded_rows(dim in 1usize..300, rows in 1usize..9, seed in 1u64..1000) {
        for (metric, codec) in Metric::ALL.into_iter().flat_map(|m| DenseCodec::ALL.map(|c| (m, c))) {
            let mut values = numbers(rows * dim, seed);
            values.chunks_exact_mut(dim).for_each(|row| metric.prepare(row).unwrap());
            let mut coded = DenseCodes::default();
            codec.encode(metric, &values, dim, &mut coded).unwrap();
            let codes = &coded.codes;
            let mut aligned = vec![0u64; codes.len().div_ceil(8)];
            bytemuck::cast_slice_mut::<u64, u8>(&mut aligned)[..codes.len()].copy_from_slice(codes);
            let codes = &bytemuck::cast_slice(&aligned)[..codes.len()];
            let view = DenseRows::new(codec, metric, dim, DenseParts { codes, ..coded.parts() }).unwrap();
            prop_assert_eq!(view.len(), rows);
            let query = numbers(dim, seed + 1);
            let mut decoded = vec![0.0; dim];
            for isa in Isa::available() {
                let query = DenseQuery::with_isa(metric, dim, &query, isa).unwrap();
                let mut scores = vec![0.0; rows];
                query.score_range(&view, 0, &mut scores);
                for (row, score) in scores.into_iter().enumerate() {
                    view.decode(row, &mut decoded);
                    let norms = dot(&decoded, &decoded) + dot(query.vector(), query.vector());
                    let expected = match metric {
                        Metric::L2 => 2.0 * dot(&decoded, query.vector()) - norms,
                        _ => dot(&decoded, query.vector()),
                    };
                    // An int8 query is off by at most half its scale a dimension.
                    let root = f64::from(u16::try_from(dim).unwrap()).sqrt();
                    let bound = match codec {
                        DenseCodec::F32 => 1e-5,
                        DenseCodec::F16 => 1e-5,
                        DenseCodec::Int8 => 1e-5 + root / 127.0,
                        // The query has two bytes a number; norms are those of rows that were not coded.
                        DenseCodec::Rabitq8 => 1e-5 + 2e-3 * root,
                        DenseCodec::Rabitq12 => 1e-5 + 1e-4 * root,
                    } * (norms + 1e-3);
                    prop_assert!((f64::from(score) - expected).abs() <= bound, "{isa} {codec:?} {metric:?} {score} {expected}");
                    prop_assert_eq!(query.score(&view, row), score);
                }
            }
        }
    }
}

#[test]
fn an_instruction_set_of_another_machine_is_refused() {
    for isa in Isa::ALL {
        let made = MaxSimQuery::with_isa(8, &[1.0; 8], isa).map(|_| ());
        let expected = if isa.is_available() {
            Ok(())
        } else {
            Err(CodecError::IsaUnavailable { isa })
        };
        assert_eq!(made, expected);
    }
    assert_eq!(Isa::available().last(), Some(&Isa::Scalar));
    assert_eq!(Isa::available().first(), Some(&Isa::best()));
}

#[test]
fn rabitq_is_near_the_rows_and_its_highest_bits_are_those_of_int4() {
    for (dim, metric) in [
        (7, Metric::InnerProduct),
        (100, Metric::Cosine),
        (128, Metric::L2),
        (384, Metric::Cosine),
    ] {
        let (rows, query) = (unit_rows(60, dim, 91), unit_rows(1, dim, 92));
        let query = DenseQuery::new(metric, dim, &query).unwrap();
        let off = |codec: DenseCodec| {
            let mut coded = DenseCodes::default();
            codec.encode(metric, &rows, dim, &mut coded).unwrap();
            let view = DenseRows::new(codec, metric, dim, coded.parts()).unwrap();
            let mut squares = 0.0;
            for (at, row) in rows.chunks_exact(dim).enumerate() {
                let off = f64::from(query.score(&view, at) - query.score_f32(row));
                squares += off * off;
            }
            (squares / 60.0).sqrt()
        };
        let [int8, eight, twelve] = [DenseCodec::Int8, DenseCodec::Rabitq8, DenseCodec::Rabitq12].map(off);
        // Of numbers that are all alike, as these are, int8 loses less.
        assert!(
            eight < 1.7 * int8 && twelve < 0.2 * eight,
            "{dim}: {int8} {eight} {twelve}"
        );

        let mut coded = DenseCodes::default();
        DenseCodec::Rabitq8
            .encode(metric, &rows, dim, &mut coded)
            .unwrap();
        let view = DenseRows::new(DenseCodec::Rabitq8, metric, dim, coded.parts()).unwrap();
        let factors: Vec<_> = (0..60).map(|row| view.coarse_factors(row).unwrap()).collect();
        let steps: Vec<_> = factors.iter().map(|of| of.step).collect();
        let norms: Vec<_> = factors.iter().map(|of| of.squared_norm).collect();
        let norms = if metric == Metric::L2 { &norms[..] } else { &[] };
        let coarse = Int4Rows::new(metric, dim, view.coarse().unwrap(), (&steps, norms)).unwrap();
        let mean = |score: &dyn Fn(usize) -> f32| {
            let off = |row: usize| f64::from(score(row) - query.score(&view, row)).powi(2);
            ((0..60).map(off).sum::<f64>() / 60.0).sqrt()
        };
        let spread = 0.25 / f64::from(u16::try_from(dim).unwrap()).sqrt();
        let off = mean(&|row| query.sketch().score(&coarse, row));
        assert!(off < spread && off > 4.0 * eight, "{dim}: {off} of {spread}");
    }
    let mut coded = DenseCodes::default();
    DenseCodec::Rabitq12
        .encode(Metric::InnerProduct, &[0.0; 16], 16, &mut coded)
        .unwrap();
    let view = DenseRows::new(DenseCodec::Rabitq12, Metric::InnerProduct, 16, coded.parts()).unwrap();
    let query = DenseQuery::new(Metric::InnerProduct, 16, &[1.0; 16]).unwrap();
    assert_eq!(query.score(&view, 0), 0.0, "a row of zeros is worth nothing");
    assert_eq!(view.coarse_factors(0).unwrap().step.to_f32(), 0.0);
    // Numbers of which squares are too large or too small.
    for size in [1e-25, 1e25] {
        let row: Vec<f32> = (0..16_u8).map(|at| size * (f32::from(at) - 6.0)).collect();
        let mut coded = DenseCodes::default();
        DenseCodec::Rabitq12
            .encode(Metric::InnerProduct, &row, 16, &mut coded)
            .unwrap();
        let view = DenseRows::new(DenseCodec::Rabitq12, Metric::InnerProduct, 16, coded.parts()).unwrap();
        let score = query.score(&view, 0) / size;
        assert!((score - 24.0).abs() < 0.05, "{size}: {score}");
    }
    let short = DenseParts {
        fine: &coded.fine[1..],
        ..coded.parts()
    };
    assert!(DenseRows::new(DenseCodec::Rabitq12, Metric::InnerProduct, 16, short).is_err());
}

#[test]
fn int4_scores_are_near_those_of_the_rows() {
    for (dim, metric) in [
        (8, Metric::Cosine),
        (100, Metric::InnerProduct),
        (128, Metric::Cosine),
        (128, Metric::L2),
        (384, Metric::InnerProduct),
        (1000, Metric::L2),
    ] {
        let (rows, queries) = (unit_rows(40, dim, 71), unit_rows(10, dim, 72));
        let codec = Int4Codec::new(metric, dim);
        let (mut codes, mut steps, mut norms) = (vec![0; 40 * codec.row_bytes()], vec![], vec![]);
        for (row, codes) in rows
            .chunks_exact(dim)
            .zip(codes.chunks_exact_mut(codec.row_bytes()))
        {
            let factors = codec.encode(row, codes);
            steps.push(factors.step);
            norms.push(factors.squared_norm);
        }
        norms.truncate(Int4Codec::norms(metric, 40));
        assert_eq!(norms.is_empty(), metric != Metric::L2);
        let coded = codec.rows(&codes, &steps, &norms).unwrap();
        assert_eq!((coded.len(), coded.is_empty()), (40, false));
        let exact = |a: &[f32], b: &[f32]| match metric {
            Metric::L2 => 2.0 * dot(a, b) - dot(a, a) - dot(b, b),
            _ => dot(a, b),
        };
        let spread = 0.1 / f64::from(u16::try_from(dim).unwrap()).sqrt()
            * if metric == Metric::L2 { 2.0 } else { 1.0 };
        let (mut squares, mut count) = (0.0, 0.0);
        for query in queries.chunks_exact(dim) {
            let bound = codec.query(query);
            for some in [0, 1, 3, 4, 39, 133] {
                let some: Vec<u32> = (0..some).map(|at| at * 7 % 40).collect();
                let mut scores = vec![f32::NAN; some.len() + 1];
                bound.score_some(&coded, &some, &mut scores);
                let expected: Vec<f32> = some
                    .iter()
                    .map(|row| bound.score(&coded, *row as usize))
                    .collect();
                assert_eq!(scores[..some.len()], expected, "{dim}, {metric:?}");
                assert!(scores[some.len()].is_nan(), "no more than was asked");
            }
            for (at, row) in rows.chunks_exact(dim).enumerate() {
                coded.prefetch(at);
                let off = f64::from(bound.score(&coded, at)) - exact(query, row);
                assert!(off.abs() < 8.0 * spread, "{dim}, {metric:?}: off by {off}");
                squares += off * off;
                count += 1.0;
            }
        }
        let deviation = f64::sqrt(squares / count);
        assert!(
            deviation < 1.3 * spread && deviation > 0.3 * spread,
            "{dim}, {metric:?}: {deviation} of {spread}"
        );
        for (a, b) in [(0, 1), (7, 7), (39, 12)] {
            let off =
                f64::from(coded.pair_score(a, b)) - exact(&rows[a * dim..][..dim], &rows[b * dim..][..dim]);
            assert!(
                off.abs() < 12.0 * spread + 0.03,
                "{dim}, {metric:?}: {a} and {b} off by {off}"
            );
        }
        coded.prefetch(1000);
    }
    let codec = Int4Codec::new(Metric::InnerProduct, 16);
    let mut codes = vec![0; codec.row_bytes()];
    let factors = codec.encode(&[0.0; 16], &mut codes);
    assert_eq!(
        (factors.step.to_f32(), factors.squared_norm),
        (0.0, 0.0),
        "a row of zeros is worth nothing"
    );
    let steps = [factors.step];
    assert!(codec.rows(&codes, &[], &[]).is_err() && codec.rows(&codes[1..], &steps, &[]).is_err());
    assert!(codec.rows(&codes, &steps, &[0.0]).is_err() && codec.rows(&codes, &steps, &[]).is_ok());
    let distances = Int4Codec::new(Metric::L2, 16);
    assert!(distances.rows(&codes, &steps, &[]).is_err() && distances.rows(&codes, &steps, &[0.0]).is_ok());
}
