//! One bit a row.

use std::ops::Deref;
use std::sync::Arc;

/// One bit a row of a segment; those of rows that are not there are 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bits {
    rows: u32,
    words: Words,
}

/// Words of bits; shared ones are copied before they are changed.
#[derive(Clone, Debug, Default)]
struct Words {
    own: Vec<u64>,
    /// In place of its own.
    shared: Option<Arc<[u64]>>,
}

impl Words {
    fn own(&mut self) -> &mut Vec<u64> {
        if let Some(shared) = self.shared.take() {
            self.own = shared.to_vec();
        }
        &mut self.own
    }
}

impl From<Vec<u64>> for Words {
    fn from(own: Vec<u64>) -> Self {
        let shared = None;
        Self { own, shared }
    }
}

impl Deref for Words {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        self.shared.as_deref().unwrap_or(&self.own)
    }
}

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Bits {
    pub(super) fn empty(rows: u32) -> Self {
        Self {
            rows,
            words: vec![0; rows.div_ceil(64) as usize].into(),
        }
    }

    pub(super) fn full(rows: u32) -> Self {
        Self::empty(rows).not()
    }

    /// The rows for which `holds` is true.
    pub(super) fn from_rows(rows: u32, holds: impl Fn(u32) -> bool) -> Self {
        let mut words = vec![0; rows.div_ceil(64) as usize];
        for row in 0..rows {
            words[(row / 64) as usize] |= u64::from(holds(row)) << (row % 64);
        }
        let words = words.into();
        Self { rows, words }
    }

    /// The rows that have a value, by `present`, for which `holds` is true.
    pub(super) fn from_values<T: Copy>(
        rows: u32,
        values: &[T],
        present: &[u64],
        holds: impl Fn(T) -> bool,
    ) -> Self {
        let mut out = Self::empty(rows);
        for ((word, values), present) in out.words.own().iter_mut().zip(values.chunks(64)).zip(present) {
            // A byte a value first: that is a loop which compilers make a vector of.
            let mut bytes = [0u8; 64];
            for (byte, value) in bytes.iter_mut().zip(values) {
                *byte = u8::from(holds(*value));
            }
            *word = packed(&bytes) & present;
        }
        out.cut()
    }

    /// Of words that others have too, one a 64 rows, in which no bit is of a row that is not there.
    pub(super) fn shared(rows: u32, words: Arc<[u64]>) -> Self {
        let words = Words {
            shared: Some(words),
            ..Words::default()
        };
        Self { rows, words }
    }

    pub(super) fn into_words(mut self) -> Vec<u64> {
        std::mem::take(self.words.own())
    }

    pub(super) fn contains(&self, row: u32) -> bool {
        self.words
            .get((row / 64) as usize)
            .is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, row: u32) {
        if let Some(word) = self.words.own().get_mut((row / 64) as usize) {
            *word |= 1 << (row % 64);
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The rows of a range whose bit is set, ascending.
    pub(super) fn iter_in(&self, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let (start, end) = (range.start, range.end.min(self.rows));
        let words = (start / 64) as usize..(end.div_ceil(64) as usize).max((start / 64) as usize);
        let words = self.words.get(words).unwrap_or_default();
        let ones = words.iter().zip(start / 64..).flat_map(|(word, at)| Ones {
            word: *word,
            first: at * 64,
        });
        ones.skip_while(move |row| *row < start)
            .take_while(move |row| *row < end)
    }

    /// Appends the rows whose bit is set, ascending.
    pub(super) fn append_to(&self, rows: &mut Vec<u32>) {
        for (&word, first) in self.words.iter().zip((0..).step_by(64)) {
            rows.extend(Ones { word, first });
        }
    }

    /// Appends those of some rows that are set. Which are is a matter of chance: nothing branches on it.
    pub(super) fn append_of(&self, some: &[u32], rows: &mut Vec<u32>) {
        let mut end = rows.len();
        rows.resize(end + some.len(), 0);
        for &row in some {
            let word = self.words.get(row as usize / 64).copied().unwrap_or_default();
            rows[end] = row;
            end += usize::from(word >> (row % 64) & 1 == 1);
        }
        rows.truncate(end);
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        for (word, other) in self.words.own().iter_mut().zip(&*other.words) {
            *word &= other;
        }
        self
    }

    pub(super) fn or(mut self, other: &Self) -> Self {
        for (word, other) in self.words.own().iter_mut().zip(&*other.words) {
            *word |= other;
        }
        self
    }

    pub(super) fn not(mut self) -> Self {
        for word in self.words.own() {
            *word = !*word;
        }
        self.cut()
    }

    /// Clears the bits of rows that are not there.
    fn cut(mut self) -> Self {
        if let (Some(last), true) = (self.words.own().last_mut(), !self.rows.is_multiple_of(64)) {
            *last &= (1 << (self.rows % 64)) - 1;
        }
        self
    }
}

/// A bit of each byte, which is 0 or 1.
fn packed(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    // The product gathers bit 8 i of a word in bit 56 + i.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    eights.iter().rev().fold(0, |word, eight| {
        (word << 8) | (u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56)
    })
}

/// The bits of a word that are set, from the lowest on.
struct Ones {
    word: u64,
    first: u32,
}

impl Iterator for Ones {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(self.first + bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_and_negate_without_touching_rows_that_are_not_there() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let even = Bits::from_rows(rows, |row| row % 2 == 0);
            assert_eq!(even.count(), rows.div_ceil(2));
            assert_eq!(even.clone().not().count(), rows / 2);
            assert_eq!(Bits::full(rows).count(), rows);
            assert_eq!(even.clone().and(&even.clone().not()).count(), 0);
            assert_eq!(even.clone().or(&even.not()).count(), rows);
        }
    }

    #[test]
    fn values_make_the_bits_that_rows_make() {
        for rows in [0u32, 1, 7, 64, 65, 200] {
            let values: Vec<i64> = (0..i64::from(rows)).map(|n| n * 37 % 101).collect();
            let present: Vec<u64> = (0..rows.div_ceil(64))
                .map(|w| 0xF0F3_9C55_0FFF_A5A5_u64.rotate_left(w))
                .collect();
            let has = |row: u32| present[(row / 64) as usize] >> (row % 64) & 1 == 1;
            let expected = Bits::from_rows(rows, |row| has(row) && values[row as usize] < 50);
            assert_eq!(Bits::from_values(rows, &values, &present, |n| n < 50), expected);
        }
    }

    #[test]
    fn set_bits_of_a_range() {
        let bits = Bits::from_rows(300, |row| row % 3 == 0);
        for range in [
            0..300,
            1..64,
            63..65,
            64..128,
            100..100,
            290..1_000,
            299..300,
            400..500,
        ] {
            let expected: Vec<u32> = range.clone().filter(|row| row % 3 == 0 && *row < 300).collect();
            assert_eq!(bits.iter_in(range).collect::<Vec<_>>(), expected);
        }
        let mut all = Vec::new();
        bits.append_to(&mut all);
        assert_eq!(all, bits.iter_in(0..300).collect::<Vec<_>>());
    }
}
