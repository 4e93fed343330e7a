//! MaxSim over stored tokens against a cross-encoder, over the same candidates.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use latewood::models::TextEncoder;
use latewood::{Analysis, Query};
use latewood_benches::Failure;
use latewood_benches::times::median;

use crate::args::Args;
use crate::flops;
use crate::material::{Asked, Material, Stored, ids};
use crate::spread::Spread;

/// What a pass of the cross-encoder takes, and a search before it.
pub(crate) struct Pass {
    pub(crate) flops: f64,
    /// A query that encodes, finds candidates and has them reranked.
    pub(crate) query_ms: Spread,
    pub(crate) reranked_ndcg: f64,
    pub(crate) dense_ndcg: f64,
}

/// Milliseconds of each query in a round.
#[derive(Default)]
struct Round {
    maxsim: Vec<f64>,
    cross: Vec<f64>,
    encode: Vec<f64>,
    whole: Vec<f64>,
    /// Operations that the engine counts for MaxSim.
    engine: Vec<f64>,
}

/// What the queries found, the same in every round.
#[derive(Default)]
struct Found {
    dense: Vec<Vec<String>>,
    maxsim: Vec<Vec<String>>,
    cross: Vec<Vec<String>>,
}

pub(crate) fn report(material: &Material, stored: &Stored, args: &Args) -> Result<Pass, Failure> {
    let mut found = Found::default();
    for query in &material.queries {
        let dense = base(query, stored, args).plan("dense").run()?;
        found.dense.push(ids(&dense));
    }
    let counted = count(material, &found.dense)?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        (found.maxsim, found.cross) = (Vec::new(), Vec::new());
        rounds.push(round(material, stored, args, &mut found)?);
    }
    let spread = |of: fn(&Round) -> &Vec<f64>| {
        Spread::of(
            &rounds
                .iter()
                .map(|r| median(of(r).iter().copied()))
                .collect::<Vec<_>>(),
        )
    };
    let (maxsim, cross) = (spread(|r| &r.maxsim), spread(|r| &r.cross));
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|r| median(r.cross.iter().copied()) / median(r.maxsim.iter().copied()))
        .collect();
    let encode = spread(|r| &r.encode);
    let with: Vec<f64> = rounds
        .iter()
        .map(|r| {
            median(r.cross.iter().copied())
                / (median(r.maxsim.iter().copied()) + median(r.encode.iter().copied()))
        })
        .collect();
    let quality = |rankings: &[Vec<String>]| {
        let measures = material.measure(rankings);
        (
            measures.ndcg_at_10,
            format!("{:.4} | {:.4}", measures.ndcg_at_10, measures.mrr_at_10),
        )
    };
    let (dense_ndcg, dense) = quality(&found.dense);
    let (reranked_ndcg, reranked) = quality(&found.cross);
    println!(
        "The {} nearest by dense vectors of each query, scored by:\n",
        args.depth
    );
    println!(
        "| | ms a query | times | MFLOPs a query | times | nDCG@10 | MRR@10 |\n|---|---|---|---|---|---|---|"
    );
    println!("| nothing more | | | | | {dense} |");
    println!(
        "| MaxSim, 2 bits, as stored | {maxsim} | 1 | {:.3} | 1 | {} |",
        counted.maxsim / 1e6,
        quality(&found.maxsim).1
    );
    println!(
        "| and the query's encoding | {} | | {:.2} | | |",
        encode,
        counted.encode / 1e6
    );
    println!(
        "| cross-encoder | {cross} | {} | {:.0} | {:.0} | {reranked} |",
        Spread::of(&ratios),
        counted.cross / 1e6,
        counted.cross / counted.maxsim
    );
    println!(
        "\nThe query's encoding counted to MaxSim: {} times in latency, {:.1} times in operations.\n",
        Spread::of(&with),
        counted.cross / (counted.maxsim + counted.encode)
    );
    let engine: Vec<f64> = rounds
        .iter()
        .flat_map(|round| round.engine.iter().copied())
        .collect();
    println!(
        "The engine's own count of MaxSim, which scores the query with the centroids first, is {:.1} MFLOPs a query.\n",
        engine.iter().sum::<f64>() / engine.len() as f64 / 1e6
    );
    let each = 1.0 / args.depth.min(material.documents.len()) as f64;
    Ok(Pass {
        flops: counted.cross * each,
        query_ms: spread(|r| &r.whole),
        reranked_ndcg,
        dense_ndcg,
    })
}

/// A query over all documents for its nearest by dense vectors.
fn base<'a>(query: &Asked, stored: &'a Stored, args: &Args) -> Query<'a> {
    stored
        .collection
        .query()
        .text(&query.text)
        .dense(query.dense.clone())
        .tokens(query.tokens.clone())
        .exact(true)
        .candidates(args.depth)
        .rerank_depth(args.depth)
        .limit(args.depth)
        .with_payload(false)
}

fn round(material: &Material, stored: &Stored, args: &Args, found: &mut Found) -> Result<Round, Failure> {
    let mut round = Round::default();
    for (query, dense) in material.queries.iter().zip(&found.dense) {
        let maxsim = base(query, stored, args).plan("dense+maxsim").analyze()?;
        let cross = base(query, stored, args).plan("dense+rerank").analyze()?;
        let same = |answer: &Analysis| {
            let of = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<String>>();
            of(&ids(&answer.hits)) == of(dense)
        };
        if !same(&maxsim) || !same(&cross) {
            return Err(format!("{}: the candidates are not the same", query.id).into());
        }
        round
            .maxsim
            .push(milliseconds(&maxsim, |name| name.starts_with("maxsim")));
        round
            .cross
            .push(milliseconds(&cross, |name| name == "rerank" || name == "texts"));
        let stages = maxsim.profile.stages.iter();
        let late = stages.filter(|stage| stage.name.starts_with("maxsim"));
        round.engine.push(late.map(|stage| stage.flops as f64).sum());
        found.maxsim.push(ids(&maxsim.hits));
        found.cross.push(ids(&cross.hits));
        let begun = Instant::now();
        material.models.late.encode_query(&query.text)?;
        round.encode.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        material.models.dense.encode_query(&query.text)?;
        let encoded = begun.elapsed().as_secs_f64() * 1e3;
        round.whole.push(encoded + cross.profile.total_microseconds / 1e3);
    }
    Ok(round)
}

/// Milliseconds of the stages of these names.
fn milliseconds(answer: &Analysis, wanted: impl Fn(&str) -> bool) -> f64 {
    let stages = answer.profile.stages.iter();
    stages
        .filter(|stage| wanted(&stage.name))
        .map(|stage| stage.microseconds)
        .sum::<f64>()
        / 1e3
}

/// Operations a query on average.
struct Counted {
    maxsim: f64,
    encode: f64,
    cross: f64,
}

/// Has the cross-encoder read each candidate alone, which tells how many tokens it read of it.
fn count(material: &Material, candidates: &[Vec<String>]) -> Result<Counted, Failure> {
    let by_id: HashMap<String, _> = material.documents.iter().map(|d| (d.id.to_string(), d)).collect();
    let (models, dim) = (&material.models, material.token_dim());
    let (mut maxsim, mut encode, mut cross) = (0, 0, 0);
    for (query, candidates) in material.queries.iter().zip(candidates) {
        let rows = (query.tokens.len() / dim) as u64;
        encode += models.late_shape.pass(query.input_tokens as u64);
        for document in candidates.iter().filter_map(|id| by_id.get(id)) {
            let tokens = document.tokens.as_ref().map_or(0, |rows| rows.to_rows().len());
            maxsim += flops::maxsim(rows, tokens as u64, dim as u64);
            let text = document.text.as_deref().unwrap_or_default();
            let read = models.cross.rerank(&query.text, &[text], 1, None)?.input_tokens;
            cross += models.cross_shape.pass(read as u64);
        }
    }
    let mean = |sum: u64| sum as f64 / material.queries.len() as f64;
    Ok(Counted {
        maxsim: mean(maxsim),
        encode: mean(encode),
        cross: mean(cross),
    })
}
