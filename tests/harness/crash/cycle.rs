//! Starts a writer, kills it, and looks at what it has left.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use latewood::{Database, Durability, Finding, Maintenance, Severity};

use super::point::Point;
use super::writer::{BACKED_UP, BEGIN, DONE, OPEN, Writing, backup_folder, choose};
use super::{Report, Settings};
use crate::ledger::{Collections, Ledger};
use crate::operation::{Operation, list_all, read_all};
use crate::random::Random;

/// The most operations of a writer that is not killed at a point before.
const MOST_OPERATIONS: u64 = 60;
/// Versions that belong to one cycle.
const VERSIONS: u64 = 1_000;

/// What a killed writer may have left.
struct Left {
    ledger: Ledger,
    /// The collection and the kind of the operation that was under way.
    begun: Option<(&'static str, &'static str)>,
}

struct Job {
    random: Random,
    settings: Settings,
    directory: String,
    found: Collections,
    report: Report,
}

/// Runs the cycles of one database.
pub(super) fn run(settings: &Settings, number: u64, cycles: u64) -> Result<Report, String> {
    let directory = settings.directory.join(format!("database-{number}"));
    let mut job = Job {
        random: Random::new(settings.seed.wrapping_mul(1_000_003).wrapping_add(number)),
        settings: settings.clone(),
        directory: directory.to_string_lossy().into_owned(),
        found: Collections::new(),
        report: Report::default(),
    };
    for cycle in 0..cycles {
        job.cycle(cycle)
            .map_err(|what| format!("seed {}, database {number}, cycle {cycle}: {what}", settings.seed))?;
    }
    Ok(job.report)
}

impl Job {
    fn cycle(&mut self, cycle: u64) -> Result<(), String> {
        let durability = [
            Durability::Sync,
            Durability::Sync,
            Durability::Buffered,
            Durability::None,
        ];
        let writing = Writing {
            directory: self.directory.clone(),
            seed: self.random.bits(),
            first: cycle * VERSIONS + 1,
            durability: durability[self.random.index(4)],
            maintenance: [Maintenance::Background, Maintenance::Manual][self.random.index(2)],
            point: (!self.random.one_in(3)).then(|| Point::choose(&mut self.random)),
        };
        let Left { ledger, begun } = self.write_and_kill(&writing)?;
        let found = self
            .look(&ledger, cycle)
            .map_err(|what| format!("{writing:?}: {what}"))?;
        self.report.cycles += 1;
        if let Some((collection, kind)) = begun {
            let counts = self.report.under_way.entry(kind).or_default();
            let done = found.get(collection) != ledger.current(collection);
            *counts = (counts.0 + 1, counts.1 + u64::from(done));
        }
        self.found = found;
        Ok(())
    }

    /// Starts a writer and kills it.
    fn write_and_kill(&mut self, writing: &Writing) -> Result<Left, String> {
        let mut child = Command::new(&self.settings.writer)
            .arg("write")
            .args(writing.arguments())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", self.settings.writer.display()))?;
        let listened = self.listen(writing, &mut child);
        // One that has ended at its point is dead already.
        let _ = child.kill();
        let listened = listened.map_err(|what| format!("{writing:?}: {what}"))?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.code().is_some() {
            return Err(format!(
                "{writing:?}: the writer failed by itself: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let kill = match writing.point {
            Some(point) if output.status.to_string().contains("SIGABRT") => point.site(),
            _ => "a random moment".to_owned(),
        };
        *self.report.kills.entry(kill).or_default() += 1;
        Ok(listened)
    }

    fn listen(&mut self, writing: &Writing, child: &mut Child) -> Result<Left, String> {
        let mut random = Random::new(writing.seed);
        let mut ledger = Ledger::of(self.found.clone());
        let (mut version, mut begun) = (writing.first, None);
        let mut output = child.stdout.take().expect("its output");
        let most = match writing.point {
            Some(_) => 4 * MOST_OPERATIONS,
            None => self.random.below(MOST_OPERATIONS),
        };
        let pause = Duration::from_micros(self.random.below(3_000));
        let mut wanted = 1 + 2 * most;
        if most == 0 {
            // While it opens the database.
            std::thread::sleep(pause);
            let _ = child.kill();
        }
        let (mut byte, mut killed) = ([0], most == 0);
        while matches!(output.read(&mut byte), Ok(1)) {
            match byte[0] {
                OPEN => {}
                BEGIN => {
                    let (collection, operation) = choose(&mut random, |name| ledger.current(name).is_some());
                    let outcome = operation.outcome(ledger.current(collection), version);
                    ledger.begin(collection, outcome);
                    begun = Some((collection, operation));
                }
                DONE => {
                    let (_, operation) = begun.take().expect("it began before it was done");
                    let durable = writing.durability != Durability::None || operation.is_always_durable();
                    ledger.acknowledge(durable);
                    self.report.acknowledged += 1;
                    version += 1;
                }
                BACKED_UP => {
                    let found = restored(&backup_folder(&self.directory, version - 1))?;
                    let expected = ledger.acknowledged();
                    if found.as_ref() != Some(&expected) {
                        return Err(format!("a backup holds {found:?} of {expected:?}"));
                    }
                    self.report.backups += 1;
                }
                other => panic!("the writer says {other}"),
            }
            wanted = wanted.saturating_sub(1);
            if wanted == 0 && !killed {
                std::thread::sleep(pause);
                let _ = child.kill();
                killed = true;
            }
        }
        // A backup that was under way is whole or none.
        if let Some(found) = restored(&backup_folder(&self.directory, version.saturating_sub(1)))? {
            ledger
                .check(&found)
                .map_err(|what| format!("in a backup: {what}"))?;
        }
        let begun = begun.map(|(collection, operation)| (collection, operation.kind()));
        Ok(Left { ledger, begun })
    }

    /// Opens what was left, compares it, and writes to it; or only reads it, so that the next writer recovers it.
    fn look(&mut self, ledger: &Ledger, cycle: u64) -> Result<Collections, String> {
        let read_only = self.random.one_in(2);
        let path = Path::new(&self.directory);
        if read_only && !path.join("collections").exists() {
            return ledger.check(&Collections::new()).map(|()| Collections::new());
        }
        let options = Database::options().threads(1).read_only(read_only);
        let database = options
            .maintenance(Maintenance::Manual)
            .open(path)
            .map_err(|error| format!("it does not open: {error}"))?;
        // A search opens the catalog, and closing that takes sled a third of a second.
        let mut found = match self.random.one_in(4) {
            true => read_all(&database)?,
            false => list_all(&database)?,
        };
        ledger.check(&found)?;
        for (name, contents) in &mut found {
            let collection = database.collection(name).map_err(|error| error.to_string())?;
            if self.random.one_in(8) {
                let report = collection.check().map_err(|error| error.to_string())?;
                // A reader leaves the unfinished end of a log as it is; a writer has cut it.
                let unfinished = |finding: &Finding| read_only && finding.severity == Severity::Unfinished;
                if !report.findings.iter().all(unfinished) {
                    return Err(report.to_string());
                }
            }
            if !read_only {
                let operation = Operation::Upsert(self.random.below(8));
                let version = cycle * VERSIONS + VERSIONS - 1;
                operation
                    .run(&database, name, version)
                    .map_err(|error| format!("it cannot be written to: {error}"))?;
                *contents = operation.outcome(Some(contents), version).unwrap_or_default();
            }
        }
        if self.random.one_in(2) {
            database
                .close()
                .map_err(|error| format!("it does not close: {error}"))?;
        }
        Ok(found)
    }
}

/// What a backup holds, which is removed then; none if there is no whole one.
fn restored(folder: &str) -> Result<Option<Collections>, String> {
    let folder = Path::new(folder);
    if !folder.exists() {
        return Ok(None);
    }
    let found = if folder.join("collections").exists() {
        let options = Database::options().threads(1).read_only(true);
        let database = options
            .open(folder)
            .map_err(|error| format!("a backup does not open: {error}"))?;
        Some(list_all(&database).map_err(|what| format!("in a backup: {what}"))?)
    } else {
        None
    };
    std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    Ok(found)
}
