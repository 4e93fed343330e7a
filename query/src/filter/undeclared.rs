//! Fields of a filter that the schema does not declare: they are looked for in the payloads.

use latewood_storage::{Payload, Snapshot, field_of};

use super::Predicate;
use super::bind::unknown_field;
use crate::error::QueryError;

/// The undeclared fields of a filter, and whether a payload had them.
pub(crate) struct Undeclared {
    /// Compared fields: one that no document has is taken for a mistake.
    compared: Vec<(String, bool)>,
    /// Fields of `exists` alone, which asks just that.
    asked: Vec<String>,
    /// Payloads read from segments.
    payloads: u64,
}

impl Undeclared {
    /// One field, whose values are looked at.
    pub(crate) fn field(name: &str) -> Self {
        Self {
            compared: vec![(name.to_owned(), false)],
            asked: Vec::new(),
            payloads: 0,
        }
    }

    /// Those of a predicate; `None` when it has none.
    pub(crate) fn of(predicate: &Predicate) -> Option<Self> {
        let mut found = Self {
            compared: Vec::new(),
            asked: Vec::new(),
            payloads: 0,
        };
        found.gather(predicate);
        (!found.compared.is_empty() || !found.asked.is_empty()).then_some(found)
    }

    fn gather(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Declared { .. } => {}
            Predicate::Undeclared { field, leaf } => {
                let exists = matches!(leaf, super::Filter::Exists { .. });
                if exists && !self.asked.contains(field) {
                    self.asked.push(field.clone());
                }
                if !exists && !self.compared.iter().any(|(name, _)| name == field) {
                    self.compared.push((field.clone(), false));
                }
            }
            Predicate::All(inner) | Predicate::Any(inner) => inner.iter().for_each(|p| self.gather(p)),
            Predicate::Not(inner) => self.gather(inner),
        }
    }

    /// Notes which fields a payload has; false once all have been seen.
    pub(crate) fn see(&mut self, payload: &Payload) -> bool {
        let mut missing = false;
        for (field, seen) in &mut self.compared {
            *seen = *seen || field_of(payload, field).is_some();
            missing |= !*seen;
        }
        missing
    }

    /// Counts payloads that were read.
    pub(crate) fn count(&mut self, payloads: u64) {
        self.payloads += payloads;
    }

    /// Looks for fields that were not seen yet in all live documents.
    ///
    /// # Errors
    /// [`QueryError::UnknownField`] for one that none has.
    pub(crate) fn check(&mut self, snapshot: &Snapshot) -> Result<(), QueryError> {
        if self.compared.iter().all(|(_, seen)| *seen) {
            return Ok(());
        }
        let mut missing = true;
        for view in snapshot.segments() {
            if missing {
                let live = (0..view.segment.len()).filter(|row| view.is_live(*row));
                view.segment.payloads(live, |_, payload| {
                    missing = self.see(&payload);
                    missing
                })?;
            }
        }
        if missing {
            for (_, record) in snapshot.memtable().iter() {
                self.see(&record.payload);
            }
        }
        match self.compared.iter().find(|(_, seen)| !*seen) {
            Some((field, _)) => Err(unknown_field(field, snapshot.schema())),
            None => Ok(()),
        }
    }

    /// What a plan and a profile say of them.
    pub(crate) fn note(&self) -> String {
        let compared = self.compared.iter().map(|(field, _)| field);
        let asked = self
            .asked
            .iter()
            .filter(|field| !self.compared.iter().any(|(name, _)| name == *field));
        let names: Vec<String> = compared.chain(asked).map(|field| format!("`{field}`")).collect();
        let (verb, payloads) = (if names.len() == 1 { "is" } else { "are" }, self.payloads);
        format!(
            "{} {verb} not indexed: {payloads} payloads read",
            names.join(", ")
        )
    }
}
