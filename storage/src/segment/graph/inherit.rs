//! Going on from the graph of a segment that is merged, rather than building anew.
//!
//! Rows that live on keep their levels and their links. A list that has lost links is chosen again from what is left of it
//! and from the links of those that are gone, as FreshDiskANN consolidates deletes (Singh et al., "FreshDiskANN: a fast and
//! accurate graph-based ANN index for streaming similarity search", 2021). Rows that are left with few links are searched
//! for and linked as if they were new.

use rayon::prelude::*;

use super::GraphOptions;
use super::build::{Builder, CUT_BLOCK, TASK, most_links};
use super::links::Part;

/// A graph is gone on from when at least one in so many of the new rows are in it,
const OF_NEW: usize = 4;
/// and at least one in so many of its own rows live on.
const OF_OLD: usize = 4;

/// The part whose graph is gone on from: that with most rows, unless building anew is as cheap or better.
pub(super) fn heir<'p, 'a>(parts: &'p [Part<'a>], rows: u32, options: GraphOptions) -> Option<&'p Part<'a>> {
    let fits = |part: &&Part<'_>| {
        let built_alike = part
            .graph()
            .is_some_and(|graph| graph.entry().is_some() && graph.m() == options.m);
        let enough = part.live() * OF_NEW >= rows as usize && part.live() * OF_OLD >= part.len();
        built_alike && enough && part.live() > 0
    };
    // Of equals the first.
    parts.iter().rev().filter(fits).max_by_key(|part| part.live())
}

/// A list of links that was taken over.
struct Inherited {
    row: u32,
    level: u8,
    links: Vec<u32>,
    /// Whether it has lost so many that its row is to be linked anew.
    is_short: bool,
}

impl<S, R, F> Builder<'_, S, R, F>
where
    S: Fn(u32, u32) -> f32 + Sync,
    R: Fn(f32) -> f32 + Sync,
    F: Fn(u32) + Sync,
{
    /// Takes over the links of the rows of a part; those that are to be linked anew, ascending.
    pub(super) fn inherit(&mut self, part: &Part<'_>) -> Vec<u32> {
        let pairs: Vec<(u32, u32)> = part.pairs().collect();
        let mut short = Vec::new();
        let of = |builder: &Self, (old, new): (u32, u32)| -> Vec<Inherited> {
            let levels = 0..=builder.level(new);
            levels
                .filter_map(|level| builder.inherited(part, level, old, new))
                .collect()
        };
        for block in pairs.chunks(CUT_BLOCK) {
            let inherited: Vec<Inherited> = block
                .par_iter()
                .with_min_len(TASK)
                .flat_map_iter(|&pair| of(self, pair))
                .collect();
            for list in inherited {
                self.graph.set(list.level, list.row, &list.links);
                if list.is_short && short.last() != Some(&list.row) {
                    short.push(list.row);
                }
            }
        }
        let linked = |row: &u32| !self.graph.neighbours(0, *row).is_empty();
        let before = part.graph().and_then(|graph| part.get(graph.entry()?));
        let highest = || {
            let rows = pairs.iter().map(|(_, new)| *new).filter(linked);
            rows.rev().max_by_key(|row| self.level(*row))
        };
        let first = pairs.first().map(|(_, new)| *new);
        self.graph.entry = before.filter(linked).or_else(highest).or(first);
        short
    }

    fn inherited(&self, part: &Part<'_>, level: u8, old: u32, row: u32) -> Option<Inherited> {
        let graph = part.graph()?;
        let before = graph.neighbours(level, old);
        let mut links: Vec<u32> = before.filter_map(|near| part.get(near)).collect();
        if links.len() == before.len() {
            let is_short = false;
            return Some(Inherited {
                row,
                level,
                links,
                is_short,
            });
        }
        for gone in before.filter(|near| part.get(*near).is_none()) {
            let behind = graph.neighbours(level, gone);
            links.extend(behind.filter_map(|far| part.get(far)));
        }
        links.sort_unstable();
        links.dedup();
        links.retain(|near| *near != row);
        let most = most_links(level, self.options.m);
        let links = self.cut(row, links.iter().copied(), most);
        // No row of a fresh graph has fewer, unless there are no more.
        let least = if level == 0 { self.options.m / 2 } else { 1 };
        Some(Inherited {
            row,
            level,
            is_short: links.len() < least,
            links,
        })
    }
}
