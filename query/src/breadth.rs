//! How broad the walk over a graph is: as the caller says, else as it was tuned for the recall that is asked, else by default.

use crate::request::{DEFAULT_RECALL, QueryRequest};
use crate::statistics::DenseStatistics;
use crate::tuning::BreadthTable;

/// The breadth where nothing was tuned, or for so many times the results, if that is more.
const DEFAULT: usize = 100;
const DEFAULT_FACTOR: usize = 2;

/// How much of a graph is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    pub(crate) ef_search: usize,
    /// Matching rows of near cells that are scored where a tenth matches, if that has been measured.
    pub(crate) cell_rows: Option<usize>,
}

impl Effort {
    /// A beam, and what is in proportion to it.
    pub(crate) fn of(ef_search: usize) -> Self {
        Self {
            ef_search,
            cell_rows: None,
        }
    }
}

/// The breadth of a walk, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breadth {
    pub(crate) effort: Effort,
    /// For explain; none where nothing was asked and nothing is known.
    pub(crate) note: Option<String>,
}

/// A walk that is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) request: &'a QueryRequest,
    pub(crate) dense: &'a DenseStatistics,
    /// What the graph was tuned to, if it was.
    pub(crate) table: Option<&'a BreadthTable>,
}

impl Walk<'_> {
    /// How broad the walk is for `keep` results.
    pub(crate) fn breadth(&self, keep: usize) -> Breadth {
        let request = self.request;
        if let Some(ef_search) = request.ef_search {
            let note = request.recall.map(|_| "the caller set ef_search".to_owned());
            return Breadth {
                effort: Effort::of(ef_search.max(keep)),
                note,
            };
        }
        let asked = request.recall.map(|recall| format!("recall {recall} asked"));
        let Some(table) = self.table else {
            let why = "but the graph has not been tuned: the default breadth, not measured";
            return default(keep, asked.map(|asked| format!("{asked}, {why}")));
        };
        if let Some(why) = table.outdated(self.dense) {
            let asked = asked.map_or_else(String::new, |asked| format!("{asked}, but "));
            let note = format!(
                "{asked}the tuned breadths are out of date ({why}): the default until the next optimize"
            );
            return default(keep, Some(note));
        }
        self.tuned(table, asked, keep)
    }

    fn tuned(&self, table: &BreadthTable, asked: Option<String>, keep: usize) -> Breadth {
        let recall = self.request.recall.unwrap_or(DEFAULT_RECALL);
        let Some(entry) = table.entry(recall) else {
            return default(keep, None);
        };
        let factor = keep.div_ceil(table.k.max(1)).max(1);
        let unsure = if entry.measured.low < recall {
            "; no breadth was sure to reach more"
        } else {
            ""
        };
        Breadth {
            effort: Effort {
                ef_search: entry.ef_search.saturating_mul(factor).max(keep),
                cell_rows: entry.cell_rows.map(|rows| rows.saturating_mul(factor)),
            },
            note: Some(format!(
                "{}: ef_search {} measured {} on {} queries{unsure}",
                asked.unwrap_or_else(|| format!("recall {recall} by default")),
                entry.ef_search,
                entry.measured,
                table.queries
            )),
        }
    }

    /// Why only a scan gives the recall that is asked, if it does: 1 is asked, or more than any breadth was measured to give.
    pub(crate) fn only_everything(&self) -> Option<String> {
        let recall = self.request.recall?;
        if recall >= 1.0 {
            return Some("recall 1 is asked, which only a scan of everything is sure to give".to_owned());
        }
        let table = self.table?;
        let entry = table.entry(recall)?;
        let short = entry.measured.high < recall && table.outdated(self.dense).is_none();
        (short && self.request.ef_search.is_none()).then(|| {
            format!(
                "recall {recall} is asked, and the broadest walk tried gave {}: only a scan of everything gives it",
                entry.measured
            )
        })
    }
}

fn default(keep: usize, note: Option<String>) -> Breadth {
    Breadth {
        effort: Effort::of(keep.saturating_mul(DEFAULT_FACTOR).max(DEFAULT)),
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Statistics;
    use crate::tuning::{BreadthEntry, MeasuredRecall, QuerySource};

    fn tuned() -> Statistics {
        let entry = |target, ef_search, low| BreadthEntry {
            target,
            ef_search,
            cell_rows: None,
            measured: MeasuredRecall {
                recall: 0.96,
                low,
                high: 0.97,
            },
        };
        Statistics {
            documents: 5_000,
            matching: 5_000,
            dense: Some(DenseStatistics {
                graph_rows: 5_000,
                graphs: 1,
                ..DenseStatistics::default()
            }),
            breadths: Some(BreadthTable {
                k: 10,
                queries: 200,
                source: QuerySource::Documents,
                rows: 4_000,
                entries: vec![
                    entry(0.9, 16, 0.91),
                    entry(0.95, 32, 0.951),
                    entry(0.99, 256, 0.94),
                ],
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

    fn of<'a>(request: &'a QueryRequest, statistics: &'a Statistics) -> Walk<'a> {
        Walk {
            request,
            dense: statistics.dense.as_ref().unwrap(),
            table: statistics.breadths.as_ref(),
        }
    }

    fn only_everything(request: &QueryRequest, statistics: &Statistics) -> Option<String> {
        of(request, statistics).only_everything()
    }

    fn walk(request: &QueryRequest, statistics: &Statistics, keep: usize) -> (usize, String) {
        let Breadth { effort, note } = of(request, statistics).breadth(keep);
        (effort.ef_search, note.unwrap_or_default())
    }

    #[test]
    fn a_recall_becomes_what_was_measured_to_give_it() {
        let (ef_search, note) = walk(&asked(0.95), &tuned(), 10);
        assert_eq!(ef_search, 32);
        assert_eq!(
            note,
            "recall 0.95 asked: ef_search 32 measured 0.960 (0.951 to 0.970) on 200 queries"
        );
        let (ef_search, note) = walk(&QueryRequest::default(), &tuned(), 10);
        assert!(
            ef_search == 256 && note.starts_with("recall 0.99 by default") && note.contains("sure"),
            "{note}"
        );
        assert_eq!(
            walk(&asked(0.9), &tuned(), 35).0,
            4 * 16,
            "more results, in proportion"
        );
        let mut filtered = tuned();
        filtered.matching = 100;
        assert_eq!(
            walk(&asked(0.9), &filtered, 10).0,
            16,
            "the walk itself is wider under a filter"
        );
    }

    #[test]
    fn without_a_table_that_holds_the_default_stands_and_the_caller_wins() {
        let mut none = tuned();
        none.breadths = None;
        assert_eq!(walk(&QueryRequest::default(), &none, 10), (100, String::new()));
        assert!(walk(&asked(0.9), &none, 80).1.contains("not been tuned"));
        assert_eq!(walk(&asked(0.9), &none, 80).0, 160);
        let mut grown = tuned();
        grown.dense.as_mut().unwrap().graph_rows = 8_001;
        let (ef_search, note) = walk(&asked(0.9), &grown, 10);
        assert!(ef_search == 100 && note.contains("8001 now"), "{note}");
        let request = QueryRequest {
            ef_search: Some(7),
            ..asked(0.95)
        };
        assert_eq!(walk(&request, &tuned(), 10).0, 10);
        assert_eq!(only_everything(&request, &tuned()), None);
    }

    #[test]
    fn what_no_breadth_gave_takes_a_scan() {
        assert!(
            only_everything(&asked(1.0), &tuned())
                .unwrap()
                .contains("recall 1")
        );
        assert_eq!(only_everything(&asked(0.95), &tuned()), None);
        assert!(only_everything(&asked(0.99), &tuned()).unwrap().contains("0.960"));
        assert_eq!(only_everything(&QueryRequest::default(), &tuned()), None);
    }
}
