//! A graph on disk: links of level 0 for every row, and of the higher levels for the few rows that have them.

use std::borrow::Cow;
use std::path::Path;

use half::bf16;
use latewood_codecs::kernel::prefetch;
use latewood_codecs::{Int4Codec, Int4Rows};

use super::MAX_LEVEL;
use super::cells::{self, BuiltCells, CellsView};
use super::codes::GraphCodes;
use super::links::BuiltGraph;
use super::packed::{Links, Lists, Packed};
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::read_ahead::ReadAhead;
use crate::schema::DenseSpec;
use crate::segment::component::Component;
use crate::segment::ends::Ends;
use crate::segment::reader::ComponentFile;
use crate::segment::writer::{ComponentWriter, Finished};
use crate::wire::to_u32;

const BASE_LINKS: u32 = 11;
const BASE_ENDS: u32 = 12;
/// Where links ended in format version 1.
const EARLIER_ENDS: u32 = 2;
/// The rows above level 0, ascending.
const UPPER_ROWS: u32 = 3;
/// For each of them, the number of its last list plus one; its lists are those of level 1 and upwards.
const UPPER_LISTS: u32 = 4;
const UPPER_ENDS: u32 = 13;
const UPPER_LINKS: u32 = 14;
/// The rows in four bits a number, what a step of each is worth, and for distances its squared norm. Section 8 of earlier graphs
/// had both in single precision.
const CODES: u32 = 7;
const STEPS: u32 = 9;
const NORMS: u32 = 10;

/// Writes a built graph.
pub(crate) fn write(
    backend: &dyn StorageBackend,
    dir: &Path,
    component: Component,
    (graph, m): (&BuiltGraph, usize),
    codes: &GraphCodes<'_>,
    cells: Option<&BuiltCells>,
) -> Result<Finished> {
    let rows = graph.levels.len();
    let path = dir.join(component.name());
    let mut tags = vec![
        BASE_LINKS,
        BASE_ENDS,
        UPPER_ROWS,
        UPPER_LISTS,
        UPPER_ENDS,
        UPPER_LINKS,
        CODES,
        STEPS,
        NORMS,
    ];
    tags.extend(cells.iter().flat_map(|_| cells::TAGS));
    let mut writer = ComponentWriter::create(backend, &path, component.kind(), &tags)?;
    let all = 0..to_u32(rows)?;
    let mut base = Lists::new(BASE_LINKS);
    for row in all.clone() {
        base.append(&mut writer, graph.neighbours(0, row))?;
    }
    let base = base.finish(&mut writer, BASE_ENDS)?;
    let mut upper = Lists::new(UPPER_LINKS);
    let mut lists = 0u32;
    for (row, &levels) in all.zip(&graph.levels).filter(|(_, levels)| **levels > 0) {
        for level in 1..=levels {
            upper.append(&mut writer, graph.neighbours(level, row))?;
        }
        lists += u32::from(levels);
        writer.append(UPPER_ROWS, &row.to_le_bytes())?;
        writer.append(UPPER_LISTS, &lists.to_le_bytes())?;
    }
    let upper = upper.finish(&mut writer, UPPER_ENDS)?;
    if let Cow::Owned(codes) = &codes.codes {
        writer.append(CODES, codes)?;
    }
    writer.append(STEPS, bytemuck::cast_slice(&codes.steps))?;
    writer.append(NORMS, bytemuck::cast_slice(&codes.squared_norms))?;
    if let Some(cells) = cells {
        cells.write(&mut writer)?;
    }
    let entry = graph.entry.map_or(0, |e| u64::from(e) + 1);
    writer.finish([rows as u64, entry, base, u64::from(lists), m as u64, upper])
}

/// The graph of an open segment.
#[derive(Clone, Copy, Debug)]
pub struct GraphView<'a> {
    entry: Option<u32>,
    top: u8,
    m: usize,
    rows: usize,
    base: Packed<'a>,
    upper_rows: &'a [u32],
    upper_lists: Ends<'a>,
    upper: Packed<'a>,
    codes: Option<Int4Rows<'a>>,
    cells: Option<CellsView<'a>>,
}

impl<'a> GraphView<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The row where searches begin.
    pub fn entry(&self) -> Option<u32> {
        self.entry
    }

    /// The highest level, where the search begins.
    pub fn max_level(&self) -> u8 {
        self.top
    }

    /// Links of a row on the levels above 0, at most.
    pub(crate) fn m(&self) -> usize {
        self.m
    }

    /// The rows above level 0, ascending, and their levels.
    pub(crate) fn upper(&self) -> impl Iterator<Item = (u32, u8)> + '_ {
        let level = |at| u8::try_from(self.upper_lists.range(at).len()).unwrap_or(MAX_LEVEL);
        let rows = self.upper_rows.iter().copied().enumerate();
        rows.map(move |(at, row)| (row, level(at).min(MAX_LEVEL)))
    }

    /// The rows in four bits a number, which the graph was built over; `None` in a segment of an earlier format.
    pub fn codes(&self) -> Option<Int4Rows<'a>> {
        self.codes
    }

    /// The cells that the rows are divided into; `None` where they are few, or the segment was written without.
    pub fn cells(&self) -> Option<&CellsView<'a>> {
        self.cells.as_ref()
    }

    /// Begins to fetch a row's links of level 0.
    #[inline]
    pub fn prefetch(&self, row: u32) {
        prefetch(self.base.bytes(row as usize));
    }

    /// Begins to read a row's links of level 0 from disk.
    #[inline]
    pub fn read_ahead(&self, row: u32, ahead: ReadAhead) {
        if ahead.is_on() {
            ahead.of(self.base.bytes(row as usize));
        }
    }

    /// Begins to fetch where a row's links of level 0 stand.
    #[inline]
    pub fn prefetch_place(&self, row: u32) {
        self.base.prefetch_place(row as usize);
    }

    /// The rows that a row is linked to on a level, ascending; none when it is not on that level.
    #[inline]
    pub fn neighbours(&self, level: u8, row: u32) -> Links<'a> {
        if level == 0 {
            return Links::new(self.base.bytes(row as usize));
        }
        let Some(at) = place_of(self.upper_rows, row, self.rows) else {
            return Links::new(&[]);
        };
        let list = self.upper_lists.range(at).nth(usize::from(level) - 1);
        Links::new(list.map_or(&[], |list| self.upper.bytes(list)))
    }
}

/// The place of a row among ascending ones of `rows`. They are drawn by chance, so it is near the row's share of them: what is read
/// on the way to it is a few lines of the cache.
fn place_of(upper_rows: &[u32], row: u32, rows: usize) -> Option<usize> {
    let guess = (row as usize).checked_mul(upper_rows.len())?.checked_div(rows)?;
    let mut reach = 128;
    loop {
        let (first, end) = (guess.saturating_sub(reach), upper_rows.len().min(guess + reach));
        let part = upper_rows.get(first..end)?;
        let begins = first == 0 || part.first().is_some_and(|first| *first <= row);
        let ends = end == upper_rows.len() || part.last().is_some_and(|last| *last >= row);
        if begins && ends {
            return part.binary_search(&row).ok().map(|at| first + at);
        }
        reach *= 4;
    }
}

/// Reads the graph of a segment of `rows` rows; without a `spec` not its codes, which are the vectors' own where these have such by
/// themselves (`coarse`). The first time, `check` asks for every link to be looked at.
pub(crate) fn open<'a>(
    file: &'a ComponentFile,
    (spec, coarse): (Option<&DenseSpec>, Option<&'a [u8]>),
    rows: u32,
    check: bool,
) -> Result<GraphView<'a>> {
    let [graph_rows, entry, base, lists, m, upper] = file.params();
    let wrong = |what: &str| file.corruption(0, format!("a graph over {rows} rows"), what.to_owned());
    if graph_rows != u64::from(rows) || entry > graph_rows {
        return Err(wrong("another number of rows"));
    }
    if file.has(EARLIER_ENDS) {
        return Err(wrong(
            "one of format version 1, which `latewood optimize` builds anew",
        ));
    }
    let lists = usize::try_from(lists).map_err(|_| wrong("too many lists"))?;
    let upper_rows: &[u32] = file.numbers(UPPER_ROWS)?;
    let ends = if check { Ends::open } else { Ends::trusted };
    let mut view = GraphView {
        entry: entry.checked_sub(1).and_then(|e| u32::try_from(e).ok()),
        top: 0,
        m: usize::try_from(m).unwrap_or(usize::MAX),
        rows: rows as usize,
        base: Packed::open(file, (BASE_LINKS, BASE_ENDS), rows as usize, base, check)?,
        upper_rows,
        upper_lists: ends(file, UPPER_LISTS, upper_rows.len(), lists)?,
        upper: Packed::open(file, (UPPER_LINKS, UPPER_ENDS), lists, upper, check)?,
        codes: match spec {
            Some(spec) if file.has(STEPS) && (coarse.is_some() || file.has(CODES)) => {
                Some(codes(file, (spec, coarse), rows, check)?)
            }
            _ => None,
        },
        cells: match spec {
            Some(spec) => cells::open(file, spec, rows, check)?,
            None => None,
        },
    };
    if check {
        let sound = view.base.are_sound(rows as usize, rows) && view.upper.are_sound(lists, rows);
        if !sound || !upper_rows.is_sorted() {
            return Err(wrong("links to rows that do not exist"));
        }
    }
    let entry_at = view.entry.and_then(|entry| upper_rows.binary_search(&entry).ok());
    let levels = entry_at.map_or(0, |at| view.upper_lists.range(at).len());
    view.top = u8::try_from(levels).unwrap_or(MAX_LEVEL).min(MAX_LEVEL);
    Ok(view)
}

fn codes<'a>(
    file: &'a ComponentFile,
    (spec, coarse): (&DenseSpec, Option<&'a [u8]>),
    rows: u32,
    check: bool,
) -> Result<Int4Rows<'a>> {
    let rows = rows as usize;
    let codes = match coarse {
        Some(coarse) => coarse,
        None => file.exactly(CODES, rows.saturating_mul(Int4Codec::bytes_of(spec.dim)))?,
    };
    let steps: &[bf16] = file.exactly(STEPS, rows)?;
    let norms: &[f32] = match Int4Codec::norms(spec.metric, rows) {
        0 => &[],
        norms => file.exactly(NORMS, norms)?,
    };
    if check {
        let finite = |tag, size: u64, at: Option<usize>| match at {
            Some(at) => {
                Err(file.corruption_in(tag, size * at as u64, "finite factors", "another".to_owned()))
            }
            None => Ok(()),
        };
        finite(STEPS, 2, steps.iter().position(|step| !step.is_finite()))?;
        finite(NORMS, 4, norms.iter().position(|norm| !norm.is_finite()))?;
    }
    Int4Rows::new(spec.metric, spec.dim, codes, (steps, norms))
        .map_err(|error| file.corruption_in(CODES, 0, "whole rows of codes", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn a_row_is_found_among_the_upper_ones_wherever_they_lie() {
        let rows = 40_000u32;
        let even: Vec<u32> = (0..rows).filter(|row| row % 16 == 3).collect();
        let at_the_end: Vec<u32> = (rows - 2_500..rows).collect();
        let at_both: Vec<u32> = (0..900).chain(rows - 7..rows).collect();
        for upper in [vec![], vec![5], even, at_the_end, at_both] {
            for row in (0..rows).step_by(7).chain([0, 3, 5, rows - 1]) {
                let found = place_of(&upper, row, rows as usize);
                assert_eq!(
                    found,
                    upper.binary_search(&row).ok(),
                    "row {row} of {}",
                    upper.len()
                );
            }
        }
        assert_eq!(place_of(&[1], u32::MAX, 2), None, "a row that is not there");
        assert_eq!(place_of(&[], 0, 0), None);
    }
}
