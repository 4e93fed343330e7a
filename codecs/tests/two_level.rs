//! Assignment in two levels against the exact one: on every instruction set the same, and nearly always right.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use latewood_codecs::kernel::Isa;
use latewood_codecs::kmeans::KMeans;
use latewood_codecs::{CodecError, Metric, ResidualCodec, ResidualCodes};

const DIM: usize = 64;

/// Numbers around 0, the same on every run: a linear congruential generator, the sum of four uniform numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
            let unit = (self.0 >> 40) as f32 / 16_777_216.0;
            unit - 0.5
        };
        uniform() + uniform() + uniform() + uniform()
    }

    /// Unit vectors around rows, each row as often as any other.
    fn around(&mut self, rows: &[f32], count: usize, spread: f32) -> Vec<f32> {
        let mut out = Vec::with_capacity(count * DIM);
        for row in rows.chunks_exact(DIM).cycle().take(count) {
            let mut token: Vec<f32> = row.iter().map(|v| v + spread * self.next()).collect();
            Metric::Cosine.prepare(&mut token).unwrap();
            out.extend(token);
        }
        out
    }
}

/// Centroids around topics, and tokens around the centroids, so loosely that a few are nearer to a centroid of another
/// topic.
fn clustered(centroids: usize, tokens: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(7);
    let topics = random.around(&[0.0; DIM], 90, 1.0);
    let centroids = random.around(&topics, centroids, 0.3);
    let tokens = random.around(&centroids, tokens, 0.25);
    (centroids, tokens)
}

fn codec(centroids: Vec<f32>) -> ResidualCodec {
    ResidualCodec::from_parts(DIM, 1, centroids, vec![0.0], vec![0.0; 2]).unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

#[test]
fn it_agrees_with_the_exact_assignment_for_99_tokens_in_100() {
    let count = 3000;
    // A group is rarely a whole number of panels, and 4,100 is no number of them either.
    let (centroids, tokens) = clustered(4100, count);
    let codec = codec(centroids);
    let (mut exact, mut near) = (Vec::new(), Vec::new());
    codec.assign(&tokens, &mut exact);
    codec.assign_two_level(&tokens, &mut near);
    assert_eq!(near.len(), count);
    let same = exact.iter().zip(&near).filter(|(a, b)| a == b).count();
    assert!(same * 100 >= count * 99, "{same} of {count}");
    let total = |codes: &[u32]| -> f64 {
        let pairs = tokens.chunks_exact(DIM).zip(codes);
        pairs
            .map(|(token, code)| 1.0 - dot(token, codec.centroid(*code)))
            .sum()
    };
    assert!(
        total(&near) < total(&exact) * 1.005,
        "{} for {}",
        total(&near),
        total(&exact)
    );
}

#[test]
fn it_depends_on_the_token_and_the_centroids_alone() {
    let (centroids, tokens) = clustered(4096, 2300);
    let codec = codec(centroids);
    let mut all = Vec::new();
    codec.assign_two_level(&tokens, &mut all);
    for isa in Isa::available() {
        let mut codes = Vec::new();
        codec.assign_two_level_with_isa(isa, &tokens, &mut codes).unwrap();
        assert_eq!(codes, all, "{isa}");
    }
    for block in [1, 97, 2048] {
        let mut codes = Vec::new();
        for tokens in tokens.chunks(block * DIM).take(300) {
            codec.assign_two_level(tokens, &mut codes);
        }
        assert_eq!(codes, all[..codes.len()], "blocks of {block}");
    }
}

#[test]
fn few_centroids_are_compared_one_and_all() {
    let (centroids, tokens) = clustered(1000, 500);
    let codec = codec(centroids);
    let (mut exact, mut near) = (Vec::new(), Vec::new());
    codec.assign(&tokens, &mut exact);
    codec.assign_two_level(&tokens, &mut near);
    assert_eq!(exact, near);
}

#[test]
fn buckets_are_coded_from_the_nearest_centroid() {
    let (centroids, tokens) = clustered(4100, 3000);
    let codec = codec(centroids);
    let mut exact = Vec::new();
    codec.assign(&tokens, &mut exact);
    let mut codes = ResidualCodes::default();
    codec.encode(&tokens, &mut codes);
    assert_eq!(codes.codes, exact);
}

#[test]
fn hopeless_tokens_get_a_centroid_that_exists() {
    let (centroids, _) = clustered(4096, 1);
    let codec = codec(centroids);
    for hopeless in [0.0, f32::NAN, f32::INFINITY, 1e-42] {
        let mut codes = Vec::new();
        codec.assign_two_level(&[hopeless; 3 * DIM], &mut codes);
        assert_eq!(codes.len(), 3);
        assert!(codes.iter().all(|code| *code < 4096), "{hopeless}: {codes:?}");
    }
    let mut codes = Vec::new();
    codec.assign_two_level(&[], &mut codes);
    assert_eq!(codes, []);
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        assert_eq!(
            codec.assign_two_level_with_isa(isa, &[0.0; DIM], &mut codes),
            Err(CodecError::IsaUnavailable { isa })
        );
    }
}

#[test]
fn kmeans_of_many_clusters_comes_as_near_as_with_exact_assignment() {
    let (_, tokens) = clustered(4096, 12_288);
    let mut kmeans = KMeans::new(DIM, 4096, &tokens, 5).unwrap();
    let mut exact = KMeans::new(DIM, 4096, &tokens, 5).unwrap().finish();
    for _ in 0..3 {
        let whole = kmeans.assign(&tokens);
        let blocks: Vec<u32> = tokens
            .chunks(1000 * DIM)
            .flat_map(|block| kmeans.assign(block))
            .collect();
        assert_eq!(whole, blocks);
        kmeans.update(&tokens, &whole);
        exact = step(exact, &tokens);
    }
    let objective = |centroids: Vec<f32>| -> f64 {
        let (codec, mut codes) = (codec(centroids), Vec::new());
        codec.assign(&tokens, &mut codes);
        let pairs = tokens.chunks_exact(DIM).zip(&codes);
        pairs
            .map(|(token, code)| 1.0 - dot(token, codec.centroid(*code)))
            .sum()
    };
    let (near, exact) = (objective(kmeans.finish()), objective(exact));
    assert!(near < exact * 1.01, "{near} for {exact}");
}

/// An iteration of k-means by exact assignment; a cluster that is empty stays where it is.
fn step(mut centroids: Vec<f32>, tokens: &[f32]) -> Vec<f32> {
    let mut codes = Vec::new();
    codec(centroids.clone()).assign(tokens, &mut codes);
    let mut sums = vec![0.0; centroids.len()];
    for (token, code) in tokens.chunks_exact(DIM).zip(&codes) {
        let sum = &mut sums[*code as usize * DIM..][..DIM];
        sum.iter_mut().zip(token).for_each(|(s, v)| *s += v);
    }
    for (centroid, sum) in centroids.chunks_exact_mut(DIM).zip(sums.chunks_exact_mut(DIM)) {
        if Metric::Cosine.prepare(sum).is_ok() {
            centroid.copy_from_slice(sum);
        }
    }
    centroids
}
