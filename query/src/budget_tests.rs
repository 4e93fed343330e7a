//! What is given up for a budget, and in which order.

use std::time::Duration;

use crate::budget::upper_microseconds;
use crate::planner_tests::{both, large};
use crate::{
    CostModel, LexicalStatistics, Plan, PlanChoice, PlanName, Quality, QualityTable, QueryError,
    QueryRequest, Stage, Statistics, plan,
};

fn within(microseconds: f64, request: QueryRequest) -> QueryRequest {
    QueryRequest {
        budget: Some(Duration::from_secs_f64(microseconds / 1e6)),
        ..request
    }
}

fn planned(request: &QueryRequest, statistics: &Statistics) -> Plan {
    plan(request, statistics, &CostModel::default()).unwrap()
}

fn upper(plan: &Plan) -> f64 {
    upper_microseconds(plan, &CostModel::default())
}

fn reranked() -> QueryRequest {
    QueryRequest {
        plan: PlanName::DENSE_MAXSIM_RERANK.into(),
        ..both()
    }
}

fn depth(plan: &Plan) -> Option<usize> {
    plan.stages.iter().find_map(|stage| match stage.stage {
        Stage::Rerank { depth, .. } => Some(depth),
        _ => None,
    })
}

#[test]
fn a_budget_that_suffices_changes_nothing() {
    let free = planned(&reranked(), &large());
    let plan = planned(&within(1e9, reranked()), &large());
    assert!(plan.cut.is_empty() && plan.budget.is_some(), "{plan}");
    assert_eq!((&plan.stages, &plan.name), (&free.stages, &free.name));
}

#[test]
fn the_rerank_is_cut_first_then_dropped_then_candidates_then_recall() {
    let free = upper(&planned(&reranked(), &large()));
    let shallow = planned(&within(free * 0.6, reranked()), &large());
    let (cut, full) = (depth(&shallow).unwrap(), 20);
    assert!((3..full).contains(&cut), "{shallow}");
    assert!(
        shallow.cut[0].contains("instead of 20") && shallow.cut.len() == 1,
        "{shallow}"
    );
    assert!(upper(&shallow) <= free * 0.6);

    let unranked = QueryRequest {
        plan: PlanName::DENSE_MAXSIM.into(),
        ..both()
    };
    let without = upper(&planned(&unranked, &large()));
    let plan = planned(&within(without * 1.01, reranked()), &large());
    assert_eq!(plan.name, PlanName::DENSE_MAXSIM, "{plan}");
    assert!(
        plan.cut == ["no rerank, of 20 candidates otherwise"] && !plan.automatic,
        "{plan}"
    );

    let plan = planned(&within(without * 0.8, reranked()), &large());
    assert!(plan.cut[1].contains("100 candidates"), "{plan}");
    assert!(
        plan.to_string().contains("given up for the budget: no rerank"),
        "{plan}"
    );
    assert!(upper(&plan) <= without * 0.8);
}

#[test]
fn an_automatic_plan_ends_in_what_is_cheapest_and_says_when_even_that_is_too_much() {
    let statistics = Statistics {
        lexical: Some(LexicalStatistics { postings: 100 }),
        ..large()
    };
    let plan = planned(&within(150.0, both()), &statistics);
    assert_eq!(plan.name, PlanName::BM25, "{plan}");
    assert!(
        plan.automatic && plan.cut.last().unwrap().starts_with("bm25 instead of"),
        "{plan}"
    );
    let plan = planned(&within(1.0, both()), &statistics);
    assert!(plan.cut.last().unwrap().starts_with("even so"), "{plan}");
    // A named plan keeps its searches.
    let plan = planned(&within(1.0, reranked()), &statistics);
    assert_eq!(plan.name, PlanName::DENSE_MAXSIM, "{plan}");
}

fn judged() -> Statistics {
    let quality = |plan: PlanName, rerank_depth, ndcg_at_10| Quality {
        plan,
        rerank_depth,
        ndcg_at_10,
        milliseconds: None,
    };
    Statistics {
        reranker: true,
        text: true,
        lexical: Some(LexicalStatistics { postings: 1_000 }),
        qualities: Some(QualityTable {
            queries: 50,
            documents: large().documents,
            unsure: 0.0,
            plans: vec![
                quality(PlanName::DENSE, None, 0.5),
                quality(PlanName::BM25, None, 0.6),
                quality(PlanName::DENSE_RERANK, Some(5), 0.62),
                quality(PlanName::DENSE_RERANK, Some(50), 0.7),
                // As good as bm25, and slower.
                quality(PlanName::BM25_MAXSIM, None, 0.600_5),
            ],
        }),
        ..large()
    }
}

#[test]
fn of_judged_plans_the_best_that_fits_is_taken() {
    let named = |name: PlanName, rerank_depth| QueryRequest {
        plan: name.into(),
        rerank_depth,
        ..both()
    };
    let takes = |name, depth| upper(&planned(&named(name, depth), &judged()));
    let plan = planned(&within(1e9, both()), &judged());
    assert_eq!(
        (&plan.name, depth(&plan)),
        (&PlanName::DENSE_RERANK, Some(50)),
        "{plan}"
    );
    assert!(
        plan.automatic && plan.cut.is_empty() && plan.reason.contains("0.7000"),
        "{plan}"
    );

    let budget = takes(PlanName::DENSE_RERANK, Some(5)) * 1.01;
    let plan = planned(&within(budget, both()), &judged());
    assert_eq!(
        (&plan.name, depth(&plan)),
        (&PlanName::DENSE_RERANK, Some(5)),
        "{plan}"
    );
    assert_eq!(plan.cut.len(), 1);
    let deep = plan
        .rejected
        .iter()
        .find(|other| other.name == "dense+rerank 50 deep")
        .unwrap();
    assert!(
        deep.reason.contains("0.7000") && deep.estimate.is_some(),
        "{plan}"
    );

    let budget = takes(PlanName::BM25_MAXSIM, None) * 1.01;
    let plan = planned(&within(budget, both()), &judged());
    assert_eq!(plan.name, PlanName::BM25, "{plan}");
    let alike = plan
        .rejected
        .iter()
        .find(|other| other.name == "bm25+maxsim")
        .unwrap();
    assert!(alike.reason.contains("as good as these"), "{plan}");
}

#[test]
fn of_plans_that_the_queries_cannot_tell_apart_the_fastest_is_taken() {
    let mut statistics = judged();
    let mut chosen = |unsure, deepest| {
        let table = statistics.qualities.as_mut().unwrap();
        (table.plans[2].ndcg_at_10, table.plans[3].ndcg_at_10) = (0.618, deepest);
        table.unsure = unsure;
        planned(&within(1e9, both()), &statistics)
    };
    assert_eq!(
        chosen(0.005, 0.61).name,
        PlanName::DENSE_RERANK,
        "0.018 is 3.6 standard errors"
    );
    assert_eq!(
        chosen(0.0088, 0.61).name,
        PlanName::DENSE_RERANK,
        "0.018 is 2 standard errors"
    );
    let plan = chosen(0.0095, 0.61);
    assert_eq!(plan.name, PlanName::BM25, "{plan}");
    assert!(plan.cut.is_empty(), "{plan}");
    let plan = chosen(0.15, 0.63);
    assert_eq!(
        plan.name,
        PlanName::DENSE_RERANK,
        "so much is not given up on a guess: {plan}"
    );
}

#[test]
fn what_was_judged_on_a_much_smaller_collection_is_not_used() {
    let mut statistics = judged();
    statistics.qualities.as_mut().unwrap().documents /= 3;
    let plan = planned(&within(1e9, both()), &statistics);
    assert!(!plan.reason.contains("judged"), "{plan}");
}

#[test]
fn no_time_at_all_is_refused() {
    let schema = latewood_storage::Schema::default();
    let request = within(0.0, both());
    assert!(matches!(request.validate(&schema), Err(QueryError::Budget)));
    assert_eq!(request.plan, PlanChoice::Auto);
}
