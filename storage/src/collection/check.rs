//! Looks for damage.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CollectionStore;
use super::load::load;
use crate::error::Result;
use crate::segment::{Component, SegmentView};
use crate::snapshot::{Place, Snapshot};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder.
    pub path: PathBuf,
    /// What was found.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is lost: the file can be rebuilt, and is done without until then.
    Derived,
    /// Something that was stored cannot be read.
    Damage,
}

impl CollectionStore {
    /// Looks for damage: reads manifest and logs again as an open would; with `full`, every byte of every segment, and
    /// that each document is found by its id, once.
    ///
    /// # Errors
    /// None that is not a finding; the signature leaves room for a disk that cannot be read at all.
    pub fn check(&self, full: bool) -> Result<Vec<Finding>> {
        let snapshot = self.snapshot();
        let mut findings = Vec::new();
        if let Err(error) = load(self.context.backend().as_ref(), &self.dir, Some(&snapshot)) {
            findings.push(damage(&self.dir, error.to_string()));
        }
        if let Some(reason) = self.poison.reason() {
            findings.push(damage(&self.dir, format!("writes are refused after: {reason}")));
        }
        if full {
            for (index, view) in snapshot.segments().iter().enumerate() {
                check_files(view, &mut findings);
                check_ids(&snapshot, index, view, &mut findings);
            }
        }
        Ok(findings)
    }
}

fn damage(path: &Path, message: String) -> Finding {
    Finding {
        severity: Severity::Damage,
        path: path.to_owned(),
        message,
    }
}

fn check_files(view: &SegmentView, findings: &mut Vec<Finding>) {
    for health in view.segment.verify() {
        if let Some(error) = health.damage {
            let derived = matches!(health.component, Component::Graph | Component::Ivf);
            let severity = if derived {
                Severity::Derived
            } else {
                Severity::Damage
            };
            let path = view.segment.dir().join(health.component.name());
            findings.push(Finding {
                severity,
                path,
                message: error.to_string(),
            });
        }
    }
}

/// That each live row is what its id leads to. The first failure of a segment speaks for the rest.
fn check_ids(snapshot: &Snapshot, segment: usize, view: &SegmentView, findings: &mut Vec<Finding>) {
    for ordinal in (0..view.segment.len()).filter(|ordinal| view.is_live(*ordinal)) {
        let found = view
            .segment
            .document_id(ordinal)
            .and_then(|id| Ok((snapshot.find(&id)?, id)));
        let message = match found {
            Ok((Some(place), _)) if place == (Place::Segment { segment, ordinal }) => continue,
            Ok((_, id)) => format!("row {ordinal} has the id {id}, which leads elsewhere"),
            Err(error) => error.to_string(),
        };
        findings.push(damage(view.segment.dir(), message));
        return;
    }
}
