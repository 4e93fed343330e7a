//! Any history of writes, flushes, optimizes, crashes and reopens, compared with a map; and after each step searches of every
//! kind, compared with looking at everything. A failure shrinks to the shortest history that still fails, and is printed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use latewood::{
    Collection, Database, DenseCodec, Document, DocumentId, FieldType, Maintenance, MemoryBackend, Metric,
    OriginalCodec, SchemaBuilder,
};
use latewood_tests::random::Random;
use proptest::prelude::*;

const DENSE: usize = 6;
const DIM: usize = 8;
/// Ids of single writes; loads of many are above.
const IDS: u64 = 20;
const MANY: u64 = 300;
/// Of each of those; together they are enough for a codebook.
const MANY_TOKENS: u64 = 16;

#[derive(Clone, Debug)]
enum Step {
    /// Documents written (true) and removed in one batch.
    Batch(BTreeMap<u64, bool>),
    /// A few loaded as a segment.
    Ingest(Vec<u64>),
    /// So many loaded that a codebook is trained by the next optimize.
    Many,
    Flush,
    Optimize,
    /// The process ends; the next finds what it wrote.
    Crash,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS;
    prop_oneof![
        8 => prop::collection::btree_map(id.clone(), prop::bool::weighted(0.7), 1..6).prop_map(Step::Batch),
        3 => prop::collection::btree_set(id, 1..8).prop_map(|ids| Step::Ingest(ids.into_iter().collect())),
        1 => Just(Step::Many),
        3 => Just(Step::Flush),
        3 => Just(Step::Optimize),
        2 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

/// What a document of an id is in a version: everything follows from both.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    dense: Vec<f32>,
    tokens: Vec<Vec<f32>>,
    year: i64,
    lang: &'static str,
    sparse: Option<(Vec<u32>, Vec<f32>)>,
    title: Option<Vec<f32>>,
}

impl Version {
    fn of(id: u64, version: u64) -> Self {
        let mut random = Random::new(id * 1_000_003 + version);
        let dense = (0..DENSE).map(|_| random.below(17) as f32 / 8.0 - 1.0).collect();
        // Four halves: of unit length, and exact in f16, as are products and sums.
        let mut row = || {
            let mut row = vec![0.0; DIM];
            while row.iter().filter(|x| **x != 0.0).count() < 4 {
                row[random.index(DIM)] = if random.one_in(2) { 0.5 } else { -0.5 };
            }
            row
        };
        let tokens = if id < IDS { 2 + id % 3 } else { MANY_TOKENS };
        let tokens = (0..tokens).map(|_| row()).collect();
        Self {
            dense,
            tokens,
            year: 2000 + (id * 7 + version) as i64 % 10,
            lang: ["de", "en", "fr"][(id + version) as usize % 3],
            sparse: sparse(&mut random),
            title: (id % 3 != version % 3).then(|| vec![(id % 16) as f32 / 4.0, (version % 8) as f32 / 2.0]),
        }
    }

    fn document(&self, id: u64) -> Document {
        let document = Document::new(id)
            .field("year", self.year)
            .field("lang", self.lang)
            .dense(self.dense.clone())
            .tokens(self.tokens.clone());
        let document = match self.title.clone() {
            Some(title) => document.vector("title", title),
            None => document,
        };
        match self.sparse.clone() {
            Some((indices, values)) => document.sparse("splade", indices, values),
            None => document,
        }
    }
}

/// A sparse vector whose products are exact, or none.
fn sparse(random: &mut Random) -> Option<(Vec<u32>, Vec<f32>)> {
    let mut weights = BTreeMap::new();
    for _ in 0..random.below(6) {
        let dimension = [0, 1, 2, 3, 70_000, u32::MAX][random.index(6)];
        weights.insert(dimension, (1 + random.below(16)) as f32 / 4.0);
    }
    (!weights.is_empty()).then(|| weights.into_iter().unzip())
}

fn schema() -> SchemaBuilder {
    SchemaBuilder::new()
        .dense(DENSE, Metric::InnerProduct)
        .dense_codec(DenseCodec::F32)
        .tokens(DIM, 4)
        .keep_original(OriginalCodec::F16)
        .field("year", FieldType::Int)
        .field("lang", FieldType::Keyword)
        .sparse("splade")
        .vector_as("title", 2, Metric::InnerProduct, DenseCodec::F32)
}

fn open(disk: &MemoryBackend) -> Database {
    Database::options()
        .backend(Arc::new(disk.clone()))
        .maintenance(Maintenance::Manual)
        .threads(1)
        .open("/db")
        .unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

type Model = BTreeMap<u64, Version>;
type Matches = fn(&Version) -> bool;

const FILTERS: [(Option<&str>, Matches); 4] = [
    (None, |_| true),
    (Some("year >= 2005 and lang = \"de\""), |v| {
        v.year >= 2005 && v.lang == "de"
    }),
    (Some("not lang in (\"en\", \"fr\") or 2002 <= year < 2004"), |v| {
        v.lang == "de" || (2002..=2003).contains(&v.year)
    }),
    (Some("year = 1999"), |v| v.year == 1999),
];

/// Every kind of search says what looking at everything says.
fn compare(collection: &Collection, model: &Model, round: u64) -> Result<(), TestCaseError> {
    let query = Version::of(round, 77);
    let scored_by = |score: &dyn Fn(&Version) -> f32, matches: Matches| {
        let all = model.iter().filter(|(_, version)| matches(version));
        let mut all: Vec<(f32, u64)> = all.map(|(id, version)| (score(version), *id)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all
    };
    let dense = |version: &Version| dot(&query.dense, &version.dense);
    let maxsim = |version: &Version| {
        let best = |q: &Vec<f32>| version.tokens.iter().map(|t| dot(q, t)).fold(f32::MIN, f32::max);
        query.tokens.iter().map(best).sum()
    };
    for (filter, matches) in FILTERS {
        for limit in [1, 5, 1000] {
            let ask = || {
                let ask = collection.query().limit(limit).exact(true);
                match filter {
                    Some(filter) => ask.filter(filter),
                    None => ask,
                }
            };
            let found = ask().dense(query.dense.clone()).plan("dense").run().unwrap();
            same(&found, &scored_by(&dense, matches), limit, "dense")?;
            let found = ask().tokens(&query.tokens[..]).plan("maxsim").run().unwrap();
            same(&found, &scored_by(&maxsim, matches), limit, "maxsim")?;
            let ask_sparse = ask().sparse("splade", SPARSE_QUERY.0, SPARSE_QUERY.1);
            let found = ask_sparse.plan("sparse:splade").run().unwrap();
            same(&found, &by_sparse(model, matches), limit, "sparse")?;
            let found = ask()
                .vector("title", [1.0, -0.5])
                .plan("dense:title")
                .run()
                .unwrap();
            let title = |version: &Version| dot(&[1.0, -0.5], version.title.as_deref().unwrap_or(&[]));
            let mut titled = scored_by(&title, matches);
            titled.retain(|(_, id)| model.get(id).is_some_and(|version| version.title.is_some()));
            same(&found, &titled, limit, "title")?;
            // Not exact, it may find others, but as many, of those that match and as they are now.
            let found = ask()
                .exact(false)
                .tokens(&query.tokens[..])
                .plan("auto")
                .run()
                .unwrap();
            let expected = model.values().filter(|version| matches(version)).count();
            prop_assert_eq!(found.len(), expected.min(limit), "{:?}", filter);
            for hit in &found {
                let version = id_of(&hit.id).and_then(|id| model.get(&id));
                prop_assert!(version.is_some_and(matches), "{:?} for {:?}", hit, filter);
                let year = hit.payload.as_ref().and_then(|payload| payload["year"].as_i64());
                prop_assert_eq!(year, version.map(|version| version.year));
            }
        }
    }
    Ok(())
}

const SPARSE_QUERY: ([u32; 4], [f32; 4]) = ([u32::MAX, 1, 3, 9], [0.5, 2.0, 1.0, 8.0]);

/// The documents that share a dimension with the query, by their inner products.
fn by_sparse(model: &Model, matches: Matches) -> Vec<(f32, u64)> {
    let (indices, values) = SPARSE_QUERY;
    let score = |version: &Version| {
        let (own, weights) = version.sparse.as_ref()?;
        let pairs = own.iter().zip(weights);
        let common = pairs.filter_map(|(index, weight)| {
            let at = indices.iter().position(|dimension| dimension == index)?;
            Some(weight * values[at])
        });
        common.reduce(|a, b| a + b)
    };
    let all = model.iter().filter(|(_, version)| matches(version));
    let mut all: Vec<(f32, u64)> = all
        .filter_map(|(id, version)| Some((score(version)?, *id)))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

fn id_of(id: &DocumentId) -> Option<u64> {
    match id {
        DocumentId::U64(id) => Some(*id),
        DocumentId::Str(_) => None,
    }
}

/// The best scores are found, and each by a document that has it.
fn same(
    found: &[latewood::Hit],
    expected: &[(f32, u64)],
    limit: usize,
    what: &str,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len().min(limit), "{}", what);
    let scores: BTreeMap<u64, f32> = expected.iter().map(|(score, id)| (*id, *score)).collect();
    for (hit, (best, _)) in found.iter().zip(expected) {
        prop_assert!(
            (hit.score - best).abs() < 1e-3,
            "{what}: {hit:?} where {best} is the best"
        );
        let own = id_of(&hit.id).and_then(|id| scores.get(&id));
        prop_assert!(
            own.is_some_and(|own| (hit.score - own).abs() < 1e-3),
            "{what}: {hit:?}, and by the model {own:?}"
        );
    }
    let different: std::collections::BTreeSet<_> = found.iter().map(|hit| id_of(&hit.id)).collect();
    prop_assert_eq!(different.len(), found.len(), "{} finds one twice", what);
    Ok(())
}

struct Run {
    disk: MemoryBackend,
    database: Database,
    collection: Collection,
    model: Model,
}

impl Run {
    fn new() -> Self {
        let disk = MemoryBackend::default();
        let database = open(&disk);
        let collection = database.create_collection("c", schema()).unwrap();
        Self {
            disk,
            database,
            collection,
            model: Model::new(),
        }
    }

    fn load(&mut self, ids: impl Iterator<Item = u64>, version: u64) {
        let new: Model = ids.map(|id| (id, Version::of(id, version))).collect();
        let documents: Vec<Document> = new.iter().map(|(id, version)| version.document(*id)).collect();
        self.collection.ingest(documents).optimize(false).run().unwrap();
        self.model.extend(new);
    }

    fn reopen(&mut self) {
        self.disk = self.disk.image();
        self.database = open(&self.disk);
        self.collection = self.database.collection("c").unwrap();
    }

    fn take(&mut self, step: &Step, version: u64) {
        match step {
            Step::Batch(changes) => {
                let mut batch = self.collection.batch();
                for (id, keep) in changes {
                    let new = Version::of(*id, version);
                    batch = match keep {
                        true => batch.upsert(new.document(*id)),
                        false => batch.delete(*id),
                    };
                    match keep {
                        true => drop(self.model.insert(*id, new)),
                        false => drop(self.model.remove(id)),
                    }
                }
                batch.commit().unwrap();
            }
            Step::Ingest(ids) => self.load(ids.iter().copied(), version),
            Step::Many => self.load(IDS..IDS + MANY, version),
            Step::Flush => self.collection.flush().unwrap(),
            Step::Optimize => drop(self.collection.optimize(|_| ControlFlow::Continue(())).unwrap()),
            Step::Crash => self.reopen(),
            Step::Close => {
                self.database.clone().close().unwrap();
                self.reopen();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_every_search_says_what_looking_at_everything_says(
        steps in prop::collection::vec(step(), 1..16),
    ) {
        let mut run = Run::new();
        for (version, step) in (1..).zip(&steps) {
            run.take(step, version);
            prop_assert_eq!(run.collection.count(None).unwrap(), run.model.len() as u64);
            compare(&run.collection, &run.model, version)?;
        }
        prop_assert!(run.collection.check().unwrap().findings.is_empty());
    }
}
