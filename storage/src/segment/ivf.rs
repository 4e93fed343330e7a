//! Posting lists: for each centroid, the documents that have a token coded with it.

use std::path::Path;

use latewood_codecs::Codes;
use latewood_codecs::kernel::prefetch;

use super::component::Component;
use super::packing::{SLACK, pack, unpack};
use super::reader::ComponentFile;
use super::tokens::{TokenRows, TokensView};
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::read_ahead::Wanted;

const LISTS: u32 = 1;
const ENDS: u32 = 2;
const COUNTS: u32 = 3;

/// Bytes of a list that are fetched ahead; the processor follows a longer one by itself.
const FETCHED: usize = 4096;

/// Writes the posting lists of a segment's residual codes, holding so many postings in memory at once; raw tokens have
/// none.
pub(crate) fn write(
    backend: &dyn StorageBackend,
    dir: &Path,
    tokens: &TokensView<'_>,
    at_once: usize,
) -> Result<Finished> {
    let (codes, centroids) = match tokens.rows {
        TokenRows::Residual { codebook, rows } => (rows.codes, codebook.codec.len()),
        TokenRows::Raw(_) => (Codes::U32(&[]), 0),
    };
    let path = dir.join(Component::Ivf.name());
    let mut writer = ComponentWriter::create(backend, &path, Component::Ivf.kind(), &[LISTS, ENDS, COUNTS])?;
    let mut counts = vec![0u32; centroids];
    visit(tokens, codes, 0..centroids, |centroid, _| counts[centroid] += 1);
    let (mut first, mut end, mut postings) = (0, 0u64, 0u64);
    let (mut lists, mut packed) = (Vec::new(), Vec::new());
    while first < centroids {
        let past = pass_end(&counts, first, at_once);
        let mut starts: Vec<usize> = Vec::with_capacity(past - first + 1);
        let mut total = 0;
        for &count in &counts[first..past] {
            starts.push(total);
            total += count as usize;
        }
        lists.clear();
        lists.resize(total, 0u32);
        let mut next = starts.clone();
        visit(tokens, codes, first..past, |centroid, document| {
            lists[next[centroid - first]] = document;
            next[centroid - first] += 1;
        });
        for (start, end_of_list) in starts.iter().zip(&next) {
            packed.clear();
            pack(&lists[*start..*end_of_list], &mut packed);
            writer.append(LISTS, &packed)?;
            end += packed.len() as u64;
            writer.append(ENDS, &end.to_le_bytes())?;
        }
        postings += total as u64;
        first = past;
    }
    writer.append(LISTS, &[0; SLACK])?;
    writer.append(COUNTS, bytemuck::cast_slice(&counts))?;
    writer.finish([centroids as u64, tokens.len() as u64, postings, 0, 0, 0])
}

/// Where a pass over the codes that begins at a centroid must stop.
fn pass_end(counts: &[u32], first: usize, at_once: usize) -> usize {
    let mut total = 0;
    let fits = |count: &&u32| {
        total += **count as usize;
        total <= at_once
    };
    first + counts[first..].iter().take_while(fits).count().max(1)
}

/// Calls `each` with a centroid of the range and a document, once for each pair, documents ascending.
fn visit(
    tokens: &TokensView<'_>,
    codes: Codes<'_>,
    centroids: std::ops::Range<usize>,
    mut each: impl FnMut(usize, u32),
) {
    let mut last_seen = vec![u32::MAX; centroids.len()];
    for document in (0..tokens.len()).map_while(|d| u32::try_from(d).ok()) {
        for token in tokens.range(document) {
            let centroid = codes.get(token) as usize;
            if centroids.contains(&centroid) && last_seen[centroid - centroids.start] != document {
                last_seen[centroid - centroids.start] = document;
                each(centroid, document);
            }
        }
    }
}

/// The posting lists of an open segment.
#[derive(Clone, Copy, Debug)]
pub struct IvfView<'a> {
    file: &'a ComponentFile,
    lists: &'a [u8],
    ends: &'a [u64],
    counts: &'a [u32],
    documents: u32,
}

impl IvfView<'_> {
    /// Number of centroids.
    pub fn num_centroids(&self) -> usize {
        self.counts.len()
    }

    /// Documents in the list of a centroid; 0 when there is no such centroid.
    #[inline]
    pub fn count(&self, centroid: u32) -> usize {
        self.counts.get(centroid as usize).map_or(0, |&c| c as usize)
    }

    /// Begins to fetch the list of a centroid, for [`postings`](Self::postings) soon after.
    pub fn prefetch(&self, centroid: u32) {
        let list = self.list(centroid);
        prefetch(&list[..list.len().min(FETCHED)]);
    }

    /// Wants the list of a centroid of the disk.
    pub fn read_ahead(&self, centroid: u32, wanted: &mut Wanted) {
        wanted.add(self.list(centroid));
    }

    /// The list of a centroid as it is stored.
    fn list(&self, centroid: u32) -> &[u8] {
        let at = centroid as usize;
        let end = |at: usize| self.ends.get(at).and_then(|&end| usize::try_from(end).ok());
        let start = if at == 0 { Some(0) } else { end(at - 1) };
        let range = start.zip(end(at)).map(|(start, end)| start..end);
        range.and_then(|range| self.lists.get(range)).unwrap_or_default()
    }

    /// Appends the documents in the list of a centroid, ascending, to `out`.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when the list is not one.
    pub fn postings(&self, centroid: u32, out: &mut Vec<u32>) -> Result<()> {
        let count = self.count(centroid);
        if count == 0 {
            return Ok(());
        }
        let at = centroid as usize;
        let start = if at == 0 { Some(&0) } else { self.ends.get(at - 1) };
        let start = start.and_then(|&s| usize::try_from(s).ok());
        let list = start.and_then(|s| self.lists.get(s..));
        list.and_then(|list| unpack(list, count, self.documents, out))
            .ok_or_else(|| {
                let found = format!("other bytes for centroid {centroid}");
                self.file
                    .corruption_in(LISTS, start.unwrap_or(0) as u64, "a packed posting list", found)
            })
    }
}

/// Reads the posting lists of a segment of so many documents and a codebook of so many centroids.
pub(crate) fn open(file: &ComponentFile, documents: u32, centroids: usize) -> Result<IvfView<'_>> {
    Ok(IvfView {
        file,
        lists: file.section(LISTS)?,
        ends: file.exactly(ENDS, centroids)?,
        counts: file.exactly(COUNTS, centroids)?,
        documents,
    })
}

/// Decodes every list.
pub(crate) fn verify(view: &IvfView<'_>) -> Result<()> {
    let mut out = Vec::new();
    for centroid in (0..view.num_centroids()).map_while(|c| u32::try_from(c).ok()) {
        out.clear();
        view.postings(centroid, &mut out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{IvfView, open, write};
    use crate::backend::{MemoryBackend, StorageBackend};
    use crate::segment::codebook::Codebook;
    use crate::segment::component::Component;
    use crate::segment::ends::Ends;
    use crate::segment::reader::ComponentFile;
    use crate::segment::tokens::{TokenRows, TokensView};
    use latewood_codecs::{Codes, ResidualCodec, ResidualRows};
    use std::path::Path;
    use std::sync::Arc;

    fn postings(view: &IvfView<'_>, centroid: u32) -> Vec<u32> {
        let mut out = Vec::new();
        view.postings(centroid, &mut out).unwrap();
        assert_eq!(out.len(), view.count(centroid));
        out
    }

    #[test]
    fn many_passes_write_what_one_does() {
        let codec = ResidualCodec::from_parts(8, 1, vec![0.5; 5 * 8], vec![0.0], vec![-0.1, 0.1]).unwrap();
        let codebook = Arc::new(Codebook {
            id: 1,
            codec,
            trained_on_tokens: 0,
            distortion: None,
        });
        let codes = [4, 0, 4, 2, 2, 2, 0, 4];
        let (residuals, factors) = ([0; 8], [0; 8]);
        let rows = ResidualRows {
            codes: Codes::U16(&codes),
            residuals: &residuals,
            factors: &factors,
        };
        let rows = TokenRows::Residual {
            codebook: &codebook,
            rows,
        };
        let view = TokensView {
            distortion: None,
            copied_from: None,
            ends: Ends::Narrow(&[3, 3, 6, 8]),
            documents: 4,
            dim: 8,
            rows,
        };
        let mut files = Vec::new();
        for at_once in [1, 2, 3, 1000] {
            let backend = MemoryBackend::default();
            backend.create_dir_all(Path::new("/s")).unwrap();
            write(&backend, Path::new("/s"), &view, at_once).unwrap();
            files.push(backend.read(Path::new("/s/ivf")).unwrap());
            let file = ComponentFile::open(&backend, Path::new("/s/ivf"), Component::Ivf.kind()).unwrap();
            let ivf = open(&file, 4, 5).unwrap();
            let lists: Vec<Vec<u32>> = (0..6).map(|centroid| postings(&ivf, centroid)).collect();
            assert_eq!(lists, [vec![0, 3], vec![], vec![2], vec![], vec![0, 3], vec![]]);
        }
        assert!(files.windows(2).all(|w| w[0] == w[1]));
    }
}
