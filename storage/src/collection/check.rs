//! Looks for damage.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CollectionStore;
use super::load::load;
use super::survey::survey;
use crate::error::{Result, StorageError};
use crate::segment::SegmentView;
use crate::snapshot::{Place, Snapshot};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder.
    pub path: PathBuf,
    /// Where in the file, if it is about one place.
    pub offset: Option<u64>,
    /// What was found.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong: what follows the last whole change in a log is of a write that was not acknowledged, as a crash
    /// leaves it. Where the database was not closed, damage to its last change looks the same.
    Unfinished,
    /// Nothing is lost: the file can be rebuilt, and is done without until then.
    Derived,
    /// Something that was stored cannot be read.
    Damage,
}

impl Finding {
    /// A finding of this severity, at the file and the place that the error names.
    pub(crate) fn of(severity: Severity, error: &StorageError, otherwise: &Path) -> Self {
        let (path, offset) = match error {
            StorageError::Corruption { file, offset, .. } => (file.clone(), Some(*offset)),
            StorageError::VersionTooNew { file, .. } => (file.clone(), Some(8)),
            StorageError::Io { path, .. } | StorageError::Full { path, .. } => (path.clone(), None),
            _ => (otherwise.to_owned(), None),
        };
        Self {
            severity,
            path,
            offset,
            message: error.to_string(),
        }
    }
}

impl CollectionStore {
    /// Looks for damage: reads manifest and logs again as an open would; with `full`, every byte of every file, and that
    /// each document is found by its id, once.
    ///
    /// # Errors
    /// [`StorageError::VersionTooNew`]: what a newer Latewood has written cannot be judged.
    pub fn check(&self, full: bool) -> Result<Vec<Finding>> {
        let backend = self.context.backend().as_ref();
        let snapshot = self.snapshot();
        let mut findings = if full {
            survey(backend, &self.dir)?
        } else {
            let damage = load(backend, &self.dir, Some(&snapshot)).err();
            damage
                .iter()
                .map(|error| Finding::of(Severity::Damage, error, &self.dir))
                .collect()
        };
        if let Some(reason) = self.poison.reason() {
            findings.push(damage(&self.dir, format!("writes are refused after: {reason}")));
        }
        if full {
            for (index, view) in snapshot.segments().iter().enumerate() {
                check_ids(&snapshot, index, view, &mut findings);
            }
        }
        Ok(findings)
    }
}

pub(super) fn damage(path: &Path, message: String) -> Finding {
    Finding {
        severity: Severity::Damage,
        path: path.to_owned(),
        offset: None,
        message,
    }
}

/// That each live row is what its id leads to. The first failure of a segment speaks for the rest.
pub(super) fn check_ids(
    snapshot: &Snapshot,
    segment: usize,
    view: &SegmentView,
    findings: &mut Vec<Finding>,
) {
    for ordinal in (0..view.segment.len()).filter(|ordinal| view.is_live(*ordinal)) {
        let found = view
            .segment
            .document_id(ordinal)
            .and_then(|id| Ok((snapshot.find(&id)?, id)));
        match found {
            Ok((Some(place), _)) if place == (Place::Segment { segment, ordinal }) => continue,
            Ok((_, id)) => {
                let folder = view.segment.dir().display();
                let message = format!("{folder}: row {ordinal} has the id {id}, which leads elsewhere");
                findings.push(damage(view.segment.dir(), message));
            }
            // The files were looked at one by one before.
            Err(_) => {}
        }
        return;
    }
}
