//! Graph and token index: recall against brute force, and the promise that matches are never missing.

use latewood_codecs::{DenseCodec, Metric};

use super::harness::*;
use crate::{Filter, QueryRequest, Stage};

fn indexed(metric: Metric, codec: DenseCodec, random: &mut Random) -> Fixture {
    let fixture = Fixture::new(schema(metric, codec, 4, None));
    let records = natural_records(3_000, random);
    fixture.bulk(&records[..2_900]);
    fixture.optimize();
    fixture.upsert(&records[2_900..]);
    fixture.delete(&(0..3_000).step_by(17).collect::<Vec<_>>());
    fixture
}

fn average(recalls: &[f64]) -> f64 {
    recalls.iter().sum::<f64>() / f64::from(u32::try_from(recalls.len()).unwrap())
}

#[test]
fn the_graph_finds_nearly_all_of_the_best() {
    for (metric, codec) in [
        (Metric::Cosine, DenseCodec::Int8),
        (Metric::Cosine, DenseCodec::Rabitq8),
        (Metric::L2, DenseCodec::Rabitq8),
        (Metric::InnerProduct, DenseCodec::Rabitq12),
        (Metric::L2, DenseCodec::F32),
        (Metric::InnerProduct, DenseCodec::F16),
    ] {
        let random = &mut Random::new(40);
        let fixture = indexed(metric, codec, random);
        let snapshot = fixture.snapshot();
        let recalls: Vec<f64> = (0..20)
            .map(|_| {
                let request = dense_request(random.floats(DENSE_DIM), 10);
                let (plan, outcome) = fixture.search_with(&request, &indexes_only());
                assert!(matches!(plan.stages[0].stage, Stage::DenseGraph { .. }), "{plan}");
                assert_eq!(outcome.hits.len(), 10);
                recall(&outcome.hits, &ranking(&snapshot, &request, |_| true))
            })
            .collect();
        assert!(average(&recalls) >= 0.95, "{metric:?} {codec:?}: {recalls:?}");
    }
}

#[test]
fn the_token_index_finds_nearly_all_of_the_best() {
    let random = &mut Random::new(41);
    let fixture = indexed(Metric::Cosine, DenseCodec::F32, random);
    let snapshot = fixture.snapshot();
    let recalls: Vec<f64> = (0..20)
        .map(|_| {
            let request = maxsim_request(random.clustered(6, 40), 10);
            let (plan, outcome) = fixture.search_with(&request, &indexes_only());
            assert!(matches!(plan.stages[0].stage, Stage::MaxsimIndex(_)), "{plan}");
            let exact = fixture.hits(&QueryRequest {
                exact: true,
                ..request
            });
            let exact: Vec<_> = exact.into_iter().map(|hit| (hit.id, hit.score)).collect();
            assert_best_scores(&outcome.hits, &snapshot);
            recall(&outcome.hits, &exact)
        })
        .collect();
    assert!(average(&recalls) >= 0.95, "{recalls:?}");
}

/// Hits are live and in order.
fn assert_best_scores(hits: &[crate::Hit], snapshot: &latewood_storage::Snapshot) {
    assert_eq!(hits.len(), 10);
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
    assert!(hits.iter().all(|hit| snapshot.get(&hit.id).unwrap().is_some()));
}

#[test]
fn as_many_as_match_are_returned_through_an_index() {
    let random = &mut Random::new(42);
    let fixture = indexed(Metric::Cosine, DenseCodec::F32, random);
    for filter in [
        "year = 2000",
        "tags = \"tag1\" and price > 0",
        "open = true",
        "year = 1",
        "all()",
    ] {
        for limit in [10, 300] {
            let requests = [
                dense_request(random.floats(DENSE_DIM), limit),
                maxsim_request(random.clustered(3, 40), limit),
            ];
            for mut request in requests {
                request.filter = Some(Filter::parse(filter).unwrap());
                // Narrow settings, so that a beam or a probe alone would come back with less.
                (request.ef_search, request.n_probe, request.candidates) = (Some(1), Some(1), Some(1));
                let (plan, outcome) = fixture.search_with(&request, &indexes_only());
                let expected = plan.matching.min(limit as u64);
                assert_eq!(outcome.hits.len() as u64, expected, "{filter} {limit}\n{plan}");
            }
        }
    }
}

#[test]
fn an_index_answers_the_same_every_time() {
    let random = &mut Random::new(43);
    let fixture = indexed(Metric::Cosine, DenseCodec::Int8, random);
    for request in [
        dense_request(random.floats(DENSE_DIM), 20),
        maxsim_request(random.clustered(4, 40), 20),
    ] {
        let first = fixture.search_with(&request, &indexes_only()).1.hits;
        for _ in 0..3 {
            assert_eq!(fixture.search_with(&request, &indexes_only()).1.hits, first);
        }
    }
}

#[test]
fn what_waits_beside_an_index_is_found_at_a_look() {
    let random = &mut Random::new(44);
    let fixture = Fixture::new(schema(Metric::Cosine, DenseCodec::F32, 4, None));
    let records = natural_records(2_400, random);
    fixture.bulk(&records[..1_200]);
    fixture.optimize();
    fixture.upsert(&records[1_200..]);
    let snapshot = fixture.snapshot();
    assert_eq!(snapshot.memtable().len(), 1_200);
    let (mut recalls, mut waited) = (Vec::new(), 0);
    for _ in 0..20 {
        let mut tokens = random.clustered(5, 40);
        // Directions that come more than once, as those of a padded query do.
        tokens.extend_from_within(..3 * TOKEN_DIM);
        let request = maxsim_request(tokens, 10);
        let (plan, outcome) = fixture.search_with(&request, &indexes_only());
        assert!(matches!(plan.stages[0].stage, Stage::MaxsimIndex(_)), "{plan}");
        let stages = &outcome.profile.stages;
        let look = stages
            .iter()
            .find(|stage| stage.name == "maxsim: memtable")
            .unwrap();
        assert_eq!(look.candidates_in, 1_200);
        assert!(look.candidates_out <= 34, "{look:?}");
        let exact = QueryRequest {
            exact: true,
            ..request
        };
        let exact: Vec<_> = fixture
            .hits(&exact)
            .into_iter()
            .map(|hit| (hit.id, hit.score))
            .collect();
        recalls.push(recall(&outcome.hits, &exact));
        let waits = |hit: &&crate::Hit| snapshot.memtable().find(&hit.id).is_some();
        waited += outcome.hits.iter().filter(waits).count();
    }
    assert!(average(&recalls) >= 0.95, "{recalls:?}");
    assert!(
        (60..140).contains(&waited),
        "{waited} of 200 are of the half that waits"
    );
}
