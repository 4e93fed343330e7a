//! Where the time of many queries went.

use serde_json::{Value, json};

use super::latency::{Latencies, rounded};
use crate::Profile;

/// The stages that ran, each in the order in which it was first met.
#[derive(Debug, Default)]
pub(super) struct Stages {
    stages: Vec<(String, Latencies)>,
}

impl Stages {
    pub(super) fn add(&mut self, profile: &Profile) {
        for stage in &profile.stages {
            let time = std::time::Duration::from_secs_f64(stage.microseconds.max(0.0) / 1e6);
            match self.stages.iter_mut().find(|(name, _)| *name == stage.name) {
                Some((_, latencies)) => latencies.add(time),
                None => {
                    let mut latencies = Latencies::default();
                    latencies.add(time);
                    self.stages.push((stage.name.clone(), latencies));
                }
            }
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&str, usize, f64, f64)> {
        let all: f64 = self.stages.iter().map(|(_, l)| l.total_milliseconds()).sum();
        self.stages.iter().map(move |(name, latencies)| {
            let share = latencies.total_milliseconds() / all.max(f64::MIN_POSITIVE);
            let median = latencies.percentile(0.5) * 1e3;
            (name.as_str(), latencies.len(), median, share)
        })
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows().map(|(name, queries, median, share)| {
            json!({
                "stage": name,
                "queries": queries,
                "p50_us": rounded(median, 1),
                "share": rounded(share, 4),
            })
        });
        rows.collect()
    }

    pub(super) fn table(&self) -> String {
        let rows = self.rows().map(|(name, queries, median, share)| {
            format!(
                "{name:<28} {queries:>7} queries  p50 {median:>9.1} us  {:>5.1}%\n",
                share * 100.0
            )
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StageProfile;

    #[test]
    fn stages_are_medians_and_shares() {
        let stage = |name: &str, microseconds: f64| StageProfile {
            name: name.to_owned(),
            microseconds,
            ..StageProfile::default()
        };
        let mut stages = Stages::default();
        for (a, b) in [(10.0, 30.0), (20.0, 30.0), (30.0, 80.0)] {
            stages.add(&Profile {
                stages: vec![stage("a", a), stage("b", b)],
                total_microseconds: a + b,
            });
        }
        let json = stages.json();
        assert_eq!(json[0]["p50_us"], 20.0);
        assert_eq!(json[1]["share"], 0.7);
        assert!(stages.table().starts_with("a  "));
    }
}
