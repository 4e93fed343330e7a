//! The best rows for any of some posting lists, without looking at all of them.
//!
//! MaxScore (Turtle and Flood, "Query evaluation: strategies and optimizations", 1995), in windows of rows: lists whose
//! largest scores together cannot lift a row among the best are looked up only for rows that other lists have brought, and
//! of those only while they can still get there.

use std::ops::Range;

use crate::error::QueryError;

/// Rows that are scored together, so that their scores stay in the cache.
const WINDOW: u32 = 1 << 13;
/// Where more postings than this share of a window's rows are to be expected, all its rows are looked at, which costs less
/// than noting and sorting those that were met.
const DENSE_SHARE: u64 = 8;
/// Bounds are compared with this much room, as sums depend on their order in the last bits.
const ROOM: f64 = 1.0 - 1e-6;

/// A posting list with a cursor, which only moves forward.
pub(crate) trait List {
    /// Rows in it.
    fn len(&self) -> u64;

    /// The most that a row gets from the list; above 0.
    fn bound(&self) -> f64;

    /// Moves to the first row that is `row` or behind it; `None` when there is none.
    fn seek(&mut self, row: u32) -> Result<Option<u32>, QueryError>;

    /// The score of the row at the cursor.
    fn score(&self) -> f64;

    /// Tells the rows below `end`, from the cursor to the end of its block, with their scores, and moves behind them.
    /// Returns how many there were.
    fn pass(&mut self, end: u32, tell: impl FnMut(u32, f64)) -> usize;
}

/// Offers every row that has one of the lists and may be among the best, in order of rows. `offer` gets a row and its score
/// and returns the score that it takes to be among the best from there on; rows for which `wanted` does not hold are left
/// out. Returns how many postings were scored.
pub(crate) fn union<L: List>(
    rows: u32,
    mut lists: Vec<L>,
    threshold: f32,
    wanted: impl Fn(u32) -> bool,
    offer: impl FnMut(u32, f64) -> Result<f32, QueryError>,
) -> Result<u64, QueryError> {
    lists.sort_by(|a, b| b.bound().total_cmp(&a.bound()));
    // What all lists from one on can add.
    let mut rest = vec![0.0; lists.len() + 1];
    for (at, list) in lists.iter().enumerate().rev() {
        rest[at] = rest[at + 1] + list.bound();
    }
    let mut offers = Offers {
        rest: &rest,
        floor: f64::from(threshold) * ROOM,
        wanted,
        offer,
        scored: 0,
    };
    let mut window = Window::default();
    let mut first = 0;
    while first < rows {
        let end = first.saturating_add(WINDOW).min(rows);
        let needed = |sum: &&f64| **sum >= offers.floor && **sum > 0.0;
        let essential = rest.iter().take_while(needed).count().min(lists.len());
        if essential == 0 {
            break;
        }
        let (front, back) = lists.split_at_mut(essential);
        let postings: u64 = front.iter().map(List::len).sum();
        window.dense = postings * DENSE_SHARE > u64::from(rows);
        let mut next = rows;
        for list in front {
            if let Some(behind) = window.gather(list, first..end, &mut offers.scored)? {
                next = next.min(behind);
            }
        }
        offers.take(&mut window, first..end, back, essential)?;
        first = next.max(end);
    }
    Ok(offers.scored)
}

/// What decides which rows are offered.
struct Offers<'a, W, O> {
    rest: &'a [f64],
    /// What a bound must reach.
    floor: f64,
    wanted: W,
    offer: O,
    scored: u64,
}

impl<W: Fn(u32) -> bool, O: FnMut(u32, f64) -> Result<f32, QueryError>> Offers<'_, W, O> {
    /// Offers the rows of a window that may be among the best, and empties it.
    fn take<L: List>(
        &mut self,
        window: &mut Window,
        range: Range<u32>,
        back: &mut [L],
        essential: usize,
    ) -> Result<(), QueryError> {
        let rest = self.rest.get(essential).copied().unwrap_or(0.0);
        if window.dense {
            for (row, score) in range.clone().zip(&window.scores) {
                if *score > 0.0 && score + rest >= self.floor {
                    self.one(row, *score, back, essential)?;
                }
            }
            window.scores.fill(0.0);
            return Ok(());
        }
        window.met.sort_unstable();
        for row in window.met.drain(..) {
            let score = std::mem::take(&mut window.scores[(row - range.start) as usize]);
            if score + rest >= self.floor {
                self.one(row, score, back, essential)?;
            }
        }
        Ok(())
    }

    fn one<L: List>(
        &mut self,
        row: u32,
        mut score: f64,
        back: &mut [L],
        essential: usize,
    ) -> Result<(), QueryError> {
        if !(self.wanted)(row) {
            return Ok(());
        }
        for (list, rest) in back.iter_mut().zip(self.rest.iter().skip(essential)) {
            if score + rest < self.floor {
                break;
            }
            if list.seek(row)? == Some(row) {
                score += list.score();
                self.scored += 1;
            }
        }
        if score >= self.floor {
            self.floor = f64::from((self.offer)(row, score)?) * ROOM;
        }
        Ok(())
    }
}

/// The scores of some neighbouring rows.
struct Window {
    scores: Vec<f64>,
    /// The rows that have one; not noted in a dense window.
    met: Vec<u32>,
    dense: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            scores: vec![0.0; WINDOW as usize],
            met: Vec::new(),
            dense: false,
        }
    }
}

impl Window {
    /// Adds a list's scores for the rows of a range; returns its first row behind it.
    fn gather<L: List>(
        &mut self,
        list: &mut L,
        range: Range<u32>,
        scored: &mut u64,
    ) -> Result<Option<u32>, QueryError> {
        let mut row = range.start;
        let (scores, met) = (&mut self.scores, &mut self.met);
        while let Some(at) = list.seek(row)? {
            if at >= range.end {
                return Ok(Some(at));
            }
            row = at;
            let taken = if self.dense {
                list.pass(range.end, |document, score| {
                    row = document;
                    scores[(document - range.start) as usize] += score;
                })
            } else {
                list.pass(range.end, |document, score| {
                    row = document;
                    let sum = &mut scores[(document - range.start) as usize];
                    if *sum == 0.0 {
                        met.push(document);
                    }
                    *sum += score;
                })
            };
            *scored += taken as u64;
            row += 1;
        }
        Ok(None)
    }
}
