//! One codec: its collection is built as `latewood ingest` builds it, and measured.

use std::path::{Path, PathBuf};
use std::time::Instant;

use latewood::{Database, Maintenance, SchemaBuilder, Stats};
use latewood_benches::Failure;
use latewood_benches::dataset::Dataset;
use latewood_storage::{Store, StoreOptions};
use serde_json::{Value, json};

use crate::args::{Args, Codec};
use crate::measure::{self, Measured, Searched};
use crate::report::CodecReport;
use crate::sweep;

const NAME: &str = "tokens";

/// What building took; kept beside the database for when it is used again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    pub(crate) ingest_s: f64,
    pub(crate) optimize_s: f64,
    pub(crate) tokens_per_s: f64,
    pub(crate) peak_memory_mib: Option<f64>,
}

pub(crate) fn run(
    args: &Args,
    codec: Codec,
    data: &Dataset,
    queries: &[Vec<f32>],
    truth: Option<&[Vec<u32>]>,
) -> Result<CodecReport, Failure> {
    let temporary = tempfile::tempdir()?;
    let folder = args.db.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let path = folder.join(codec.to_string());
    let (build, stats) = open_or_build(args, codec, data, &path)?;
    let store = Store::open(
        &path,
        StoreOptions {
            create: false,
            read_only: true,
            ..StoreOptions::default()
        },
    )?;
    let snapshot = store.collection(NAME)?.snapshot();
    let searched = Searched::new(&snapshot, queries, data.dim(), truth)?;
    eprintln!("bits {codec}: scanning the codes for every query");
    let (scan, rankings) = searched.scan()?;
    eprintln!("bits {codec}: trying settings");
    let swept = sweep::run(&searched, &rankings, &args.targets)?;
    let asked = |recall: Option<f64>| -> Result<Measured, Failure> {
        let runs = measure::asked(&path, NAME, queries, data.dim(), recall)?;
        Ok(runs.condensed(&searched, &rankings, 0..queries.len()))
    };
    let mut knob = Vec::new();
    for &recall in &args.targets {
        knob.push((recall, asked(Some(recall))?));
    }
    Ok(CodecReport {
        codec,
        build,
        stats,
        scan,
        defaults: asked(None)?,
        knob,
        targets: swept.targets,
        frontier: swept.frontier,
    })
}

fn open_or_build(
    args: &Args,
    codec: Codec,
    data: &Dataset,
    path: &Path,
) -> Result<(Option<Build>, Stats), Failure> {
    let existed = path.exists();
    // What the background would merge meanwhile, the optimize at the end merges again.
    let options = Database::options()
        .maintenance(Maintenance::Manual)
        .threads(args.threads());
    let db = options.open(path)?;
    let collection = if db.collections()?.is_empty() {
        let mut schema = SchemaBuilder::new().tokens(data.dim(), codec.bits);
        if let Some(token_codec) = codec.token_codec {
            schema = schema.token_codec(token_codec);
        }
        if let Some(original) = codec.original {
            schema = schema.keep_original(original);
        }
        db.create_collection(NAME, schema)?
    } else {
        db.collection(NAME)?
    };
    let build = if existed && collection.count(None)? > 0 {
        read_build(&kept(path))
    } else {
        eprintln!("bits {codec}: building {}", path.display());
        let begun = Instant::now();
        let report = collection
            .try_ingest(data.documents_to_ingest()?)
            .optimize(true)
            .run()?;
        let build = Build {
            ingest_s: report.ingest.as_secs_f64(),
            optimize_s: report.optimize.as_secs_f64(),
            tokens_per_s: report.tokens as f64 / begun.elapsed().as_secs_f64(),
            peak_memory_mib: peak_memory_mib(),
        };
        std::fs::write(kept(path), build.json().to_string())?;
        Some(build)
    };
    let stats = collection.stats()?;
    if stats.documents != data.documents() as u64 {
        let message = format!(
            "{} holds {} documents, expected {}: remove the folder, or name another with --db",
            path.display(),
            stats.documents,
            data.documents()
        );
        return Err(message.into());
    }
    drop(collection);
    db.close()?;
    Ok((build, stats))
}

fn kept(path: &Path) -> PathBuf {
    path.with_added_extension("build.json")
}

impl Build {
    pub(crate) fn json(self) -> Value {
        json!({
            "ingest_s": self.ingest_s,
            "optimize_s": self.optimize_s,
            "tokens_per_s": self.tokens_per_s,
            "peak_memory_mib": self.peak_memory_mib,
        })
    }
}

fn read_build(path: &Path) -> Option<Build> {
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let number = |key: &str| value.get(key)?.as_f64();
    Some(Build {
        ingest_s: number("ingest_s")?,
        optimize_s: number("optimize_s")?,
        tokens_per_s: number("tokens_per_s")?,
        peak_memory_mib: number("peak_memory_mib"),
    })
}

/// The most memory that this process had resident so far, mapped files included.
fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
