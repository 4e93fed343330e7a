//! What ingest, build and queries hold in memory under a budget, each in a process of its own; and how fast a collection
//! is searched that is several times larger than memory.
//!
//! `memory DATA` prints, for each budget and step, the most of memory and of pages of files that was resident, and whether
//! both together kept to 1.1 times the budget and 32 MiB.

mod args;
mod group;
mod steps;
mod watch;

use std::path::{Path, PathBuf};

use clap::Parser;
use latewood_benches::Failure;

use args::{Args, Step};
use group::Group;
use watch::Peak;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if let (Some(step), Some(folder)) = (args.step, &args.folder) {
        if let Some(group) = &args.group {
            Group::enter(group)?;
        }
        return steps::run(&args, step, folder);
    }
    match &args.larger {
        Some(database) => larger_than_memory(&args, database),
        None => budgets(&args),
    }
}

fn budgets(args: &Args) -> Result<(), Failure> {
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    println!("| budget, MiB | step | peak anonymous | peak of files | peak of both | allowed | kept | s |");
    println!("|---|---|---|---|---|---|---|---|");
    for &budget in &args.budgets {
        let folder = tempfile::tempdir_in(&parent)?;
        let path = folder.path().join("db");
        let allowed = budget as f64 * 1.1 + 32.0;
        for step in Step::ALL {
            let group = args
                .limited
                .then(|| Group::create((allowed * 1_048_576.0) as u64))
                .transpose()?;
            let (_, peak) = run(args, step, &path, budget, group.as_ref())?;
            let Peak {
                anonymous,
                files,
                all,
                seconds,
            } = peak;
            let kept = if all <= allowed { "yes" } else { "no" };
            println!(
                "| {budget} | {} | {anonymous:.0} | {files:.0} | {all:.0} | {allowed:.0} | {kept} | {seconds:.1} |",
                step.name()
            );
        }
    }
    Ok(())
}

fn run(
    args: &Args,
    step: Step,
    path: &Path,
    budget: u64,
    group: Option<&Group>,
) -> Result<(String, Peak), Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![text(&args.data), "--folder".to_owned(), text(path)];
    let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    add("step", step.name().to_owned());
    add("budget", budget.to_string());
    add("bits", args.bits.to_string());
    add("queries", args.queries.to_string());
    add("scans", args.scans.to_string());
    add("rounds", args.rounds.to_string());
    if let Some(recall) = args.recall {
        add("recall", recall.to_string());
    }
    if let Some(limit) = args.limit {
        add("limit", limit.to_string());
    }
    if let Some(group) = group {
        add("group", text(group.folder()));
    }
    watch::run(&arguments)
}

/// Bytes of all files of a folder.
fn bytes_of(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        bytes += if path.is_dir() {
            bytes_of(&path)?
        } else {
            path.metadata()?.len()
        };
    }
    Ok(bytes)
}

/// Has the system forget what it holds of the files of a folder, so that whoever reads them next holds them.
fn forget(folder: &Path) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
            continue;
        }
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

fn larger_than_memory(args: &Args, database: &Path) -> Result<(), Failure> {
    let bytes = bytes_of(&database.join("collections"))? as f64;
    let memory = bytes / args.times;
    println!("{:.0} MB of files, {:.0} MB of memory", bytes / 1e6, memory / 1e6);
    println!(
        "| queries | memory | first, ms | p50, ms | p95, ms | peak anonymous, MiB | peak of files, MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    for step in [Step::Query, Step::Scan, Step::Query, Step::Scan] {
        // All of it; as much as the budget allows, while the system holds all; and as much as the group has, from disk.
        for (held, budget) in [
            ("all", 1 << 20),
            ("budget", memory as u64 >> 20),
            ("limited", args.budget),
        ] {
            let limited = held == "limited";
            let group = limited.then(|| Group::create(memory as u64)).transpose()?;
            // Pages that are in memory already belong to no group, however small.
            if limited {
                forget(&database.join("collections"))?;
            }
            let (times, peak) = run(args, step, database, budget, group.as_ref())?;
            let times: Vec<f64> = times
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let [first, p50, p95] = times.as_slice() else {
                return Err(format!("a step printed {times:?}, not three times").into());
            };
            println!(
                "| {} | {held} | {first:.1} | {p50:.2} | {p95:.2} | {:.0} | {:.0} |",
                step.name(),
                peak.anonymous,
                peak.files
            );
        }
    }
    Ok(())
}
