//! Cells of near rows beside a graph, for searches of which few rows match: each row is in the cell of the centre that it is
//! nearest to, as in an inverted file (Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 2011).

use half::bf16;
use latewood_codecs::{Int4Codec, Int4Rows};

use crate::error::Result;
use crate::schema::DenseSpec;
use crate::segment::ends::{Ends, write_ends};
use crate::segment::packing::{SLACK, pack, unpack};
use crate::segment::reader::ComponentFile;
use crate::segment::writer::ComponentWriter;

/// The centres as rows of a graph are: codes, steps, squared norms.
const CODES: u32 = 15;
const STEPS: u32 = 16;
const NORMS: u32 = 17;
/// The rows of the cells, where each list ends, and how many rows the cells have up to and with each.
const LISTS: u32 = 18;
const LIST_ENDS: u32 = 19;
const ROW_ENDS: u32 = 20;

pub(super) const TAGS: [u32; 6] = [CODES, STEPS, NORMS, LISTS, LIST_ENDS, ROW_ENDS];

/// Centres in four bits a number.
#[derive(Debug, Default)]
pub(super) struct Centres {
    pub(super) codes: Vec<u8>,
    pub(super) steps: Vec<bf16>,
    /// None but for distances.
    pub(super) squared_norms: Vec<f32>,
}

/// The cells of all rows, before they are written.
#[derive(Debug)]
pub(crate) struct BuiltCells {
    pub(super) centres: Centres,
    /// The cell of each row.
    pub(super) cells: Vec<u32>,
}

impl BuiltCells {
    pub(super) fn write(&self, writer: &mut ComponentWriter<'_>) -> Result<()> {
        writer.append(CODES, &self.centres.codes)?;
        writer.append(STEPS, bytemuck::cast_slice(&self.centres.steps))?;
        writer.append(NORMS, bytemuck::cast_slice(&self.centres.squared_norms))?;
        let (grouped, ends) = self.grouped();
        let starts = std::iter::once(&0).chain(&ends);
        let (mut lengths, mut packed) = (Vec::with_capacity(ends.len()), Vec::new());
        for (&start, &end) in starts.zip(&ends) {
            packed.clear();
            pack(grouped.get(start..end).unwrap_or_default(), &mut packed);
            lengths.push(packed.len());
            writer.append(LISTS, &packed)?;
        }
        writer.append(LISTS, &[0; SLACK])?;
        let bytes = lengths.iter().sum::<usize>() as u64;
        write_ends(writer, LIST_ENDS, lengths.into_iter(), bytes)?;
        let counts = ends.iter().scan(0, |before, end| {
            let count = end - *before;
            *before = *end;
            Some(count)
        });
        write_ends(writer, ROW_ENDS, counts, self.cells.len() as u64)
    }

    /// The rows, cell after cell and ascending in each, and where each cell ends.
    fn grouped(&self) -> (Vec<u32>, Vec<usize>) {
        let mut ends = vec![0usize; self.centres.steps.len()];
        for &cell in &self.cells {
            ends[cell as usize] += 1;
        }
        let mut total = 0;
        let mut starts = Vec::with_capacity(ends.len());
        for end in &mut ends {
            starts.push(total);
            total += *end;
            *end = total;
        }
        let mut grouped = vec![0; self.cells.len()];
        for (row, &cell) in (0..).zip(&self.cells) {
            let place = &mut starts[cell as usize];
            grouped[*place] = row;
            *place += 1;
        }
        (grouped, ends)
    }
}

/// The cells of a graph's rows.
#[derive(Clone, Copy, Debug)]
pub struct CellsView<'a> {
    centres: Int4Rows<'a>,
    lists: &'a [u8],
    list_ends: Ends<'a>,
    row_ends: Ends<'a>,
    rows: u32,
}

impl<'a> CellsView<'a> {
    /// The centres, scored as rows are.
    pub fn centres(&self) -> &Int4Rows<'a> {
        &self.centres
    }

    /// Appends the rows of a cell, ascending; none of a cell that there is not.
    pub fn append_rows(&self, cell: u32, out: &mut Vec<u32>) {
        // Lists have been looked at when the file was opened first.
        let _ = self.unpack(cell, out);
    }

    fn unpack(&self, cell: u32, out: &mut Vec<u32>) -> Option<()> {
        let cell = cell as usize;
        let list = self.list_ends.range(cell);
        let bytes = self.lists.get(list.start..list.end + SLACK)?;
        unpack(bytes, self.row_ends.range(cell).len(), self.rows, out)
    }

    /// Whether each row is in one cell.
    fn is_sound(&self) -> bool {
        let mut met = vec![false; self.rows as usize];
        let mut rows = Vec::new();
        (0..).take(self.centres.len()).all(|cell| {
            rows.clear();
            let sound = self.unpack(cell, &mut rows).is_some();
            let mut first = |row: &u32| !std::mem::replace(&mut met[*row as usize], true);
            sound && rows.iter().all(&mut first)
        })
    }
}

/// The cells of a graph file, which is one of `rows` rows; `None` when it has none.
pub(super) fn open<'a>(
    file: &'a ComponentFile,
    spec: &DenseSpec,
    rows: u32,
    check: bool,
) -> Result<Option<CellsView<'a>>> {
    if !file.has(STEPS) {
        return Ok(None);
    }
    let steps: &[bf16] = file.numbers(STEPS)?;
    let cells = steps.len();
    let codes = file.exactly(CODES, cells.saturating_mul(Int4Codec::bytes_of(spec.dim)))?;
    let norms: &[f32] = match Int4Codec::norms(spec.metric, cells) {
        0 => &[],
        norms => file.exactly(NORMS, norms)?,
    };
    let wrong =
        |tag, what: &str| file.corruption_in(tag, 0, "cells that each row is in one of", what.to_owned());
    let lists: &[u8] = file.numbers(LISTS)?;
    let bytes = lists
        .len()
        .checked_sub(SLACK)
        .ok_or_else(|| wrong(LISTS, "too few bytes"))?;
    let ends = if check { Ends::open } else { Ends::trusted };
    let view = CellsView {
        centres: Int4Rows::new(spec.metric, spec.dim, codes, (steps, norms))
            .map_err(|error| wrong(CODES, &error.to_string()))?,
        lists,
        list_ends: ends(file, LIST_ENDS, cells, bytes)?,
        row_ends: ends(file, ROW_ENDS, cells, rows as usize)?,
        rows,
    };
    let finite = || steps.iter().all(|step| step.is_finite()) && norms.iter().all(|norm| norm.is_finite());
    if check && !(finite() && view.is_sound()) {
        return Err(wrong(LISTS, "another content"));
    }
    Ok(Some(view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{MemoryBackend, StorageBackend};
    use crate::error::StorageError;
    use crate::wire::FileKind;
    use latewood_codecs::{DenseCodec, Metric};
    use std::path::Path;

    const KIND: FileKind = FileKind(*b"TEST");
    const ROWS: u32 = 300;

    fn spec(metric: Metric) -> DenseSpec {
        DenseSpec {
            dim: 32,
            metric,
            codec: DenseCodec::F16,
        }
    }

    fn built(metric: Metric) -> BuiltCells {
        let centres = Centres {
            codes: vec![0x77; 3 * 16],
            steps: vec![bf16::ONE; 3],
            squared_norms: vec![1.0; Int4Codec::norms(metric, 3)],
        };
        // The second cell has no row.
        let cells = (0..ROWS).map(|row| if row % 3 == 0 { 2 } else { 0 }).collect();
        BuiltCells { centres, cells }
    }

    fn file(write: impl Fn(&mut ComponentWriter<'_>)) -> ComponentFile {
        let (backend, path) = (MemoryBackend::default(), Path::new("/s/f"));
        backend.create_dir_all(Path::new("/s")).unwrap();
        let mut writer = ComponentWriter::create(&backend, path, KIND, &TAGS).unwrap();
        write(&mut writer);
        writer.finish([0; 6]).unwrap();
        ComponentFile::open(&backend, path, KIND).unwrap()
    }

    #[test]
    fn rows_come_back_by_their_cells() {
        for metric in [Metric::Cosine, Metric::L2] {
            let file = file(|writer| built(metric).write(writer).unwrap());
            let cells = open(&file, &spec(metric), ROWS, true).unwrap().unwrap();
            assert_eq!(cells.centres().len(), 3);
            let of = |cell| {
                let mut rows = vec![7];
                cells.append_rows(cell, &mut rows);
                rows
            };
            let third: Vec<u32> = (0..ROWS).filter(|row| row % 3 == 0).collect();
            assert_eq!(of(2)[1..], third);
            assert_eq!((of(0).len(), of(1), of(3)), (201, vec![7], vec![7]));
        }
        assert!(
            open(&file(|_| ()), &spec(Metric::L2), ROWS, true)
                .unwrap()
                .is_none()
        );
    }

    /// Damage that a checksum does not tell, for it was made by hand.
    #[test]
    fn cells_that_are_not_those_of_the_rows_are_refused() {
        let refused = |write: &dyn Fn(&mut ComponentWriter<'_>), rows| {
            let file = file(write);
            let error = open(&file, &spec(Metric::Cosine), rows, true).unwrap_err();
            assert!(matches!(error, StorageError::Corruption { .. }), "{error}");
        };
        refused(&|writer| built(Metric::Cosine).write(writer).unwrap(), ROWS - 1);
        refused(&|writer| built(Metric::Cosine).write(writer).unwrap(), ROWS + 1);
        let with = |change: &dyn Fn(&mut BuiltCells)| {
            let mut cells = built(Metric::Cosine);
            change(&mut cells);
            refused(&|writer| cells.write(writer).unwrap(), ROWS);
        };
        with(&|cells| cells.centres.steps[1] = bf16::INFINITY);
        with(&|cells| cells.centres.codes.truncate(40));
        with(&|cells| cells.cells.truncate(200));
        // A row in two cells, another in none.
        refused(
            &|writer| {
                let centres = built(Metric::Cosine).centres;
                writer.append(CODES, &centres.codes).unwrap();
                writer
                    .append(STEPS, bytemuck::cast_slice(&centres.steps))
                    .unwrap();
                let mut packed = Vec::new();
                let lists: [Vec<u32>; 3] = [(0..200).collect(), Vec::new(), (199..299).collect()];
                let lengths = lists.each_ref().map(|list| {
                    let before = packed.len();
                    pack(list, &mut packed);
                    packed.len() - before
                });
                let bytes = packed.len() as u64;
                packed.extend([0; SLACK]);
                writer.append(LISTS, &packed).unwrap();
                write_ends(writer, LIST_ENDS, lengths.into_iter(), bytes).unwrap();
                write_ends(writer, ROW_ENDS, lists.iter().map(Vec::len), u64::from(ROWS)).unwrap();
            },
            ROWS,
        );
        // Too few bytes for what must follow the lists.
        refused(
            &|writer| {
                writer
                    .append(STEPS, bytemuck::cast_slice(&[bf16::ONE; 3]))
                    .unwrap();
                writer.append(CODES, &[0; 48]).unwrap();
                writer.append(LISTS, &[0; SLACK - 1]).unwrap();
            },
            ROWS,
        );
    }
}
