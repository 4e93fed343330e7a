//! Which rows of a graph a walk has met.

/// A bit a row, kept from one walk to the next: those of a million rows stay in the cache.
#[derive(Debug, Default)]
pub struct Seen {
    words: Vec<u64>,
    /// The words that are not 0.
    touched: Vec<u32>,
}

impl Seen {
    /// Forgets all, and makes room for so many rows.
    pub fn begin(&mut self, rows: usize) {
        for word in self.touched.drain(..) {
            self.words[word as usize] = 0;
        }
        let words = rows.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// Marks a row; true the first time. A row outside the graph counts as seen.
    #[inline]
    pub fn first_visit(&mut self, row: u32) -> bool {
        let Some(word) = self.words.get_mut((row / 64) as usize) else {
            return false;
        };
        let bit = 1 << (row % 64);
        let first = *word & bit == 0;
        if *word == 0 {
            self.touched.push(row / 64);
        }
        *word |= bit;
        first
    }
}
