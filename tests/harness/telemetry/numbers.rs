//! A recorder that keeps every number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counters, gauges and histograms by name and labels, as in `latewood_queries_total{collection=notes,plan=dense}`.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Values>>>,
    described: Mutex<BTreeMap<String, &'static str>>,
}

#[derive(Debug, Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Numbers {
    /// A counter; 0 where nothing was counted.
    pub fn counter(&self, key: &str) -> u64 {
        let counters = self.0.counters.lock().unwrap();
        counters
            .get(key)
            .map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    /// A gauge, if it was set.
    pub fn gauge(&self, key: &str) -> Option<f64> {
        let gauges = self.0.gauges.lock().unwrap();
        Some(f64::from_bits(gauges.get(key)?.load(Ordering::Acquire)))
    }

    /// What a histogram was told.
    pub fn values(&self, key: &str) -> Vec<f64> {
        let histograms = self.0.histograms.lock().unwrap();
        histograms
            .get(key)
            .map_or_else(Vec::new, |values| values.0.lock().unwrap().clone())
    }

    /// The names and labels of everything that there is.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.0.counters.lock().unwrap().keys().cloned().collect();
        keys.extend(self.0.gauges.lock().unwrap().keys().cloned());
        keys.extend(self.0.histograms.lock().unwrap().keys().cloned());
        keys
    }

    /// The kind of each name that was described.
    pub fn described(&self) -> BTreeMap<String, &'static str> {
        self.0.described.lock().unwrap().clone()
    }

    fn describe(&self, name: &KeyName, kind: &'static str, unit: Option<Unit>, text: &SharedString) {
        assert!(
            unit.is_some() && !text.is_empty(),
            "{name:?} has a unit and a description"
        );
        let before = self
            .0
            .described
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), kind);
        assert!(before.is_none(), "{name:?} is described twice");
    }
}

fn entry<T: Default>(kept: &Mutex<BTreeMap<String, Arc<T>>>, key: &Key) -> Arc<T> {
    let labels: Vec<String> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    let key = format!("{}{{{}}}", key.name(), labels.join(","));
    Arc::clone(kept.lock().unwrap().entry(key).or_default())
}

impl Recorder for Numbers {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "counter", unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "gauge", unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "histogram", unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(entry(&self.0.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(entry(&self.0.gauges, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(entry(&self.0.histograms, key))
    }
}
