//! A predicate over the columns of a segment.

use std::ops::Bound;

use latewood_storage::{ColumnView, KeywordColumn, Segment};

use super::Predicate;
use super::bind::ContainsFloat;
use super::matches::Bits;
use crate::error::QueryError;

/// The rows that satisfy the predicate, deleted ones included.
pub(super) fn evaluate(predicate: &Predicate, segment: &Segment) -> Result<Bits, QueryError> {
    let rows = segment.len();
    let inner = |predicates: &[Predicate], all: bool| -> Result<Bits, QueryError> {
        let mut out = if all { Bits::full(rows) } else { Bits::empty(rows) };
        for predicate in predicates {
            let bits = evaluate(predicate, segment)?;
            out = if all { out.and(&bits) } else { out.or(&bits) };
        }
        Ok(out)
    };
    match predicate {
        Predicate::All(predicates) => inner(predicates, true),
        Predicate::Any(predicates) => inner(predicates, false),
        Predicate::Not(negated) => Ok(evaluate(negated, segment)?.not()),
        Predicate::Keywords { field, .. }
        | Predicate::KeywordRange { field, .. }
        | Predicate::Ints { field, .. }
        | Predicate::IntRange { field, .. }
        | Predicate::Floats { field, .. }
        | Predicate::FloatRange { field, .. }
        | Predicate::Bools { field, .. }
        | Predicate::Exists { field } => match segment.column(field)? {
            Some(column) => Ok(leaf(predicate, &column, rows)),
            None => scan_payloads(predicate, segment),
        },
    }
}

/// A segment without the column: its payloads are read.
fn scan_payloads(predicate: &Predicate, segment: &Segment) -> Result<Bits, QueryError> {
    let mut holds = Vec::with_capacity(segment.len() as usize);
    for row in 0..segment.len() {
        holds.push(predicate.matches(&segment.payload(row)?));
    }
    Ok(Bits::from_rows(segment.len(), |row| holds[row as usize]))
}

fn leaf(predicate: &Predicate, column: &ColumnView<'_>, rows: u32) -> Bits {
    let of = |holds: &dyn Fn(u32) -> bool| Bits::from_rows(rows, holds);
    match (predicate, column) {
        (Predicate::Keywords { any, .. }, ColumnView::Keyword(column)) => {
            let mut terms: Vec<u32> = any.iter().filter_map(|word| column.find(word)).collect();
            terms.sort_unstable();
            match terms[..] {
                [] => Bits::empty(rows),
                [one] => of(&|row| column.terms_of(row).contains(&one)),
                _ => of(&|row| {
                    column
                        .terms_of(row)
                        .iter()
                        .any(|term| terms.binary_search(term).is_ok())
                }),
            }
        }
        (Predicate::KeywordRange { lower, upper, .. }, ColumnView::Keyword(column)) => {
            let terms = first_term(column, lower)..end_term(column, upper);
            of(&|row| {
                column
                    .terms_of(row)
                    .iter()
                    .any(|term| terms.contains(&(*term as usize)))
            })
        }
        (Predicate::Ints { any, .. }, ColumnView::Int(column)) => {
            of(&|row| column.get(row).is_some_and(|n| any.contains(&n)))
        }
        (Predicate::IntRange { least, most, .. }, ColumnView::Int(column)) => {
            of(&|row| column.get(row).is_some_and(|n| (*least..=*most).contains(&n)))
        }
        (Predicate::Floats { any, .. }, ColumnView::Float(column)) => {
            of(&|row| column.get(row).is_some_and(|x| any.contains(&x)))
        }
        (Predicate::FloatRange { lower, upper, .. }, ColumnView::Float(column)) => of(&|row| {
            column
                .get(row)
                .is_some_and(|x| (*lower, *upper).contains_float(x))
        }),
        (Predicate::Bools { any, .. }, ColumnView::Bool(column)) => {
            of(&|row| column.get(row).is_some_and(|b| any[usize::from(b)]))
        }
        (Predicate::Exists { .. }, column) => match column {
            ColumnView::Keyword(column) => of(&|row| !column.terms_of(row).is_empty()),
            ColumnView::Int(column) => of(&|row| column.get(row).is_some()),
            ColumnView::Float(column) => of(&|row| column.get(row).is_some()),
            ColumnView::Bool(column) => of(&|row| column.get(row).is_some()),
        },
        // The schema is fixed, so a column's type is the one that the predicate was bound to.
        _ => Bits::empty(rows),
    }
}

fn first_term(column: &KeywordColumn<'_>, lower: &Bound<String>) -> usize {
    match lower {
        Bound::Included(word) => column.lower_bound(word),
        Bound::Excluded(word) => column.lower_bound(word) + usize::from(column.find(word).is_some()),
        Bound::Unbounded => 0,
    }
}

fn end_term(column: &KeywordColumn<'_>, upper: &Bound<String>) -> usize {
    match upper {
        Bound::Included(word) => column.lower_bound(word) + usize::from(column.find(word).is_some()),
        Bound::Excluded(word) => column.lower_bound(word),
        Bound::Unbounded => column.num_terms(),
    }
}
