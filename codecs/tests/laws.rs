//! Laws of the residual codec and of k-means.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use half::f16;
use latewood_codecs::kmeans::KMeans;
use latewood_codecs::{
    CodecError, MaxSimQuery, Metric, Quantizer, ResidualCodec, ResidualCodes, ResidualQuery, maxsim,
};
use proptest::prelude::*;

/// Clusters of unit vectors, by a seed: centroids of `k` directions and tokens around them.
fn sample(dim: usize, k: usize, count: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut state = seed | 1;
    let mut next = move || {
        // The sum of four uniform numbers is near enough to a normal one.
        (0..4)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
                let unit = (state >> 40) as f32 / 16_777_216.0;
                unit - 0.5
            })
            .sum::<f32>()
    };
    let mut centroids: Vec<f32> = (0..k * dim).map(|_| next()).collect();
    centroids
        .chunks_exact_mut(dim)
        .for_each(|c| Metric::Cosine.prepare(c).unwrap());
    let mut tokens = Vec::with_capacity(count * dim);
    for at in 0..count {
        let mut token: Vec<f32> = centroids[at * 5 % k * dim..][..dim]
            .iter()
            .map(|c| c + 0.08 * next())
            .collect();
        Metric::Cosine.prepare(&mut token).unwrap();
        tokens.extend(token.iter().map(|v| f16::from_f32(*v).to_f32()));
    }
    (centroids, tokens)
}

/// The buckets of packed residuals: the reference's own reading, one bit after another.
fn buckets(residuals: &[u8], bits: u8) -> Vec<u8> {
    let bit = |at: usize| residuals[at / 8] >> (7 - at % 8) & 1;
    let bits = usize::from(bits);
    (0..residuals.len() * 8 / bits)
        .map(|v| (0..bits).map(|i| bit(v * bits + i) << i).sum())
        .collect()
}

fn encode(codec: &ResidualCodec, tokens: &[f32]) -> ResidualCodes {
    let mut codes = ResidualCodes::default();
    codec.encode(tokens, &mut codes);
    codes
}

fn decode(codec: &ResidualCodec, codes: &ResidualCodes, at: usize, out: &mut [f32]) {
    let bytes = codec.residual_bytes();
    codec.decode(
        codes.codes[at],
        &codes.residuals[at * bytes..][..bytes],
        codes.factors[at],
        out,
    );
}

fn both(bits: u8, dim: usize, centroids: &[f32], heldout: &[f32]) -> [ResidualCodec; 2] {
    [
        ResidualCodec::fit_buckets(bits, dim, centroids.to_vec(), heldout).unwrap(),
        ResidualCodec::fit_trellis(bits, dim, centroids, heldout).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn coarse_codes_are_the_high_bits_of_fine_ones(seed in any::<u64>(), dim in (1usize..9).prop_map(|d| d * 8)) {
        let (centroids, tokens) = sample(dim, 9, 120, seed);
        let of = |bits: u8| {
            let codec = ResidualCodec::fit_buckets(bits, dim, centroids.clone(), &tokens).unwrap();
            buckets(&encode(&codec, &tokens).residuals, bits)
        };
        let fine = of(4);
        prop_assert_eq!(of(2), fine.iter().map(|v| v >> 2).collect::<Vec<_>>());
        prop_assert_eq!(of(1), fine.iter().map(|v| v >> 3).collect::<Vec<_>>());
    }

    #[test]
    fn the_error_shrinks_with_bits_and_reconstructions_have_unit_length(seed in any::<u64>()) {
        let dim = 64;
        let (centroids, tokens) = sample(dim, 12, 200, seed);
        let mut errors = [[0.0; 3]; 2];
        for (at, bits) in [1u8, 2, 4].into_iter().enumerate() {
            for (of, codec) in both(bits, dim, &centroids, &tokens).into_iter().enumerate() {
                let codes = encode(&codec, &tokens);
                prop_assert_eq!(codes.residuals.len(), 200 * codec.residual_bytes());
                prop_assert_eq!(codes.factors.len(), 200);
                let mut out = vec![0.0; dim];
                // A trellis keeps the reciprocal norm in 5 or 6 bits; of these 200 held-out tokens one at each end may be
                // beyond its table, by more.
                let (unit, most, beyond) = [(1e-5, 1e-5, 0), (0.06, 0.15, 2)][of];
                let mut farther = 0;
                for (row, token) in tokens.chunks_exact(dim).enumerate() {
                    decode(&codec, &codes, row, &mut out);
                    let off = (Metric::InnerProduct.score(&out, &out) - 1.0).abs();
                    prop_assert!(off < most);
                    farther += usize::from(off >= unit);
                    errors[of][at] -= Metric::L2.score(token, &out);
                }
                prop_assert!(farther <= beyond, "{farther} at {bits} bits");
            }
        }
        for errors in errors {
            prop_assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
            prop_assert!(errors[2] < 0.1 * errors[0], "{errors:?}");
        }
        let [buckets, trellis] = errors;
        // The scale that leaves dot products unbiased costs some squared error, most of it at 1 bit.
        for ((buckets, trellis), share) in buckets.iter().zip(trellis).zip([1.0, 0.7, 0.5]) {
            prop_assert!(trellis < share * buckets, "{errors:?}");
        }
    }

    #[test]
    fn scores_that_differ_by_more_than_their_errors_keep_their_order(seed in any::<u64>()) {
        let dim = 64;
        let (centroids, tokens) = sample(dim, 12, 240, seed);
        let query = &tokens[17 * dim..25 * dim];
        let matrix = MaxSimQuery::new(dim, query).unwrap();
        for codec in both(4, dim, &centroids, &tokens) {
        let codes = encode(&codec, &tokens);
        let bound = ResidualQuery::new(&codec, &matrix).unwrap();
        let mut out = vec![0.0; dim];
        let mut documents = Vec::new();
        for (first, document) in (0..).step_by(12).zip(tokens.chunks_exact(12 * dim)) {
            // A unit query token sees no more of a token's error than its length.
            let mut error = 0.0f32;
            for (at, token) in (first..).zip(document.chunks_exact(dim)) {
                decode(&codec, &codes, at, &mut out);
                error = error.max((-Metric::L2.score(token, &out)).sqrt());
            }
            let rows = codes.rows().slice(first..first + 12);
            let exact = maxsim(query, document, dim).unwrap();
            let (coded, quick) = (bound.score_exact(rows), bound.score(rows));
            prop_assert!((coded - exact).abs() <= 8.0 * error * 1.002 + 1e-4);
            prop_assert!((quick - coded).abs() <= 8.0 * 0.004, "{quick} for {coded}");
            documents.push((exact, coded, error));
        }
        for a in &documents {
            for b in &documents {
                if a.0 - b.0 > 8.0 * (a.2 + b.2) * 1.002 + 2e-4 {
                    prop_assert!(a.1 > b.1, "{a:?} and {b:?} changed places");
                }
            }
        }
        }
    }

    #[test]
    fn documents_score_the_same_alone_and_within_a_segment(seed in any::<u64>(), cut in 1usize..119) {
        let dim = 24;
        let (centroids, tokens) = sample(dim, 7, 120, seed);
        let query = MaxSimQuery::new(dim, &tokens[..3 * dim]).unwrap();
        for codec in both(2, dim, &centroids, &tokens) {
            let all = encode(&codec, &tokens);
            let alone = encode(&codec, &tokens[cut * dim..]);
            prop_assert_eq!(&all.codes[cut..], &alone.codes[..]);
            let bound = ResidualQuery::new(&codec, &query).unwrap();
            prop_assert_eq!(bound.score(all.rows().slice(cut..120)), bound.score(alone.rows()));
            prop_assert_eq!(bound.score_exact(all.rows().slice(cut..120)), bound.score_exact(alone.rows()));
        }
    }
}

#[test]
fn the_formulas_are_the_reference_s() {
    // The examples of the ColBERT repository's logs.
    for (tokens, centroids) in [
        (2_000_000, 16384),
        (10_000_000, 32768),
        (67_000_000, 65536),
        (598_000_000, 262_144),
    ] {
        assert_eq!(ResidualCodec::num_centroids(tokens), centroids, "{tokens}");
    }
    assert_eq!(ResidualCodec::num_centroids(4096), 1024);
    assert_eq!(ResidualCodec::num_centroids(100), 16);
    assert_eq!(ResidualCodec::num_centroids(0), 1);
    assert_eq!(ResidualCodec::num_centroids(u64::MAX), 1 << 35);
    assert_eq!(ResidualCodec::sample_passages(10), 10);
    assert_eq!(ResidualCodec::sample_passages(1_000_000), 175_272);
    assert_eq!(ResidualCodec::sample_passages(0), 0);
}

#[test]
fn quantiles_are_interpolated() {
    // One dimension of residuals 0, 1, .. 10 (and zeros elsewhere would shift them): dimension 8, tokens along axis 0.
    let mut heldout = Vec::new();
    for at in 0..9u8 {
        heldout.extend([f32::from(at) * 0.125; 8]);
    }
    let codec = ResidualCodec::fit_buckets(2, 8, vec![0.0; 8], &heldout).unwrap();
    let quantile = |q: f64| {
        let (all, rank) = (heldout.len(), q * 71.0);
        assert_eq!(all, 72);
        let below = rank.floor();
        let value = |rank: f64| (rank / 8.0).floor() * 0.125;
        value(below) + (value(below + 1.0) - value(below)) * (rank - below)
    };
    let Quantizer::Buckets(buckets) = codec.quantizer() else {
        panic!("buckets were fitted");
    };
    let (cutoffs, weights) = (buckets.cutoffs(), buckets.weights());
    for (cutoff, q) in cutoffs.iter().zip([0.25, 0.5, 0.75]) {
        assert!((f64::from(*cutoff) - quantile(q)).abs() < 1e-6);
    }
    for (weight, q) in weights.iter().zip([0.125, 0.375, 0.625, 0.875]) {
        assert!((f64::from(*weight) - quantile(q)).abs() < 1e-6);
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let parts = |dim, bits, c: usize, cutoffs: &[f32], w: usize| {
        ResidualCodec::from_parts(dim, bits, vec![0.1; c], cutoffs.to_vec(), vec![0.0; w]).map(|_| ())
    };
    assert_eq!(parts(8, 1, 16, &[0.0], 2), Ok(()));
    assert_eq!(parts(8, 3, 16, &[0.0; 7], 8), Err(CodecError::Bits { got: 3 }));
    assert!(matches!(
        parts(9, 1, 18, &[0.0], 2),
        Err(CodecError::TokenDimension { got: 9, .. })
    ));
    assert!(matches!(
        parts(8, 1, 12, &[0.0], 2),
        Err(CodecError::Ragged { .. })
    ));
    assert!(matches!(
        parts(8, 1, 0, &[0.0], 2),
        Err(CodecError::Length { got: 0, .. })
    ));
    assert!(matches!(
        parts(8, 2, 8, &[0.0], 4),
        Err(CodecError::Length {
            expected: 3,
            got: 1,
            ..
        })
    ));
    assert!(matches!(
        parts(8, 2, 8, &[0.0; 3], 2),
        Err(CodecError::Length {
            expected: 4,
            got: 2,
            ..
        })
    ));
    assert_eq!(
        parts(8, 2, 8, &[0.0, 0.2, 0.1], 4),
        Err(CodecError::NotAscending {
            what: "bucket cutoffs",
            index: 2
        })
    );
    assert!(matches!(
        parts(8, 1, 8, &[f32::NAN], 2),
        Err(CodecError::NotFinite { .. })
    ));
    let codec = ResidualCodec::from_parts(8, 1, vec![0.1; 8], vec![0.0], vec![0.0; 2]).unwrap();
    let query = MaxSimQuery::new(16, &[1.0; 16]).unwrap();
    assert!(matches!(
        ResidualQuery::new(&codec, &query),
        Err(CodecError::Dimension { expected: 8, got: 16 })
    ));
}

#[test]
fn bad_queries_are_refused() {
    assert!(matches!(
        MaxSimQuery::new(8, &[]),
        Err(CodecError::TokenCount { got: 0, .. })
    ));
    assert!(matches!(
        MaxSimQuery::new(8, &vec![1.0; 8 * 513]),
        Err(CodecError::TokenCount { got: 513, .. })
    ));
    assert!(matches!(
        MaxSimQuery::new(8, &[0.0; 16]),
        Err(CodecError::ZeroVector { .. })
    ));
    assert!(matches!(
        MaxSimQuery::new(8, &[f32::NAN; 8]),
        Err(CodecError::NotFinite { .. })
    ));
    assert!(matches!(
        MaxSimQuery::new(8, &[1.0; 9]),
        Err(CodecError::Ragged { .. })
    ));
    assert!(maxsim(&[1.0; 8], &[], 8).is_err());
}

#[test]
fn maxsim_knows_its_last_query_from_another() {
    let dim = 16;
    let (first, second) = (sample(dim, 5, 5, 1).0, sample(dim, 5, 5, 2).0);
    let document = sample(dim, 7, 7, 3).0;
    let fresh = |query: &[f32], dim: usize| MaxSimQuery::new(dim, query).unwrap().score_f32(&document);
    for query in [&first, &first, &second, &first] {
        assert_eq!(maxsim(query, &document, dim).unwrap(), fresh(query, dim));
        // The same numbers as rows of another length are another query.
        assert_eq!(maxsim(query, &document, 8).unwrap(), fresh(query, 8));
    }
    for at in 0..document.len() {
        for bad in [f32::NAN, f32::NEG_INFINITY] {
            let mut damaged = document.clone();
            damaged[at] = bad;
            let refused = maxsim(&first, &damaged, dim);
            assert!(
                matches!(refused, Err(CodecError::NotFinite { row, dim: column, .. })
                    if (row, column) == (at / dim, at % dim)),
                "{at}: {refused:?}"
            );
        }
    }
}

#[test]
fn codes_of_another_codebook_do_not_panic() {
    let (centroids, tokens) = sample(16, 4, 40, 5);
    let query = MaxSimQuery::new(16, &tokens[..32]).unwrap();
    for codec in both(2, 16, &centroids, &tokens) {
        let mut codes = encode(&codec, &tokens);
        codes.codes.fill(u32::MAX);
        let bound = ResidualQuery::new(&codec, &query).unwrap();
        assert!(bound.score(codes.rows()).is_finite());
        assert!(bound.score_exact(codes.rows()).is_finite());
        assert!(bound.centroid_interaction(codes.rows().codes).is_finite());
    }
}

#[test]
fn a_trellis_codec_is_its_parts() {
    let (centroids, tokens) = sample(24, 5, 60, 8);
    for bits in [1, 2, 4] {
        let codec = ResidualCodec::fit_trellis(bits, 24, &centroids, &tokens).unwrap();
        let Quantizer::Trellis(trellis) = codec.quantizer() else {
            panic!("a trellis was fitted");
        };
        let (scales, norms) = (trellis.scales().to_vec(), trellis.inverse_norms().to_vec());
        let again =
            ResidualCodec::from_trellis(24, bits, codec.centroid_bytes(), scales.clone(), norms.clone());
        let again = again.unwrap();
        assert_eq!(again.centroids(), codec.centroids());
        assert_eq!(encode(&again, &tokens), encode(&codec, &tokens));
        let bad = |scales: Vec<f32>, norms: Vec<f32>| {
            ResidualCodec::from_trellis(24, bits, codec.centroid_bytes(), scales, norms).map(|_| ())
        };
        assert!(matches!(
            bad(scales[1..].to_vec(), norms.clone()),
            Err(CodecError::Length { .. })
        ));
        assert!(matches!(
            bad(scales.clone(), norms[1..].to_vec()),
            Err(CodecError::Length { .. })
        ));
        let reversed: Vec<f32> = scales.iter().rev().copied().collect();
        assert!(matches!(
            bad(reversed, norms),
            Err(CodecError::NotAscending {
                what: "trellis scales",
                index: 1
            })
        ));
    }
    // Tokens that are their centroid have no residual to spread.
    let codec = ResidualCodec::fit_trellis(2, 24, &centroids, &centroids).unwrap();
    let codes = encode(&codec, &centroids);
    let mut out = vec![0.0; 24];
    for (at, centroid) in centroids.chunks_exact(24).enumerate() {
        decode(&codec, &codes, at, &mut out);
        assert!(
            Metric::L2.score(centroid, &out) > -1e-3,
            "{out:?} for {centroid:?}"
        );
    }
}

fn objective(tokens: &[f32], centroids: &[f32], dim: usize) -> f64 {
    let best = |t: &[f32]| {
        let scores = centroids
            .chunks_exact(dim)
            .map(|c| Metric::InnerProduct.score(t, c));
        f64::from(scores.fold(f32::NEG_INFINITY, f32::max))
    };
    tokens.chunks_exact(dim).map(best).sum()
}

#[test]
fn kmeans_improves_is_reproducible_and_leaves_no_cluster_empty() {
    let (_, tokens) = sample(32, 20, 1000, 11);
    let run = |seed: u64, iterations: usize| {
        let mut kmeans = KMeans::new(32, 40, &tokens, seed).unwrap();
        for _ in 0..iterations {
            let codes = kmeans.assign(&tokens);
            kmeans.update(&tokens, &codes);
        }
        kmeans.finish()
    };
    assert_eq!(run(1, 6), run(1, 6));
    assert_ne!(run(1, 6), run(2, 6));
    let objectives = [0, 1, 3, 8].map(|iterations| objective(&tokens, &run(1, iterations), 32));
    assert!(
        objectives.windows(2).all(|pair| pair[0] < pair[1]),
        "{objectives:?}"
    );
    for centroid in run(1, 6).chunks_exact(32) {
        assert!((Metric::InnerProduct.score(centroid, centroid) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn kmeans_over_blocks_is_that_over_the_whole() {
    let (_, tokens) = sample(16, 20, 700, 11);
    let (mut whole, mut blocks) = [(); 2]
        .map(|()| KMeans::from_rows(16, tokens[..60 * 16].to_vec(), 3).unwrap())
        .into();
    for _ in 0..4 {
        let codes = whole.assign(&tokens);
        let mut in_blocks = Vec::new();
        for block in tokens.chunks(90 * 16) {
            let codes = blocks.assign(block);
            blocks.add(block, &codes);
            in_blocks.extend(codes);
        }
        let row = |row: usize, out: &mut [f32]| out.copy_from_slice(&tokens[row * 16..][..16]);
        assert_eq!(whole.update(&tokens, &codes), blocks.finish_pass(&in_blocks, row));
    }
    // Without a row nothing moves.
    assert_eq!(blocks.finish_pass(&[], |_, _| {}), 0);
    assert_eq!(whole.finish(), blocks.finish());
    let no_rows = KMeans::from_rows(16, Vec::new(), 3);
    assert!(matches!(no_rows, Err(CodecError::Length { .. })));
    assert!(matches!(
        KMeans::from_rows(16, vec![f32::NAN; 16], 3),
        Err(CodecError::NotFinite { .. })
    ));
}

#[test]
fn empty_clusters_start_again_at_rows() {
    let (_, tokens) = sample(8, 4, 100, 3);
    let mut kmeans = KMeans::new(8, 5, &tokens, 9).unwrap();
    assert_eq!(kmeans.update(&tokens, &[0; 100]), 4);
    let mut counts = [0; 5];
    kmeans
        .assign(&tokens)
        .iter()
        .for_each(|c| counts[*c as usize] += 1);
    assert!(counts.iter().filter(|c| **c > 0).count() >= 4, "{counts:?}");
    assert!(matches!(
        KMeans::new(8, 101, &tokens, 9),
        Err(CodecError::Length { .. })
    ));
    assert!(matches!(
        KMeans::new(8, 0, &tokens, 9),
        Err(CodecError::Length { .. })
    ));
}
