//! What each stage of a query really did.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::explain::{Bytes, Count, Duration};
use crate::telemetry::StageSpan;

/// The stages of one query, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What ran; the times of the stages add up to the total, but for the clock's own reading.
    pub stages: Vec<StageProfile>,
    /// From the request to the hits.
    pub total_microseconds: f64,
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProfile {
    /// What ran, such as `filter`, `dense graph`, `maxsim index: postings`, `merge`.
    pub name: String,
    /// Documents that could be candidates when the stage began.
    pub candidates_in: u64,
    /// Candidates that it left.
    pub candidates_out: u64,
    /// Wall time.
    pub microseconds: f64,
    /// Bytes of stored data that it read.
    pub bytes: u64,
    /// Floating-point (or integer) operations of its scores: two for each multiply-add.
    pub flops: u64,
    /// Units of work that the cost model counts: rows, hops, postings or token pairs.
    pub work: u64,
    /// What else is worth knowing, such as a fallback and its reason.
    pub note: Option<String>,
    /// Which stage of the plan it is a part of, counted from 0; none of what belongs to every plan, such as the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<usize>,
}

impl Profile {
    /// Adds a stage that ends now, after the total was taken.
    pub(crate) fn add(&mut self, begun: Begun, stage: StageProfile) {
        let stage = begun.end(stage);
        self.total_microseconds += stage.microseconds;
        self.stages.push(stage);
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "analyze: {} in all", Duration(self.total_microseconds))?;
        for (i, stage) in self.stages.iter().enumerate() {
            let branch = if i + 1 == self.stages.len() {
                "└─"
            } else {
                "├─"
            };
            write!(
                f,
                "{branch} {:<24} {:>9} -> {:<7} {:>9}  {:>9}  {:>9} flops",
                stage.name,
                Count(stage.candidates_in).to_string(),
                Count(stage.candidates_out).to_string(),
                Duration(stage.microseconds).to_string(),
                Bytes(stage.bytes).to_string(),
                Count(stage.flops).to_string(),
            )?;
            match &stage.note {
                Some(note) => writeln!(f, "  ({note})")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// A stage that has begun.
pub(crate) struct Begun {
    at: Instant,
    span: StageSpan,
}

impl Begun {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            span: StageSpan::begin(),
        }
    }

    /// The stage with the time that it took.
    pub(crate) fn end(self, mut stage: StageProfile) -> StageProfile {
        stage.microseconds = self.at.elapsed().as_secs_f64() * 1e6;
        self.span.end(&stage);
        stage
    }
}

/// Times the stages of a query, one after the other without a gap.
pub(crate) struct Stopwatch {
    begun: Instant,
    stage: Begun,
    profile: Profile,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            stage: Begun {
                at: now,
                span: StageSpan::begin(),
            },
            profile: Profile::default(),
        }
    }

    /// Ends a stage, which others follow: all the time since the end of the one before is its.
    pub(crate) fn stage(&mut self, mut stage: StageProfile) {
        let now = Instant::now();
        stage.microseconds = now.duration_since(self.stage.at).as_secs_f64() * 1e6;
        self.stage.at = now;
        self.stage.span.next(&stage);
        self.profile.stages.push(stage);
    }

    /// When it was started.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Microseconds since the start.
    pub(crate) fn elapsed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1e6
    }

    /// How many stages have ended.
    pub(crate) fn ended(&self) -> usize {
        self.profile.stages.len()
    }

    /// The stages from the `first` on are parts of this one of the plan.
    pub(crate) fn belong(&mut self, first: usize, planned: usize) {
        let stages = self.profile.stages.iter_mut().skip(first);
        stages.for_each(|stage| stage.planned = Some(planned));
    }

    /// Ends the last stage.
    pub(crate) fn finish(mut self, last: StageProfile) -> Profile {
        self.profile.stages.push(self.stage.end(last));
        self.profile.total_microseconds = self.begun.elapsed().as_secs_f64() * 1e6;
        self.profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_times_add_up_to_the_total() {
        let mut watch = Stopwatch::start();
        let stage = |name: &str| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            StageProfile {
                name: name.to_owned(),
                ..StageProfile::default()
            }
        };
        watch.stage(stage("filter"));
        watch.stage(stage("dense scan"));
        let profile = watch.finish(stage("merge"));
        let sum: f64 = profile.stages.iter().map(|stage| stage.microseconds).sum();
        assert!(sum <= profile.total_microseconds);
        assert!(profile.stages.iter().all(|stage| stage.microseconds >= 2_000.0));
        assert!(profile.to_string().contains("dense scan"));
    }
}
