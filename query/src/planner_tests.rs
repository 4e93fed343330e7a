//! The planner's rules, each seen to decide and seen to stand aside.

use crate::plan::{PlanChoice, PlanName, Stage};
use crate::{
    CostModel, DenseStatistics, LexicalStatistics, Plan, QueryError, QueryRequest, Statistics,
    TokenStatistics, plan,
};

pub(crate) fn large() -> Statistics {
    Statistics {
        spent_microseconds: 0.0,
        reads_per_hit: 0,
        qualities: None,
        lexical: None,
        documents: 50_000,
        filter_note: None,
        matching: 50_000,
        dense: Some(DenseStatistics {
            dim: 384,
            row_bytes: 384,
            graphs: 1,
            graph_rows: 50_000,
            other_rows: 0,
        }),
        tokens: Some(TokenStatistics {
            dim: 128,
            code_bytes: 36,
            best_bytes: 36,
            indexed_documents: 50_000,
            indexed_tokens: 3_500_000,
            whole_tokens: 0,
            whole_documents: 0,
            centroids: 32_768,
            codebooks: vec![1],
            ..TokenStatistics::default()
        }),
        sparse: std::collections::BTreeMap::new(),
        vectors: std::collections::BTreeMap::new(),
        text: true,
        reranker: true,
        breadths: None,
        tuned: None,
    }
}

fn small() -> Statistics {
    let mut statistics = large();
    (statistics.documents, statistics.matching) = (100, 100);
    statistics.dense = Some(DenseStatistics {
        dim: 384,
        row_bytes: 1_536,
        graphs: 0,
        graph_rows: 0,
        other_rows: 100,
    });
    statistics.tokens = Some(TokenStatistics {
        dim: 128,
        code_bytes: 36,
        best_bytes: 256,
        whole_tokens: 7_000,
        whole_documents: 100,
        ..TokenStatistics::default()
    });
    statistics
}

pub(crate) fn both() -> QueryRequest {
    QueryRequest {
        dense: Some(vec![1.0; 384]),
        tokens: Some((vec![1.0; 32 * 128], 128)),
        text: Some("owls".to_owned()),
        ..QueryRequest::default()
    }
}

fn named(name: PlanName) -> QueryRequest {
    QueryRequest {
        plan: PlanChoice::Named(name),
        ..both()
    }
}

fn planned(request: &QueryRequest, statistics: &Statistics) -> Plan {
    plan(request, statistics, &CostModel::default()).unwrap()
}

fn first(plan: &Plan) -> &Stage {
    &plan.stages.first().unwrap().stage
}

#[test]
fn both_kinds_and_affordable_is_late_interaction_without_a_rerank() {
    let cost = CostModel {
        exact_pair: 1e-6,
        ..CostModel::default()
    };
    let plan = plan(&both(), &large(), &cost).unwrap();
    assert_eq!(plan.name, PlanName::MAXSIM);
    assert!(plan.automatic && plan.reason.contains("affordable"), "{plan}");
    assert!(matches!(first(&plan), Stage::MaxsimIndex(_)), "{plan}");
    let rerank = plan.rejected.iter().find(|r| r.name == "maxsim+rerank").unwrap();
    assert!(
        rerank.estimate.is_some() && rerank.reason.contains("next to nothing"),
        "{plan}"
    );
    for other in ["dense", "dense+maxsim", "maxsim scan"] {
        assert!(
            plan.rejected.iter().any(|r| r.name == other),
            "{other} is missing from {plan}"
        );
    }
}

#[test]
fn late_interaction_that_costs_too_much_is_staged_behind_dense() {
    let cost = CostModel {
        affordable_microseconds: 1.0,
        posting: 10.0,
        ..CostModel::default()
    };
    let plan = plan(&both(), &large(), &cost).unwrap();
    assert_eq!(plan.name, PlanName::DENSE_MAXSIM);
    assert!(matches!(plan.stages[1].stage, Stage::Rescore));
    assert_eq!(plan.stages[0].candidates_out, 200);
    assert_eq!(plan.stages[1].candidates_out, 10);
}

#[test]
fn dense_alone_is_reranked_when_that_is_possible() {
    let request = QueryRequest {
        tokens: None,
        ..both()
    };
    let plan = planned(&request, &large());
    assert_eq!(plan.name, PlanName::DENSE_RERANK);
    assert!(
        plan.reason.contains("no token matrix") && plan.reason.contains("rerank pays"),
        "{plan}"
    );
    assert_eq!(plan.stages[0].candidates_out, 20);

    for (request, statistics) in [
        (
            QueryRequest {
                text: None,
                ..request.clone()
            },
            large(),
        ),
        (
            request.clone(),
            Statistics {
                reranker: false,
                ..large()
            },
        ),
        (
            request.clone(),
            Statistics {
                text: false,
                ..large()
            },
        ),
    ] {
        let plan = planned(&request, &statistics);
        assert_eq!(plan.name, PlanName::DENSE);
        assert!(
            plan.rejected
                .iter()
                .any(|r| r.name == "dense+rerank" && r.estimate.is_none()),
            "{plan}"
        );
    }
}

#[test]
fn a_kind_that_is_missing_is_out() {
    let no_dense = Statistics {
        dense: None,
        ..large()
    };
    let plan = planned(&both(), &no_dense);
    assert_eq!(plan.name, PlanName::MAXSIM);
    assert!(plan.reason.contains("no dense field"), "{plan}");
    let request = QueryRequest {
        tokens: None,
        ..both()
    };
    let nothing = crate::plan(&request, &no_dense, &CostModel::default());
    assert!(matches!(nothing, Err(QueryError::PlanNeeds { .. })));
}

#[test]
fn exact_is_exhaustive_whatever_it_costs() {
    let mut request = both();
    request.exact = true;
    assert!(matches!(first(&planned(&request, &large())), Stage::MaxsimScan));
    request.plan = PlanChoice::Named(PlanName::DENSE_MAXSIM);
    assert!(matches!(first(&planned(&request, &large())), Stage::DenseScan));
}

#[test]
fn small_collections_and_selective_filters_are_scanned() {
    assert!(matches!(first(&planned(&both(), &small())), Stage::MaxsimScan));
    assert!(matches!(
        first(&planned(&named(PlanName::DENSE), &small())),
        Stage::DenseScan
    ));
    let filtered = Statistics {
        matching: 120,
        ..large()
    };
    let plan = planned(&named(PlanName::DENSE), &filtered);
    assert!(matches!(first(&plan), Stage::DenseScan));
    assert!(
        plan.stages[0].reason.contains("the filter leaves 120 of 50,000"),
        "{plan}"
    );
    assert!(matches!(
        first(&planned(&named(PlanName::DENSE), &large())),
        Stage::DenseGraph { .. }
    ));
}

#[test]
fn a_cheaper_scan_wins_over_an_index() {
    let cost = CostModel {
        graph_hop: 1_000.0,
        ..CostModel::default()
    };
    let plan = plan(&named(PlanName::DENSE), &large(), &cost).unwrap();
    assert!(matches!(first(&plan), Stage::DenseScan));
    assert!(plan.stages[0].reason.contains("the graph about"), "{plan}");
}

#[test]
fn a_named_plan_says_what_it_lacks() {
    let needs = |request: &QueryRequest, statistics: &Statistics| match plan(
        request,
        statistics,
        &CostModel::default(),
    ) {
        Err(QueryError::PlanNeeds { needs, .. }) => needs,
        other => panic!("{other:?}"),
    };
    let no_tokens = Statistics {
        tokens: None,
        ..large()
    };
    assert_eq!(
        needs(&named(PlanName::MAXSIM), &no_tokens),
        "a token-matrix field"
    );
    let no_dense = Statistics {
        dense: None,
        ..large()
    };
    assert_eq!(needs(&named(PlanName::DENSE_MAXSIM), &no_dense), "a dense field");
    let request = QueryRequest {
        dense: None,
        ..named(PlanName::DENSE)
    };
    assert_eq!(lacking(&request, &large()), "a dense query vector");
    let request = QueryRequest {
        tokens: None,
        ..named(PlanName::MAXSIM)
    };
    assert_eq!(lacking(&request, &large()), "a query token matrix");
    let request = QueryRequest {
        text: None,
        ..named(PlanName::DENSE_RERANK)
    };
    assert_eq!(lacking(&request, &large()), "the query's text");
    let none = Statistics {
        reranker: false,
        ..large()
    };
    assert_eq!(needs(&named(PlanName::MAXSIM_RERANK), &none), "a reranker");
    let textless = Statistics {
        text: false,
        ..large()
    };
    assert_eq!(
        needs(&named(PlanName::MAXSIM_RERANK), &textless),
        "documents with a text"
    );
}

#[test]
fn candidates_follow_limit_depth_and_request() {
    let mut request = named(PlanName::DENSE_MAXSIM_RERANK);
    let plan = planned(&request, &large());
    let out: Vec<usize> = plan.stages.iter().map(|stage| stage.candidates_out).collect();
    assert_eq!(out, [200, 20, 20]);
    (request.limit, request.offset, request.rerank_depth) = (30, 20, Some(5));
    let plan = planned(&request, &large());
    let out: Vec<usize> = plan.stages.iter().map(|stage| stage.candidates_out).collect();
    assert_eq!(out, [500, 50, 50]);
    request.candidates = Some(70);
    assert_eq!(planned(&request, &large()).stages[0].candidates_out, 70);
    let few = Statistics {
        matching: 7,
        ..large()
    };
    assert_eq!(planned(&request, &few).stages[0].candidates_out, 7);
}

#[test]
fn an_explain_is_a_tree_with_estimates_reasons_and_what_was_rejected() {
    let text = planned(&named(PlanName::DENSE_MAXSIM_RERANK), &large()).to_string();
    for part in [
        "plan dense+maxsim+rerank (named by the caller)",
        "├─ dense graph (ef_search 400)",
        "├─ maxsim rescore",
        "└─ rerank (depth 20)",
        "because",
        "rejected",
        "dense scan",
        "flops",
    ] {
        assert!(text.contains(part), "{part:?} is missing from\n{text}");
    }
    let plan = planned(&both(), &large());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

fn lacking(request: &QueryRequest, statistics: &Statistics) -> &'static str {
    match plan(request, statistics, &CostModel::default()) {
        Err(QueryError::PlanNeeds { needs, .. }) => needs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn words_need_an_index_and_a_text() {
    let indexed = Statistics {
        lexical: Some(LexicalStatistics { postings: 500 }),
        ..large()
    };
    let request = QueryRequest {
        text: Some("owls".to_owned()),
        ..named(PlanName::BM25)
    };
    assert_eq!(lacking(&request, &large()), "a lexical index");
    let wordless = QueryRequest {
        text: None,
        ..request.clone()
    };
    assert_eq!(lacking(&wordless, &indexed), "words to look for");
    let plan = planned(&request, &indexed);
    assert!(matches!(plan.stages[0].stage, Stage::Bm25));
    assert!(plan.estimate().microseconds > 0.0);
}

#[test]
fn legs_are_fused_before_they_are_rescored() {
    let indexed = Statistics {
        lexical: Some(LexicalStatistics { postings: 500 }),
        ..large()
    };
    let request = QueryRequest {
        text: Some("owls".to_owned()),
        ..named(PlanName::BM25_BESIDE_DENSE_MAXSIM)
    };
    let plan = planned(&request, &indexed);
    let names: Vec<String> = plan
        .stages
        .iter()
        .map(|stage| stage.stage.name().to_string())
        .collect();
    assert_eq!(names, ["bm25", "dense graph", "fuse", "maxsim rescore"]);
    let outs: Vec<usize> = plan.stages.iter().map(|stage| stage.candidates_out).collect();
    assert_eq!(outs, [200, 200, 200, 10], "legs are as deep as what is rescored");
    let auto = QueryRequest {
        dense: None,
        tokens: None,
        plan: PlanChoice::Auto,
        ..request
    };
    assert_eq!(planned(&auto, &indexed).name, PlanName::BM25_RERANK);
}
