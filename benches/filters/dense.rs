//! Dense search under filters.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use latewood::import::NpyReader;
use latewood::{
    Collection, Database, DenseCodec, Document, FieldType, Filter, Maintenance, Metric, SchemaBuilder,
};
use latewood_benches::recall::Recall;
use latewood_benches::times::{self, Times};
use latewood_benches::{Failure, ask};

use crate::Args;
use crate::columns::{Columns, Kind};

const NAME: &str = "dense";

/// Builds a collection unless it is there, and prints a table for each depth.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (Some(vectors), Some(queries)) = (&args.dense, &args.dense_queries) else {
        return Err("expected --dense and --dense-queries".into());
    };
    let vectors = rows(vectors, args.limit)?;
    let mut queries = rows(queries, None)?;
    let others = queries.split_off(args.queries.min(queries.len()));
    let columns = Columns::of(&vectors, &queries);
    let temporary = tempfile::tempdir()?;
    let path = args.db.clone().unwrap_or_else(|| temporary.path().join("db"));
    if !path.exists() {
        eprintln!("building {}", path.display());
        build(&path, &vectors, &columns, &others)?;
    }
    let db = Database::options().threads(1).read_only(true).open(&path)?;
    let collection = db.collection(NAME)?;
    println!(
        "{} vectors of {}, {} queries, load {}\n",
        vectors.len(),
        vectors.first().map_or(0, Vec::len),
        queries.len(),
        times::load().unwrap_or_default()
    );
    for &k in &args.k {
        println!(
            "| filter | matching | asked | recall@{k} | hits short | p50 ms | p95 ms | of unfiltered, p50 | p95 |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let breadths = args.ef.iter().map(|ef| Asked::Breadth(*ef));
        let recalls = args.recalls.iter().map(|recall| Asked::Recall(*recall));
        let asked: Vec<Asked> = if args.ef.is_empty() {
            recalls.collect()
        } else {
            breadths.collect()
        };
        for asked in asked {
            let case = Case {
                collection: &collection,
                queries: &queries,
                k,
                asked,
                rounds: args.rounds.max(1),
            };
            case.print(&columns, &args.shares)?;
        }
        println!();
    }
    drop(collection);
    Ok(db.close()?)
}

/// Unit vectors.
fn rows(path: &Path, limit: Option<usize>) -> Result<Vec<Vec<f32>>, Failure> {
    let mut reader = NpyReader::open(path)?;
    let count = usize::try_from(reader.rows())?.min(limit.unwrap_or(usize::MAX));
    let (dim, mut values) = (reader.row_len(), Vec::new());
    reader.read_f32(count, &mut values)?;
    let unit = |row: &[f32]| {
        let norm = row
            .iter()
            .map(|x| x * x)
            .sum::<f32>()
            .sqrt()
            .max(f32::MIN_POSITIVE);
        row.iter().map(|x| x / norm).collect()
    };
    Ok(values.chunks_exact(dim).map(unit).collect())
}

/// Builds the collection, and tunes it by queries other than those that are measured, if there are.
fn build(path: &Path, vectors: &[Vec<f32>], columns: &Columns, others: &[Vec<f32>]) -> Result<(), Failure> {
    let db = Database::options().maintenance(Maintenance::Manual).open(path)?;
    let mut schema = SchemaBuilder::new()
        .dense(vectors.first().map_or(0, Vec::len), Metric::Cosine)
        .dense_codec(DenseCodec::F16);
    for name in columns.names() {
        schema = schema.field(name, FieldType::Int);
    }
    let collection = db.create_collection(NAME, schema)?;
    let documents = vectors.iter().enumerate().map(|(id, row)| {
        let document = Document::new(id as u64).dense(row.as_slice());
        columns
            .values(id)
            .fold(document, |document, (name, place)| document.field(name, place))
    });
    collection.ingest(documents).optimize(true).run()?;
    if !others.is_empty() {
        collection.tune_dense(Some(others), |_| ControlFlow::Continue(()))?;
    }
    drop(collection);
    Ok(db.close()?)
}

/// What is measured on what.
struct Case<'a> {
    collection: &'a Collection,
    queries: &'a [Vec<f32>],
    k: usize,
    asked: Asked,
    rounds: usize,
}

/// What a query asks of the walk.
#[derive(Clone, Copy)]
enum Asked {
    Breadth(usize),
    Recall(f64),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breadth(ef) => write!(f, "ef {ef}"),
            Self::Recall(recall) => write!(f, "recall {recall}"),
        }
    }
}

impl Case<'_> {
    fn print(&self, columns: &Columns, shares: &[f64]) -> Result<(), Failure> {
        let all = self.row("none", &[], columns.matching(1.0), None)?;
        for kind in Kind::ALL {
            for &share in shares {
                let filters: Vec<Filter> = (0..self.queries.len())
                    .map(|query| columns.filter(kind, share, query))
                    .collect();
                let name = format!("{:.1}%, {}", share * 100.0, kind.name());
                self.row(&name, &filters, columns.matching(share), Some(all))?;
            }
        }
        Ok(())
    }

    /// Prints a row; its p50 and p95.
    fn row(
        &self,
        name: &str,
        filters: &[Filter],
        matching: usize,
        unfiltered: Option<(f64, f64)>,
    ) -> Result<(f64, f64), Failure> {
        let (truth, _) = self.ask(filters, true)?;
        let (found, mut least) = self.ask(filters, false)?;
        least.fill(f64::INFINITY);
        for _ in 0..self.rounds {
            let (_, times) = self.ask(filters, false)?;
            least
                .iter_mut()
                .zip(times)
                .for_each(|(least, time)| *least = time.min(*least));
        }
        let times = Times::new(least);
        let recall = Recall::at(self.k, &found, &truth);
        let wanted = self.k.min(matching);
        let short: usize = found.iter().map(|hits| wanted.saturating_sub(hits.len())).sum();
        let (p50, p95) = (times.p50(), times.p95());
        let ratio = unfiltered.map_or_else(
            || " | ".to_owned(),
            |(base50, base95)| format!("{:.2} | {:.2}", p50 / base50, p95 / base95),
        );
        println!(
            "| {name} | {matching} | {} | {:.4} ± {:.3} | {short} | {p50:.3} | {p95:.3} | {ratio} |",
            self.asked, recall.mean, recall.margin
        );
        Ok((p50, p95))
    }

    fn ask(&self, filters: &[Filter], exact: bool) -> Result<(Vec<Vec<u32>>, Vec<f64>), Failure> {
        let (mut found, mut times) = (Vec::new(), Vec::new());
        for (at, query) in self.queries.iter().enumerate() {
            let mut asked = self
                .collection
                .query()
                .dense(query.as_slice())
                .plan("dense")
                .limit(self.k)
                .with_payload(false);
            asked = match self.asked {
                _ if exact => asked.exact(true),
                Asked::Breadth(ef) => asked.ef_search(ef),
                Asked::Recall(recall) => asked.recall(recall),
            };
            if let Some(filter) = filters.get(at) {
                asked = asked.filter(filter.clone());
            }
            let begun = Instant::now();
            let hits = asked.run()?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            let ids: Result<Vec<u32>, Failure> = hits.iter().map(|hit| ask::number_of(&hit.id)).collect();
            found.push(ids?);
        }
        Ok((found, times))
    }
}
