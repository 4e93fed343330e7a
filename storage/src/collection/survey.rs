//! Reads every file of a collection, whether or not the collection can be opened, and tells what is wrong with each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::check::{Finding, Severity, check_ids};
use super::load::{Loaded, codebook_path, load_once, segment_dir};
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::manifest::{Manifest, damaged_pointers, read_manifest};
use crate::segment::{Codebook, Segment};
use crate::tombstones::{damaged_tombstones, read_tombstones};
use crate::wal::Closed;

/// How often a survey starts over when a writer replaces the files meanwhile.
const ATTEMPTS: u32 = 20;

/// What is wrong with the files of a collection.
///
/// # Errors
/// [`StorageError::VersionTooNew`].
pub(crate) fn survey(backend: &dyn StorageBackend, dir: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for _ in 0..ATTEMPTS {
        let before = number(backend, dir);
        let mut surveyor = Surveyor {
            backend,
            dir,
            findings: Vec::new(),
        };
        surveyor.all()?;
        findings = surveyor.findings;
        // A writer that published another manifest has removed files under our eyes.
        if findings.is_empty() || before == number(backend, dir) {
            break;
        }
    }
    Ok(findings)
}

fn number(backend: &dyn StorageBackend, dir: &Path) -> Option<u64> {
    read_manifest(backend, dir)
        .ok()
        .map(|(manifest, _)| manifest.number)
}

struct Surveyor<'a> {
    backend: &'a dyn StorageBackend,
    dir: &'a Path,
    findings: Vec<Finding>,
}

impl Surveyor<'_> {
    fn all(&mut self) -> Result<()> {
        for error in damaged_pointers(self.backend, self.dir) {
            self.note(Severity::Derived, &error)?;
        }
        let manifest = match read_manifest(self.backend, self.dir) {
            Ok((manifest, _)) => manifest,
            Err(error) => return self.note(Severity::Damage, &error),
        };
        let schema = match manifest.schema(self.dir) {
            Ok(schema) => Arc::new(schema),
            Err(error) => return self.note(Severity::Damage, &error),
        };
        let codebooks = self.codebooks(&manifest)?;
        for entry in &manifest.segments {
            let folder = segment_dir(self.dir, entry.id);
            let find = |id: u64| codebooks.get(&id).cloned();
            match Segment::open(self.backend, &folder, &schema, &find) {
                Ok(segment) => self.segment(&segment)?,
                Err(error) => self.note(Severity::Damage, &error)?,
            }
            if entry.tombstones != 0
                && let Err(error) = damaged_tombstones(self.backend, &folder, entry.tombstones, entry.rows)
            {
                let second = read_tombstones(self.backend, &folder, entry.tombstones, entry.rows);
                let severity = if second.is_ok() {
                    Severity::Derived
                } else {
                    Severity::Damage
                };
                self.note(severity, &error)?;
            }
        }
        self.whole(&manifest)
    }

    /// What an open would say: logs, and how the files fit together.
    fn whole(&mut self, manifest: &Manifest) -> Result<()> {
        if let Err(error) = Closed::read(self.backend, self.dir) {
            self.note(Severity::Derived, &error)?;
        }
        match load_once(self.backend, self.dir, None) {
            Ok(loaded) => {
                self.unfinished(&loaded);
                if self.findings.is_empty() {
                    let snapshot = &loaded.snapshot;
                    for (index, view) in snapshot.segments().iter().enumerate() {
                        check_ids(snapshot, index, view, &mut self.findings);
                    }
                }
                Ok(())
            }
            Err(error) => {
                let found = Finding::of(Severity::Damage, &error, self.dir);
                let known = |other: &Finding| other.path == found.path && other.severity == Severity::Damage;
                tracing::debug!(manifest = manifest.number, %error, "a collection cannot be opened");
                if self.findings.iter().any(known) {
                    return Ok(());
                }
                self.note(Severity::Damage, &error)
            }
        }
    }

    fn unfinished(&mut self, loaded: &Loaded) {
        if let (Some(len), rest @ 1..) = (loaded.tail.len, loaded.tail.rest) {
            let path = crate::wal::log_path(self.dir, loaded.tail.number);
            self.findings.push(Finding {
                severity: Severity::Unfinished,
                message: format!(
                    "{}: {rest} bytes behind byte {len} are no whole change: a write that was not acknowledged, or damage to \
                     the last one",
                    path.display()
                ),
                path,
                offset: Some(len),
            });
        }
    }

    fn codebooks(&mut self, manifest: &Manifest) -> Result<BTreeMap<u64, Arc<Codebook>>> {
        let mut codebooks = BTreeMap::new();
        for id in &manifest.codebooks {
            let path = codebook_path(self.dir, *id);
            let damage = Codebook::damage(self.backend, &path);
            let severity = if damage.len() > 1 {
                Severity::Damage
            } else {
                Severity::Derived
            };
            for error in &damage {
                self.note(severity, error)?;
            }
            if let Ok(codebook) = Codebook::open(self.backend, &path) {
                codebooks.insert(*id, Arc::new(codebook));
            }
        }
        Ok(codebooks)
    }

    fn segment(&mut self, segment: &Segment) -> Result<()> {
        for health in segment.verify() {
            if let Some(error) = health.damage {
                let derived = health.component.is_derived();
                let severity = if derived {
                    Severity::Derived
                } else {
                    Severity::Damage
                };
                self.note(severity, &error)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, severity: Severity, error: &StorageError) -> Result<()> {
        if matches!(error, StorageError::VersionTooNew { .. }) {
            return Err(error.clone());
        }
        self.findings.push(Finding::of(severity, error, self.dir));
        Ok(())
    }
}
