//! Writing columns, from payloads or from the columns of segments that are merged.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::view::ColumnView;
use super::{Part, words};
use crate::backend::StorageBackend;
use crate::document::Payload;
use crate::error::Result;
use crate::field::{datetime_of, field_of, geo_of};
use crate::schema::{FieldSpec, FieldType};
use crate::segment::component::Component;
use crate::segment::writer::{ComponentWriter, Finished};
use crate::wire::to_u32;

/// The columns of a segment while rows are appended.
#[derive(Debug)]
pub(crate) struct ColumnsWriter {
    fields: Vec<(String, Builder)>,
    rows: usize,
}

/// The sections of one column.
type Sections = Vec<(Part, Vec<u8>)>;

#[derive(Debug)]
enum Builder {
    Keyword(KeywordBuilder),
    Int(NumberBuilder<i64>),
    Float(NumberBuilder<f64>),
    Bool(NumberBuilder<u8>),
    Datetime(NumberBuilder<i64>),
    Geo(NumberBuilder<[f64; 2]>),
}

#[derive(Debug, Default)]
struct KeywordBuilder {
    numbers: HashMap<Box<str>, u32>,
    row_ends: Vec<u32>,
    row_terms: Vec<u32>,
}

#[derive(Debug)]
struct NumberBuilder<T> {
    values: Vec<T>,
    present: Vec<u64>,
}

impl ColumnsWriter {
    pub(crate) fn new(fields: &[FieldSpec]) -> Self {
        let fields = fields
            .iter()
            .map(|f| (f.name.clone(), Builder::new(f.kind)))
            .collect();
        Self { fields, rows: 0 }
    }

    /// Appends the next row.
    pub(crate) fn push(&mut self, payload: &Payload) -> Result<()> {
        for (name, builder) in &mut self.fields {
            builder.push(self.rows, field_of(payload, name))?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Appends a row of a segment of the same schema, whose columns are given in the schema's order.
    pub(crate) fn copy(&mut self, columns: &[ColumnView<'_>], ordinal: u32) -> Result<()> {
        for ((_, builder), column) in self.fields.iter_mut().zip(columns) {
            builder.copy(self.rows, column, ordinal)?;
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(self, backend: &dyn StorageBackend, dir: &Path) -> Result<Finished> {
        let parts = self
            .fields
            .into_iter()
            .enumerate()
            .map(|(i, (_, b))| Ok((i, b.finish()?)));
        let parts: Vec<(usize, Sections)> = parts.collect::<Result<_>>()?;
        let tags: Vec<u32> = parts
            .iter()
            .flat_map(|(i, p)| p.iter().map(|(part, _)| part.tag(*i)))
            .collect();
        let path = dir.join(Component::Columns.name());
        let mut writer = ComponentWriter::create(backend, &path, Component::Columns.kind(), &tags)?;
        for (field, sections) in &parts {
            for (part, bytes) in sections {
                writer.append(part.tag(*field), bytes)?;
            }
        }
        writer.finish([self.rows as u64, parts.len() as u64, 0, 0, 0, 0])
    }
}

impl Builder {
    fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Keyword => Self::Keyword(KeywordBuilder::default()),
            FieldType::Int => Self::Int(NumberBuilder::new()),
            FieldType::Float => Self::Float(NumberBuilder::new()),
            FieldType::Bool => Self::Bool(NumberBuilder::new()),
            FieldType::Datetime => Self::Datetime(NumberBuilder::new()),
            FieldType::Geo => Self::Geo(NumberBuilder::new()),
        }
    }

    /// Appends a value; what is not of the column's type, which writing has refused, counts as none.
    fn push(&mut self, row: usize, value: Option<&Value>) -> Result<()> {
        match self {
            Self::Keyword(b) => match value {
                Some(Value::Array(items)) => b.push(items.iter().filter_map(Value::as_str)),
                Some(Value::String(term)) => b.push(std::iter::once(term.as_str())),
                _ => b.push(std::iter::empty()),
            },
            Self::Int(b) => b.push(row, value.and_then(Value::as_i64)),
            Self::Float(b) => b.push(row, value.and_then(Value::as_f64)),
            Self::Bool(b) => b.push(row, value.and_then(Value::as_bool).map(u8::from)),
            Self::Datetime(b) => b.push(row, value.and_then(datetime_of)),
            Self::Geo(b) => b.push(row, value.and_then(geo_of).map(|at| [at.lat, at.lon])),
        }
    }

    fn copy(&mut self, row: usize, column: &ColumnView<'_>, ordinal: u32) -> Result<()> {
        match (self, column) {
            (Self::Keyword(b), ColumnView::Keyword(c)) => {
                b.push(c.terms_of(ordinal).iter().map(|&t| c.term(t)))
            }
            (Self::Int(b), ColumnView::Int(c)) => b.push(row, c.get(ordinal)),
            (Self::Float(b), ColumnView::Float(c)) => b.push(row, c.get(ordinal)),
            (Self::Bool(b), ColumnView::Bool(c)) => b.push(row, c.get(ordinal).map(u8::from)),
            (Self::Datetime(b), ColumnView::Datetime(c)) => b.push(row, c.get(ordinal)),
            (Self::Geo(b), ColumnView::Geo(c)) => b.push(row, c.get(ordinal).map(|at| [at.lat, at.lon])),
            (builder, _) => builder.push(row, None),
        }
    }

    fn finish(self) -> Result<Sections> {
        match self {
            Self::Keyword(b) => b.finish(),
            Self::Int(b) => Ok(b.finish()),
            Self::Float(b) => Ok(b.finish()),
            Self::Bool(b) => Ok(b.finish()),
            Self::Datetime(b) => Ok(b.finish()),
            Self::Geo(b) => Ok(b.finish()),
        }
    }
}

impl KeywordBuilder {
    fn push<'t>(&mut self, terms: impl Iterator<Item = &'t str>) -> Result<()> {
        for term in terms {
            let next = to_u32(self.numbers.len())?;
            let number = match self.numbers.get(term) {
                Some(&number) => number,
                None => *self.numbers.entry(term.into()).or_insert(next),
            };
            self.row_terms.push(number);
        }
        self.row_ends.push(to_u32(self.row_terms.len())?);
        Ok(())
    }

    /// Sorts the dictionary, and each row's terms by it, each once.
    fn finish(self) -> Result<Sections> {
        let mut terms: Vec<(Box<str>, u32)> = self.numbers.into_iter().collect();
        terms.sort_unstable();
        let mut renamed = vec![0u32; terms.len()];
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(terms.len()));
        for (new, (term, old)) in terms.iter().enumerate() {
            bytes.extend_from_slice(term.as_bytes());
            ends.push(bytes.len() as u64);
            if let Some(slot) = renamed.get_mut(*old as usize) {
                *slot = to_u32(new)?;
            }
        }
        let (mut row_ends, mut row_terms) = (Vec::with_capacity(self.row_ends.len()), Vec::new());
        let mut start = 0;
        for end in self.row_ends {
            let row = self.row_terms.get(start..end as usize).unwrap_or_default();
            let mut row: Vec<u32> = row
                .iter()
                .filter_map(|&t| renamed.get(t as usize).copied())
                .collect();
            row.sort_unstable();
            row.dedup();
            row_terms.extend(row);
            row_ends.push(to_u32(row_terms.len())?);
            start = end as usize;
        }
        Ok(vec![
            (Part::TermBytes, bytes),
            (Part::TermEnds, bytemuck::cast_slice(&ends).to_vec()),
            (Part::RowEnds, bytemuck::cast_slice(&row_ends).to_vec()),
            (Part::RowTerms, bytemuck::cast_slice(&row_terms).to_vec()),
        ])
    }
}

impl<T: bytemuck::Pod + Default> NumberBuilder<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            present: Vec::new(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the arms of one match")]
    fn push(&mut self, row: usize, value: Option<T>) -> Result<()> {
        self.values.push(value.unwrap_or_default());
        self.present.resize(words(row + 1), 0);
        if let (Some(_), Some(word)) = (value, self.present.last_mut()) {
            *word |= 1 << (row % 64);
        }
        Ok(())
    }

    fn finish(self) -> Sections {
        let bytes = |numbers: &[u8]| numbers.to_vec();
        vec![
            (Part::Values, bytes(bytemuck::cast_slice(&self.values))),
            (Part::Present, bytes(bytemuck::cast_slice(&self.present))),
        ]
    }
}
