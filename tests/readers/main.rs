//! Reads beside a writer: `readers [--looks 1000000] [--changes 10000] [--seed 1] [--threads 2] [--processes 2] [--directory FOLDER]`.

use std::process::ExitCode;
use std::time::Instant;

use latewood::{Durability, Maintenance};
use latewood_tests::command::Arguments;
use latewood_tests::readers::{Settings, read, run};

fn main() -> ExitCode {
    let outcome = if std::env::args().nth(1).as_deref() == Some("read") {
        read()
    } else {
        check()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    let arguments = Arguments::from_env(&["looks", "changes", "seed", "threads", "processes", "directory"]);
    let parent = arguments
        .text("directory")
        .map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(parent).map_err(|error| error.to_string())?;
    let seed = arguments.number("seed", 1);
    let settings = Settings {
        reader: std::env::current_exe().map_err(|error| error.to_string())?,
        directory: directory.path().to_owned(),
        looks: arguments.number("looks", 1_000_000),
        changes: arguments.number("changes", 10_000),
        seed,
        threads: arguments.number("threads", 2),
        processes: arguments.number("processes", 2),
        durability: Durability::Buffered,
        maintenance: Maintenance::Background,
    };
    let begun = Instant::now();
    let outcome = run(&settings).map_err(|what| format!("seed {seed}: {what}"))?;
    println!(
        "{} looks beside the writer's threads and {} from other processes in {:.0} s, at {} moments of {} changes and {} flushes and optimizes: each showed one moment, none went back",
        outcome.inside,
        outcome.outside,
        begun.elapsed().as_secs_f64(),
        outcome.moments,
        outcome.changes,
        outcome.maintained
    );
    Ok(())
}
