//! How wide the token index opens: as the caller says, else as it was tuned for the recall that is asked, else by default.

use crate::plan::ProbeSettings;
use crate::request::{DEFAULT_RECALL, QueryRequest};
use crate::statistics::Statistics;
use crate::tuning::{TunedEntry, TunedTable};

/// Posting lists visited for each group of query tokens where nothing was tuned.
const N_PROBE: usize = 32;
/// Standard deviations by which a document may gain on what its interaction lets expect, where nothing was tuned. Of 10,000
/// documents recall@10 is 0.991 with 3, 0.994 with 3.5 and no higher with 5; of 55,637 it is 0.992 with 3.5.
const MARGIN: f32 = 3.5;
/// The same where more than a recall of [`USUAL`] is asked.
const WIDE_MARGIN: f32 = 6.0;
const USUAL: f64 = 0.99;

/// The settings of the token index, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opening {
    pub(crate) settings: ProbeSettings,
    /// For explain; none where nothing was asked and nothing is known.
    pub(crate) note: Option<String>,
}

/// How wide the token index opens for `keep` results.
pub(crate) fn opening(request: &QueryRequest, statistics: &Statistics, keep: usize) -> Opening {
    let (base, mut notes) = tuned_or_default(request, statistics, keep);
    let lists = statistics.tokens.as_ref().map_or(0, |tokens| tokens.centroids);
    let lists = usize::try_from(lists).unwrap_or(usize::MAX).max(1);
    let widened = base.n_probe.saturating_mul(widening(statistics.selectivity()));
    let n_probe = request.n_probe.unwrap_or(widened).min(lists);
    let (candidates, refine) = match request.candidates {
        Some(candidates) => {
            let candidates = candidates.max(keep);
            (candidates, candidates)
        }
        None => {
            let candidates = base.candidates.max(keep);
            (candidates, base.refine.clamp(keep.min(candidates), candidates))
        }
    };
    match (request.n_probe, request.candidates) {
        (None, None) => {}
        (Some(_), Some(_)) => notes = vec!["the caller set n_probe and candidates".to_owned()],
        (Some(_), None) => notes.push("the caller set n_probe".to_owned()),
        (None, Some(_)) => notes.push("the caller set candidates".to_owned()),
    }
    Opening {
        settings: ProbeSettings {
            n_probe,
            candidates,
            refine,
            margin: base.margin,
        },
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

/// Why only a scan of everything gives the recall that is asked, if it does: 1 is asked, or more than any settings were
/// measured to give.
pub(crate) fn only_everything(request: &QueryRequest, statistics: &Statistics) -> Option<String> {
    let recall = request.recall?;
    if recall >= 1.0 {
        return Some("recall 1 is asked, which only a scan of everything is sure to give".to_owned());
    }
    if request.n_probe.is_some() || request.candidates.is_some() {
        return None;
    }
    let table = statistics.tuned.as_ref()?;
    let tokens = statistics.tokens.as_ref()?;
    let entry = table.entry(recall)?;
    (table.outdated(tokens).is_none() && entry.measured.high < recall).then(|| {
        format!(
            "recall {recall} is asked, and the widest settings tried gave {}: only a scan of everything gives it",
            entry.measured
        )
    })
}

/// Under a filter the documents that match lie further down the lists, so more of them are visited.
fn widening(selectivity: f64) -> usize {
    match selectivity {
        all if all >= 0.5 => 1,
        some if some >= 0.1 => 2,
        few if few >= 0.01 => 4,
        _ => 8,
    }
}

fn tuned_or_default(
    request: &QueryRequest,
    statistics: &Statistics,
    keep: usize,
) -> (ProbeSettings, Vec<String>) {
    let default = defaults(statistics, keep, request.recall.unwrap_or(DEFAULT_RECALL));
    let asked = request.recall.map(|recall| format!("recall {recall} asked"));
    let Some(table) = &statistics.tuned else {
        let note = asked.map(|asked| {
            format!("{asked}, but the collection has not been tuned: default settings, not measured")
        });
        return (default, note.into_iter().collect());
    };
    let outdated = statistics
        .tokens
        .as_ref()
        .and_then(|tokens| table.outdated(tokens));
    if let Some(why) = outdated {
        let asked = asked.map_or_else(String::new, |asked| format!("{asked}, but "));
        let note = format!(
            "{asked}the tuned table is out of date ({why}): default settings until the next optimize"
        );
        return (default, vec![note]);
    }
    let recall = request.recall.unwrap_or(DEFAULT_RECALL);
    let filtered = statistics.matching < statistics.documents;
    let Some(entry) = table.entry(recall) else {
        return (default, Vec::new());
    };
    let asked = asked.unwrap_or_else(|| format!("recall {recall} by default"));
    if filtered {
        let (settings, what) = between(table, entry, recall, statistics.selectivity());
        return deepened(table, settings, keep, format!("{asked} under a filter: {what}"));
    }
    let note = format!("{asked}: {}", measured(table, entry, recall));
    deepened(table, entry.settings, keep, note)
}

/// Documents under a filter may be harder to tell apart than those that were measured: lists and candidates are the nearer to
/// those of the next target the fewer documents match, and the margin, which costs the most, lies half-way to its.
fn between(table: &TunedTable, entry: &TunedEntry, recall: f64, selectivity: f64) -> (ProbeSettings, String) {
    let Some(above) = table
        .entry_above(recall)
        .filter(|above| above.settings != entry.settings)
    else {
        return (entry.settings, measured(table, entry, recall));
    };
    let (own, next) = (entry.settings, above.settings);
    let towards = |own: usize, next: usize| share_of_the_way(own, next, 1.0 - selectivity);
    let settings = ProbeSettings {
        n_probe: towards(own.n_probe, next.n_probe),
        candidates: towards(own.candidates, next.candidates),
        refine: towards(own.refine, next.refine),
        margin: f32::midpoint(own.margin, next.margin),
    };
    let what = format!(
        "{settings}, between what measured {} and {} without one on {} queries",
        entry.measured, above.measured, table.queries
    );
    (settings, what)
}

/// A number between two, by the ratio of them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between two of these"
)]
fn share_of_the_way(from: usize, to: usize, share: f64) -> usize {
    let (from, to) = (from.max(1) as f64, to.max(1) as f64);
    (from * (to / from).powf(share)).round() as usize
}

fn measured(table: &TunedTable, entry: &TunedEntry, asked: f64) -> String {
    let unsure = if entry.measured.low < asked {
        "; no settings were sure to reach more"
    } else {
        ""
    };
    format!(
        "{} measured {} on {} queries{unsure}",
        entry.settings, entry.measured, table.queries
    )
}

/// More results than were measured want more candidates, in proportion, and more lists, by the root of it.
fn deepened(
    table: &TunedTable,
    settings: ProbeSettings,
    keep: usize,
    note: String,
) -> (ProbeSettings, Vec<String>) {
    let ProbeSettings {
        n_probe,
        candidates,
        refine,
        margin,
    } = settings;
    let factor = keep.div_ceil(table.k.max(1)).max(1);
    let mut notes = vec![note];
    if factor > 1 {
        notes.push(format!(
            "measured for {} results, {factor} times the candidates for {keep}",
            table.k
        ));
    }
    let settings = ProbeSettings {
        n_probe: n_probe.saturating_mul(factor.isqrt()),
        candidates: candidates.saturating_mul(factor),
        refine: refine.saturating_mul(factor),
        margin,
    };
    (settings, notes)
}

/// docs/decisions/0004-token-index.md has the figures behind the defaults.
fn defaults(statistics: &Statistics, keep: usize, recall: f64) -> ProbeSettings {
    // The order of the sums is rough, and the more documents there are, the more of them get in the way.
    let indexed = statistics
        .tokens
        .as_ref()
        .map_or(0, |tokens| tokens.indexed_documents);
    let rough = usize::try_from(indexed.isqrt())
        .unwrap_or(usize::MAX)
        .saturating_mul(8);
    let candidates = keep.saturating_mul(16).max(2048).max(rough);
    ProbeSettings {
        n_probe: N_PROBE,
        candidates,
        // How far down codes are read is found out query by query.
        refine: candidates,
        margin: if recall > USUAL { WIDE_MARGIN } else { MARGIN },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::TokenStatistics;
    use crate::tuning::{MeasuredRecall, QuerySource};

    fn entry(target: f64, n_probe: usize, low: f64) -> TunedEntry {
        TunedEntry {
            target,
            settings: ProbeSettings {
                n_probe,
                candidates: 256,
                refine: 64,
                margin: 3.0,
            },
            measured: MeasuredRecall {
                recall: 0.957,
                low,
                high: 0.966,
            },
        }
    }

    fn tuned() -> Statistics {
        Statistics {
            documents: 50_000,
            matching: 50_000,
            tokens: Some(TokenStatistics {
                indexed_documents: 50_000,
                indexed_tokens: 3_500_000,
                centroids: 32_768,
                codebooks: vec![4],
                ..TokenStatistics::default()
            }),
            tuned: Some(TunedTable {
                k: 10,
                queries: 200,
                source: QuerySource::Documents,
                tokens: 3_000_000,
                codebooks: vec![4],
                entries: vec![entry(0.8, 2, 0.82), entry(0.95, 8, 0.951), entry(0.99, 16, 0.985)],
            }),
            ..Statistics::default()
        }
    }

    fn asked(recall: f64) -> QueryRequest {
        QueryRequest {
            recall: Some(recall),
            ..QueryRequest::default()
        }
    }

    fn opened(request: &QueryRequest, statistics: &Statistics) -> (ProbeSettings, String) {
        let Opening { settings, note } = opening(request, statistics, request.limit);
        (settings, note.unwrap_or_default())
    }

    #[test]
    fn a_recall_becomes_what_was_measured_to_give_it() {
        let (settings, note) = opened(&asked(0.95), &tuned());
        assert_eq!(settings, entry(0.95, 8, 0.0).settings);
        assert_eq!(
            note,
            "recall 0.95 asked: n_probe 8, candidates 256, refine 64, margin 3 measured 0.957 (0.951 to 0.966) on 200 queries"
        );
        let (settings, note) = opened(&QueryRequest::default(), &tuned());
        assert_eq!(settings.n_probe, 16);
        assert!(
            note.starts_with("recall 0.99 by default: ") && note.contains("no settings were sure"),
            "{note}"
        );
    }

    #[test]
    fn without_a_table_that_holds_the_defaults_stand() {
        let mut none = tuned();
        none.tuned = None;
        let (defaults, note) = opened(&QueryRequest::default(), &none);
        assert_eq!((defaults.n_probe, note.as_str()), (N_PROBE, ""));
        let (settings, note) = opened(&asked(0.9), &none);
        assert!(settings == defaults && note.contains("not been tuned"), "{note}");
        let mut grown = tuned();
        grown.tokens.as_mut().unwrap().indexed_tokens = 7_000_000;
        let mut other = tuned();
        other.tokens.as_mut().unwrap().codebooks = vec![4, 5];
        for (statistics, why) in [(grown, "7000000 now"), (other, "another codebook")] {
            let (settings, note) = opened(&asked(0.9), &statistics);
            assert!(settings == defaults && note.contains(why), "{note}");
            assert!(opened(&QueryRequest::default(), &statistics).1.contains(why));
        }
    }

    #[test]
    fn what_the_caller_sets_wins() {
        let request = QueryRequest {
            n_probe: Some(5),
            ..asked(0.95)
        };
        let (settings, note) = opened(&request, &tuned());
        assert_eq!(
            (settings.n_probe, settings.candidates, settings.refine),
            (5, 256, 64)
        );
        assert!(note.ends_with("; the caller set n_probe"), "{note}");
        let request = QueryRequest {
            candidates: Some(900),
            ..asked(0.95)
        };
        let (settings, _) = opened(&request, &tuned());
        assert_eq!(
            (settings.n_probe, settings.candidates, settings.refine),
            (8, 900, 900)
        );
        let request = QueryRequest {
            n_probe: Some(5),
            candidates: Some(900),
            ..asked(0.95)
        };
        let (settings, note) = opened(&request, &tuned());
        assert_eq!((settings.n_probe, settings.candidates), (5, 900));
        assert_eq!(note, "the caller set n_probe and candidates");
    }

    #[test]
    fn what_no_settings_gave_takes_a_scan() {
        let mut short = tuned();
        let why = |request: &QueryRequest, statistics: &Statistics| {
            only_everything(request, statistics).unwrap_or_default()
        };
        assert!(why(&asked(1.0), &short).contains("recall 1"));
        // The interval of every entry ends at 0.966.
        assert_eq!(why(&asked(0.95), &short), "");
        assert!(why(&asked(0.99), &short).contains("0.957"));
        let narrow = QueryRequest {
            n_probe: Some(3),
            ..asked(0.99)
        };
        assert_eq!(why(&narrow, &short), "", "the caller knows better");
        assert_eq!(why(&QueryRequest::default(), &short), "", "nothing is asked");
        short.tokens.as_mut().unwrap().codebooks = vec![9];
        assert_eq!(
            why(&asked(0.99), &short),
            "",
            "the table speaks for another collection"
        );
    }

    #[test]
    fn more_results_and_filters_open_wider() {
        let request = QueryRequest {
            limit: 35,
            ..asked(0.95)
        };
        let (settings, note) = opened(&request, &tuned());
        assert_eq!(
            (settings.n_probe, settings.candidates, settings.refine),
            (2 * 8, 4 * 256, 4 * 64)
        );
        assert!(
            note.contains("measured for 10 results, 4 times the candidates for 35"),
            "{note}"
        );
        let mut filtered = tuned();
        filtered.matching = 600;
        let (settings, note) = opened(&asked(0.95), &filtered);
        assert_eq!(
            settings.n_probe,
            4 * 16,
            "those of 0.99, and four times the lists"
        );
        assert!(note.starts_with("recall 0.95 asked under a filter: "), "{note}");
        let entries = &mut filtered.tuned.as_mut().unwrap().entries;
        (entries[1].settings.margin, entries[2].settings.margin) = (3.0, 4.0);
        let (settings, note) = opened(&asked(0.95), &filtered);
        assert!((settings.margin - 3.5).abs() < 1e-6, "half-way to that of 0.99");
        assert!(note.contains("between what measured 0.95"), "{note}");
        filtered.matching = 25_000;
        assert_eq!(opened(&asked(0.95), &filtered).0.n_probe, 11, "between 8 and 16");
        filtered.matching = 600;
        let (settings, _) = opened(&asked(0.99), &filtered);
        assert!((settings.margin - 4.0).abs() < 1e-6, "there is no target above");
        filtered.tokens.as_mut().unwrap().centroids = 20;
        assert_eq!(
            opened(&asked(0.95), &filtered).0.n_probe,
            20,
            "there are no more lists"
        );
    }
}
