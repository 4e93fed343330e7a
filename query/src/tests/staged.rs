//! Plans of several stages: rescoring and reranking.

use std::time::{Duration, Instant};

use latewood_storage::ModelIdentity;

use super::harness::*;
use crate::{
    CostModel, Filter, PlanChoice, PlanName, QueryError, QueryRequest, RerankError, Reranker, Resources,
    StageName, search,
};

/// Prefers the documents with the greatest number in their text; scores only as many as it is allowed to.
struct ByNumber {
    identity: ModelIdentity,
    most: usize,
}

impl ByNumber {
    fn new(most: usize) -> Self {
        let identity = ModelIdentity {
            name: "by number".into(),
            fingerprint: String::new(),
            source: "builtin".into(),
        };
        Self { identity, most }
    }
}

impl Reranker for ByNumber {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn score(
        &self,
        query: &str,
        documents: &[&str],
        _: Option<Instant>,
    ) -> Result<Vec<Option<f32>>, RerankError> {
        assert_eq!(query, "the greatest");
        let number = |text: &&str| text.rsplit(' ').next().and_then(|n| n.parse::<f32>().ok());
        Ok(documents
            .iter()
            .enumerate()
            .map(|(i, text)| number(text).filter(|_| i < self.most))
            .collect())
    }
}

fn both(random: &mut Random, plan: PlanName) -> QueryRequest {
    QueryRequest {
        dense: Some(random.wholes(DENSE_DIM)),
        tokens: Some((random.wholes(3 * TOKEN_DIM), TOKEN_DIM)),
        text: Some("the greatest".to_owned()),
        plan: PlanChoice::Named(plan),
        ..QueryRequest::default()
    }
}

fn fixture(random: &mut Random) -> Fixture {
    let fixture = Fixture::new(plain());
    let records = exact_records(300, random);
    fixture.bulk(&records[..200]);
    fixture.upsert(&records[200..]);
    fixture
}

#[test]
fn dense_candidates_rescored_by_maxsim() {
    let random = &mut Random::new(30);
    let fixture = fixture(random);
    let request = both(random, PlanName::DENSE_MAXSIM);
    let maxsim = fixture.hits(&QueryRequest {
        plan: PlanChoice::Named(PlanName::MAXSIM),
        ..request.clone()
    });
    let all = fixture.hits(&QueryRequest {
        candidates: Some(300),
        ..request.clone()
    });
    assert_eq!(ids(&all), ids(&maxsim));
    assert!(all.iter().all(|hit| hit.scored_by == StageName::Rescore));

    let dense = fixture.hits(&QueryRequest {
        plan: PlanChoice::Named(PlanName::DENSE),
        limit: 10,
        ..request.clone()
    });
    let few = fixture.hits(&QueryRequest {
        candidates: Some(10),
        ..request
    });
    let (mut few, mut dense) = (ids(&few), ids(&dense));
    few.sort();
    dense.sort();
    assert_eq!(few, dense);
}

#[test]
fn a_rerank_orders_its_depth_and_leaves_the_rest() {
    let random = &mut Random::new(31);
    let fixture = fixture(random);
    let reranker = ByNumber::new(usize::MAX);
    let resources = Resources {
        reranker: Some(&reranker),
        ..Resources::default()
    };
    for (plan, base) in [
        (PlanName::DENSE_RERANK, PlanName::DENSE),
        (PlanName::MAXSIM_RERANK, PlanName::MAXSIM),
        (PlanName::DENSE_MAXSIM_RERANK, PlanName::DENSE_MAXSIM),
    ] {
        let request = QueryRequest {
            limit: 40,
            ..both(random, plan.clone())
        };
        let before = fixture.hits(&QueryRequest {
            plan: PlanChoice::Named(base),
            candidates: Some(400),
            ..request.clone()
        });
        let request = QueryRequest {
            candidates: Some(400),
            ..request
        };
        let (_, outcome) = search(&fixture.snapshot(), &request, &CostModel::default(), resources).unwrap();
        let mut expected = ids(&before);
        expected[..20].sort_by_key(|id| std::cmp::Reverse(id.clone()));
        assert_eq!(ids(&outcome.hits), expected, "{plan}");
        assert!(
            outcome.hits[..20]
                .iter()
                .all(|hit| hit.scored_by == StageName::Rerank)
        );
        assert!(
            outcome.hits[20..]
                .iter()
                .all(|hit| hit.scored_by != StageName::Rerank)
        );
        let page = QueryRequest {
            limit: 5,
            offset: 18,
            ..request
        };
        let (_, paged) = search(&fixture.snapshot(), &page, &CostModel::default(), resources).unwrap();
        assert_eq!(paged.hits, outcome.hits[18..23]);
    }
}

#[test]
fn a_rerank_that_is_cut_short_keeps_the_order_of_what_it_left() {
    let random = &mut Random::new(32);
    let fixture = fixture(random);
    let reranker = ByNumber::new(4);
    let resources = Resources {
        reranker: Some(&reranker),
        ..Resources::default()
    };
    let mut request = both(random, PlanName::DENSE_RERANK);
    request.rerank_deadline = Some(Duration::from_millis(50));
    let before = ids(&fixture.hits(&QueryRequest {
        plan: PlanChoice::Named(PlanName::DENSE),
        ..request.clone()
    }));
    let (_, outcome) = search(&fixture.snapshot(), &request, &CostModel::default(), resources).unwrap();
    let mut expected = before;
    expected[..4].sort_by_key(|id| std::cmp::Reverse(id.clone()));
    assert_eq!(ids(&outcome.hits), expected);
    let stage = outcome
        .profile
        .stages
        .iter()
        .find(|stage| stage.name == "rerank")
        .unwrap();
    assert_eq!((stage.candidates_in, stage.candidates_out), (20, 4));
    assert!(stage.note.as_ref().unwrap().contains("4 of 20"));
}

#[test]
fn a_plan_without_its_reranker_or_texts_is_refused() {
    let random = &mut Random::new(33);
    let fixture = fixture(random);
    let request = both(random, PlanName::DENSE_RERANK);
    let run = |request: &QueryRequest, fixture: &Fixture, reranker: Option<&dyn Reranker>| {
        let resources = Resources {
            reranker,
            ..Resources::default()
        };
        search(&fixture.snapshot(), request, &CostModel::default(), resources).unwrap_err()
    };
    assert!(matches!(
        run(&request, &fixture, None),
        QueryError::PlanNeeds {
            needs: "a reranker",
            ..
        }
    ));
    let reranker = ByNumber::new(1);
    let textless = Fixture::new(plain());
    let mut records = exact_records(3, random);
    records.iter_mut().for_each(|record| record.text = None);
    textless.bulk(&records);
    let error = run(&request, &textless, Some(&reranker));
    assert!(matches!(
        error,
        QueryError::PlanNeeds {
            needs: "documents with a text",
            ..
        }
    ));
}

#[test]
fn the_automatic_plan_reranks_dense_only() {
    let random = &mut Random::new(34);
    let fixture = fixture(random);
    let reranker = ByNumber::new(usize::MAX);
    let resources = Resources {
        reranker: Some(&reranker),
        ..Resources::default()
    };
    let auto = |request: QueryRequest| {
        let request = QueryRequest {
            plan: PlanChoice::Auto,
            ..request
        };
        search(&fixture.snapshot(), &request, &CostModel::default(), resources)
            .unwrap()
            .0
            .name
    };
    let request = both(random, PlanName::DENSE);
    assert_eq!(
        auto(QueryRequest {
            tokens: None,
            ..request.clone()
        }),
        PlanName::DENSE_RERANK
    );
    assert_eq!(auto(request), PlanName::MAXSIM);
}

#[test]
fn a_filter_holds_through_every_stage() {
    let random = &mut Random::new(35);
    let fixture = fixture(random);
    let reranker = ByNumber::new(usize::MAX);
    let resources = Resources {
        reranker: Some(&reranker),
        ..Resources::default()
    };
    for plan in PlanName::ALL {
        let request = QueryRequest {
            filter: Some(Filter::eq("open", true)),
            // Every document has this word.
            lexical: Some(crate::LexicalQuery::any("document")),
            limit: 1_000,
            ..both(random, plan.clone())
        };
        let (planned, outcome) =
            search(&fixture.snapshot(), &request, &CostModel::default(), resources).unwrap();
        assert_eq!(outcome.hits.len() as u64, planned.matching, "{plan}");
        for hit in &outcome.hits {
            let record = fixture.collection.get(&hit.id).unwrap().unwrap();
            assert_eq!(record.payload.get("open"), Some(&serde_json::Value::Bool(true)));
        }
    }
}
