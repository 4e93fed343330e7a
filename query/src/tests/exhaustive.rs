//! Scans: every metric and codec, every place a document can be, deletions, paging, ties.

use std::collections::BTreeSet;

use latewood_codecs::{DenseCodec, Metric, OriginalCodec};
use proptest::prelude::*;

use super::harness::*;
use crate::{CostModel, QueryRequest, Resources, StageName, search};

/// Two segments and a memtable; some documents deleted, some replaced.
fn spread(fixture: &Fixture, random: &mut Random) {
    let records = natural_records(300, random);
    fixture.bulk(&records[..120]);
    fixture.bulk(&records[120..200]);
    fixture.upsert(&records[200..]);
    fixture.delete(&[3, 7, 130, 210, 299]);
    let mut replaced = natural_records(12, random);
    replaced.retain(|record| record.id != 3.into() && record.id != 7.into());
    fixture.upsert(&replaced);
}

#[test]
fn dense_scans_agree_with_brute_force_for_every_metric_and_codec() {
    for metric in [Metric::Cosine, Metric::InnerProduct, Metric::L2] {
        for codec in DenseCodec::ALL {
            let random = &mut Random::new(7);
            let fixture = Fixture::new(schema(metric, codec, 2, None));
            spread(&fixture, random);
            for limit in [1, 10, 1_000] {
                let request = dense_request(random.floats(DENSE_DIM), limit);
                let hits = fixture.hits(&request);
                let ranking = ranking(&fixture.snapshot(), &request, |_| true);
                assert_eq!(ranking.len(), 295);
                // int8 rows are scored by a query of int8 numbers, and norms of RaBitQ's are of rows that were not coded.
                let tolerance = match codec {
                    DenseCodec::F32 | DenseCodec::F16 => 2e-3,
                    DenseCodec::Int8 | DenseCodec::Rabitq8 => 3e-2,
                    DenseCodec::Rabitq12 => 4e-3,
                };
                assert_best(&hits, &ranking, limit, tolerance);
                assert!(hits.iter().all(|hit| hit.scored_by == StageName::DenseScan));
            }
        }
    }
}

#[test]
fn maxsim_scans_agree_with_brute_force_over_whole_tokens() {
    let random = &mut Random::new(8);
    let fixture = Fixture::new(plain());
    spread(&fixture, random);
    for limit in [1, 10, 1_000] {
        let request = maxsim_request(random.clustered(4, 40), limit);
        let ranking = ranking(&fixture.snapshot(), &request, |_| true);
        assert_best(&fixture.hits(&request), &ranking, limit, 1e-3);
    }
}

#[test]
fn maxsim_scans_agree_with_brute_force_over_every_tier() {
    for bits in [1, 2, 4] {
        for original in [None, Some(OriginalCodec::F16), Some(OriginalCodec::Int8)] {
            let random = &mut Random::new(9);
            let fixture = Fixture::new(schema(Metric::Cosine, DenseCodec::F32, bits, original));
            spread(&fixture, random);
            fixture.optimize();
            fixture.upsert(&natural_records(20, random)[15..]);
            assert!(!fixture.snapshot().codebooks().is_empty());
            for exact in [true, false] {
                let request = QueryRequest {
                    exact,
                    ..maxsim_request(random.clustered(4, 40), 10)
                };
                let ranking = ranking(&fixture.snapshot(), &request, |_| true);
                // The trellis keeps norms in 5 or 6 bits, and cuts those beyond what the held-out tokens had; the documents that
                // are ranked came back normalised.
                assert_best(&fixture.hits(&request), &ranking, 10, 6e-2);
            }
        }
    }
}

#[test]
fn pages_add_up_to_the_whole() {
    let random = &mut Random::new(10);
    let fixture = Fixture::new(plain());
    fixture.bulk(&exact_records(90, random));
    for request in [
        dense_request(random.wholes(DENSE_DIM), 1_000),
        maxsim_request(random.wholes(16), 1_000),
    ] {
        let whole = fixture.hits(&request);
        assert_eq!(whole.len(), 90);
        let mut pages = Vec::new();
        for offset in (0..100).step_by(7) {
            pages.extend(fixture.hits(&QueryRequest {
                limit: 7,
                offset,
                ..request.clone()
            }));
        }
        assert_eq!(pages, whole);
    }
}

#[test]
fn an_empty_collection_has_no_hits() {
    let fixture = Fixture::new(plain());
    assert!(fixture.hits(&dense_request(vec![1.0; DENSE_DIM], 10)).is_empty());
    assert!(fixture.hits(&maxsim_request(vec![1.0; TOKEN_DIM], 10)).is_empty());
}

#[test]
fn threads_change_nothing_but_the_time() {
    let random = &mut Random::new(11);
    let fixture = Fixture::new(plain());
    let records = exact_records(5_000, random);
    fixture.bulk(&records[..4_500]);
    fixture.upsert(&records[4_500..]);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let snapshot = fixture.snapshot();
    for request in [
        dense_request(random.wholes(DENSE_DIM), 50),
        maxsim_request(random.wholes(16), 50),
    ] {
        let run = |pool| {
            let resources = Resources {
                pool,
                ..Resources::default()
            };
            search(&snapshot, &request, &CostModel::default(), resources)
                .unwrap()
                .1
                .hits
        };
        let alone = run(None);
        assert_eq!(run(None), alone);
        assert_eq!(run(Some(&pool)), alone);
    }
}

#[test]
fn a_profile_names_every_stage_and_its_work() {
    let random = &mut Random::new(12);
    let fixture = Fixture::new(plain());
    fixture.bulk(&natural_records(50, random));
    let mut request = dense_request(random.floats(DENSE_DIM), 5);
    request.filter = Some(crate::Filter::exists("year"));
    let (_, outcome) = fixture.search(&request);
    let names: Vec<&str> = outcome
        .profile
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, ["filter", "plan", "dense scan", "merge"]);
    let scan = &outcome.profile.stages[2];
    assert_eq!(scan.flops, 2 * scan.candidates_in * 16);
    assert_eq!(scan.bytes, scan.candidates_in * 64);
    assert!(scan.candidates_in < 50 && scan.candidates_out == 5);
    let sum: f64 = outcome
        .profile
        .stages
        .iter()
        .map(|stage| stage.microseconds)
        .sum();
    assert!(sum <= outcome.profile.total_microseconds);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the split into segments and memtable, an exhaustive answer is the same, ties included.
    #[test]
    fn a_split_into_segments_changes_no_answer(seed in any::<u64>(), cuts in prop::collection::btree_set(1usize..60, 0..4), tail in any::<bool>()) {
        let random = &mut Random::new(seed);
        let records = exact_records(60, random);
        let (dense, tokens) = (random.wholes(DENSE_DIM), random.wholes(3 * TOKEN_DIM));
        let deleted: BTreeSet<u64> = (0..5).map(|_| random.below(60)).collect();
        let deleted: Vec<u64> = deleted.into_iter().collect();

        let whole = Fixture::new(plain());
        whole.upsert(&records);
        whole.delete(&deleted);
        let split = Fixture::new(plain());
        let mut first = 0;
        for cut in &cuts {
            split.bulk(&records[first..*cut]);
            first = *cut;
        }
        if tail { split.upsert(&records[first..]) } else { split.bulk(&records[first..]) }
        split.delete(&deleted);

        prop_assume!(dense.iter().any(|x| *x != 0.0) && tokens.iter().any(|x| *x != 0.0));
        for mut request in [dense_request(dense, 20), maxsim_request(tokens, 20)] {
            for filter in [None, Some(crate::Filter::gte("year", 2010))] {
                request.filter = filter;
                let (expected, found) = (whole.hits(&request), split.hits(&request));
                prop_assert_eq!(ids(&found), ids(&expected));
                for (a, b) in found.iter().zip(&expected) {
                    prop_assert_eq!(a.score, b.score);
                }
            }
        }
    }
}
