//! Reading one file of a segment without the others.

use std::hint::black_box;
use std::ops::Range;
use std::path::Path;

use latewood_codecs::{DenseCodec, OriginalCodec};

use super::columns::{ColumnView, Columns};
use super::component::Component;
use super::dense::{CODES, DOCUMENTS};
use super::documents::Documents;
use super::graph;
use super::ids::Ids;
use super::ivf;
use super::lexical;
use super::meta::{Beside, SegmentMeta};
use super::original;
use super::reader::ComponentFile;
use super::sparse;
use super::tokens;
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::schema::{FieldSpec, FieldType};

/// Rows that are looked at one by one at most.
const ROWS: u32 = 2000;
/// Columns that are looked at; there must be so many.
const FIELDS: usize = 4;
/// No schema has more.
const MOST_DIM: usize = 1 << 16;

/// Reads everything in a file of the kind that its header names.
pub(crate) fn decode_component(backend: &dyn StorageBackend, path: &Path) -> Result<()> {
    let opened = Component::all().map(|c| (c, ComponentFile::open(backend, path, c.kind())));
    let mut error = None;
    for (component, file) in opened {
        match file {
            Ok(file) => return decode(component, &file),
            Err(other) => error = Some(other),
        }
    }
    Err(error.unwrap_or_else(|| StorageError::corruption(path, 0, "a file of a segment", "another")))
}

fn decode(component: Component, file: &ComponentFile) -> Result<()> {
    let [first, second, third, fourth, ..] = file.params();
    let rows = u32::try_from(first).unwrap_or(u32::MAX);
    let some = || 0..rows.min(ROWS);
    match component {
        Component::Ids => some().try_for_each(|row| {
            let id = Ids::new(file, rows).get(row)?;
            Ids::new(file, rows).find(&id).map(drop)
        }),
        Component::Documents => {
            let documents = Documents::new(file, rows);
            some().for_each(|row| drop(documents.payload(row)));
            documents.verify()
        }
        Component::Graph => {
            let graph = graph::open(file, (None, None), rows, true)?;
            for row in some() {
                for level in 0..=graph.max_level() {
                    let mut linked = graph.neighbours(level, row);
                    debug_assert!(linked.all(|other| other < rows));
                }
            }
            Ok(())
        }
        Component::Tokens => {
            let dim = usize::try_from(third).unwrap_or(usize::MAX);
            tokens::open(file, rows, dim, None, true).map(drop)
        }
        Component::Ivf => {
            let documents = u32::try_from(second).unwrap_or(u32::MAX);
            ivf::verify(&ivf::open(
                file,
                documents,
                usize::try_from(first).unwrap_or(usize::MAX),
            )?)
        }
        Component::Sparse(_) => sparse::verify_rows(&sparse::open_rows(file, rows, true)?),
        Component::Postings(_) => sparse::verify_index(&sparse::open_index(file, rows, true)?),
        Component::Lexical => lexical::verify(&lexical::open(file, rows, None, true)?),
        Component::VectorGraph(_) => decode(Component::Graph, file),
        Component::Dense | Component::Vectors(_) => {
            if file.has(DOCUMENTS) {
                file.numbers::<u32>(DOCUMENTS)?;
            }
            let rows = usize::try_from(first).unwrap_or(usize::MAX);
            let dim = usize::try_from(second).unwrap_or(usize::MAX);
            // The schema says it, which has been checked.
            let codec = DenseCodec::ALL.into_iter().find(|codec| *codec as u64 == fourth);
            let codec = codec.ok_or_else(|| file.corruption(0, "a dense codec", fourth.to_string()))?;
            let [codes, _] = codec.plane_bytes(dim.min(MOST_DIM));
            file.exactly::<u8>(CODES, rows.saturating_mul(codes)).map(drop)
        }
        Component::Meta => {
            drop(Beside::read(file));
            SegmentMeta::parse(file)?;
            file.verify()
        }
        Component::Columns => {
            let columns = Columns::new(file, rows);
            let read = (0..FIELDS).map(|field| read_column(columns, field, &some()));
            read.fold(file.verify(), Result::and)
        }
        Component::Original => {
            let tokens = usize::try_from(first).unwrap_or(usize::MAX);
            // The schema says it, which has been checked.
            let dim = usize::try_from(second).unwrap_or(usize::MAX).min(MOST_DIM);
            let codec = OriginalCodec::ALL
                .into_iter()
                .find(|codec| *codec as u64 == third);
            let codec = codec.ok_or_else(|| file.corruption(0, "a codec of originals", third.to_string()))?;
            original::open(file, codec, dim, tokens).map(drop)
        }
    }
}

/// Reads a column as each kind of field that it may be of; it is of one.
fn read_column(columns: Columns<'_>, index: usize, rows: &Range<u32>) -> Result<()> {
    let kinds = [
        FieldType::Keyword,
        FieldType::Int,
        FieldType::Float,
        FieldType::Bool,
        FieldType::Datetime,
        FieldType::Geo,
    ];
    let read = kinds.map(|kind| read_column_as(columns, index, kind, rows.clone()));
    read.into_iter().reduce(Result::or).unwrap_or(Ok(()))
}

fn read_column_as(columns: Columns<'_>, index: usize, kind: FieldType, rows: Range<u32>) -> Result<()> {
    let field = FieldSpec {
        name: String::new(),
        kind,
    };
    match columns.get(index, &field)? {
        ColumnView::Keyword(column) => {
            for row in rows {
                let terms = column.terms_of(row).iter().map(|term| column.term(*term));
                terms.for_each(|term| _ = black_box(column.find(term)));
            }
        }
        ColumnView::Int(column) => rows.for_each(|row| _ = black_box(column.get(row))),
        ColumnView::Float(column) => rows.for_each(|row| _ = black_box(column.get(row))),
        ColumnView::Bool(column) => rows.for_each(|row| _ = black_box(column.get(row))),
        ColumnView::Datetime(column) => rows.for_each(|row| _ = black_box(column.get(row))),
        ColumnView::Geo(column) => rows.for_each(|row| _ = black_box(column.get(row))),
    }
    Ok(())
}
