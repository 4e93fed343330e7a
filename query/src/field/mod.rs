//! Values of payload fields over many documents: how often each is there, and documents in their order.

mod facets;
mod order;
mod value;

pub use facets::{Facet, FacetCounts, facets};
pub(crate) use order::sort_hits;
pub use order::{OrderBy, ordered};
use value::FieldValue;

use latewood_storage::{ColumnView, FieldType, Snapshot, field_of};

use crate::error::QueryError;
use crate::filter::{Matches, Undeclared};
use crate::hits::Position;

/// Visits the matching documents, in the order in which they are stored, with the values of a field: several of an array, none
/// where it is missing. Gives a note if they were read from payloads.
fn for_each<'s>(
    snapshot: &'s Snapshot,
    matches: &Matches,
    field: &str,
    mut visit: impl FnMut(Position, Vec<FieldValue<'s>>),
) -> Result<Option<String>, QueryError> {
    let declared = snapshot.schema().fields.iter().find(|spec| spec.name == field);
    let kind = declared.map(|spec| spec.kind);
    if kind == Some(FieldType::Geo) {
        return Err(QueryError::NoOrder {
            field: field.to_owned(),
        });
    }
    let mut undeclared = kind.is_none().then(|| Undeclared::field(field));
    for ((view, rows), segment) in snapshot.segments().iter().zip(matches.segments()).zip(0u32..) {
        let at = |ordinal| Position { segment, ordinal };
        match (view.segment.column(field)?, &mut undeclared) {
            (Some(column), _) => rows
                .iter()
                .for_each(|row| visit(at(row), value::of_column(&column, row))),
            (None, undeclared) => {
                let mut read = 0;
                view.segment.payloads(rows.iter(), |row, payload| {
                    read += 1;
                    if let Some(undeclared) = undeclared {
                        undeclared.see(&payload);
                    }
                    visit(at(row), value::of_payload(field_of(&payload, field), kind));
                    true
                })?;
                if let Some(undeclared) = undeclared {
                    undeclared.count(read);
                }
            }
        }
    }
    let memtable = u32::try_from(snapshot.segments().len()).unwrap_or(u32::MAX);
    for &slot in matches.memtable() {
        let Some(record) = snapshot.memtable().get(slot) else {
            return Err(QueryError::OtherSnapshot { what: "filter" });
        };
        if let Some(undeclared) = &mut undeclared {
            undeclared.see(&record.payload);
        }
        let at = Position {
            segment: memtable,
            ordinal: slot,
        };
        visit(at, value::of_payload(field_of(&record.payload, field), kind));
    }
    if let Some(undeclared) = &mut undeclared {
        undeclared.check(snapshot)?;
    }
    Ok(undeclared.map(|undeclared| undeclared.note()))
}

/// The values of one document's field.
fn values_at<'s>(
    snapshot: &'s Snapshot,
    field: &str,
    at: Position,
) -> Result<Vec<FieldValue<'s>>, QueryError> {
    let declared = snapshot.schema().fields.iter().find(|spec| spec.name == field);
    let kind = declared.map(|spec| spec.kind);
    match snapshot.segments().get(at.segment as usize) {
        Some(view) => match view.segment.column(field)? {
            Some(ColumnView::Geo(_)) => Err(QueryError::NoOrder {
                field: field.to_owned(),
            }),
            Some(column) => Ok(value::of_column(&column, at.ordinal)),
            None => {
                let payload = view.segment.payload(at.ordinal)?;
                Ok(value::of_payload(field_of(&payload, field), kind))
            }
        },
        None => match snapshot.memtable().get(at.ordinal) {
            Some(record) => Ok(value::of_payload(field_of(&record.payload, field), kind)),
            None => Err(QueryError::OtherSnapshot { what: "plan" }),
        },
    }
}
