//! A subscriber that keeps every span.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The spans of one thread and what happened to them. Only those of Latewood are kept.
#[derive(Clone, Debug, Default)]
pub struct Spans(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    seen: Vec<Seen>,
    steps: Vec<Step>,
    entered: Vec<usize>,
    /// Texts of events.
    events: Vec<String>,
}

/// One span.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: &'static str,
    /// Its target.
    pub target: &'static str,
    /// Its level.
    pub level: Level,
    /// The span that was entered when it began.
    pub parent: Option<usize>,
    /// What its fields came to.
    pub fields: BTreeMap<&'static str, String>,
}

/// What happened to a span, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was entered.
    Enter(usize),
    /// It was left.
    Exit(usize),
    /// It ended.
    Close(usize),
}

impl Spans {
    /// All spans, in the order in which they began.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().seen.clone()
    }

    /// What happened, in order.
    pub fn steps(&self) -> Vec<Step> {
        self.0.lock().unwrap().steps.clone()
    }

    /// What events said.
    pub fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().events.clone()
    }

    /// The numbers of the spans of a name.
    pub fn named(&self, name: &str) -> Vec<usize> {
        let seen = self.seen();
        (0..seen.len())
            .filter(|number| seen[*number].name == name)
            .collect()
    }

    /// The spans within another.
    pub fn within(&self, parent: usize) -> Vec<Seen> {
        let seen = self.seen().into_iter();
        seen.filter(|span| span.parent == Some(parent)).collect()
    }
}

fn number(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("latewood")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut kept = self.0.lock().unwrap();
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        assert!(span.is_contextual(), "{span:?} is a child of what is entered");
        let (metadata, parent) = (span.metadata(), kept.entered.last().copied());
        kept.seen.push(Seen {
            name: metadata.name(),
            target: metadata.target(),
            level: *metadata.level(),
            parent,
            fields,
        });
        Id::from_u64(kept.seen.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut kept = self.0.lock().unwrap();
        values.record(&mut Fields(&mut kept.seen[number(span)].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().events.push(format!("{fields:?}"));
    }

    fn enter(&self, span: &Id) {
        let mut kept = self.0.lock().unwrap();
        kept.entered.push(number(span));
        kept.steps.push(Step::Enter(number(span)));
    }

    fn exit(&self, span: &Id) {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(
            kept.entered.pop(),
            Some(number(span)),
            "spans are left inside out"
        );
        kept.steps.push(Step::Exit(number(span)));
    }

    fn try_close(&self, span: Id) -> bool {
        // No span is cloned, so that each ends when its one handle goes.
        self.0.lock().unwrap().steps.push(Step::Close(number(&span)));
        true
    }
}
