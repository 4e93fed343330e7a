//! Rows of a document on their way into the kernels.

use std::cell::RefCell;

use crate::kernel::ROW_TILE;

/// Some rows of a document, as many as a register tile takes, unpacked.
#[derive(Default)]
pub(super) struct Tile {
    pub(super) places: [u32; ROW_TILE],
    pub(super) count: usize,
    pub(super) weights: Vec<u8>,
    pub(super) weight_scales: [f32; ROW_TILE],
    /// Where each row's centroid scores begin.
    pub(super) centroids: [usize; ROW_TILE],
    pub(super) inverse_norms: [f32; ROW_TILE],
}

/// What scoring a document takes besides the query.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) tile: Tile,
    /// Scores of the rows' centroids, where they are not in a table.
    pub(super) scores: Vec<f32>,
    /// The greatest score of each lane so far.
    pub(super) maxima: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Runs `work` in the memory that this thread's last document left, with maxima for so many lanes.
    pub(super) fn with<R>(dim: usize, lanes: usize, work: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.tile.make_room(dim);
            scratch.maxima.clear();
            scratch.maxima.resize(lanes, f32::NEG_INFINITY);
            work(scratch)
        })
    }
}

impl Tile {
    fn make_room(&mut self, dim: usize) {
        if self.weights.len() < ROW_TILE * dim {
            self.weights.resize(ROW_TILE * dim, 0);
        }
    }

    /// Takes the next places, as many as fit; returns how many.
    pub(super) fn take(&mut self, places: &mut impl Iterator<Item = usize>) -> usize {
        self.count = 0;
        for (to, place) in self.places.iter_mut().zip(places) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a document has at most 8,192 tokens"
            )]
            {
                *to = place as u32;
            }
            self.count += 1;
        }
        self.count
    }
}
