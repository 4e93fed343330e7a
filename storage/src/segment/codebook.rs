//! A codebook: the centroids and the quantizer that residual codes refer to, in files of its own that segments share.

use std::path::{Path, PathBuf};

use latewood_codecs::ResidualCodec;

use super::codebook_part::{Part, Piece};
use super::component::CODEBOOK_KIND;
use super::reader::ComponentFile;
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::wire::number_in_name;

/// Centroids, a quantizer, and how many tokens they were trained for.
#[derive(Debug)]
pub struct Codebook {
    /// Its number in the collection; segments name it.
    pub id: u64,
    /// The codec.
    pub codec: ResidualCodec,
    /// Tokens of the collection when it was trained: a collection of several times as many wants another.
    pub trained_on_tokens: u64,
    /// The mean squared distance to their centroids of tokens that the training did not see; none where it is not known.
    pub distortion: Option<f32>,
}

/// A file of a codebook, and what it should hold.
pub(crate) struct CodebookFile {
    pub(crate) path: PathBuf,
    part: Part,
}

impl Codebook {
    /// Writes and syncs three new files, any two of which are enough to read it: without its codebook no code means
    /// anything. The caller syncs their folder. Returns the length of all.
    ///
    /// # Errors
    /// What the backend says.
    pub fn write(&self, backend: &dyn StorageBackend, path: &Path) -> Result<u64> {
        let whole = Piece::whole(self);
        let mut bytes = 0;
        for part in Part::HALVES_AND_PARITY {
            bytes += whole.part(part).write(backend, &part.path(path))?;
        }
        Ok(bytes)
    }

    /// Writes one of the files.
    pub(crate) fn write_one(&self, backend: &dyn StorageBackend, file: &CodebookFile) -> Result<u64> {
        Piece::whole(self).part(file.part).write(backend, &file.path)
    }

    /// Reads a codebook whole, from the third of its files where one of the others is damaged or missing.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when two of them are damaged, [`crate::StorageError::VersionTooNew`].
    pub fn open(backend: &dyn StorageBackend, path: &Path) -> Result<Self> {
        let (mut halves, mut failed) = (Vec::new(), None);
        for part in Part::HALVES_AND_PARITY {
            let whole = match Piece::read(backend, path, part) {
                Ok(piece) if piece.part == Part::Whole => Ok(Some(piece)),
                Ok(piece) => {
                    halves.push(piece);
                    join(&halves, path)
                }
                Err(error @ StorageError::VersionTooNew { .. }) => return Err(error),
                Err(error) => Err(error),
            };
            let made = whole.and_then(|whole| whole.map(|piece| made(piece, path)).transpose());
            match made {
                Ok(Some(codebook)) => {
                    if let Some(error) = failed {
                        tracing::warn!(%error, "a file of a codebook cannot be read; the others stand in for it");
                    }
                    return Ok(codebook);
                }
                Ok(None) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        let nothing = || StorageError::corruption(path, 0, "two of a codebook's three files", "fewer");
        Err(failed.unwrap_or_else(nothing))
    }

    /// Where the files of the codebook at `path` are.
    pub(crate) fn paths(path: &Path) -> [PathBuf; 3] {
        Part::HALVES_AND_PARITY.map(|part| part.path(path))
    }

    /// Reads whichever of its files is one, as if the others brought zeros.
    pub(crate) fn decode_alone(backend: &dyn StorageBackend, path: &Path) -> Result<Self> {
        let read = |part| Piece::read(backend, path, part);
        let found = read(Part::First).or_else(|_| read(Part::Second));
        made(found.or_else(|_| read(Part::Parity))?.filled(), path)
    }

    /// Which of a codebook's files cannot be read, or are missing.
    pub(crate) fn damaged_files(backend: &dyn StorageBackend, path: &Path) -> Vec<CodebookFile> {
        let checked = examine(backend, path).into_iter();
        checked.filter_map(|(file, error)| error.map(|_| file)).collect()
    }

    /// What is wrong with each of a codebook's files.
    pub(crate) fn damage(backend: &dyn StorageBackend, path: &Path) -> Vec<StorageError> {
        examine(backend, path)
            .into_iter()
            .filter_map(|(_, error)| error)
            .collect()
    }

    /// Removes a codebook's files.
    pub(crate) fn remove(backend: &dyn StorageBackend, path: &Path) {
        for file in Self::paths(path) {
            let _ = backend.remove_file(&file);
        }
    }
}

/// The whole, once there are two of its parts.
fn join(halves: &[Piece], path: &Path) -> Result<Option<Piece>> {
    let [a, b] = halves else { return Ok(None) };
    let joined = Piece::join(a, b);
    let other = || StorageError::corruption(path, 0, "files of one codebook", "those of two");
    joined.ok_or_else(other).map(Some)
}

fn made(whole: Piece, path: &Path) -> Result<Codebook> {
    let wrong = |error: latewood_codecs::CodecError| {
        StorageError::corruption(
            path,
            0,
            "centroids and tables of a residual codec",
            error.to_string(),
        )
    };
    whole.into_codebook().map_err(wrong)
}

/// Every file that a codebook has, or should have, with what is wrong with it.
fn examine(backend: &dyn StorageBackend, path: &Path) -> Vec<(CodebookFile, Option<StorageError>)> {
    let read: Vec<(Part, Result<Piece>)> = Part::HALVES_AND_PARITY
        .into_iter()
        .map(|part| (part, Piece::read(backend, path, part)))
        .collect();
    // Up to format version 2 there were two, each whole.
    let whole = read
        .iter()
        .any(|(_, piece)| piece.as_ref().is_ok_and(|piece| piece.part == Part::Whole));
    let wanted = read
        .into_iter()
        .filter(|(part, _)| !whole || *part != Part::Second);
    let examined = wanted.map(|(part, piece)| {
        let file = CodebookFile {
            path: part.path(path),
            part: if whole { Part::Whole } else { part },
        };
        let sound = piece.and_then(|piece| {
            if piece.part == Part::Whole {
                made(piece, &file.path)?;
            }
            ComponentFile::open(backend, &file.path, CODEBOOK_KIND)?.verify()
        });
        (file, sound.err())
    });
    examined.collect()
}

/// The number of a codebook, from the name of one of its files.
pub(crate) fn codebook_number(name: &str) -> Option<u64> {
    number_in_name(Part::stem(name))
}

/// A distortion that is kept in a section of its own; none in files of before.
pub(super) fn known_distortion(file: &ComponentFile, tag: u32) -> Result<Option<f32>> {
    if !file.has(tag) {
        return Ok(None);
    }
    let kept: &[f32] = file.exactly(tag, 1)?;
    match kept {
        [distortion] if distortion.is_finite() && *distortion >= 0.0 => Ok(Some(*distortion)),
        other => Err(file.corruption_in(tag, 0, "a mean of squares", format!("{other:?}"))),
    }
}
