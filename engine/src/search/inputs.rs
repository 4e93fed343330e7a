//! What a query takes, in whatever form the caller has it.

use latewood_query::{Filter, LexicalQuery, PlanChoice, PlanName, QueryError};

/// The tokens of a query.
#[derive(Clone, Debug)]
pub struct QueryTokens {
    pub(super) numbers: Vec<f32>,
    pub(super) dim: Option<usize>,
}

/// A filter, or the text of one.
#[derive(Clone, Debug)]
pub enum FilterInput {
    /// Built.
    Built(Filter),
    /// To be parsed.
    Text(String),
}

/// A lexical query, or the text of one.
#[derive(Clone, Debug)]
pub enum LexicalInput {
    /// Built.
    Built(LexicalQuery),
    /// To be parsed.
    Text(String),
}

/// A plan, or the name of one.
#[derive(Clone, Debug)]
pub enum PlanInput {
    /// Chosen.
    Choice(PlanChoice),
    /// To be parsed.
    Text(String),
}

/// Which part of the payload comes with a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadSelection {
    /// All of it.
    All,
    /// None of it.
    None,
    /// These fields.
    Fields(Vec<String>),
}

impl QueryTokens {
    pub(crate) fn new(numbers: Vec<f32>, dim: usize) -> Self {
        Self {
            numbers,
            dim: Some(dim),
        }
    }

    /// The numbers, if they are rows of `dim`.
    pub(crate) fn numbers_of(&self, dim: usize) -> Result<Vec<f32>, QueryError> {
        match self.dim {
            Some(got) if got != dim => Err(QueryError::Dimension {
                field: "token matrix",
                expected: dim,
                got,
            }),
            _ => Ok(self.numbers.clone()),
        }
    }
}

impl From<&[Vec<f32>]> for QueryTokens {
    fn from(rows: &[Vec<f32>]) -> Self {
        let dim = rows.first().map_or(0, Vec::len);
        // Rows of differing lengths are no matrix: a dimension of 0 is refused when the request is checked.
        let even = rows.iter().all(|row| row.len() == dim);
        Self {
            numbers: rows.concat(),
            dim: Some(if even { dim } else { 0 }),
        }
    }
}

impl From<&Vec<Vec<f32>>> for QueryTokens {
    fn from(rows: &Vec<Vec<f32>>) -> Self {
        rows.as_slice().into()
    }
}

impl From<Vec<Vec<f32>>> for QueryTokens {
    fn from(rows: Vec<Vec<f32>>) -> Self {
        rows.as_slice().into()
    }
}

impl From<Vec<f32>> for QueryTokens {
    fn from(numbers: Vec<f32>) -> Self {
        Self { numbers, dim: None }
    }
}

impl FilterInput {
    pub(crate) fn into_filter(self) -> Result<Filter, QueryError> {
        match self {
            Self::Built(filter) => Ok(filter),
            Self::Text(text) => Filter::parse(&text),
        }
    }
}

impl LexicalInput {
    pub(super) fn into_query(self) -> Result<LexicalQuery, QueryError> {
        match self {
            Self::Built(query) => Ok(query),
            Self::Text(text) => LexicalQuery::parse(&text),
        }
    }
}

impl From<LexicalQuery> for LexicalInput {
    fn from(query: LexicalQuery) -> Self {
        Self::Built(query)
    }
}

impl From<&str> for LexicalInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Filter> for FilterInput {
    fn from(filter: Filter) -> Self {
        Self::Built(filter)
    }
}

impl From<&Filter> for FilterInput {
    fn from(filter: &Filter) -> Self {
        Self::Built(filter.clone())
    }
}

impl From<&str> for FilterInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&str> for PlanInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<PlanChoice> for PlanInput {
    fn from(choice: PlanChoice) -> Self {
        Self::Choice(choice)
    }
}

impl From<PlanName> for PlanInput {
    fn from(name: PlanName) -> Self {
        Self::Choice(PlanChoice::Named(name))
    }
}

impl From<bool> for PayloadSelection {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::None }
    }
}

impl<const N: usize> From<[&str; N]> for PayloadSelection {
    fn from(fields: [&str; N]) -> Self {
        Self::Fields(fields.map(str::to_owned).to_vec())
    }
}

impl From<Vec<String>> for PayloadSelection {
    fn from(fields: Vec<String>) -> Self {
        Self::Fields(fields)
    }
}
