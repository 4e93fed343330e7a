//! What a database may hold after a crash, given what it has acknowledged.

use std::collections::BTreeMap;

/// Documents of a collection: id to version.
pub type Contents = BTreeMap<u64, u64>;
/// Collections that there are.
pub type Collections = BTreeMap<String, Contents>;

/// For each collection the states that may be found, oldest first: the one that is durable, those acknowledged since, and
/// last the one that an operation is about to make. A collection that is not there is a state like any other.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    states: BTreeMap<String, Vec<Option<Contents>>>,
    /// The collection of the operation that has begun and was not answered.
    begun: Option<String>,
}

impl Ledger {
    /// A database that holds exactly this, durably.
    pub fn of(collections: Collections) -> Self {
        let states = collections
            .into_iter()
            .map(|(name, contents)| (name, vec![Some(contents)]));
        Self {
            states: states.collect(),
            begun: None,
        }
    }

    /// What a collection holds, as far as it was acknowledged; none if there is no such collection.
    pub fn current(&self, collection: &str) -> Option<&Contents> {
        let states = self.states.get(collection)?;
        let tentative = usize::from(self.begun.as_deref() == Some(collection));
        states.get(states.len() - 1 - tentative)?.as_ref()
    }

    /// Everything that was acknowledged.
    pub fn acknowledged(&self) -> Collections {
        let current = |name: &String| Some((name.clone(), self.current(name)?.clone()));
        self.states.keys().filter_map(current).collect()
    }

    /// An operation begins that makes `outcome` of a collection.
    pub fn begin(&mut self, collection: &str, outcome: Option<Contents>) {
        assert!(self.begun.is_none(), "one operation at a time");
        let states = self
            .states
            .entry(collection.to_owned())
            .or_insert_with(|| vec![None]);
        states.push(outcome);
        self.begun = Some(collection.to_owned());
    }

    /// The operation has returned without an error. Its outcome is durable, or a prefix may be found.
    pub fn acknowledge(&mut self, durable: bool) {
        let name = self.begun.take().expect("an operation has begun");
        if durable && let Some(states) = self.states.get_mut(&name) {
            states.drain(..states.len() - 1);
        }
    }

    /// The operation has returned an error: nothing of it is visible. After the process ended it may be found, whole.
    pub fn refuse(&mut self) {
        let name = self.begun.take().expect("an operation has begun");
        if let Some(states) = self.states.get_mut(&name) {
            // What is visible stays the last.
            let before = states[states.len() - 2].clone();
            states.push(before);
        }
    }

    /// The process ends: an operation that has begun may have been done.
    pub fn end(&mut self) {
        self.begun = None;
    }

    /// Whether what was found is something that may be found.
    pub fn check(&self, found: &Collections) -> Result<(), String> {
        for (name, states) in &self.states {
            if !states.iter().any(|state| state.as_ref() == found.get(name)) {
                return Err(format!(
                    "collection {name}: found {:?}, which is none of these states, oldest first: {states:?}",
                    found.get(name)
                ));
            }
        }
        match found.keys().find(|name| !self.states.contains_key(*name)) {
            Some(name) => Err(format!("collection {name} was never created")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(version: u64) -> Option<Contents> {
        Some(Contents::from([(1, version)]))
    }

    fn found(version: u64) -> Collections {
        Collections::from([("c".to_owned(), holding(version).unwrap())])
    }

    #[test]
    fn an_operation_that_was_not_answered_may_be_found_and_an_acknowledged_one_must_be() {
        let mut ledger = Ledger::default();
        ledger.begin("c", holding(1));
        ledger.check(&Collections::new()).unwrap();
        ledger.check(&found(1)).unwrap();
        assert_eq!(ledger.current("c"), None);
        ledger.acknowledge(true);
        assert_eq!(ledger.current("c"), holding(1).as_ref());
        assert!(ledger.check(&Collections::new()).is_err(), "it is lost");
        ledger.begin("c", holding(2));
        ledger.acknowledge(false);
        ledger.begin("c", holding(3));
        ledger.end();
        (1..4).for_each(|version| ledger.check(&found(version)).unwrap());
        assert!(ledger.check(&found(4)).is_err());
        assert!(
            Ledger::default().check(&found(1)).is_err(),
            "it was never created"
        );
    }

    #[test]
    fn a_refused_operation_is_not_visible_and_may_be_found_later() {
        let mut ledger = Ledger::of(found(1));
        ledger.begin("c", holding(2));
        ledger.refuse();
        assert_eq!(ledger.acknowledged(), found(1));
        ledger.check(&found(2)).unwrap();
        ledger.begin("c", holding(3));
        ledger.acknowledge(true);
        assert!(ledger.check(&found(2)).is_err());
    }
}
