//! A plan beside what it really took, as a tree.

use std::fmt;

use crate::explain::{Bytes, Count, Duration, write_all_rejected};
use crate::plan::{Plan, PlannedStage};
use crate::profile::{Profile, StageProfile};

/// A plan that was run. Its Display is the text of an analyze: each stage of the plan with its estimate and what it took,
/// below it the steps that it was made of, and what was rejected.
#[derive(Clone, Copy, Debug)]
pub struct Actuals<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What its stages did.
    pub profile: &'a Profile,
}

impl<'a> Actuals<'a> {
    /// The steps that ran, in order, those of one stage of the plan together.
    fn groups(&self) -> Vec<(Option<&'a PlannedStage>, Vec<&'a StageProfile>)> {
        let mut groups: Vec<(Option<usize>, Vec<&StageProfile>)> = Vec::new();
        for step in &self.profile.stages {
            match groups.last_mut() {
                Some((planned, steps)) if planned.is_some() && *planned == step.planned => steps.push(step),
                _ => groups.push((step.planned, vec![step])),
            }
        }
        let stage = |planned: Option<usize>| planned.and_then(|number| self.plan.stages.get(number));
        groups
            .into_iter()
            .map(|(planned, steps)| (stage(planned), steps))
            .collect()
    }

    fn share(&self, microseconds: f64) -> f64 {
        100.0 * microseconds / self.profile.total_microseconds.max(f64::MIN_POSITIVE)
    }

    fn write_step(&self, f: &mut fmt::Formatter<'_>, indent: &str, step: &StageProfile) -> fmt::Result {
        let width = 32_usize.saturating_sub(indent.chars().count());
        write!(
            f,
            "{indent} {:<width$} {:>9} {:>5.1}%",
            step.name,
            Duration(step.microseconds).to_string(),
            self.share(step.microseconds),
        )?;
        if step.candidates_in > 0 || step.candidates_out > 0 {
            let (before, after) = (Count(step.candidates_in), Count(step.candidates_out));
            write!(f, "  {before} -> {after}")?;
        }
        if step.bytes > 0 || step.flops > 0 {
            write!(f, ", {}, {} flops", Bytes(step.bytes), Count(step.flops))?;
        }
        match &step.note {
            Some(note) => writeln!(f, " ({note})"),
            None => writeln!(f),
        }
    }

    fn write_stage(
        &self,
        f: &mut fmt::Formatter<'_>,
        (branch, trunk): (&str, &str),
        stage: &PlannedStage,
        steps: &[&StageProfile],
    ) -> fmt::Result {
        let sum = |of: fn(&StageProfile) -> u64| steps.iter().map(|step| of(step)).sum::<u64>();
        let microseconds: f64 = steps.iter().map(|step| step.microseconds).sum();
        writeln!(f, "{branch} {}", stage.stage)?;
        writeln!(
            f,
            "{trunk}  took {} ({:.1}%), {}, {} flops; estimated {}, {}, {} flops",
            Duration(microseconds),
            self.share(microseconds),
            Bytes(sum(|step| step.bytes)),
            Count(sum(|step| step.flops)),
            Duration(stage.estimate.microseconds),
            Bytes(stage.estimate.bytes),
            Count(stage.estimate.flops),
        )?;
        writeln!(f, "{trunk}  because {}", stage.reason)?;
        for (i, step) in steps.iter().enumerate() {
            let twig = if i + 1 == steps.len() { "└─" } else { "├─" };
            self.write_step(f, &format!("{trunk}  {twig}"), step)?;
        }
        Ok(())
    }
}

impl fmt::Display for Actuals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, profile } = self;
        let chosen = if plan.automatic {
            "chosen by the planner"
        } else {
            "named by the caller"
        };
        writeln!(
            f,
            "plan {} ({chosen}), took {}; the stages of the plan were estimated at {}",
            plan.name,
            Duration(profile.total_microseconds),
            Duration(plan.estimate().microseconds),
        )?;
        writeln!(f, "  because {}", plan.reason)?;
        let groups = self.groups();
        for (i, (stage, steps)) in groups.iter().enumerate() {
            let (branch, trunk) = if i + 1 == groups.len() {
                ("└─", "  ")
            } else {
                ("├─", "│ ")
            };
            match stage {
                Some(stage) => self.write_stage(f, (branch, trunk), stage, steps)?,
                None => {
                    for step in steps {
                        self.write_step(f, branch, step)?;
                    }
                }
            }
        }
        write_all_rejected(f, &plan.rejected)
    }
}
