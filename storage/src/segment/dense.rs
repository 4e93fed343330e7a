//! Dense vectors as their codec codes them, row after row, in place.

use std::path::Path;

use latewood_codecs::{DenseCodes, DenseParts, DenseRows};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::component::Component;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::schema::DenseSpec;

pub(super) const CODES: u32 = 1;
pub(super) const FACTORS: u32 = 2;
/// The rows that have a vector, where not all have.
pub(super) const DOCUMENTS: u32 = 3;
/// Of RaBitQ the bits below the highest four.
pub(super) const FINE: u32 = 4;

/// Rows that one task encodes.
const TASK_ROWS: usize = 256;

/// Writes the dense vectors of a segment.
#[derive(Debug)]
pub(crate) struct DenseWriter<'a> {
    writer: ComponentWriter<'a>,
    spec: &'a DenseSpec,
    rows: u64,
    /// The rows of the segment that they are of.
    documents: Vec<u32>,
}

impl<'a> DenseWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path, spec: &'a DenseSpec) -> Result<Self> {
        Self::create_as(backend, dir, Component::Dense, spec)
    }

    /// The same for a component of a named field, of which rows may have none.
    pub(crate) fn create_as(
        backend: &'a dyn StorageBackend,
        dir: &Path,
        component: Component,
        spec: &'a DenseSpec,
    ) -> Result<Self> {
        let path = dir.join(component.name());
        let tags = [CODES, FINE, FACTORS, DOCUMENTS];
        let tags = if component == Component::Dense {
            &tags[..3]
        } else {
            &tags
        };
        let writer = ComponentWriter::create(backend, &path, component.kind(), tags)?;
        Ok(Self {
            writer,
            spec,
            rows: 0,
            documents: Vec::new(),
        })
    }

    /// Appends vectors of the schema's dimension, prepared for its metric.
    pub(crate) fn push(&mut self, pool: &ThreadPool, vectors: &[&[f32]]) -> Result<()> {
        let spec = self.spec;
        let encoded: Vec<Result<DenseCodes>> = pool.install(|| {
            vectors
                .par_chunks(TASK_ROWS)
                .map(|rows| encode(spec, rows))
                .collect()
        });
        for block in encoded {
            self.append(block?.parts())?;
        }
        self.rows += vectors.len() as u64;
        Ok(())
    }

    /// Appends rows of another segment of the same schema as they are.
    pub(crate) fn copy(&mut self, coded: DenseParts<'_>, rows: usize) -> Result<()> {
        self.rows += rows as u64;
        self.append(coded)
    }

    /// The rows of the segment that the vectors, all of them, are of.
    pub(crate) fn of_documents(&mut self, documents: impl IntoIterator<Item = u32>) {
        self.documents.extend(documents);
    }

    /// Ends a file of a named field in a segment of so many rows.
    pub(crate) fn finish_some(mut self, rows: u32) -> Result<Finished> {
        if self.rows < u64::from(rows) {
            let documents = std::mem::take(&mut self.documents);
            self.writer.append(DOCUMENTS, bytemuck::cast_slice(&documents))?;
        }
        self.finish()
    }

    fn append(&mut self, coded: DenseParts<'_>) -> Result<()> {
        self.writer.append(CODES, coded.codes)?;
        self.writer.append(FINE, coded.fine)?;
        self.writer.append(FACTORS, bytemuck::cast_slice(coded.factors))
    }

    pub(crate) fn finish(self) -> Result<Finished> {
        let DenseSpec { dim, metric, codec } = *self.spec;
        self.writer
            .finish([self.rows, dim as u64, metric as u64, codec as u64, 0, 0])
    }
}

fn encode(spec: &DenseSpec, rows: &[&[f32]]) -> Result<DenseCodes> {
    let mut coded = DenseCodes::default();
    for row in rows {
        spec.codec.encode(spec.metric, row, spec.dim, &mut coded)?;
    }
    Ok(coded)
}

/// The dense vectors of an open segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense<'a> {
    file: &'a ComponentFile,
    spec: &'a DenseSpec,
    rows: usize,
}

impl<'a> Dense<'a> {
    pub(crate) fn new(file: &'a ComponentFile, spec: &'a DenseSpec, rows: u32) -> Self {
        Self {
            file,
            spec,
            rows: rows as usize,
        }
    }

    fn parts(self) -> Result<DenseParts<'a>> {
        let DenseSpec { dim, metric, codec } = *self.spec;
        let [bytes, fine] = codec.plane_bytes(dim);
        Ok(DenseParts {
            codes: self.file.exactly(CODES, self.rows.saturating_mul(bytes))?,
            fine: match self.rows.saturating_mul(fine) {
                0 => &[],
                fine => self.file.exactly(FINE, fine)?,
            },
            factors: self
                .file
                .exactly(FACTORS, self.rows.saturating_mul(codec.row_factors(metric)))?,
        })
    }

    pub(crate) fn rows(self) -> Result<DenseRows<'a>> {
        let parts = self.parts()?;
        let rows = DenseRows::new(self.spec.codec, self.spec.metric, self.spec.dim, parts);
        rows.map_err(|error| {
            self.file
                .corruption_in(CODES, 0, "whole rows of codes", error.to_string())
        })
    }

    /// A range of rows as they are coded.
    pub(crate) fn coded(self, rows: std::ops::Range<usize>) -> Result<DenseParts<'a>> {
        fn of<'a, T>(all: &'a [T], rows: &std::ops::Range<usize>, width: usize) -> &'a [T] {
            all.get(rows.start * width..rows.end * width).unwrap_or_default()
        }
        let parts = self.parts()?;
        let [bytes, fine] = self.spec.codec.plane_bytes(self.spec.dim);
        Ok(DenseParts {
            codes: of(parts.codes, &rows, bytes),
            fine: of(parts.fine, &rows, fine),
            factors: of(
                parts.factors,
                &rows,
                self.spec.codec.row_factors(self.spec.metric),
            ),
        })
    }
}

/// The dense vectors of a named field.
#[derive(Clone, Copy, Debug)]
pub struct NamedRows<'a> {
    rows: DenseRows<'a>,
    /// The rows of the segment that they are of, ascending; `None` when every row has one.
    documents: Option<&'a [u32]>,
    count: u32,
}

impl<'a> NamedRows<'a> {
    /// The vectors, one after another.
    #[must_use]
    pub fn rows(&self) -> DenseRows<'a> {
        self.rows
    }

    /// The rows of the segment that the vectors are of, ascending; `None` when every row has one.
    #[must_use]
    pub fn documents(&self) -> Option<&'a [u32]> {
        self.documents
    }

    /// How many rows have a vector.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether no row has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The place of a row's vector among all.
    #[must_use]
    pub fn place(&self, row: u32) -> Option<usize> {
        match self.documents {
            None => (row < self.count).then_some(row as usize),
            Some(documents) => documents.binary_search(&row).ok(),
        }
    }

    /// The vector of a row, decoded.
    #[must_use]
    pub fn vector(&self, row: u32) -> Option<Vec<f32>> {
        let place = self.place(row)?;
        let mut vector = vec![0.0; self.rows.dim()];
        self.rows.decode(place, &mut vector);
        Some(vector)
    }

    /// The vectors of a range of rows, by place.
    pub(crate) fn places(&self, rows: std::ops::Range<u32>) -> std::ops::Range<usize> {
        match self.documents {
            None => rows.start.min(self.count) as usize..rows.end.min(self.count) as usize,
            Some(documents) => {
                let before = |row: u32| documents.partition_point(|document| *document < row);
                before(rows.start)..before(rows.end)
            }
        }
    }
}

/// Reads the vectors of a named field of a segment of so many rows; `check` compares what the checksums cannot.
pub(crate) fn open_some<'a>(
    file: &'a ComponentFile,
    spec: &'a DenseSpec,
    rows: u32,
    check: bool,
) -> Result<(NamedRows<'a>, Dense<'a>)> {
    let [count, ..] = file.params();
    let Some(count) = u32::try_from(count).ok().filter(|count| *count <= rows) else {
        return Err(file.corruption(0, format!("at most {rows} rows"), count.to_string()));
    };
    let documents: Option<&[u32]> = match count < rows {
        true => Some(file.exactly(DOCUMENTS, count as usize)?),
        false => None,
    };
    if check
        && let Some(documents) = documents
        && !(documents.is_sorted_by(|a, b| a < b) && documents.last().is_none_or(|last| *last < rows))
    {
        return Err(file.corruption_in(DOCUMENTS, 0, format!("ascending rows below {rows}"), "others"));
    }
    let dense = Dense::new(file, spec, count);
    let named = NamedRows {
        rows: dense.rows()?,
        documents,
        count,
    };
    Ok((named, dense))
}
