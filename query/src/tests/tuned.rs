//! Settings tuned for a recall: what the traces promise is what execution finds, on the queries of the tuning and on others.

use std::ops::ControlFlow;
use std::time::Duration;

use latewood_codecs::{DenseCodec, MaxSimQuery, Metric};
use latewood_storage::Snapshot;

use super::harness::*;
use crate::candidates::Scope;
use crate::token_scorer::TokenScorer;
use crate::tuning::{by_interaction, found_with};
use crate::{
    Found, Matches, MeasuredRecall, Position, ProbeSettings, QueryRequest, QuerySource, Resources, Stage,
    TUNED_TARGETS, TuneOptions, Tuned, TunedTable, execute, explain, search, tune,
};

const K: usize = 10;

fn collection(random: &mut Random) -> Fixture {
    let fixture = Fixture::new(schema(Metric::Cosine, DenseCodec::F32, 4, None));
    let records = natural_records(3_000, random);
    fixture.bulk(&records[..2_900]);
    fixture.optimize();
    fixture.upsert(&records[2_900..]);
    fixture.delete(&(0..3_000).step_by(17).collect::<Vec<_>>());
    fixture
}

fn queries(count: usize, random: &mut Random) -> Vec<Vec<f32>> {
    (0..count).map(|_| random.clustered(6, 40)).collect()
}

fn tuned(snapshot: &Snapshot, queries: &[Vec<f32>], progress: &dyn Fn(u64, u64) -> ControlFlow<()>) -> Tuned {
    let options = TuneOptions {
        k: K,
        source: QuerySource::Caller,
        budget: Duration::MAX,
        pool: None,
        progress,
    };
    tune(snapshot, queries, &indexes_only(), &options).unwrap()
}

fn table(snapshot: &Snapshot, queries: &[Vec<f32>]) -> TunedTable {
    match tuned(snapshot, queries, &|_, _| ControlFlow::Continue(())) {
        Tuned::Table(table) => table,
        other => panic!("{other:?}"),
    }
}

fn exhaustive(snapshot: &Snapshot, query: &[f32]) -> Vec<Position> {
    let request = QueryRequest {
        recall: Some(1.0),
        ..maxsim_request(query.to_vec(), K)
    };
    let (plan, outcome) = search(snapshot, &request, &indexes_only(), Resources::default()).unwrap();
    assert_eq!(plan.stages[0].stage, Stage::MaxsimScan, "{plan}");
    outcome.hits.iter().map(|hit| hit.position).collect()
}

/// What running with these settings finds.
fn executed(snapshot: &Snapshot, query: &[f32], settings: ProbeSettings) -> Found {
    let request = maxsim_request(query.to_vec(), K);
    let mut plan = explain(snapshot, &request, &indexes_only(), Resources::default()).unwrap();
    plan.stages[0].stage = Stage::MaxsimIndex(settings);
    let hits = execute(snapshot, &request, &plan, Resources::default())
        .unwrap()
        .hits;
    let truth = exhaustive(snapshot, query);
    let found = truth
        .iter()
        .filter(|at| hits.iter().any(|hit| hit.position == **at))
        .count();
    Found {
        found: u32::try_from(found).unwrap(),
        of: u32::try_from(truth.len()).unwrap(),
    }
}

#[test]
fn a_trace_tells_what_execution_finds() {
    let random = &mut Random::new(61);
    let fixture = collection(random);
    let snapshot = fixture.snapshot();
    let mut missed = 0;
    for query in queries(12, random) {
        let truth = exhaustive(&snapshot, &query);
        for (n_probe, candidates, margin) in [
            (1, 32, 5.0),
            (2, 64, 1.0),
            (2, 256, 0.5),
            (4, 512, 0.1),
            (8, 1_024, 2.0),
        ] {
            let settings = ProbeSettings {
                n_probe,
                candidates,
                refine: candidates,
                margin,
            };
            let traced = found_with(&snapshot, (&query, TOKEN_DIM), &truth, settings).unwrap();
            assert_eq!(traced, executed(&snapshot, &query, settings), "{settings}");
            missed += traced.of - traced.found;
        }
    }
    assert!(missed > 0, "settings that miss nothing show nothing");
}

#[test]
fn the_answer_by_interaction_is_the_exhaustive_one_where_it_is_deep_enough() {
    let random = &mut Random::new(66);
    let fixture = collection(random);
    let snapshot = fixture.snapshot();
    let matches = Matches::evaluate(&snapshot, None).unwrap();
    let scope = Scope::new(&snapshot, &matches, None);
    let mut shallow_misses = 0;
    for query in queries(20, random) {
        let bound = MaxSimQuery::new(TOKEN_DIM, &query).unwrap();
        let mut scorer = TokenScorer::new(&snapshot, &bound).unwrap();
        scorer.bind().unwrap();
        scorer.complete();
        let exhaustive = exhaustive(&snapshot, &query);
        assert_eq!(by_interaction(&scope, &scorer, 1_500, K), exhaustive);
        shallow_misses += usize::from(by_interaction(&scope, &scorer, K, K) != exhaustive);
    }
    assert!(shallow_misses > 0, "a depth that does not matter shows nothing");
}

#[test]
fn tuned_settings_keep_their_promise_on_other_queries() {
    let random = &mut Random::new(62);
    let fixture = collection(random);
    let snapshot = fixture.snapshot();
    let table = table(&snapshot, &queries(150, random));
    assert_eq!((table.queries, table.k), (150, K));
    assert_eq!(table.entries.len(), TUNED_TARGETS.len());
    assert!(table.is_sound());
    let fresh = queries(150, random);
    for entry in &table.entries {
        let found: Vec<Found> = fresh
            .iter()
            .map(|query| executed(&snapshot, query, entry.settings))
            .collect();
        let measured = MeasuredRecall::of(&found);
        // Which settings were the cheapest depends on the machine, and the best of many by one sample are somewhat worse on
        // another: twice the width of an interval is what chance is given.
        let slack = 2.0 * (measured.high - measured.low).max(entry.measured.high - entry.measured.low);
        let gave = format!("{entry:?} gave {measured:?}");
        assert!(measured.high + slack / 2.0 >= entry.target, "{gave}");
        assert!((measured.recall - entry.measured.recall).abs() <= slack, "{gave}");
    }
    let (low, high) = (&table.entries[0], &table.entries[TUNED_TARGETS.len() - 1]);
    assert!(
        low.settings.candidates < high.settings.candidates
            || low.settings.margin < high.settings.margin
            || low.settings.n_probe < high.settings.n_probe,
        "{table:?}"
    );
}

#[test]
fn a_plan_opens_as_wide_as_the_recall_needs() {
    let random = &mut Random::new(63);
    let fixture = collection(random);
    let snapshot = fixture.snapshot();
    let table = table(&snapshot, &queries(60, random));
    let resources = Resources {
        tuned: Some(&table),
        ..Resources::default()
    };
    for recall in [Some(0.8), Some(0.95), None] {
        let request = QueryRequest {
            recall,
            ..maxsim_request(random.clustered(6, 40), K)
        };
        let plan = explain(&snapshot, &request, &indexes_only(), resources).unwrap();
        let entry = table.entry(recall.unwrap_or(0.99)).unwrap();
        assert_eq!(plan.stages[0].stage, Stage::MaxsimIndex(entry.settings), "{plan}");
        let said = format!("{} measured {:.3}", entry.settings, entry.measured.recall);
        assert!(plan.to_string().contains(&said), "{plan}");
    }
}

#[test]
fn a_tuning_can_be_broken_off() {
    let random = &mut Random::new(64);
    let fixture = collection(random);
    let snapshot = fixture.snapshot();
    let queries = queries(30, random);
    let stop = |done, all| {
        assert_eq!(all, 30);
        if done >= 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert_eq!(tuned(&snapshot, &queries, &stop), Tuned::Cancelled);
}

#[test]
fn nothing_is_tuned_where_everything_is_scanned() {
    let random = &mut Random::new(65);
    let fixture = Fixture::new(plain());
    fixture.upsert(&natural_records(100, random));
    let go = |_, _| ControlFlow::Continue(());
    assert_eq!(
        tuned(&fixture.snapshot(), &queries(3, random), &go),
        Tuned::NotNeeded
    );
    assert_eq!(tuned(&fixture.snapshot(), &[], &go), Tuned::NotNeeded);
}
