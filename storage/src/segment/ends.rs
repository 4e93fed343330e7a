//! Where each of a row of variable lengths ends, in four bytes a row while that suffices and in eight beyond.

use std::ops::Range;

use latewood_codecs::kernel::prefetch;

use super::reader::ComponentFile;
use super::writer::ComponentWriter;
use crate::error::Result;

/// The ends of consecutive ranges, the first of which begins at 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends<'a> {
    Narrow(&'a [u32]),
    Wide(&'a [u64]),
}

impl<'a> Ends<'a> {
    /// Reads a section of `rows` ends of which the last is `total`, and checks that they ascend to it.
    pub(crate) fn open(file: &'a ComponentFile, tag: u32, rows: usize, total: usize) -> Result<Self> {
        let ends = Self::trusted(file, tag, rows, total)?;
        let ascending = match ends {
            Self::Narrow(ends) => ends.is_sorted(),
            Self::Wide(ends) => ends.is_sorted(),
        };
        let last = rows.checked_sub(1).map_or(0, |last| ends.range(last).end);
        if ascending && last == total {
            return Ok(ends);
        }
        Err(file.corruption_in(
            tag,
            0,
            format!("{rows} ascending ends up to {total}"),
            format!("ends up to {last}"),
        ))
    }

    /// The same section once [`Self::open`] has checked it.
    pub(crate) fn trusted(file: &'a ComponentFile, tag: u32, rows: usize, total: usize) -> Result<Self> {
        if is_wide(total as u64) {
            file.exactly(tag, rows).map(Self::Wide)
        } else {
            file.exactly(tag, rows).map(Self::Narrow)
        }
    }

    /// The range of a row; empty when there is no such row.
    #[inline]
    pub(crate) fn range(self, row: usize) -> Range<usize> {
        let end = self.end(row);
        let start = if row == 0 { Some(0) } else { self.end(row - 1) };
        match (start, end) {
            (Some(start), Some(end)) => start..end,
            _ => 0..0,
        }
    }

    /// Begins to fetch the end of a row.
    #[inline]
    pub(crate) fn prefetch(self, row: usize) {
        match self {
            Self::Narrow(ends) => prefetch(ends.get(row..=row).unwrap_or_default()),
            Self::Wide(ends) => prefetch(ends.get(row..=row).unwrap_or_default()),
        }
    }

    #[inline]
    fn end(self, row: usize) -> Option<usize> {
        match self {
            Self::Narrow(ends) => ends.get(row).map(|&e| e as usize),
            Self::Wide(ends) => ends.get(row).and_then(|&e| usize::try_from(e).ok()),
        }
    }
}

fn is_wide(total: u64) -> bool {
    total > u64::from(u32::MAX)
}

/// Writes the ends of ranges of these lengths, which add up to `total`.
pub(crate) fn write_ends(
    writer: &mut ComponentWriter<'_>,
    tag: u32,
    lengths: impl Iterator<Item = usize>,
    total: u64,
) -> Result<()> {
    let mut end = 0u64;
    for length in lengths {
        end += length as u64;
        match u32::try_from(end) {
            Ok(narrow) if !is_wide(total) => writer.append(tag, &narrow.to_le_bytes())?,
            _ => writer.append(tag, &end.to_le_bytes())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Ends, write_ends};
    use crate::backend::{MemoryBackend, StorageBackend};
    use crate::segment::reader::ComponentFile;
    use crate::segment::writer::ComponentWriter;
    use crate::wire::FileKind;
    use std::path::Path;

    #[test]
    fn narrow_and_wide_ends_come_back() {
        for big in [5usize, 1 << 33] {
            let (kind, lengths) = (FileKind(*b"TEST"), [2, 0, big, 1]);
            let (backend, path) = (MemoryBackend::default(), Path::new("/s/f"));
            backend.create_dir_all(Path::new("/s")).unwrap();
            let total = lengths.iter().sum::<usize>();
            let mut writer = ComponentWriter::create(&backend, path, kind, &[1]).unwrap();
            write_ends(&mut writer, 1, lengths.into_iter(), total as u64).unwrap();
            writer.finish([0; 6]).unwrap();
            let file = ComponentFile::open(&backend, path, kind).unwrap();
            let ends = Ends::open(&file, 1, 4, total).unwrap();
            assert_eq!(matches!(ends, Ends::Wide(_)), big > 5);
            let ranges: Vec<_> = (0..5).map(|row| ends.range(row)).collect();
            assert_eq!(ranges, [0..2, 2..2, 2..2 + big, 2 + big..3 + big, 0..0]);
            assert!(Ends::open(&file, 1, 4, total - 1).is_err());
            assert!(Ends::open(&file, 1, 3, total).is_err());
        }
    }
}
