//! Sees that every row can be reached on level 0 from where searches begin.

use super::build::{Builder, MAX_BATCH, most_links};

/// The rows that links lead to.
struct Reached {
    seen: Vec<bool>,
    /// In the order in which they were reached.
    rows: Vec<u32>,
}

impl Reached {
    /// Adds a row and all that is behind it.
    fn add<'g>(&mut self, row: u32, neighbours: impl Fn(u32) -> &'g [u32]) {
        let mut next = self.rows.len();
        self.visit(row);
        while let Some(&row) = self.rows.get(next) {
            next += 1;
            for &near in neighbours(row) {
                self.visit(near);
            }
        }
    }

    fn visit(&mut self, row: u32) {
        if let Some(seen) = self.seen.get_mut(row as usize)
            && !std::mem::replace(seen, true)
        {
            self.rows.push(row);
        }
    }

    fn has(&self, row: u32) -> bool {
        self.seen.get(row as usize).is_none_or(|seen| *seen)
    }
}

impl<S, R, F> Builder<'_, S, R, F>
where
    S: Fn(u32, u32) -> f32 + Sync,
    R: Fn(f32) -> f32 + Sync,
    F: Fn(u32) + Sync,
{
    /// Links each row that cannot be reached from the nearest row that can be and has room for a link: to choose the best
    /// links of a row is to leave out others, and now and then all that lead to one row.
    pub(super) fn connect(&mut self) {
        let Some(entry) = self.graph.entry else {
            return;
        };
        let mut reached = Reached {
            seen: vec![false; self.graph.levels.len()],
            rows: Vec::with_capacity(self.graph.levels.len()),
        };
        reached.add(entry, |row| self.graph.neighbours(0, row));
        let mut rows = (0u32..).zip(&self.graph.levels).map(|(row, _)| row);
        let lost: Vec<u32> = rows.by_ref().filter(|row| !reached.has(*row)).collect();
        let mut with_room = 0;
        for block in lost.chunks(MAX_BATCH) {
            let block: Vec<u32> = block.iter().copied().filter(|row| !reached.has(*row)).collect();
            for (row, near) in block.iter().zip(self.nearest(&block)) {
                if !reached.has(*row) {
                    self.link_from(*row, &near, &reached, &mut with_room);
                    reached.add(*row, |row| self.graph.neighbours(0, row));
                }
            }
        }
    }

    /// Links to a row from the first of those near to it that has room, or else from any row that has. `with_room`: no
    /// row reached earlier has.
    fn link_from(&mut self, row: u32, near: &[u32], reached: &Reached, with_room: &mut usize) {
        let most = most_links(0, self.options.m);
        let has_room = |from: &&u32| **from != row && self.graph.neighbours(0, **from).len() < most;
        let from = near.iter().find(has_room).or_else(|| {
            let rest = reached.rows.get(*with_room..)?;
            let skipped = rest.iter().position(|from| has_room(&from))?;
            *with_room += skipped;
            reached.rows.get(*with_room)
        });
        if let Some(&from) = from {
            let mut links = self.graph.neighbours(0, from).to_vec();
            links.push(row);
            self.graph.set(0, from, &links);
        }
    }
}
