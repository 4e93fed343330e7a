//! A plan as text: a tree of stages with estimates and reasons, and what was rejected.

use std::fmt;

use crate::plan::{Plan, PlannedStage, ProbeSettings, Rejected, Stage};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = if self.automatic {
            "chosen by the planner"
        } else {
            "named by the caller"
        };
        let estimate = self.estimate();
        writeln!(
            f,
            "plan {} ({chosen}), about {}, {}",
            self.name,
            Duration(estimate.microseconds),
            Bytes(estimate.bytes)
        )?;
        writeln!(f, "  because {}", self.reason)?;
        for cut in &self.cut {
            writeln!(f, "  given up for the budget: {cut}")?;
        }
        if self.matching < self.documents {
            writeln!(
                f,
                "  {} of {} documents match",
                Count(self.matching),
                Count(self.documents)
            )?;
        }
        if let Some(note) = &self.filter_note {
            writeln!(f, "  filter: {note}")?;
        }
        for (i, stage) in self.stages.iter().enumerate() {
            let last = i + 1 == self.stages.len();
            write_stage(f, stage, last)?;
        }
        write_all_rejected(f, &self.rejected)
    }
}

/// What was not taken, each with its estimate and the reason.
pub(crate) fn write_all_rejected(f: &mut fmt::Formatter<'_>, rejected: &[Rejected]) -> fmt::Result {
    if !rejected.is_empty() {
        writeln!(f, "rejected")?;
    }
    for (i, one) in rejected.iter().enumerate() {
        let last = i + 1 == rejected.len();
        write_rejected(f, one, if last { "└─" } else { "├─" })?;
    }
    Ok(())
}

fn write_stage(f: &mut fmt::Formatter<'_>, stage: &PlannedStage, last: bool) -> fmt::Result {
    let (branch, trunk) = if last {
        ("└─", "  ")
    } else {
        ("├─", "│ ")
    };
    writeln!(
        f,
        "{branch} {}: {} -> {} documents, about {}, {}, {} flops",
        stage.stage,
        Count(stage.candidates_in),
        Count(u64::try_from(stage.candidates_out).unwrap_or(u64::MAX)),
        Duration(stage.estimate.microseconds),
        Bytes(stage.estimate.bytes),
        Count(stage.estimate.flops),
    )?;
    writeln!(f, "{trunk}   because {}", stage.reason)
}

fn write_rejected(f: &mut fmt::Formatter<'_>, rejected: &Rejected, branch: &str) -> fmt::Result {
    match &rejected.estimate {
        Some(estimate) => {
            let (time, bytes) = (Duration(estimate.microseconds), Bytes(estimate.bytes));
            writeln!(
                f,
                "{branch} {}, about {time}, {bytes}: {}",
                rejected.name, rejected.reason
            )
        }
        None => writeln!(f, "{branch} {}: {}", rejected.name, rejected.reason),
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        match self {
            Self::DenseGraph { ef_search, .. } => write!(f, " (ef_search {ef_search})"),
            Self::MaxsimIndex(probe) => write!(f, " ({probe})"),
            Self::Rerank {
                depth,
                deadline_ms: Some(ms),
            } => write!(f, " (depth {depth}, deadline {ms} ms)"),
            Self::Rerank {
                depth,
                deadline_ms: None,
            } => write!(f, " (depth {depth})"),
            Self::VectorGraph { field, ef_search, .. } => write!(f, " ({field}, ef_search {ef_search})"),
            Self::VectorScan { field } | Self::Sparse { field } => write!(f, " ({field})"),
            Self::Fuse(fusion) => write!(f, " ({fusion})"),
            Self::DenseScan | Self::MaxsimScan | Self::Bm25 | Self::Rescore => Ok(()),
        }
    }
}

impl fmt::Display for ProbeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "n_probe {}, candidates {}, refine {}, margin {}",
            self.n_probe, self.candidates, self.refine, self.margin
        )
    }
}

/// Microseconds in a unit that a person reads.
pub(crate) struct Duration(pub(crate) f64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us if us < 100.0 => write!(f, "{us:.1} us"),
            us if us < 100_000.0 => write!(f, "{:.2} ms", us / 1e3),
            us => write!(f, "{:.2} s", us / 1e6),
        }
    }
}

/// Bytes in a unit that a person reads.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "rounded for reading")]
        match self.0 {
            n if n < 1_000 => write!(f, "{n} B"),
            n if n < 1_000_000 => write!(f, "{:.1} kB", n as f64 / 1e3),
            n if n < 1_000_000_000 => write!(f, "{:.1} MB", n as f64 / 1e6),
            n => write!(f, "{:.1} GB", n as f64 / 1e9),
        }
    }
}

/// A count, its thousands set apart; from ten million on in millions.
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "rounded for reading")]
        if self.0 >= 10_000_000 {
            let (value, unit) = if self.0 >= 10_000_000_000 {
                (1e9, "G")
            } else {
                (1e6, "M")
            };
            return write!(f, "{:.0} {unit}", self.0 as f64 / value);
        }
        let digits = self.0.to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(Count(0).to_string(), "0");
        assert_eq!(Count(55_685).to_string(), "55,685");
        assert_eq!(Count(1_234_567).to_string(), "1,234,567");
        assert_eq!(Count(12_345_678).to_string(), "12 M");
        assert_eq!(Bytes(999).to_string(), "999 B");
        assert_eq!(Bytes(1_234_000).to_string(), "1.2 MB");
        assert_eq!(Duration(12.34).to_string(), "12.3 us");
        assert_eq!(Duration(1_234.0).to_string(), "1.23 ms");
    }
}
