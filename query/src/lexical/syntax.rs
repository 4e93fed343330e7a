//! A lexical query: words, phrases, and what must or must not be there.

use std::fmt;
use std::str::FromStr;

use super::parse::parse;
use crate::error::QueryError;

/// What a lexical search looks for. Its text form is read by [`LexicalQuery::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexicalQuery(pub(super) Node);

/// A part of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A text: any of its terms.
    Text(String),
    /// A text whose terms stand one after another. A word that is several terms is one, too.
    Phrase(String),
    /// All of `must`, none of `not`; `should` adds to the score, and at least one of it is there when `must` is empty.
    Boolean(Clauses),
}

/// The parts of a boolean query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clauses {
    pub(super) must: Vec<Node>,
    pub(super) should: Vec<Node>,
    pub(super) not: Vec<Node>,
}

impl LexicalQuery {
    /// Any of the words of a text, whatever characters it has.
    pub fn any(text: impl Into<String>) -> Self {
        Self(Node::Text(text.into()))
    }

    /// Reads a query: words, of which any may be there; `"phrases"`; `+must` and `-not`; `AND`, `OR`, `NOT` and parentheses.
    ///
    /// # Errors
    /// [`QueryError::LexicalSyntax`] says where and what was expected.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse(text).map(Self)
    }
}

impl FromStr for LexicalQuery {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

impl fmt::Display for LexicalQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, true)
    }
}

impl Node {
    fn write(&self, f: &mut fmt::Formatter<'_>, outermost: bool) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Phrase(text) => write!(f, "\"{text}\""),
            Self::Boolean(clauses) => {
                let marked = [("+", &clauses.must), ("", &clauses.should), ("-", &clauses.not)];
                let all = marked
                    .into_iter()
                    .flat_map(|(mark, nodes)| nodes.iter().map(move |node| (mark, node)));
                if !outermost {
                    f.write_str("(")?;
                }
                for (number, (mark, node)) in all.enumerate() {
                    f.write_str(if number == 0 { "" } else { " " })?;
                    f.write_str(mark)?;
                    node.write(f, false)?;
                }
                f.write_str(if outermost { "" } else { ")" })
            }
        }
    }
}
