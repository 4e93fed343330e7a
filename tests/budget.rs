//! Budgets of queries, the plans that were judged for them, and estimates that learn from what queries took.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use latewood::evaluation::Judgments;
use latewood::import::read_queries;
use latewood::models::{Encoding, ModelError, TextEncoder};
use latewood::{
    Collection, CostModel, Database, DatabaseOptions, Document, ModelIdentity, PlanName, SchemaBuilder,
};
use latewood_tests::random::Random;

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/examples/data")
        .join(name)
}

fn built(folder: &Path) -> Database {
    let db = Database::open(folder).unwrap();
    let schema = SchemaBuilder::new().encoder("tiny").reranker("tiny");
    let collection = db.create_collection("packages", schema).unwrap();
    let text = std::fs::read_to_string(data("packages.jsonl")).unwrap();
    for line in text.lines().take(300) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let document = Document::new(line["_id"].as_str().unwrap()).text(line["text"].as_str().unwrap());
        collection.upsert(document).unwrap();
    }
    collection.optimize(|_| ControlFlow::Continue(())).unwrap();
    db
}

fn ids(hits: &[latewood::Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.id.to_string()).collect()
}

fn judged() -> (Vec<(String, String)>, Judgments) {
    let judgments = Judgments::read(data("qrels.tsv")).unwrap();
    let queries = read_queries(data("queries.jsonl")).unwrap();
    (
        queries
            .into_iter()
            .map(|query| (query.id, query.text))
            .take(6)
            .collect(),
        judgments,
    )
}

#[test]
fn a_budget_is_free_where_it_suffices_and_gives_quality_up_where_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let db = built(folder.path());
    let collection = db.collection("packages").unwrap();
    let query = || {
        collection
            .query()
            .text("play chess against the computer")
            .plan("dense+rerank")
    };
    let free = query().analyze().unwrap();
    assert!(free.cut.is_empty() && free.plan.budget.is_none());
    let ample = query().budget(Duration::from_secs(3600)).analyze().unwrap();
    assert_eq!(ids(&ample.hits), ids(&free.hits));
    assert!(ample.cut.is_empty(), "{:?}", ample.cut);

    let tight = query().budget(Duration::from_nanos(1)).analyze().unwrap();
    assert_eq!(tight.plan.name, PlanName::DENSE, "{}", tight.plan);
    assert!(tight.cut[0].starts_with("no rerank") && tight.cut.last().unwrap().starts_with("even so"));
    assert_eq!(tight.hits.len(), 10);

    // Encoding alone would take more than this: the words of the query have to do.
    let words = collection
        .query()
        .text("play chess")
        .budget(Duration::from_nanos(1))
        .analyze()
        .unwrap();
    assert_eq!(words.plan.name, PlanName::BM25, "{}", words.plan);
    assert!(
        words.cut[0].starts_with("the query is not encoded"),
        "{:?}",
        words.cut
    );
    assert!(words.profile.stages.iter().all(|stage| stage.name != "encode"));
    let zero = collection
        .query()
        .text("play chess")
        .budget(Duration::ZERO)
        .run()
        .unwrap_err();
    assert!(zero.to_string().contains("a budget of 0"), "{zero}");
}

/// Takes its time over a query, and gives vectors that say nothing of a text.
struct SlowAndBlind(ModelIdentity);

impl SlowAndBlind {
    const TIME: Duration = Duration::from_millis(30);

    fn encoding(seed: u64) -> Encoding {
        let random = &mut Random::new(seed);
        let mut encoding = Encoding::default();
        encoding.dense = Some((0..16).map(|_| random.index(2_000) as f32 - 1_000.5).collect());
        encoding
    }
}

impl TextEncoder for SlowAndBlind {
    fn identity(&self) -> &ModelIdentity {
        &self.0
    }

    fn dense_dim(&self) -> Option<usize> {
        Some(16)
    }

    fn token_dim(&self) -> Option<usize> {
        None
    }

    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError> {
        std::thread::sleep(Self::TIME);
        Ok(Self::encoding(text.len() as u64))
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        _progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError> {
        let number = |text: &&str| text.bytes().map(u64::from).sum::<u64>();
        Ok(texts
            .iter()
            .map(|text| Self::encoding(1_000 + number(text)))
            .collect())
    }

    fn max_document_tokens(&self) -> usize {
        512
    }
}

#[test]
fn a_query_is_not_encoded_where_its_words_were_judged_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let encoder = Arc::new(SlowAndBlind(ModelIdentity {
        name: "slow".into(),
        fingerprint: "slow".into(),
        source: "own".into(),
    }));
    let schema = SchemaBuilder::new().encoder(encoder);
    let collection = db.create_collection("c", schema).unwrap();
    let documents = (0..80u64).map(|id| Document::new(id).text(format!("the word{id} of all words")));
    collection.upsert_many(documents).unwrap();
    let queries: Vec<_> = (0..12).map(|n| (format!("q{n}"), format!("word{n}"))).collect();
    let lines: String = (0..12).map(|n| format!("q{n}\t{n}\t1\n")).collect();
    let qrels = folder.path().join("qrels.tsv");
    std::fs::write(&qrels, lines).unwrap();
    let judgments = Judgments::read(&qrels).unwrap();
    collection.calibrate().unwrap();
    let table = collection.tune_plans(&queries, &judgments).unwrap();
    let ndcg = |plan| {
        table
            .plans
            .iter()
            .find(|quality| quality.plan == plan)
            .unwrap()
            .ndcg_at_10
    };
    assert!(ndcg(PlanName::BM25) > ndcg(PlanName::DENSE) + 0.5);

    let within = |times: u32| {
        let query = collection
            .query()
            .text("word7")
            .budget(SlowAndBlind::TIME * times);
        query.analyze().unwrap()
    };
    let encoded = |analysis: &latewood::Analysis| {
        let stages = &analysis.profile.stages;
        stages.iter().any(|stage| stage.name == "encode")
    };
    let tight = within(5);
    assert_eq!(
        (tight.plan.name.clone(), encoded(&tight)),
        (PlanName::BM25, false),
        "{}",
        tight.plan
    );
    assert!(
        tight.cut[0].contains("nothing that needs it ranks better"),
        "{:?}",
        tight.cut
    );
    assert_eq!(ids(&tight.hits)[0], "7");
    let ample = within(500);
    assert!(
        encoded(&ample),
        "a small part of the budget is not looked into: {}",
        ample.plan
    );
}

#[test]
fn judged_plans_are_kept_with_the_collection_and_chosen_by() {
    let folder = tempfile::tempdir().unwrap();
    let db = built(folder.path());
    let (queries, judgments) = judged();
    let collection = db.collection("packages").unwrap();
    let table = collection.tune_plans(&queries, &judgments).unwrap();
    // Eight plans without a rerank; eight with, four depths each.
    assert_eq!(table.plans.len(), 8 + 8 * 4);
    let best = table
        .plans
        .iter()
        .map(|quality| quality.ndcg_at_10)
        .fold(0.0, f64::max);
    assert!(best > 0.0 && best <= 1.0);
    assert!(collection.tune_plans(&[], &judgments).is_err());
    drop(collection);
    db.close().unwrap();

    let db = DatabaseOptions::default()
        .read_only(true)
        .open(folder.path())
        .unwrap();
    let collection = db.collection("packages").unwrap();
    let query = || collection.query().text("play chess against the computer");
    let plan = query().budget(Duration::from_secs(3600)).explain().unwrap();
    let chosen = table.plans.iter().find(|quality| {
        let deep = plan
            .stages
            .iter()
            .any(|stage| stage.stage.to_string().contains("depth"));
        quality.plan == plan.name && quality.rerank_depth.is_some() == deep
    });
    assert!(plan.reason.contains("judged on 6 queries"), "{plan}");
    let chosen = chosen.unwrap();
    assert!(chosen.ndcg_at_10 >= best - table.unsure.max(0.001), "{plan}");
    assert!(
        plan.reason.contains(&format!("{:.4}", chosen.ndcg_at_10)),
        "{plan}"
    );
    assert!(
        plan.rejected.len() == table.plans.len() - 1
            && plan.rejected.iter().all(|other| other.estimate.is_some()),
        "{plan}"
    );
    let free = query().explain().unwrap();
    assert!(
        !free.reason.contains("judged"),
        "only a budget asks for it: {free}"
    );
}

#[test]
fn estimates_cover_the_whole_query_and_learn_from_each() {
    let folder = tempfile::tempdir().unwrap();
    let db = built(folder.path());
    let collection: Collection = db.collection("packages").unwrap();
    let calibrated = collection.calibrate().unwrap();
    let seen = |cost: &CostModel, stage: &str| {
        cost.corrections
            .get(stage)
            .map_or(0, |correction| correction.seen)
    };
    for stage in [
        "bm25",
        "dense scan",
        "maxsim scan",
        "rerank",
        CostModel::BESIDE,
        CostModel::ENCODE,
    ] {
        assert!(seen(&calibrated, stage) > 0, "{stage} was not calibrated");
    }
    let run = || {
        collection
            .query()
            .text("a game of chess")
            .plan("bm25")
            .analyze()
            .unwrap()
    };
    let analysis = run();
    let plan = &analysis.plan;
    let staged: f64 = plan.stages.iter().map(|stage| stage.estimate.microseconds).sum();
    assert!((plan.estimate().microseconds - staged - plan.beside.microseconds).abs() < 1e-6);
    assert!(plan.beside.microseconds > plan.spent_microseconds && plan.spent_microseconds > 0.0);
    let of_plan: Vec<_> = analysis
        .profile
        .stages
        .iter()
        .filter(|stage| stage.planned == Some(0))
        .collect();
    assert_eq!(of_plan.len(), 1);
    assert_eq!(of_plan[0].name, "bm25");

    // What a machine that always takes as long teaches is what it takes: after many equal queries the estimate lies in the
    // midst of what they took.
    let mut took: Vec<f64> = (0..60).map(|_| bm25(&run())).collect();
    took.sort_by(f64::total_cmp);
    let estimated = run().plan.stages[0].estimate.microseconds;
    assert!(
        took[0] * 0.5 <= estimated && estimated <= took[59] * 2.0,
        "{estimated} for {took:?}"
    );
}

fn bm25(analysis: &latewood::Analysis) -> f64 {
    analysis
        .profile
        .stages
        .iter()
        .filter(|stage| stage.name == "bm25")
        .map(|stage| stage.microseconds)
        .sum()
}
