//! The dense vectors that a search goes through: those of the schema's dense field, or of a named one.

use std::borrow::Cow;

use latewood_codecs::DenseRows;
use latewood_storage::{DenseSpec, GraphView, Record, VectorKind};

use super::Scope;
use crate::error::QueryError;
use crate::filter::SegmentMatches;

/// The vectors of one segment. A place is a vector's number among them.
pub(crate) struct SegmentRows<'a> {
    pub(crate) rows: DenseRows<'a>,
    pub(crate) graph: Option<GraphView<'a>>,
    /// The rows that they are of, ascending; `None` when every row has one.
    documents: Option<&'a [u32]>,
    /// The places whose rows match.
    pub(crate) matches: Cow<'a, SegmentMatches>,
}

impl SegmentRows<'_> {
    /// The row that a vector is of.
    #[inline]
    pub(crate) fn row(&self, place: u32) -> u32 {
        match self.documents {
            Some(documents) => documents.get(place as usize).copied().unwrap_or(u32::MAX),
            None => place,
        }
    }
}

/// The dense vectors of a snapshot.
pub(crate) struct DenseField<'a> {
    pub(crate) segments: Vec<Option<SegmentRows<'a>>>,
    /// None: the schema's dense field.
    name: Option<&'a str>,
}

impl<'a> DenseField<'a> {
    /// The vectors of the field of this name, or of the schema's dense one.
    pub(crate) fn open(scope: &Scope<'a>, name: Option<&'a str>) -> Result<Self, QueryError> {
        let mut segments = Vec::with_capacity(scope.snapshot.segments().len());
        let number = name.and_then(|name| scope.snapshot.schema().vector(name));
        for (view, matches) in scope.snapshot.segments().iter().zip(scope.matches.segments()) {
            segments.push(
                match (name, number) {
                    (None, _) => view.segment.dense()?.map(|rows| {
                        Ok::<_, QueryError>(SegmentRows {
                            rows,
                            graph: view.segment.graph()?,
                            documents: None,
                            matches: Cow::Borrowed(matches),
                        })
                    }),
                    (Some(_), Some((number, _))) => view.segment.named(number)?.map(|named| {
                        let documents = named.documents();
                        let matches = match documents {
                            Some(documents) => Cow::Owned(matches.among(documents)),
                            None => Cow::Borrowed(matches),
                        };
                        Ok(SegmentRows {
                            rows: named.rows(),
                            graph: view.segment.named_graph(number),
                            documents,
                            matches,
                        })
                    }),
                    (Some(_), None) => None,
                }
                .transpose()?,
            );
        }
        Ok(Self { segments, name })
    }

    /// The vector of a document in memory.
    pub(crate) fn of<'r>(&self, record: &'r Record) -> Option<&'r [f32]> {
        match self.name {
            None => record.dense.as_deref(),
            Some(name) => record.vectors.get(name)?.dense(),
        }
    }
}

/// What a named field, or the schema's dense one, is.
pub(crate) fn dense_spec<'s>(
    schema: &'s latewood_storage::Schema,
    name: Option<&str>,
) -> Option<&'s DenseSpec> {
    match name {
        None => schema.dense.as_ref(),
        Some(name) => match schema.vector(name)?.1 {
            VectorKind::Dense(spec) => Some(spec),
            VectorKind::Sparse => None,
        },
    }
}
