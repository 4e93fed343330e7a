//! Kills writers: `crash [--cycles 100] [--seed 1] [--jobs 2] [--directory FOLDER]`.

use std::process::ExitCode;
use std::time::Instant;

use latewood_tests::command::Arguments;
use latewood_tests::crash::{Settings, run, write};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("write") {
        write();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_env(&["cycles", "seed", "jobs", "directory"]);
    let parent = arguments
        .text("directory")
        .map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(parent).expect("a folder");
    let settings = Settings {
        writer: std::env::current_exe().expect("this command"),
        directory: directory.path().to_owned(),
        cycles: arguments.number("cycles", 100),
        seed: arguments.number("seed", 1),
        jobs: arguments.number("jobs", 2).max(1),
    };
    let begun = Instant::now();
    match run(&settings) {
        Ok(report) => {
            println!(
                "{} writers killed in {:.0} s, {} operations acknowledged, none lost, none halved, no open refused; {} backups, all whole",
                report.cycles,
                begun.elapsed().as_secs_f64(),
                report.acknowledged,
                report.backups
            );
            for (kind, (begun, done)) in &report.under_way {
                println!("{kind:<10} under way at {begun:>6} kills, done at {done:>6}");
            }
            for (site, kills) in &report.kills {
                println!("{kills:>6} killed at {site}");
            }
            ExitCode::SUCCESS
        }
        Err(what) => {
            let kept = directory.keep();
            eprintln!("{what}\nthe database is kept in {}", kept.display());
            ExitCode::FAILURE
        }
    }
}
