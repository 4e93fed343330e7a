//! Dividing rows into cells: k-means over codes of four bits a number, on a sample.

use std::ops::ControlFlow;

use half::bf16;
use latewood_codecs::{DenseRows, Int4Codec, Int4Rows, Metric};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::cells::{BuiltCells, Centres};
use super::links::Part;
use crate::segment::random::SplitMix64;

/// Of fewer rows a scan takes no longer than what cells would leave of it.
const FEWEST_ROWS: usize = 4_096;
/// Cells for each root of the number of rows.
const CELLS_A_ROOT: f64 = 2.0;
/// The passes of k-means: over how many rows a cell each goes. The first move the centres to where rows are, the last settle them.
const PASSES: [usize; 5] = [8, 8, 8, 16, 32];
/// Rows that are assigned between two looks at whether to go on.
const BLOCK: usize = 1 << 16;
/// A row that has no cell yet.
const NONE: u32 = u32::MAX;
/// Rows that one task assigns.
const TASK: usize = 256;

/// Divides rows into some `2 sqrt(rows)` cells; none where there are too few. The same seed gives the same cells, whatever the
/// threads. `go_on` may break off. Where most rows come from a part that has about as many cells, its centres stay, and rows that are
/// in its cells stay there.
///
/// Centres of products are directions, those of distances means.
pub(crate) fn partition(
    rows: DenseRows<'_>,
    parts: &[Part<'_>],
    seed: u64,
    pool: &ThreadPool,
    go_on: &dyn Fn() -> ControlFlow<()>,
) -> ControlFlow<(), Option<BuiltCells>> {
    let count = rows.len();
    if count < FEWEST_ROWS {
        return ControlFlow::Continue(None);
    }
    let mut partition = Partition {
        codec: Int4Codec::new(rows.metric(), rows.dim()),
        rows,
        centres: Centres::default(),
    };
    let all: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    if let Some(mut cells) = partition.inherit(parts) {
        let new: Vec<u32> = all
            .into_iter()
            .filter(|row| cells[*row as usize] == NONE)
            .collect();
        let found = partition.assign(&new, pool, go_on)?;
        for (row, cell) in new.into_iter().zip(found) {
            cells[row as usize] = cell;
        }
        let centres = partition.centres;
        return ControlFlow::Continue(Some(BuiltCells { centres, cells }));
    }
    let sample = partition.sample(seed);
    partition.begin(sample.get(..cells_of(count)).unwrap_or(&sample));
    for rows_a_cell in PASSES {
        let most = rows_a_cell.saturating_mul(partition.len());
        let some = sample.get(..most).unwrap_or(&sample);
        let cells = partition.assign(some, pool, go_on)?;
        partition.update(some, &cells);
    }
    let cells = partition.assign(&all, pool, go_on)?;
    let centres = partition.centres;
    ControlFlow::Continue(Some(BuiltCells { centres, cells }))
}

fn cells_of(rows: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "below the number of rows"
    )]
    let cells = (CELLS_A_ROOT * (rows as f64).sqrt()) as usize;
    cells
}

struct Partition<'a> {
    codec: Int4Codec,
    rows: DenseRows<'a>,
    centres: Centres,
}

impl Partition<'_> {
    fn len(&self) -> usize {
        self.centres.steps.len()
    }

    /// Takes over the centres of the part that most rows come from, unless they are too few of all, or its cells too few or too many;
    /// the cell of each row, of new ones [`NONE`].
    fn inherit(&mut self, parts: &[Part<'_>]) -> Option<Vec<u32>> {
        let part = parts.iter().max_by_key(|part| part.live())?;
        let before = part.graph()?.cells()?;
        let (had, wanted) = (before.centres().len(), cells_of(self.rows.len()));
        let alike = 2 * had <= 3 * wanted && 3 * had >= 2 * wanted;
        if !alike || part.live() * 4 < self.rows.len() * 3 {
            return None;
        }
        let mut cells = vec![NONE; self.rows.len()];
        let mut rows = Vec::new();
        for cell in (0..).take(had) {
            let (codes, factors) = before.centres().row(cell as usize);
            self.centres.codes.extend_from_slice(codes);
            self.centres.steps.push(factors.step);
            self.centres.squared_norms.push(factors.squared_norm);
            rows.clear();
            before.append_rows(cell, &mut rows);
            for new in rows.iter().filter_map(|old| part.get(*old)) {
                cells[new as usize] = cell;
            }
        }
        let norms = Int4Codec::norms(self.rows.metric(), had);
        self.centres.squared_norms.truncate(norms);
        Some(cells)
    }

    /// Rows in random order, as many as the largest pass takes.
    fn sample(&self, seed: u64) -> Vec<u32> {
        let rows = self.rows.len();
        let drawn = PASSES
            .into_iter()
            .max()
            .unwrap_or(1)
            .saturating_mul(cells_of(rows));
        let mut order: Vec<u32> = (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect();
        SplitMix64::new(seed).shuffle(&mut order);
        order.truncate(drawn);
        order
    }

    /// Begins with rows as centres.
    fn begin(&mut self, rows: &[u32]) {
        let dim = self.rows.dim();
        self.centres = Centres {
            codes: vec![0; rows.len() * self.codec.row_bytes()],
            steps: vec![bf16::ZERO; rows.len()],
            squared_norms: vec![0.0; Int4Codec::norms(self.rows.metric(), rows.len())],
        };
        let mut row = vec![0.0; dim];
        for (cell, &at) in rows.iter().enumerate() {
            self.rows.decode(at as usize, &mut row);
            self.set(cell, &mut row);
        }
    }

    /// Makes a vector the centre of a cell. One without a direction leaves the centre as it was.
    fn set(&mut self, cell: usize, centre: &mut [f32]) {
        if self.rows.metric() != Metric::L2 {
            let norm = centre.iter().map(|x| x * x).sum::<f32>().sqrt();
            if !norm.is_normal() {
                return;
            }
            centre.iter_mut().for_each(|x| *x /= norm);
        }
        let bytes = self.codec.row_bytes();
        let factors = self
            .codec
            .encode(centre, &mut self.centres.codes[cell * bytes..][..bytes]);
        self.centres.steps[cell] = factors.step;
        if let Some(norm) = self.centres.squared_norms.get_mut(cell) {
            *norm = factors.squared_norm;
        }
    }

    /// The cell of each of some rows.
    fn assign(
        &self,
        some: &[u32],
        pool: &ThreadPool,
        go_on: &dyn Fn() -> ControlFlow<()>,
    ) -> ControlFlow<(), Vec<u32>> {
        let Centres {
            codes,
            steps,
            squared_norms,
        } = &self.centres;
        // They are made together, so that their lengths fit.
        let Ok(centres) = self.codec.rows(codes, steps, squared_norms) else {
            return ControlFlow::Continue(vec![0; some.len()]);
        };
        let all: Vec<u32> = (0..).take(centres.len()).collect();
        let mut cells = vec![0; some.len()];
        for (some, cells) in some.chunks(BLOCK).zip(cells.chunks_mut(BLOCK)) {
            go_on()?;
            let tasks = some.par_chunks(TASK).zip(cells.par_chunks_mut(TASK));
            pool.install(|| tasks.for_each(|(some, cells)| self.assign_task(&centres, &all, some, cells)));
        }
        ControlFlow::Continue(cells)
    }

    fn assign_task(&self, centres: &Int4Rows<'_>, all: &[u32], some: &[u32], cells: &mut [u32]) {
        let mut row = vec![0.0; self.rows.dim()];
        let mut scores = vec![0.0f32; all.len()];
        for (&at, cell) in some.iter().zip(cells) {
            self.rows.decode(at as usize, &mut row);
            self.codec.query(&row).score_some(centres, all, &mut scores);
            let nearest = all.iter().zip(&scores).max_by(|a, b| a.1.total_cmp(b.1));
            *cell = nearest.map_or(0, |(cell, _)| *cell);
        }
    }

    /// Moves each centre to the mean of its rows; that of no rows stays.
    fn update(&mut self, some: &[u32], cells: &[u32]) {
        let dim = self.rows.dim();
        let mut sums = vec![0.0f32; self.len() * dim];
        let mut counts = vec![0u32; self.len()];
        let mut row = vec![0.0; dim];
        for (&at, &cell) in some.iter().zip(cells) {
            self.rows.decode(at as usize, &mut row);
            counts[cell as usize] += 1;
            let sum = &mut sums[cell as usize * dim..][..dim];
            sum.iter_mut().zip(&row).for_each(|(sum, x)| *sum += x);
        }
        let centres = sums.chunks_exact_mut(dim).zip(counts).enumerate();
        for (cell, (sum, count)) in centres.filter(|(_, (_, count))| *count > 0) {
            #[expect(clippy::cast_precision_loss, reason = "rows of a sample")]
            let share = 1.0 / count as f32;
            sum.iter_mut().for_each(|x| *x *= share);
            self.set(cell, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latewood_codecs::{DenseCodec, DenseParts};
    use rayon::ThreadPoolBuilder;

    const DIM: usize = 32;

    /// Rows round each of some directions; row `r` is of direction `r % of`.
    fn clustered(rows: usize, of: usize, metric: Metric) -> Vec<u8> {
        let mut random = SplitMix64::new(3);
        let mut number = || f32::from(u16::try_from(random.below(1 << 16)).unwrap()) / 65_536.0 - 0.5;
        let directions: Vec<f32> = (0..of * DIM).map(|_| number()).collect();
        let mut codes = Vec::new();
        for row in 0..rows {
            let direction = &directions[row % of * DIM..][..DIM];
            let mut row: Vec<f32> = direction.iter().map(|x| x + 0.02 * number()).collect();
            metric.prepare(&mut row).unwrap();
            codes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
        }
        codes
    }

    fn cells(rows: usize, metric: Metric, threads: usize) -> Option<BuiltCells> {
        let codes = clustered(rows, 40, metric);
        let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&codes);
        let parts = DenseParts {
            codes: bytemuck::cast_slice(&numbers),
            ..DenseParts::default()
        };
        let rows = DenseRows::new(DenseCodec::F32, metric, DIM, parts).unwrap();
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        match partition(rows, &[], 5, &pool, &|| ControlFlow::Continue(())) {
            ControlFlow::Continue(cells) => cells,
            ControlFlow::Break(()) => panic!("nothing breaks off"),
        }
    }

    #[test]
    fn near_rows_share_cells_whatever_the_metric_and_the_threads() {
        for metric in [Metric::Cosine, Metric::InnerProduct, Metric::L2] {
            let built = cells(5_000, metric, 1).unwrap();
            assert_eq!(built.centres.steps.len(), 141, "2 sqrt(5000)");
            let mut of_cell = vec![None; 141];
            let mut strangers = 0;
            for (row, &cell) in built.cells.iter().enumerate() {
                let first = of_cell[cell as usize].get_or_insert(row % 40);
                strangers += usize::from(*first != row % 40);
            }
            assert!(strangers < 250, "{metric:?}: {strangers} of 5,000");
            assert_eq!(cells(5_000, metric, 3).unwrap().cells, built.cells);
        }
    }

    #[test]
    fn few_rows_have_no_cells_and_one_may_break_off() {
        assert!(cells(FEWEST_ROWS - 1, Metric::Cosine, 1).is_none());
        let numbers = vec![1.0f32; FEWEST_ROWS * DIM];
        let parts = DenseParts {
            codes: bytemuck::cast_slice(&numbers),
            ..DenseParts::default()
        };
        let rows = DenseRows::new(DenseCodec::F32, Metric::L2, DIM, parts).unwrap();
        let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(partition(rows, &[], 5, &pool, &|| ControlFlow::Break(())).is_break());
        let alike = partition(rows, &[], 5, &pool, &|| ControlFlow::Continue(()));
        let cells = alike.continue_value().flatten().unwrap().cells;
        assert!(
            cells.iter().all(|cell| *cell == cells[0]),
            "rows that are alike share a cell"
        );
    }
}
