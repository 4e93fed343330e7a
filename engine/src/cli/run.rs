//! `latewood run`

use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{Global, RunArgs};
use super::latency::{Latencies, rounded};
use super::matrices::read_matrices;
use super::output::{Failure, print, print_json};
use super::progress;
use super::search::tuned;
use super::stages::Stages;
use crate::evaluation::RunFile;
use crate::import::{NpyReader, read_vector_queries};
use crate::{Collection, Document, Query};

/// What is asked: text, or vectors.
enum Asked {
    /// A line of a file of queries: a text, vectors, or both.
    Line(Box<Document>),
    Vectors {
        tokens: Option<Vec<Vec<f32>>>,
        dense: Option<Vec<f32>>,
    },
}

pub(super) fn run(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, Some(1))?;
    let mut queries = match &args.queries {
        Some(path) => read_vector_queries(path)?
            .into_iter()
            .map(|line| (line.id.to_string(), Asked::Line(Box::new(line))))
            .collect(),
        None => read_vectors(args)?,
    };
    queries.truncate(args.limit_queries.unwrap_or(usize::MAX));
    let mut file = RunFile::create(&args.out, &args.plan.to_string())?;
    let (mut latencies, mut stages) = (Latencies::default(), Stages::default());
    if let Some((_, asked)) = queries.first() {
        // Loads the models and touches the files once: what is measured is a collection in use.
        query(&collection, args, asked).run()?;
    }
    let bar = progress::bar(global, "run", Some(queries.len() as u64));
    for (id, asked) in &queries {
        let mut fastest = Duration::MAX;
        let mut hits = Vec::new();
        for _ in 0..args.repeat {
            let query = query(&collection, args, asked);
            let begun = Instant::now();
            if args.analyze {
                let analysis = query.analyze()?;
                fastest = fastest.min(begun.elapsed());
                stages.add(&analysis.profile);
                hits = analysis.hits;
            } else {
                hits = query.run()?;
                fastest = fastest.min(begun.elapsed());
            }
        }
        latencies.add(fastest);
        file.write(id, hits.into_iter().map(|hit| (hit.id, hit.score)))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    file.finish()?;
    report(global, &latencies, args.analyze.then_some(&stages))
}

fn query<'a>(collection: &'a Collection, args: &RunArgs, asked: &Asked) -> Query<'a> {
    let query = tuned(
        collection
            .query()
            .plan(args.plan.clone())
            .limit(args.limit)
            .with_payload(false),
        &args.tuning,
    );
    match asked {
        Asked::Line(line) => by_line(query, line),
        Asked::Vectors { tokens, dense } => {
            let query = match tokens {
                Some(tokens) => query.tokens(tokens),
                None => query,
            };
            match dense {
                Some(dense) => query.dense(dense.as_slice()),
                None => query,
            }
        }
    }
}

/// Asks by what a line has.
fn by_line<'a>(mut query: Query<'a>, line: &Document) -> Query<'a> {
    if let Some(text) = &line.text {
        query = query.text(text);
    }
    if let Some(dense) = &line.dense {
        query = query.dense(dense.as_slice());
    }
    if let Some(tokens) = &line.tokens {
        query = query.tokens(tokens.to_rows());
    }
    let vectors = line.vectors.iter();
    vectors.fold(query, |query, (name, vector)| {
        query.named_vector(name, vector.clone())
    })
}

fn report(global: &Global, latencies: &Latencies, stages: Option<&Stages>) -> Result<(), Failure> {
    let (p50, p95) = (latencies.percentile(0.5), latencies.percentile(0.95));
    let qps = latencies.queries_per_second();
    if global.json {
        let mut report = json!({
            "queries": latencies.len(),
            "p50_ms": rounded(p50, 4),
            "p95_ms": rounded(p95, 4),
            "qps": rounded(qps, 2),
        });
        if let Some(stages) = stages {
            report["stages"] = stages.json();
        }
        return print_json(&report);
    }
    print(format!(
        "{} queries: p50 {p50:.3} ms, p95 {p95:.3} ms, {qps:.1} queries/s\n{}",
        latencies.len(),
        stages.map(Stages::table).unwrap_or_default()
    ))
}

fn read_vectors(args: &RunArgs) -> Result<Vec<(String, Asked)>, Failure> {
    let mut dense = args
        .dense
        .as_ref()
        .map(|path| read_rows(NpyReader::open(path)?))
        .transpose()?;
    let mut tokens = match &args.multi {
        Some(path) => Some(read_matrices(path, args.querylens.as_deref())?),
        None => None,
    };
    if let (Some(dense), Some(tokens)) = (&dense, &tokens)
        && dense.len() != tokens.len()
    {
        let message = format!(
            "--dense has {} queries, --multi has {}",
            dense.len(),
            tokens.len()
        );
        return Err(Failure::Said(message, "give both for the same queries"));
    }
    let queries = dense
        .as_ref()
        .map_or(0, Vec::len)
        .max(tokens.as_ref().map_or(0, Vec::len));
    let asked = |i: usize| Asked::Vectors {
        tokens: tokens.as_mut().map(|t| std::mem::take(&mut t[i])),
        dense: dense.as_mut().map(|d| std::mem::take(&mut d[i])),
    };
    let mut asked = asked;
    Ok((0..queries).map(|i| (i.to_string(), asked(i))).collect())
}

fn read_rows(mut reader: NpyReader) -> Result<Vec<Vec<f32>>, Failure> {
    if reader.header().shape.len() != 2 {
        let message = format!(
            "{}: expected queries x dimensions, got shape {:?}",
            reader.path().display(),
            reader.header().shape
        );
        return Err(Failure::Said(message, "give one row a query"));
    }
    let mut rows = Vec::new();
    while reader.remaining() > 0 {
        let mut row = Vec::with_capacity(reader.row_len());
        reader.read_f32(1, &mut row)?;
        rows.push(row);
    }
    Ok(rows)
}
