//! One of the three files of a codebook: each half of the centroids, and what both halves come to together, so that any two
//! are the whole.

use std::path::{Path, PathBuf};

use bytemuck::allocation::pod_collect_to_vec;
use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::{CentroidBytes, CodecError, Quantizer, ResidualCodec, TokenCodec};

use super::codebook::{Codebook, known_distortion};
use super::component::CODEBOOK_KIND;
use super::reader::ComponentFile;
use super::writer::ComponentWriter;
use crate::backend::StorageBackend;
use crate::error::Result;

const CENTROIDS: u32 = 1;
const CUTOFFS: u32 = 2;
const WEIGHTS: u32 = 3;
const CENTROID_BYTES: u32 = 4;
const CENTROID_SCALES: u32 = 5;
const SCALES: u32 = 6;
const INVERSE_NORMS: u32 = 7;
const DISTORTION: u32 = 8;

/// What the last param says of the part begins at this bit; the codec is below it.
const PART_SHIFT: u32 = 8;

/// Which centroids a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them: up to format version 2, which had two such files.
    Whole = 0,
    /// The first half, which is the longer one.
    First = 1,
    /// The others.
    Second = 2,
    /// The exclusive or of both halves' bytes, zeros after the shorter.
    Parity = 3,
}

impl Part {
    pub(super) const HALVES_AND_PARITY: [Self; 3] = [Self::First, Self::Second, Self::Parity];

    fn of(number: u64) -> Option<Self> {
        let all = [Self::Whole, Self::First, Self::Second, Self::Parity];
        all.into_iter().find(|part| *part as u64 == number)
    }

    /// Where this part of the codebook at `path` is.
    pub(super) fn path(self, path: &Path) -> PathBuf {
        match self {
            Self::Whole | Self::First => path.to_owned(),
            Self::Second => path.with_extension("second"),
            Self::Parity => path.with_extension("spare"),
        }
    }

    /// The name of a codebook, without what tells its parts.
    pub(super) fn stem(name: &str) -> &str {
        let stem = name.strip_suffix(".spare");
        stem.or_else(|| name.strip_suffix(".second")).unwrap_or(name)
    }

    /// How many of so many centroids it has rows for.
    fn rows(self, centroids: usize) -> usize {
        match self {
            Self::Whole => centroids,
            Self::First | Self::Parity => centroids.div_ceil(2),
            Self::Second => centroids / 2,
        }
    }
}

/// What all files of a codebook say alike.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    id: u64,
    dim: usize,
    bits: u8,
    centroids: usize,
    trained_on_tokens: u64,
    kind: TokenCodec,
    /// Cutoffs and weights of buckets; scales and reciprocal norms of a trellis.
    tables: [Vec<f32>; 2],
    distortion: Option<f32>,
}

impl Shape {
    /// Bytes of a centroid, and of its scale.
    fn row_bytes(&self) -> (usize, usize) {
        match self.kind {
            TokenCodec::Buckets => (self.dim * size_of::<f16>(), 0),
            TokenCodec::Trellis => (self.dim, size_of::<f32>()),
        }
    }
}

/// The content of one file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) part: Part,
    shape: Shape,
    /// Centroids as they are stored.
    rows: Vec<u8>,
    /// Their scales; none with buckets.
    scales: Vec<u8>,
}

impl Piece {
    /// All of a codebook.
    pub(super) fn whole(codebook: &Codebook) -> Self {
        let codec = &codebook.codec;
        let (kind, tables, rows, scales) = match codec.quantizer() {
            Quantizer::Buckets(buckets) => {
                let mut halves = vec![f16::ZERO; codec.centroids().len()];
                halves.convert_from_f32_slice(codec.centroids());
                let tables = [buckets.cutoffs().to_vec(), buckets.weights().to_vec()];
                let rows = bytemuck::cast_slice(&halves).to_vec();
                (TokenCodec::Buckets, tables, rows, Vec::new())
            }
            Quantizer::Trellis(trellis) => {
                let centroids = codec.centroid_bytes();
                let tables = [trellis.scales().to_vec(), trellis.inverse_norms().to_vec()];
                let scales = bytemuck::cast_slice(&centroids.scales).to_vec();
                (TokenCodec::Trellis, tables, centroids.values.clone(), scales)
            }
        };
        let shape = Shape {
            id: codebook.id,
            dim: codec.dim(),
            bits: codec.bits(),
            centroids: codec.len(),
            trained_on_tokens: codebook.trained_on_tokens,
            kind,
            tables,
            distortion: codebook.distortion,
        };
        Self {
            part: Part::Whole,
            shape,
            rows,
            scales,
        }
    }

    /// A part of the whole.
    pub(super) fn part(&self, part: Part) -> Self {
        let (row, scale) = self.shape.row_bytes();
        let first = Part::First.rows(self.shape.centroids);
        let cut = |bytes: &[u8], each: usize| {
            let (head, tail) = bytes.split_at((first * each).min(bytes.len()));
            match part {
                Part::Whole => bytes.to_vec(),
                Part::First => head.to_vec(),
                Part::Second => tail.to_vec(),
                Part::Parity => exclusive_or(head, tail),
            }
        };
        Self {
            part,
            shape: self.shape.clone(),
            rows: cut(&self.rows, row),
            scales: cut(&self.scales, scale),
        }
    }

    /// The whole, if zeros were what it lacks.
    pub(super) fn filled(mut self) -> Self {
        let (row, scale) = self.shape.row_bytes();
        self.rows.resize(self.shape.centroids * row, 0);
        self.scales.resize(self.shape.centroids * scale, 0);
        self.part = Part::Whole;
        self
    }

    /// The whole of two different parts; `None` where they are not parts of one codebook.
    pub(super) fn join(a: &Self, b: &Self) -> Option<Self> {
        if a.shape != b.shape {
            return None;
        }
        let (row, scale) = a.shape.row_bytes();
        let second = Part::Second.rows(a.shape.centroids);
        let join = |a_bytes: &[u8], b_bytes: &[u8], each: usize| {
            let other = || exclusive_or(a_bytes, b_bytes);
            match (a.part, b.part) {
                (Part::First, Part::Second) => Some([a_bytes, b_bytes].concat()),
                (Part::First, Part::Parity) => Some([a_bytes, other().get(..second * each)?].concat()),
                (Part::Second, Part::Parity) => Some([&other(), a_bytes].concat()),
                _ => None,
            }
        };
        Some(Self {
            part: Part::Whole,
            shape: a.shape.clone(),
            rows: join(&a.rows, &b.rows, row)?,
            scales: join(&a.scales, &b.scales, scale)?,
        })
    }

    /// The codebook of a whole.
    pub(super) fn into_codebook(self) -> std::result::Result<Codebook, CodecError> {
        let Shape {
            id,
            dim,
            bits,
            trained_on_tokens,
            kind,
            tables: [first, second],
            distortion,
            ..
        } = self.shape;
        let codec = match kind {
            TokenCodec::Buckets => {
                let halves: Vec<f16> = pod_collect_to_vec(&self.rows);
                ResidualCodec::from_parts(dim, bits, halves.to_f32_vec(), first, second)?
            }
            TokenCodec::Trellis => {
                let centroids = CentroidBytes {
                    values: self.rows,
                    scales: pod_collect_to_vec(&self.scales),
                };
                ResidualCodec::from_trellis(dim, bits, centroids, first, second)?
            }
        };
        Ok(Codebook {
            id,
            codec,
            trained_on_tokens,
            distortion,
        })
    }

    /// Writes and syncs a new file; returns its length.
    pub(super) fn write(&self, backend: &dyn StorageBackend, path: &Path) -> Result<u64> {
        let shape = &self.shape;
        let tags: &[u32] = match shape.kind {
            TokenCodec::Buckets => &[CENTROIDS, CUTOFFS, WEIGHTS],
            TokenCodec::Trellis => &[CENTROID_BYTES, SCALES, INVERSE_NORMS, CENTROID_SCALES],
        };
        let known = shape.distortion.map(|_| DISTORTION);
        let all: Vec<u32> = tags.iter().copied().chain(known).collect();
        let mut writer = ComponentWriter::create(backend, path, CODEBOOK_KIND, &all)?;
        let [first, second] = &shape.tables;
        let sections = [
            &self.rows,
            bytemuck::cast_slice(first),
            bytemuck::cast_slice(second),
            &self.scales,
        ];
        for (tag, section) in tags.iter().zip(sections) {
            writer.append(*tag, section)?;
        }
        if let Some(distortion) = shape.distortion {
            writer.append(DISTORTION, bytemuck::bytes_of(&distortion))?;
        }
        let finished = writer.finish([
            shape.id,
            shape.dim as u64,
            u64::from(shape.bits),
            shape.centroids as u64,
            shape.trained_on_tokens,
            shape.kind as u64 | ((self.part as u64) << PART_SHIFT),
        ])?;
        Ok(finished.written.bytes)
    }

    /// Reads the file where a part should be; one of all centroids may stand for the first and the last.
    pub(super) fn read(backend: &dyn StorageBackend, path: &Path, expected: Part) -> Result<Self> {
        let path = expected.path(path);
        let file = ComponentFile::open(backend, &path, CODEBOOK_KIND)?;
        let [id, dim, bits, centroids, trained_on_tokens, kind] = file.params();
        let wrong = || {
            let found = format!("{centroids} centroids of {dim} numbers at {bits} bits, kind {kind:#x}");
            file.corruption(0, "a part of a codebook of buckets or of a trellis", found)
        };
        let part = Part::of(kind >> PART_SHIFT).ok_or_else(wrong)?;
        let stands = part == expected || (part == Part::Whole && expected != Part::Second);
        let codec = kind & ((1 << PART_SHIFT) - 1);
        let kind = TokenCodec::ALL.into_iter().find(|known| *known as u64 == codec);
        let (Some(kind), true) = (kind, stands) else {
            return Err(wrong());
        };
        let table = |tag: u32| file.numbers::<f32>(tag).map(<[f32]>::to_vec);
        let (rows_tag, tables) = match kind {
            TokenCodec::Buckets => (CENTROIDS, [table(CUTOFFS)?, table(WEIGHTS)?]),
            TokenCodec::Trellis => (CENTROID_BYTES, [table(SCALES)?, table(INVERSE_NORMS)?]),
        };
        let shape = Shape {
            id,
            dim: usize::try_from(dim).map_err(|_| wrong())?,
            bits: u8::try_from(bits).map_err(|_| wrong())?,
            centroids: usize::try_from(centroids).map_err(|_| wrong())?,
            trained_on_tokens,
            kind,
            tables,
            distortion: known_distortion(&file, DISTORTION)?,
        };
        let (row, scale) = shape.row_bytes();
        let section = |tag: u32, each: usize| {
            let bytes = part.rows(shape.centroids).checked_mul(each).ok_or_else(wrong)?;
            file.exactly::<u8>(tag, bytes).map(<[u8]>::to_vec)
        };
        let rows = section(rows_tag, row)?;
        let scales = match kind {
            TokenCodec::Buckets => Vec::new(),
            TokenCodec::Trellis => section(CENTROID_SCALES, scale)?,
        };
        Ok(Self {
            part,
            shape,
            rows,
            scales,
        })
    }
}

/// The exclusive or of two halves, as if zeros followed the shorter one.
fn exclusive_or(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (longer, shorter) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut out = longer.to_vec();
    out.iter_mut().zip(shorter).for_each(|(out, byte)| *out ^= byte);
    out
}
