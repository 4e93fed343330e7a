//! Lexical search against BM25 computed document by document.

use latewood_codecs::DenseCodec;
use latewood_codecs::Metric;
use latewood_storage::{LexicalSpec, Schema};
use proptest::prelude::*;

use super::harness::{Fixture, Random, exact_records, schema};
use crate::filter::Filter;
use crate::hits::Hit;
use crate::lexical::{BM25_B, BM25_K1, LexicalQuery};
use crate::plan::{PlanChoice, PlanName};
use crate::request::QueryRequest;

/// A query as the oracle reads it.
#[derive(Clone, Debug)]
enum Ask {
    Word(String),
    Phrase(Vec<String>),
    Boolean(Vec<Ask>, Vec<Ask>, Vec<Ask>),
}

impl Ask {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Phrase(words) => format!("\"{}\"", words.join(" ")),
            Self::Boolean(must, should, not) => {
                let marked = [("+", must), ("", should), ("-", not)];
                let parts = marked
                    .iter()
                    .flat_map(|(mark, asks)| asks.iter().map(move |ask| format!("{mark}{}", ask.text())));
                format!("({})", parts.collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// The score of a document that matches.
    fn score(&self, corpus: &Corpus, document: &[String]) -> Option<f64> {
        match self {
            Self::Word(word) => corpus.occurrences(document, std::slice::from_ref(word)),
            Self::Phrase(words) => corpus.occurrences(document, words),
            Self::Boolean(must, should, not) => {
                if not.iter().any(|ask| ask.score(corpus, document).is_some()) {
                    return None;
                }
                let all: Option<Vec<f64>> = must.iter().map(|ask| ask.score(corpus, document)).collect();
                let any: Vec<f64> = should
                    .iter()
                    .filter_map(|ask| ask.score(corpus, document))
                    .collect();
                if must.is_empty() && any.is_empty() {
                    return None;
                }
                Some(all?.iter().chain(&any).sum())
            }
        }
    }
}

/// The documents that count in the statistics.
struct Corpus(Vec<Vec<String>>);

#[expect(clippy::cast_precision_loss, reason = "small counts")]
impl Corpus {
    fn idf(&self, word: &str) -> f64 {
        let all = self.0.iter().filter(|document| !document.is_empty()).count() as f64;
        let with = self
            .0
            .iter()
            .filter(|document| document.iter().any(|w| w == word));
        let with = with.count() as f64;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    fn occurrences(&self, document: &[String], words: &[String]) -> Option<f64> {
        let frequency = document
            .windows(words.len())
            .filter(|window| *window == words)
            .count() as f64;
        if frequency == 0.0 {
            return None;
        }
        let texts = self.0.iter().filter(|document| !document.is_empty()).count();
        let average = self.0.iter().map(Vec::len).sum::<usize>() as f64 / texts as f64;
        let norm = BM25_K1 * (1.0 - BM25_B + BM25_B * document.len() as f64 / average);
        let idf: f64 = words.iter().map(|word| self.idf(word)).sum();
        Some(idf * frequency * (BM25_K1 + 1.0) / (frequency + norm))
    }
}

fn words(random: &mut Random) -> Vec<String> {
    // Most documents have `the`, few have what comes last.
    let count = random.below(14);
    let word = |random: &mut Random| match random.below(10) {
        0..3 => "the".to_owned(),
        3..9 => format!("w{}", random.below(12)),
        _ => format!("rare{}", random.below(60)),
    };
    (0..count).map(|_| word(random)).collect()
}

fn ask(random: &mut Random, depth: u32) -> Ask {
    let some = |random: &mut Random, most: u64| -> Vec<Ask> {
        let count = random.below(most + 1);
        (0..count).map(|_| ask(random, depth + 1)).collect()
    };
    let word = |random: &mut Random| match random.below(5) {
        0 => "the".to_owned(),
        1 => format!("rare{}", random.below(60)),
        _ => format!("w{}", random.below(12)),
    };
    match random.below(if depth > 2 { 4 } else { 8 }) {
        0..3 => Ask::Word(word(random)),
        3 => Ask::Phrase((0..2 + random.below(2)).map(|_| word(random)).collect()),
        _ => {
            let (must, mut should, not) = (some(random, 2), some(random, 3), some(random, 1));
            if must.is_empty() && should.is_empty() {
                should.push(Ask::Word(word(random)));
            }
            Ask::Boolean(must, should, not)
        }
    }
}

fn lexical(query: LexicalQuery, limit: usize) -> QueryRequest {
    QueryRequest {
        lexical: Some(query),
        limit,
        plan: PlanChoice::Named(PlanName::BM25),
        ..QueryRequest::default()
    }
}

/// Hits are the best of what the oracle found, and have its scores.
fn assert_found(hits: &[Hit], expected: &[(u64, f64)], limit: usize, about: &str) {
    assert_eq!(hits.len(), expected.len().min(limit), "{about}");
    for (hit, (_, best)) in hits.iter().zip(expected) {
        let own = expected.iter().find(|(id, _)| hit.id == (*id).into());
        let (_, own) = own.unwrap_or_else(|| panic!("{about}: {} does not match", hit.id));
        assert!(
            (f64::from(hit.score) - own).abs() < 1e-4,
            "{about}: {} scored {}, not {own}",
            hit.id,
            hit.score
        );
        assert!(
            (f64::from(hit.score) - best).abs() < 1e-4,
            "{about}: a better one than {} is left out",
            hit.id
        );
    }
}

struct Case {
    fixture: Fixture,
    documents: Vec<Vec<String>>,
    deleted: Vec<u64>,
}

impl Case {
    /// Documents in two segments and the memtable, some of them deleted.
    fn new(random: &mut Random, count: u64) -> Self {
        let fixture = Fixture::new(Schema {
            lexical: Some(LexicalSpec::default()),
            ..schema(Metric::InnerProduct, DenseCodec::F32, 2, None)
        });
        let mut records = exact_records(count, random);
        let documents: Vec<Vec<String>> = records.iter().map(|_| words(random)).collect();
        for (record, words) in records.iter_mut().zip(&documents) {
            record.text = (!words.is_empty()).then(|| words.join(" "));
        }
        let (a, rest) = records.split_at(records.len() / 3);
        let (b, c) = rest.split_at(rest.len() / 2);
        fixture.bulk(a);
        fixture.bulk(b);
        fixture.upsert(c);
        let deleted: Vec<u64> = (0..count).filter(|_| random.below(6) == 0).collect();
        Self {
            fixture,
            documents,
            deleted,
        }
    }

    fn expected(&self, ask: &Ask, all_count: bool, passes: impl Fn(u64) -> bool) -> Vec<(u64, f64)> {
        let live = |id: u64| !self.deleted.contains(&id);
        let counted = (0..)
            .zip(&self.documents)
            .filter(|(id, _)| all_count || live(*id));
        let corpus = Corpus(counted.map(|(_, words)| words.clone()).collect());
        let mut scored: Vec<(u64, f64)> = (0..)
            .zip(&self.documents)
            .filter(|(id, _)| live(*id) && passes(*id))
            .filter_map(|(id, words)| ask.score(&corpus, words).map(|score| (id, score)))
            .collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_query_finds_what_an_oracle_finds(seed: u64, count in 1u64..700, limit in 1usize..40) {
        let random = &mut Random::new(seed);
        let mut case = Case::new(random, count);
        let deleted = std::mem::take(&mut case.deleted);
        for step in 0..3 {
            // As it was written; with deletes, which count until they are merged away; merged.
            if step == 1 {
                case.deleted.clone_from(&deleted);
                case.fixture.delete(&deleted);
            } else if step == 2 {
                case.fixture.optimize();
            }
            for _ in 0..6 {
                let ask = ask(random, 0);
                let text = ask.text();
                let request = lexical(LexicalQuery::parse(&text).unwrap(), limit);
                let expected = case.expected(&ask, step < 2, |_| true);
                assert_found(&case.fixture.hits(&request), &expected, limit, &text);
            }
            let several: Vec<String> = (0..1 + random.below(6)).map(|_| format!("w{}", random.below(12))).chain(["the".to_owned()]).collect();
            let any = Ask::Boolean(vec![], several.iter().cloned().map(Ask::Word).collect(), vec![]);
            let expected = case.expected(&any, step < 2, |_| true);
            let request = QueryRequest {
                text: Some(several.join(", ")),
                lexical: None,
                ..lexical(LexicalQuery::any(""), limit)
            };
            assert_found(&case.fixture.hits(&request), &expected, limit, "any");
        }
    }
}

#[test]
fn a_filter_is_applied_where_candidates_arise() {
    let random = &mut Random::new(9);
    let mut case = Case::new(random, 600);
    case.deleted.clear();
    let open = |id: u64| {
        let record = case.fixture.collection.get(&id.into()).unwrap().unwrap();
        record.payload.get("open") == Some(&serde_json::Value::Bool(true))
    };
    let ask = Ask::Boolean(
        vec![],
        vec![Ask::Word("the".to_owned()), Ask::Word("w3".to_owned())],
        vec![],
    );
    let expected = case.expected(&ask, true, open);
    let request = QueryRequest {
        filter: Some(Filter::eq("open", true)),
        ..lexical(LexicalQuery::parse("the w3").unwrap(), 10)
    };
    assert!(expected.len() > 10);
    assert_found(&case.fixture.hits(&request), &expected, 10, "filtered");
}

#[test]
fn fused_plans_rank_by_both_and_miss_nothing() {
    let random = &mut Random::new(11);
    let case = Case::new(random, 300);
    let request = |plan| QueryRequest {
        dense: Some(random_dense()),
        text: Some("the w3 w5".to_owned()),
        limit: 300,
        plan: PlanChoice::Named(plan),
        ..QueryRequest::default()
    };
    let (words, dense) = (
        case.fixture.hits(&request(PlanName::BM25)),
        case.fixture.hits(&request(PlanName::DENSE)),
    );
    let (plan, outcome) = case.fixture.search(&request(PlanName::BM25_BESIDE_DENSE));
    assert_eq!(outcome.hits.len(), 300, "what has no word is found by its vector");
    assert!(words.len() < 300);
    let rank = |hits: &[Hit], hit: &Hit| hits.iter().position(|other| other.id == hit.id);
    #[expect(clippy::cast_precision_loss, reason = "ranks")]
    for hit in &outcome.hits {
        let share = |at: Option<usize>| at.map_or(0.0, |at| 1.0 / (61.0 + at as f64));
        let expected = share(rank(&words, hit)) + share(rank(&dense, hit));
        assert!((f64::from(hit.score) - expected).abs() < 1e-6);
        assert_eq!(hit.scored_by, crate::plan::StageName::Fuse);
    }
    let text = plan.to_string();
    assert!(
        text.contains("bm25/dense") && text.contains("fuse (reciprocal ranks, k 60"),
        "{text}"
    );
    assert!(outcome.profile.stages.iter().any(|stage| stage.name == "fuse"));
}

fn random_dense() -> Vec<f32> {
    let mut dense = Random::new(3).wholes(super::harness::DENSE_DIM);
    dense[0] = 1.0;
    dense
}

#[test]
fn words_alone_are_searched_by_words() {
    let case = Case::new(&mut Random::new(5), 100);
    let request = QueryRequest {
        text: Some("the".to_owned()),
        ..QueryRequest::default()
    };
    let (plan, outcome) = case.fixture.search(&request);
    assert_eq!(plan.name, PlanName::BM25);
    assert!(!outcome.hits.is_empty());
    let nothing = lexical(LexicalQuery::any("?!"), 10);
    assert!(case.fixture.hits(&nothing).is_empty());
    let long: String = (0..2000).map(|n| format!("x{n} ")).collect();
    let refused = crate::search(
        &case.fixture.snapshot(),
        &lexical(LexicalQuery::any(long), 10),
        &crate::CostModel::default(),
        crate::Resources::default(),
    );
    assert!(matches!(
        refused,
        Err(crate::QueryError::QueryTerms { got: 2000, .. })
    ));
}
