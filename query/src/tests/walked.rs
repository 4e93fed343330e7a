//! The graph under filters: recall against brute force, where matches lie anywhere, near the query and far from it.

use latewood_codecs::{DenseCodec, Metric};
use latewood_storage::{DocumentId, FieldSpec, FieldType, Record, Schema};
use serde_json::json;

use super::harness::*;
use crate::{Filter, Outcome};

const ROWS: usize = 6_000;
const TOPICS: u64 = 60;
const QUERIES: usize = 40;
/// Each query is near one of these, and a filter by nearness goes by it.
const POINTS: usize = 8;

/// A vector of unit length about one of some directions.
fn about(random: &mut Random, spread: f32) -> Vec<f32> {
    let mut direction = Random::new(7_000 + random.below(TOPICS));
    let vector: Vec<f32> = (0..DENSE_DIM)
        .map(|_| direction.float() + spread * random.float())
        .collect();
    unit(vector)
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The place of each key in ascending order.
fn places(keys: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    let mut places = vec![0; keys.len()];
    order
        .into_iter()
        .enumerate()
        .for_each(|(place, at)| places[at] = place);
    places
}

/// One graph over vectors; field `random` is the place in a random order, `near0` and so on the place in the order of nearness to a
/// point, the farthest first.
fn collection(vectors: &[Vec<f32>], points: &[Vec<f32>], random: &mut Random) -> Fixture {
    let names: Vec<String> = (0..points.len()).map(|at| format!("near{at}")).collect();
    let field = |name: &str| FieldSpec {
        name: name.to_owned(),
        kind: FieldType::Int,
    };
    let fixture = Fixture::new(Schema {
        fields: std::iter::once(field("random"))
            .chain(names.iter().map(|name| field(name)))
            .collect(),
        tokens: None,
        lexical: None,
        ..schema(Metric::Cosine, DenseCodec::F32, 2, None)
    });
    let mut columns = vec![places(&random.floats(vectors.len()))];
    let near = |point: &Vec<f32>| -> Vec<f32> { vectors.iter().map(|vector| dot(point, vector)).collect() };
    columns.extend(points.iter().map(|point| places(&near(point))));
    let records: Vec<Record> = vectors
        .iter()
        .enumerate()
        .map(|(id, vector)| {
            let mut payload = json!({ "random": columns[0][id] });
            for (name, places) in names.iter().zip(&columns[1..]) {
                payload[name] = json!(places[id]);
            }
            Record {
                id: (id as u64).into(),
                text: None,
                payload: payload.as_object().unwrap().clone(),
                dense: Some(vector.clone()),
                tokens: None,
                vectors: latewood_storage::Vectors::new(),
            }
        })
        .collect();
    fixture.bulk(&records);
    fixture.optimize();
    fixture
}

/// What matches: a share of the rows.
fn filters(point: usize, share: f64) -> [(&'static str, String); 3] {
    #[expect(clippy::cast_possible_truncation, reason = "a share of the rows")]
    #[expect(clippy::cast_sign_loss, reason = "shares are positive")]
    let matching = (ROWS as f64 * share).round() as usize;
    [
        ("random", format!("random < {matching}")),
        ("near", format!("near{point} >= {}", ROWS - matching)),
        ("far", format!("near{point} < {matching}")),
    ]
}

fn ask(fixture: &Fixture, query: &[f32], filter: &str, limit: usize, ef_search: usize) -> Outcome {
    let mut request = dense_request(query.to_vec(), limit);
    request.ef_search = Some(ef_search);
    request.filter = Some(Filter::parse(filter).unwrap());
    fixture.search_with(&request, &indexes_only()).1
}

/// What a scan of everything that matches finds.
fn exact(fixture: &Fixture, query: &[f32], filter: &str, limit: usize) -> Vec<(DocumentId, f32)> {
    let mut request = dense_request(query.to_vec(), limit);
    (request.exact, request.filter) = (true, Some(Filter::parse(filter).unwrap()));
    let hits = fixture.hits(&request).into_iter();
    hits.map(|hit| (hit.id, hit.score)).collect()
}

/// Rows that the graph stage scored; beyond all without one, as few matches are always scanned.
fn scored(outcome: &Outcome) -> u64 {
    let stage = outcome
        .profile
        .stages
        .iter()
        .find(|stage| stage.name == "dense graph");
    stage.map_or(u64::MAX, |stage| stage.work)
}

#[test]
fn under_any_filter_the_graph_finds_nearly_all_of_the_best() {
    const K: usize = 5;
    let random = &mut Random::new(90);
    let vectors: Vec<Vec<f32>> = (0..ROWS).map(|_| about(random, 0.6)).collect();
    let points: Vec<Vec<f32>> = (0..POINTS).map(|_| about(random, 0.6)).collect();
    let fixture = collection(&vectors, &points, random);
    // Some of the rows are gone.
    let gone: Vec<u64> = (0..ROWS as u64).step_by(13).collect();
    fixture.delete(&gone);
    let queries: Vec<Vec<f32>> = (0..QUERIES)
        .map(|at| {
            let noise = about(random, 0.6);
            let near = points[at % POINTS].iter().zip(noise);
            unit(near.map(|(x, noise)| x + 0.3 * noise).collect())
        })
        .collect();
    // What each breadth finds without a filter.
    let breadths = [5, 16, 64];
    let unfiltered = breadths.map(|ef_search| {
        let found = queries.iter().map(|query| {
            let outcome = ask(&fixture, query, "all()", K, ef_search);
            recall(&outcome.hits, &exact(&fixture, query, "all()", K))
        });
        found.sum::<f64>() / QUERIES as f64
    });
    assert!(unfiltered[1] > 0.9 && unfiltered[2] > 0.98, "{unfiltered:?}");
    let mut walked = 0;
    for share in [0.8, 0.5, 0.1, 0.01, 0.001] {
        // The wider beam leaves all to scans; by the narrow ones some walk over all rows.
        let mut recalls = [[0.0; 3]; 3];
        for (at, query) in queries.iter().enumerate() {
            for (kind, (name, filter)) in filters(at % POINTS, share).iter().enumerate() {
                let truth = exact(&fixture, query, filter, K);
                for (&ef_search, recalls) in breadths.iter().zip(&mut recalls) {
                    let outcome = ask(&fixture, query, filter, K, ef_search);
                    assert_eq!(outcome.hits.len(), truth.len(), "{name} {share} {ef_search}");
                    recalls[kind] += recall(&outcome.hits, &truth) / QUERIES as f64;
                    walked += u32::from(scored(&outcome) < outcome.profile.stages[0].candidates_out);
                }
            }
        }
        for ((ef_search, without), recalls) in breadths.iter().zip(unfiltered).zip(recalls) {
            assert!(
                recalls.iter().all(|recall| *recall >= without - 0.03),
                "{share}, ef_search {ef_search}: {without} unfiltered, random, near, far {recalls:?}"
            );
        }
    }
    assert!(walked > 100, "{walked} queries scored fewer rows than match");
}

#[test]
fn of_many_that_are_about_as_near_the_nearest_are_found() {
    let random = &mut Random::new(91);
    let query = unit(random.floats(DENSE_DIM));
    // On a ring round the query, as like it as each other but for less than codes tell apart.
    let vectors: Vec<Vec<f32>> = (0..ROWS)
        .map(|_| {
            let side = random.floats(DENSE_DIM);
            let along = dot(&side, &query);
            let side: Vec<f32> = side.iter().zip(&query).map(|(x, q)| x - along * q).collect();
            let (side, height) = (unit(side), 0.3 + 0.002 * random.float());
            let width = (1.0 - height * height).sqrt();
            query
                .iter()
                .zip(side)
                .map(|(q, side)| height * q + width * side)
                .collect()
        })
        .collect();
    let fixture = collection(&vectors, &[], random);
    let truth = exact(&fixture, &query, "random < 1000", 10);
    let outcome = ask(&fixture, &query, "random < 1000", 10, 20);
    assert_eq!(scored(&outcome), 1_000, "a scan by codes");
    let found = recall(&outcome.hits, &truth);
    assert!(found >= 0.9, "{found}");
}
