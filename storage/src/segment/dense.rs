//! Dense vectors as their codec codes them, row after row, in place.

use std::path::Path;

use latewood_codecs::DenseRows;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::component::Component;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Finished};
use crate::backend::StorageBackend;
use crate::error::Result;
use crate::schema::DenseSpec;

const CODES: u32 = 1;
const FACTORS: u32 = 2;

/// Rows that one task encodes.
const TASK_ROWS: usize = 256;

/// Writes the dense vectors of a segment.
#[derive(Debug)]
pub(crate) struct DenseWriter<'a> {
    writer: ComponentWriter<'a>,
    spec: &'a DenseSpec,
    rows: u64,
}

impl<'a> DenseWriter<'a> {
    pub(crate) fn create(backend: &'a dyn StorageBackend, dir: &Path, spec: &'a DenseSpec) -> Result<Self> {
        let path = dir.join(Component::Dense.name());
        let writer = ComponentWriter::create(backend, &path, Component::Dense.kind(), &[CODES, FACTORS])?;
        Ok(Self {
            writer,
            spec,
            rows: 0,
        })
    }

    /// Appends vectors of the schema's dimension, prepared for its metric.
    pub(crate) fn push(&mut self, pool: &ThreadPool, vectors: &[&[f32]]) -> Result<()> {
        let spec = self.spec;
        let encoded: Vec<Result<Coded>> = pool.install(|| {
            vectors
                .par_chunks(TASK_ROWS)
                .map(|rows| encode(spec, rows))
                .collect()
        });
        for block in encoded {
            let (codes, factors) = block?;
            self.append(&codes, &factors)?;
        }
        self.rows += vectors.len() as u64;
        Ok(())
    }

    /// Appends rows of another segment of the same schema as they are.
    pub(crate) fn copy(&mut self, (codes, factors): (&[u8], &[f32]), rows: usize) -> Result<()> {
        self.rows += rows as u64;
        self.append(codes, factors)
    }

    fn append(&mut self, codes: &[u8], factors: &[f32]) -> Result<()> {
        self.writer.append(CODES, codes)?;
        self.writer.append(FACTORS, bytemuck::cast_slice(factors))
    }

    pub(crate) fn finish(self) -> Result<Finished> {
        let DenseSpec { dim, metric, codec } = *self.spec;
        self.writer
            .finish([self.rows, dim as u64, metric as u64, codec as u64, 0, 0])
    }
}

/// Codes and factors of some rows.
type Coded = (Vec<u8>, Vec<f32>);

fn encode(spec: &DenseSpec, rows: &[&[f32]]) -> Result<Coded> {
    let (mut codes, mut factors) = (Vec::new(), Vec::new());
    for row in rows {
        spec.codec.encode(row, spec.dim, &mut codes, &mut factors)?;
    }
    Ok((codes, factors))
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

    fn parts(self) -> Result<(&'a [u8], &'a [f32])> {
        let bytes = self.rows.saturating_mul(self.spec.codec.row_bytes(self.spec.dim));
        let factors = self.rows.saturating_mul(self.spec.codec.row_factors());
        Ok((
            self.file.exactly(CODES, bytes)?,
            self.file.exactly(FACTORS, factors)?,
        ))
    }

    pub(crate) fn rows(self) -> Result<DenseRows<'a>> {
        let (codes, factors) = self.parts()?;
        let rows = DenseRows::new(self.spec.codec, self.spec.metric, self.spec.dim, codes, factors);
        rows.map_err(|error| {
            self.file
                .corruption_in(CODES, 0, "whole rows of codes", error.to_string())
        })
    }

    /// The codes and the factors of a range of rows.
    pub(crate) fn coded(self, rows: std::ops::Range<usize>) -> Result<(&'a [u8], &'a [f32])> {
        let (codes, factors) = self.parts()?;
        let bytes = self.spec.codec.row_bytes(self.spec.dim);
        let numbers = self.spec.codec.row_factors();
        let codes = codes
            .get(rows.start * bytes..rows.end * bytes)
            .unwrap_or_default();
        Ok((
            codes,
            factors
                .get(rows.start * numbers..rows.end * numbers)
                .unwrap_or_default(),
        ))
    }
}
