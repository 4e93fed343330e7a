//! Readers beside a writer: threads of its process and processes of their own look at the database while it is written
//! to, flushed, merged and optimized, and each look must show one moment.
//!
//! Every change of the writer says its number in the document 0, so that a reader who sees number n knows what all the
//! others must be: the history follows from the seed.

mod history;
mod look;
mod reader;
mod waiting;
mod writer;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use latewood::{Database, Durability, Maintenance};

pub use reader::read;
use reader::{Reading, Report};
pub use waiting::without_waiting;
use writer::Writer;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The command that [`read()`]s when its first argument is `read`.
    pub reader: PathBuf,
    /// Where the database is made.
    pub directory: PathBuf,
    /// Looks at the database, of all readers together, before it ends.
    pub looks: u64,
    /// Changes that there are beside them.
    pub changes: u64,
    /// The history follows from it.
    pub seed: u64,
    /// Readers in the writer's process.
    pub threads: u64,
    /// Readers in processes of their own.
    pub processes: u64,
    /// How durable the writer's changes are.
    pub durability: Durability,
    /// Who flushes and merges beside the writer, which does both too.
    pub maintenance: Maintenance,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Changes that the writer made.
    pub changes: u64,
    /// Flushes and optimizes among what it did beside them.
    pub maintained: u64,
    /// Looks of the readers in its process.
    pub inside: u64,
    /// Looks of the readers in their own.
    pub outside: u64,
    /// Moments of the history that readers saw, each counted once a reader.
    pub moments: u64,
}

/// Writes and reads.
///
/// # Errors
/// The first look that showed what never was.
pub fn run(settings: &Settings) -> Result<Outcome, String> {
    let directory = settings.directory.join("db");
    let database = Database::options()
        .durability(settings.durability)
        .maintenance(settings.maintenance)
        .memory_budget_bytes(16 << 20)
        .threads(1)
        .open(&directory)
        .map_err(|error| error.to_string())?;
    let mut writer = Writer::new(&database, settings.seed, &settings.directory)?;
    let stop = AtomicBool::new(false);
    let said = settings.directory.join("acknowledged");
    let each = settings.looks / (settings.threads + settings.processes).max(1);
    let processes = (0..settings.processes)
        .map(|number| start(settings, &directory, &said, number, each))
        .collect::<Result<Vec<_>, _>>()?;
    let (done, reports) = std::thread::scope(|scope| {
        let inside: Vec<_> = (0..settings.threads)
            .map(|number| {
                let reading = Reading::new(settings.seed, number, &said, (each, settings.changes));
                let (database, stop) = (&database, &stop);
                scope.spawn(move || {
                    let report = reading.threads(database, stop);
                    if report.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    report
                })
            })
            .collect();
        let outside: Vec<_> = processes
            .into_iter()
            .map(|child| scope.spawn(|| Report::of_process(child, &stop)))
            .collect();
        let readers = || inside.iter().chain(&outside).all(|reader| reader.is_finished());
        let mut done = Ok(());
        while done.is_ok() && !readers() && !stop.load(Ordering::Relaxed) {
            done = writer.step();
        }
        stop.store(true, Ordering::Relaxed);
        let join =
            |reader: std::thread::ScopedJoinHandle<'_, _>| reader.join().expect("a reader does not panic");
        let inside: Vec<Result<Report, String>> = inside.into_iter().map(join).collect();
        let outside: Vec<Result<Report, String>> = outside.into_iter().map(join).collect();
        (done, (inside, outside))
    });
    let sum = |reports: Vec<Result<Report, String>>| {
        reports.into_iter().try_fold(Report::default(), |sum, report| {
            report.map(|report| sum.and(report))
        })
    };
    let (inside, outside) = (sum(reports.0)?, sum(reports.1)?);
    done?;
    database.close().map_err(|error| error.to_string())?;
    Ok(Outcome {
        changes: writer.changes(),
        maintained: writer.maintained(),
        inside: inside.looks,
        outside: outside.looks,
        moments: inside.moments + outside.moments,
    })
}

fn start(
    settings: &Settings,
    directory: &std::path::Path,
    said: &std::path::Path,
    number: u64,
    looks: u64,
) -> Result<std::process::Child, String> {
    let named = [
        ("directory", directory.to_string_lossy().into_owned()),
        ("said", said.to_string_lossy().into_owned()),
        ("seed", settings.seed.to_string()),
        ("number", (settings.threads + number).to_string()),
        ("looks", looks.to_string()),
        ("changes", settings.changes.to_string()),
    ];
    Command::new(&settings.reader)
        .arg("read")
        .args(
            named
                .into_iter()
                .flat_map(|(name, value)| [format!("--{name}"), value]),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("starting {}: {error}", settings.reader.display()))
}

/// How long a reader waits for a writer that has not begun.
const PATIENCE: Duration = Duration::from_secs(60);
