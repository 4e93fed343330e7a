//! A writer in a process of its own is killed, at random moments and at chosen calls to the disk; what it had acknowledged
//! is there, whole, and the database can be written to again.

mod cycle;
mod point;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

pub use writer::write;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The command that [`write()`]s when its first argument is `write`.
    pub writer: PathBuf,
    /// Where the databases are made.
    pub directory: PathBuf,
    /// Writers that are killed.
    pub cycles: u64,
    /// Everything but the moments of the kills follows from it.
    pub seed: u64,
    /// Databases that are tried at once.
    pub jobs: u64,
}

/// What was tried.
#[derive(Debug, Default)]
pub struct Report {
    /// Writers that were killed.
    pub cycles: u64,
    /// Operations that they had acknowledged.
    pub acknowledged: u64,
    /// Backups that they made, each of which held what was acknowledged.
    pub backups: u64,
    /// Operations that were under way, by kind, and how many of them were found done.
    pub under_way: BTreeMap<&'static str, (u64, u64)>,
    /// Kills by the call to the disk at which they came; `a random moment` for the others.
    pub kills: BTreeMap<String, u64>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.acknowledged += other.acknowledged;
        self.backups += other.backups;
        for (kind, (begun, done)) in other.under_way {
            let sum = self.under_way.entry(kind).or_default();
            *sum = (sum.0 + begun, sum.1 + done);
        }
        for (kill, count) in other.kills {
            *self.kills.entry(kill).or_default() += count;
        }
    }
}

/// Kills writers.
///
/// # Errors
/// What was lost, halved or refused first, and in which cycle.
pub fn run(settings: &Settings) -> Result<Report, String> {
    let report = Mutex::new(Report::default());
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let report = &report;
        let job = |job: u64| {
            let cycles = settings.cycles / settings.jobs + u64::from(job < settings.cycles % settings.jobs);
            let done = cycle::run(settings, job, cycles)?;
            report.lock().unwrap().add(done);
            Ok(())
        };
        let handles: Vec<_> = (0..settings.jobs)
            .map(|number| scope.spawn(move || job(number)))
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("a job"))
            .collect()
    });
    outcomes.into_iter().collect::<Result<(), String>>()?;
    Ok(report.into_inner().unwrap())
}
