//! The best rows for any of some posting lists, without looking at all of them.
//!
//! MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", 1995), in windows of rows: lists whose
//! largest scores together cannot lift a row among the best are looked up only for rows that other lists have brought, and
//! of those only while they can still get there.

use crate::error::QueryError;

/// Rows that are scored together, so that their scores stay in the cache.
const WINDOW: u32 = 1 << 13;
/// Where more than this share of a window was met, looking at all of it costs less than sorting what was met.
const DENSE_SHARE: usize = 16;
/// Bounds are compared with this much room, as sums depend on their order in the last bits.
const ROOM: f64 = 1.0 - 1e-6;

/// A posting list with a cursor, which only moves forward.
pub(crate) trait List {
    /// The most that a row gets from the list; above 0.
    fn bound(&self) -> f64;

    /// Moves to the first row that is `row` or behind it; `None` when there is none.
    fn seek(&mut self, row: u32) -> Result<Option<u32>, QueryError>;

    /// The rows from the cursor to the end of its block.
    fn ahead(&self) -> &[u32];

    /// The score of the row so many behind the cursor, in its block.
    fn score(&self, ahead: usize) -> f64;

    /// Moves so many rows on, at most behind the last of the block.
    fn pass(&mut self, rows: usize);
}

/// Offers every row that has one of the lists and may be among the best, in order of rows. `offer` gets a row and its score
/// and returns the score that it takes to be among the best from there on; rows for which `wanted` does not hold are left
/// out. Returns how many postings were scored.
pub(crate) fn union<L: List>(
    rows: u32,
    mut lists: Vec<L>,
    threshold: f32,
    wanted: impl Fn(u32) -> bool,
    mut offer: impl FnMut(u32, f64) -> Result<f32, QueryError>,
) -> Result<u64, QueryError> {
    lists.sort_by(|a, b| b.bound().total_cmp(&a.bound()));
    // What all lists from one on can add.
    let mut rest = vec![0.0; lists.len() + 1];
    for (at, list) in lists.iter().enumerate().rev() {
        rest[at] = rest[at + 1] + list.bound();
    }
    let mut threshold = f64::from(threshold);
    let mut scores = vec![0.0f64; WINDOW as usize];
    let mut met = Vec::with_capacity(WINDOW as usize);
    let (mut first, mut scored) = (0, 0);
    while first < rows {
        let end = first.saturating_add(WINDOW).min(rows);
        let floor = threshold * ROOM;
        let essential = rest
            .iter()
            .take_while(|sum| **sum >= floor && **sum > 0.0)
            .count();
        if essential == 0 {
            break;
        }
        let mut next = rows;
        for list in lists.iter_mut().take(essential) {
            if let Some(behind) = gather(list, first..end, &mut scores, &mut met, &mut scored)? {
                next = next.min(behind);
            }
        }
        in_order(&mut met, &scores, first);
        for row in met.drain(..) {
            let mut score = std::mem::take(&mut scores[(row - first) as usize]);
            if score + rest[essential.min(lists.len())] < threshold * ROOM || !wanted(row) {
                continue;
            }
            for (at, list) in lists.iter_mut().enumerate().skip(essential) {
                if score + rest[at] < threshold * ROOM {
                    break;
                }
                if list.seek(row)? == Some(row) {
                    score += list.score(0);
                    scored += 1;
                }
            }
            if score >= threshold * ROOM {
                threshold = f64::from(offer(row, score)?);
            }
        }
        first = next.max(end);
    }
    Ok(scored)
}

/// Puts the rows that were met in a window in order.
fn in_order(met: &mut Vec<u32>, scores: &[f64], first: u32) {
    if met.len() < scores.len() / DENSE_SHARE {
        met.sort_unstable();
        return;
    }
    met.clear();
    let rows = (first..).zip(scores).filter(|(_, score)| **score > 0.0);
    met.extend(rows.map(|(row, _)| row));
}

/// Adds a list's scores for the rows of a window; returns its first row behind it.
fn gather<L: List>(
    list: &mut L,
    window: std::ops::Range<u32>,
    scores: &mut [f64],
    met: &mut Vec<u32>,
    scored: &mut u64,
) -> Result<Option<u32>, QueryError> {
    let mut row = window.start;
    while let Some(at) = list.seek(row)? {
        if at >= window.end {
            return Ok(Some(at));
        }
        let mut taken = 0;
        for (ahead, &document) in list.ahead().iter().enumerate() {
            if document >= window.end {
                break;
            }
            let score = &mut scores[(document - window.start) as usize];
            if *score == 0.0 {
                met.push(document);
            }
            *score += list.score(ahead);
            taken += 1;
            row = document + 1;
        }
        *scored += taken as u64;
        list.pass(taken);
    }
    Ok(None)
}
