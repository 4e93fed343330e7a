//! A predicate over the columns of a segment, and over its payloads where there is no column.

use std::ops::{Bound, RangeBounds};

use latewood_storage::{ColumnView, KeywordColumn, NumberColumn, Segment};

use super::bits::Bits;
use super::{Predicate, Test};
use crate::error::QueryError;

/// What is known of the rows of a segment without reading a payload.
pub(super) struct Known {
    /// Rows that satisfy the predicate.
    pub(super) yes: Bits,
    /// Rows that may, those that do included; `None` where nothing is left open.
    pub(super) maybe: Option<Bits>,
}

/// The rows that satisfy the predicate by their columns, deleted ones included.
pub(super) fn evaluate(predicate: &Predicate, segment: &Segment) -> Result<Known, QueryError> {
    let rows = segment.len();
    match predicate {
        Predicate::All(predicates) => {
            let full = Known::sure(Bits::full(rows));
            predicates.iter().try_fold(full, |known, predicate| {
                Ok(known.join(evaluate(predicate, segment)?, Bits::and))
            })
        }
        Predicate::Any(predicates) => {
            let empty = Known::sure(Bits::empty(rows));
            predicates.iter().try_fold(empty, |known, predicate| {
                Ok(known.join(evaluate(predicate, segment)?, Bits::or))
            })
        }
        Predicate::Not(negated) => {
            let Known { yes, maybe } = evaluate(negated, segment)?;
            Ok(match maybe {
                None => Known::sure(yes.not()),
                Some(maybe) => Known {
                    yes: maybe.not(),
                    maybe: Some(yes.not()),
                },
            })
        }
        Predicate::Declared { field, test } => match segment.column(field)? {
            Some(column) => Ok(Known::sure(of_column(test, &column, rows))),
            None => Ok(Known::open(rows)),
        },
        Predicate::Undeclared { .. } => Ok(Known::open(rows)),
    }
}

impl Known {
    fn sure(yes: Bits) -> Self {
        Self { yes, maybe: None }
    }

    fn open(rows: u32) -> Self {
        Self {
            yes: Bits::empty(rows),
            maybe: Some(Bits::full(rows)),
        }
    }

    fn join(self, other: Self, how: fn(Bits, &Bits) -> Bits) -> Self {
        let maybe = match (self.maybe, &other.maybe) {
            (None, None) => None,
            (Some(maybe), None) => Some(how(maybe, &other.yes)),
            (None, Some(maybe)) => Some(how(self.yes.clone(), maybe)),
            (Some(a), Some(b)) => Some(how(a, b)),
        };
        Self {
            yes: how(self.yes, &other.yes),
            maybe,
        }
    }
}

fn of_column(test: &Test, column: &ColumnView<'_>, rows: u32) -> Bits {
    match (test, column) {
        (Test::Exists, column) => match column {
            ColumnView::Keyword(column) => Bits::from_rows(rows, |row| !column.terms_of(row).is_empty()),
            ColumnView::Int(column) | ColumnView::Datetime(column) => of_numbers(column, rows, |_| true),
            ColumnView::Float(column) => of_numbers(column, rows, |_| true),
            ColumnView::Bool(column) => Bits::from_rows(rows, |row| column.get(row).is_some()),
            ColumnView::Geo(column) => Bits::from_rows(rows, |row| column.get(row).is_some()),
        },
        (test, ColumnView::Keyword(column)) => of_keywords(test, column, rows),
        (Test::Ints(any), ColumnView::Int(column)) | (Test::Moments(any), ColumnView::Datetime(column)) => {
            of_numbers(column, rows, |n| any.contains(&n))
        }
        (Test::IntRange(least, most), ColumnView::Int(column))
        | (Test::MomentRange(least, most), ColumnView::Datetime(column)) => {
            if least > most {
                return Bits::empty(rows);
            }
            // One comparison instead of two: what lies below wraps round to far above.
            let width = most.wrapping_sub(*least).cast_unsigned();
            of_numbers(column, rows, |n| n.wrapping_sub(*least).cast_unsigned() <= width)
        }
        (Test::Floats(any), ColumnView::Float(column)) => of_numbers(column, rows, |x| any.contains(&x)),
        (Test::FloatRange(lower, upper), ColumnView::Float(column)) => {
            of_numbers(column, rows, |x| (*lower, *upper).contains(&x))
        }
        (Test::Bools(any), ColumnView::Bool(column)) => {
            Bits::from_rows(rows, |row| column.get(row).is_some_and(|b| any[usize::from(b)]))
        }
        (Test::Within(area), ColumnView::Geo(column)) => {
            Bits::from_rows(rows, |row| column.get(row).is_some_and(|at| area.contains(at)))
        }
        // The schema is fixed, so a column's type is the one that the predicate was bound to.
        _ => Bits::empty(rows),
    }
}

fn of_numbers<T: Copy>(column: &NumberColumn<'_, T>, rows: u32, holds: impl Fn(T) -> bool) -> Bits {
    Bits::from_values(rows, column.values(), column.present(), holds)
}

fn of_keywords(test: &Test, column: &KeywordColumn<'_>, rows: u32) -> Bits {
    let terms = match test {
        Test::Keywords(any) => {
            let mut terms: Vec<u32> = any.iter().filter_map(|word| column.find(word)).collect();
            terms.sort_unstable();
            return match terms[..] {
                [] => Bits::empty(rows),
                [one] => Bits::from_rows(rows, |row| column.terms_of(row).contains(&one)),
                _ => Bits::from_rows(rows, |row| {
                    let of_row = column.terms_of(row);
                    of_row.iter().any(|term| terms.binary_search(term).is_ok())
                }),
            };
        }
        Test::KeywordRange(lower, upper) => first_term(column, lower)..end_term(column, upper),
        Test::KeywordPrefix(prefix) => column.with_prefix(prefix),
        _ => return Bits::empty(rows),
    };
    if terms.is_empty() {
        return Bits::empty(rows);
    }
    Bits::from_rows(rows, |row| {
        let of_row = column.terms_of(row);
        of_row.iter().any(|term| terms.contains(&(*term as usize)))
    })
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
