//! The links of a graph in memory, while it is built and before it is written.

use super::view::GraphView;

/// A finished graph, before it is written.
#[derive(Debug)]
pub(crate) struct BuiltGraph {
    /// The row where searches begin; `None` when no row has a vector.
    pub(crate) entry: Option<u32>,
    /// The highest level of each row.
    pub(crate) levels: Vec<u8>,
    base: BaseLinks,
    /// `upper[row][level - 1]`; empty for the rows of level 0.
    upper: Vec<Vec<Vec<u32>>>,
}

impl BuiltGraph {
    /// Rows of these levels, not linked yet, with room for so many links on level 0.
    pub(super) fn new(levels: Vec<u8>, room: usize) -> Self {
        let upper = levels.iter().map(|&l| vec![Vec::new(); usize::from(l)]).collect();
        let base = BaseLinks::new(levels.len(), room);
        Self {
            entry: None,
            levels,
            base,
            upper,
        }
    }

    pub(crate) fn neighbours(&self, level: u8, row: u32) -> &[u32] {
        let row = row as usize;
        match level {
            0 => self.base.of(row),
            _ => self
                .upper
                .get(row)
                .and_then(|u| u.get(usize::from(level) - 1))
                .map_or(&[], Vec::as_slice),
        }
    }

    pub(super) fn set(&mut self, level: u8, row: u32, links: &[u32]) {
        let row = row as usize;
        if level == 0 {
            self.base.set(row, links);
        } else if let Some(list) = self
            .upper
            .get_mut(row)
            .and_then(|upper| upper.get_mut(usize::from(level) - 1))
        {
            list.clear();
            list.extend_from_slice(links);
        }
    }
}

/// The links of level 0, in places of one width: one read finds them.
#[derive(Debug)]
struct BaseLinks {
    width: usize,
    links: Vec<u32>,
    counts: Vec<u16>,
}

impl BaseLinks {
    fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            links: vec![0; rows * width],
            counts: vec![0; rows],
        }
    }

    #[inline]
    fn of(&self, row: usize) -> &[u32] {
        let count = self.counts.get(row).map_or(0, |count| usize::from(*count));
        self.links
            .get(row * self.width..row * self.width + count)
            .unwrap_or_default()
    }

    fn set(&mut self, row: usize, links: &[u32]) {
        let links = links.get(..self.width).unwrap_or(links);
        let place = self
            .links
            .get_mut(row * self.width..row * self.width + links.len());
        if let (Some(place), Some(count)) = (place, self.counts.get_mut(row)) {
            place.copy_from_slice(links);
            *count = u16::try_from(links.len()).unwrap_or(u16::MAX);
        }
    }
}

/// A source of a merge: its graph, if it has one, and where its rows have gone.
pub(crate) struct Part<'a> {
    graph: Option<GraphView<'a>>,
    rows: Vec<u32>,
    live: usize,
}

impl<'a> Part<'a> {
    const GONE: u32 = u32::MAX;

    /// `rows` says the new row of each old one; `None`: it was deleted.
    pub(crate) fn new(graph: Option<GraphView<'a>>, rows: impl Iterator<Item = Option<u32>>) -> Self {
        let rows: Vec<u32> = rows.map(|row| row.unwrap_or(Self::GONE)).collect();
        let live = rows.iter().filter(|row| **row != Self::GONE).count();
        Self { graph, rows, live }
    }

    pub(super) fn graph(&self) -> Option<&GraphView<'a>> {
        self.graph.as_ref()
    }

    /// The level of each of so many new rows, where it is known from the graph.
    pub(super) fn levels(&self, rows: u32) -> Vec<Option<u8>> {
        let mut levels = vec![None; rows as usize];
        let mut set = |new: u32, level: u8| {
            if let Some(place) = levels.get_mut(new as usize) {
                *place = Some(level);
            }
        };
        self.pairs().for_each(|(_, new)| set(new, 0));
        for (old, level) in self.graph.iter().flat_map(GraphView::upper) {
            if let Some(new) = self.get(old) {
                set(new, level);
            }
        }
        levels
    }

    /// Rows that live on.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Rows before.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The new row of an old one, if it lives on.
    #[inline]
    pub(super) fn get(&self, old: u32) -> Option<u32> {
        self.rows
            .get(old as usize)
            .copied()
            .filter(|row| *row != Self::GONE)
    }

    /// The rows that live on: old, and new.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let rows = (0..).zip(self.rows.iter().copied());
        rows.filter(|(_, new)| *new != Self::GONE)
    }
}
