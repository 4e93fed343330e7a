//! `latewood search`

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::args::{
    CollectionArgs, FusionArg, Global, ModelArgs, NamedVectors, TuningArgs, named_vectors, plan,
};
use super::output::{Failure, print, print_json};
use crate::error::Error;
use crate::{Collection, Fusion, FusionMethod, Hit, PlanChoice, Query};

/// A query as it stands on the command line.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    target: CollectionArgs,
    /// What is asked
    #[arg(value_name = "QUERY")]
    text: String,
    /// What bm25 looks for, where it is more than any word of TEXT: words, "phrases", +must, -not, AND, OR, NOT, ( )
    #[arg(long, value_name = "QUERY")]
    lexical: Option<String>,
    /// Vectors for named fields: a JSON object such as {"splade": {"indices": [7, 900], "values": [1.5, 0.2]}}
    #[arg(long, value_name = "JSON", value_parser = named_vectors)]
    vectors: Option<NamedVectors>,
    /// How many hits
    #[arg(short = 'k', long = "limit", default_value_t = 10)]
    limit: usize,
    /// How many hits to skip first
    #[arg(long, default_value_t = 0)]
    pub(super) offset: usize,
    /// auto, dense, maxsim, dense+maxsim, bm25, bm25+maxsim; dense:NAME, sparse:NAME; fused: bm25/dense, bm25/maxsim, bm25/sparse:NAME, ...; each with +rerank
    #[arg(long, default_value = "auto", value_parser = plan)]
    plan: PlanChoice,
    #[command(flatten)]
    tuning: TuningArgs,
    #[command(flatten)]
    models: ModelArgs,
}

impl QueryArgs {
    pub(super) fn open(&self, global: &Global) -> Result<Collection, Error> {
        super::open_to_read(global, &self.target, &self.models, None)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn query<'a>(&self, collection: &'a Collection) -> Query<'a> {
        let query = collection
            .query()
            .text(&self.text)
            .plan(self.plan.clone())
            .limit(self.limit)
            .offset(self.offset);
        let mut query = tuned(query, &self.tuning).with_text(true);
        if let Some(lexical) = &self.lexical {
            query = query.lexical(lexical.as_str());
        }
        for (name, vector) in self.vectors.iter().flatten() {
            query = query.named_vector(name, vector.clone());
        }
        query
    }
}

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Print the plan and why; without --analyze, do not run it
    #[arg(long)]
    explain: bool,
    /// Run it, and print the plan and what each stage did
    #[arg(long)]
    analyze: bool,
}

pub(super) fn run(global: &Global, args: &SearchArgs) -> Result<(), Failure> {
    let collection = args.query.open(global)?;
    let (query, offset) = (args.query.query(&collection), args.query.offset);
    if args.explain || args.analyze {
        // A reader does not see what the writer measured: the estimates shall be those of this machine all the same.
        collection.calibrate()?;
    }
    // An analysis begins with the plan: it holds what an explanation says.
    if args.explain && !args.analyze {
        let plan = query.explain()?;
        return if global.json {
            print_json(&json!({ "plan": plan }))
        } else {
            print(plan.to_string())
        };
    }
    let analysis = query.analyze()?;
    if !args.analyze {
        return if global.json {
            print_json(&analysis.hits)
        } else {
            print(as_text(&analysis.hits, offset))
        };
    }
    if global.json {
        return print_json(&analysis);
    }
    print(format!("{analysis}\n{}", as_text(&analysis.hits, offset)))
}

fn fusion(tuning: &TuningArgs) -> Fusion {
    let method = match tuning.fusion {
        None | Some(FusionArg::Rrf) => tuning
            .rrf_k
            .map_or(FusionMethod::RRF, |k| FusionMethod::ReciprocalRank { k }),
        Some(FusionArg::Score) => FusionMethod::Score,
        Some(FusionArg::Distribution) => FusionMethod::Distribution,
    };
    Fusion {
        method,
        weights: tuning.weights.clone().unwrap_or_default(),
    }
}

/// A query with the tuning of the command line.
pub(super) fn tuned<'a>(mut query: Query<'a>, tuning: &TuningArgs) -> Query<'a> {
    query = query.exact(tuning.exact).rerank_depth(tuning.rerank_depth);
    if let Some(ef_search) = tuning.ef_search {
        query = query.ef_search(ef_search);
    }
    if let Some(recall) = tuning.recall {
        query = query.recall(recall);
    }
    if let Some(n_probe) = tuning.n_probe {
        query = query.n_probe(n_probe);
    }
    if let Some(candidates) = tuning.candidates {
        query = query.candidates(candidates);
    }
    if let Some(deadline) = tuning.rerank_deadline {
        query = query.rerank_deadline(Duration::from_millis(deadline));
    }
    if let Some(budget) = tuning.budget {
        query = query.budget(budget);
    }
    query = query.fusion(fusion(tuning));
    if let Some(lambda) = tuning.diversity {
        query = query.diversity(lambda);
    }
    if let Some(field) = &tuning.group_by {
        query = query.group_by(field, tuning.group_size);
    }
    if let Some((field, descending)) = &tuning.order_by {
        query = query.order_by(field, *descending);
    }
    if let Some(reranker) = &tuning.reranker {
        query = query.reranker(reranker.as_str());
    }
    match &tuning.filter {
        Some(filter) => query.filter(filter.as_str()),
        None => query,
    }
}

pub(super) fn as_text(hits: &[Hit], offset: usize) -> String {
    if hits.is_empty() {
        return "no document matches\n".to_owned();
    }
    let mut text = String::new();
    for (at, hit) in hits.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:>3}  {:>9.4}  {}", at + offset + 1, hit.score, hit.id);
        if let Some(line) = hit.text.as_deref().map(first_line) {
            let _ = writeln!(text, "                {line}");
        }
    }
    text
}

fn first_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST).collect();
    format!("{}...", cut.trim_end())
}
