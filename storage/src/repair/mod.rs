//! Repair: makes a collection whole again, as far as its files allow.
//!
//! What is derived is made again; of what is damaged every whole document is kept, and the rest is told. The new files are
//! durable, and the damaged ones are kept in a folder of their own, before a new manifest puts the repair in force: a repair
//! that is cut off changes nothing, and can be done again.

mod aside;
mod logs;
mod parts;
mod rebuild;
mod report;
mod resolve;

use std::path::Path;

pub use report::{RepairReport, Repairs};

use crate::backend::StorageBackend;
use crate::catalog::Catalog;
use crate::collection::{Context, Finding, Severity, load_locked, survey, sweep};
use crate::error::{Result, StorageError};
use crate::manifest::{Manifest, manifest_number};
use crate::publish::publish;
use crate::schema::Schema;
use crate::tombstones::tombstones_number;
use crate::wal::WalWriter;
use aside::Aside;
use parts::Found;
use rebuild::Rebuilt;

pub(crate) use aside::{copy, link_or_copy};

/// Repairs one collection of a database whose lock is held.
///
/// # Errors
/// [`StorageError::VersionTooNew`]; [`StorageError::Corruption`] when nothing says what the collection holds;
/// [`StorageError::Full`] and [`StorageError::Io`]. Nothing is changed then.
pub(crate) fn repair(context: &Context, database: &Path, name: &str) -> Result<RepairReport> {
    let backend = context.backend().as_ref();
    let dir = database.join("collections").join(name);
    let mut report = RepairReport {
        collection: name.to_owned(),
        findings: survey(backend, &dir)?,
        ..RepairReport::default()
    };
    if report
        .findings
        .iter()
        .all(|finding| finding.severity < Severity::Derived)
    {
        report.documents = load_locked(backend, &dir)?.snapshot.len();
        return Ok(report);
    }
    Repair {
        context,
        backend,
        database,
        dir: &dir,
        name,
    }
    .run(report)
}

struct Repair<'a> {
    context: &'a Context,
    backend: &'a dyn StorageBackend,
    database: &'a Path,
    dir: &'a Path,
    name: &'a str,
}

impl Repair<'_> {
    fn run(&self, mut report: RepairReport) -> Result<RepairReport> {
        for folder in ["wal", "segments", "codebooks"] {
            let path = self.dir.join(folder);
            self.backend
                .create_dir_all(&path)
                .map_err(|error| StorageError::io("create", &path, error))?;
        }
        let mut found = parts::find(self.backend, self.dir, || self.schema_in_catalog())?;
        let (first, after) = found
            .manifest
            .as_ref()
            .map_or((0, 0), |manifest| (manifest.first_log, manifest.sequence));
        let logged = {
            let in_force = |sequence: u64, segment: Option<u64>| match &found.manifest {
                Some(manifest) => manifest.loads.contains(&sequence),
                None => segment.is_some_and(|segment| found.parts.iter().any(|part| part.id == segment)),
            };
            logs::read_logs(self.backend, self.dir, first, after, &in_force)?
        };
        self.note_logs(&logged, &mut report);
        if found.fixed > 0 {
            report
                .rebuilt
                .push(format!("{} wrong bytes, from their checksums", found.fixed));
        }
        let (last, log) = (logged.last, logged.highest_log + 1);
        let aside = Aside::create(self.backend, self.database)?;
        let records = resolve::resolve(&mut found, logged, &mut report);
        let sequence = found
            .parts
            .iter()
            .map(|part| part.sequence)
            .max()
            .unwrap_or(0)
            .max(last);
        let number = self.unused_manifest(&found);
        let rebuilt = rebuild::rebuild(self, &mut found, records, sequence, number, &aside, &mut report)?;
        self.keep(&found, &aside)?;
        aside.finish()?;
        report.kept_in = Some(aside.folder.clone());
        self.publish(&found, rebuilt, number, sequence, log)?;
        report.documents = load_locked(self.backend, self.dir)?.snapshot.len();
        Ok(report)
    }

    fn note_logs(&self, logged: &logs::Logged, report: &mut RepairReport) {
        let wal = self.dir.join("wal");
        let of_log =
            |finding: &&Finding| finding.severity == Severity::Damage && finding.path.starts_with(&wal);
        for finding in report.findings.iter().filter(of_log) {
            report.uncertain.push(format!(
                "the log {} is damaged or missing: what cannot be read of it was written, or deleted, since the last flush",
                finding.path.display()
            ));
        }
        if logged.missing > 0 {
            report.uncertain.push(format!(
                "{} changes in the logs are damaged: what they wrote or deleted is lost",
                logged.missing
            ));
        }
    }

    /// Keeps the damaged files, and all that the repaired collection leaves out.
    fn keep(&self, found: &Found, aside: &Aside<'_>) -> Result<()> {
        let names = self
            .backend
            .list(self.dir)
            .map_err(|error| StorageError::io("list", self.dir, error))?;
        for entry in names.iter().filter(|entry| !entry.is_dir) {
            aside.keep(&self.dir.join(&entry.name))?;
        }
        aside.keep(&self.dir.join("wal"))?;
        let segments = self.dir.join("segments");
        let entries = self
            .backend
            .list(&segments)
            .map_err(|error| StorageError::io("list", &segments, error))?;
        for entry in entries {
            let path = segments.join(&entry.name);
            let made = found.made.contains(&path);
            let whole = found
                .parts
                .iter()
                .any(|part| part.patched.is_none() && part.id.to_string() == entry.name);
            if !made && !whole {
                aside.keep(&path)?;
            }
        }
        for part in found.parts.iter().filter(|part| part.patched.is_none()) {
            // Tombstones that cannot be read, beside files that can.
            if !part.saved_whole {
                aside.keep(&crate::tombstones::tombstones_path(
                    part.segment.dir(),
                    part.saved.0,
                ))?;
            }
        }
        Ok(())
    }

    fn publish(&self, found: &Found, rebuilt: Rebuilt, number: u64, sequence: u64, log: u64) -> Result<()> {
        for folder in ["segments", "codebooks"] {
            let path = self.dir.join(folder);
            self.backend
                .sync_dir(&path)
                .map_err(|error| StorageError::io("sync", &path, error))?;
        }
        WalWriter::create(self.context.backend(), self.dir, log, sequence + 1)?;
        let old = found.manifest.as_ref();
        let highest = found.codebooks.keys().next_back().map_or(1, |last| last + 1);
        let manifest = Manifest {
            number,
            uid: old.map_or_else(crate::collection::draw_uid, |old| old.uid),
            sequence,
            schema: found.schema.to_json()?,
            segments: rebuilt.segments,
            codebooks: found.codebooks.keys().copied().collect(),
            first_log: log,
            loads: Vec::new(),
            next_segment: found.next_segment,
            next_codebook: old.map_or(highest, |old| old.next_codebook.max(highest)),
        };
        // Of a repair, or a writer, that was cut off.
        let _ = self.backend.remove_file(&self.dir.join("CURRENT.new"));
        publish(self.backend, self.dir, &manifest).map_err(|failure| failure.error)?;
        sweep(self.backend, self.dir, &manifest);
        Ok(())
    }

    /// A number that no manifest has, nor tombstones of one.
    fn unused_manifest(&self, found: &Found) -> u64 {
        let names = self.backend.list(self.dir).unwrap_or_default();
        let manifests = names
            .iter()
            .filter_map(|entry| manifest_number(&entry.name))
            .max();
        let of_folder = |part: &parts::Part| {
            let files = self.backend.list(part.segment.dir()).unwrap_or_default();
            files
                .iter()
                .filter_map(|file| tombstones_number(&file.name))
                .max()
        };
        let tombstones = found.parts.iter().filter_map(of_folder).max();
        let known = found.manifest.as_ref().map(|manifest| manifest.number);
        manifests.max(tombstones).max(known).unwrap_or(0) + 1
    }

    fn schema_in_catalog(&self) -> Option<Schema> {
        let catalog = self.backend.native_path(&self.database.join("catalog"))?;
        let value = Catalog::open_read_only(&catalog).get(self.name, "schema")?;
        serde_json::from_value(value).ok()
    }
}
