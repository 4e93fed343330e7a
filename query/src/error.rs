//! Why a query was refused: what was expected, what came, what to do.

use latewood_codecs::CodecError;
use latewood_storage::StorageError;

use crate::reranker::RerankError;

/// Why a query was refused or could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The filter's text could not be read.
    #[error("filter, column {column}: expected {expected}, found {found}")]
    FilterSyntax {
        /// Where, counted in characters from 1.
        column: usize,
        /// What could have stood there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The lexical query could not be read.
    #[error("lexical query, column {column}: expected {expected}, found {found}")]
    LexicalSyntax {
        /// Where, counted in characters from 1.
        column: usize,
        /// What could have stood there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The lexical query has too many words.
    #[error(
        "the query has {got} different terms; at most {most} are looked up: shorten it, or name a plan without bm25"
    )]
    QueryTerms {
        /// Terms given.
        got: usize,
        /// The largest number.
        most: usize,
    },
    /// The time that the query may take is none.
    #[error(
        "a budget of 0 was given; it must be longer, and without one the query takes what its plan takes"
    )]
    Budget,
    /// The diversity asked for is no share.
    #[error(
        "diversity is {got}; it must be from 0, where only what differs counts, to 1, where only the score does"
    )]
    Diversity {
        /// What came.
        got: f64,
    },
    /// A number of the fusion is none that can be used.
    #[error("fusion ({given}): k must be finite and above 0, weights finite and at least 0")]
    Fusion {
        /// What came.
        given: String,
    },
    /// The filter is nested deeper than the engine follows.
    #[error(
        "the filter is nested more than {limit} levels deep; write it flatter (a and b and c nests nothing)"
    )]
    FilterTooDeep {
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// A filter, an order or a count names a field that the schema does not declare and no document has.
    #[error("the field `{field}` is not declared by the collection, and no document has it; {known}")]
    UnknownField {
        /// The name in the filter.
        field: String,
        /// The names that the schema declares, as a sentence.
        known: String,
    },
    /// The filter compares a field with a value of another type.
    #[error("the filter compares `{field}`, {declared}, with {value}; {cure}")]
    FieldType {
        /// The field.
        field: String,
        /// What the schema says it is.
        declared: &'static str,
        /// The value or comparison in the filter.
        value: String,
        /// What to write instead.
        cure: &'static str,
    },
    /// Documents are to be ordered or counted by a field of places.
    #[error("`{field}` holds places, which have no order and are not counted; name a field of another type")]
    NoOrder {
        /// The field.
        field: String,
    },
    /// A region of a filter is none.
    #[error("the filter asks for {reason}")]
    Geo {
        /// Its numbers, and what they may be.
        reason: String,
    },
    /// The limit is 0, or limit and offset reach too deep.
    #[error(
        "limit {limit} and offset {offset}: the limit must be at least 1 and both together at most {most}"
    )]
    Window {
        /// Hits asked for.
        limit: usize,
        /// Hits to skip.
        offset: usize,
        /// The largest sum.
        most: usize,
    },
    /// A tunable is outside its range.
    #[error("{name} is {got}; it must be between {least} and {most}")]
    Tunable {
        /// The tunable.
        name: &'static str,
        /// What came.
        got: usize,
        /// The smallest value.
        least: usize,
        /// The largest value.
        most: usize,
    },
    /// The recall asked for is no share that can be met.
    #[error(
        "recall is {got}; it must be above 0 and at most 1: 0.95 finds 95% of the exhaustive answer, 1 scans everything"
    )]
    Recall {
        /// What came.
        got: f64,
    },
    /// Something that no candidates are searched by.
    #[error("`{name}` is nothing to search by; expected bm25, dense, maxsim, dense:NAME or sparse:NAME")]
    UnknownLeg {
        /// The name given.
        name: String,
    },
    /// The request or its plan names a vector field that the collection does not have.
    #[error("there is no vector field `{name}` to search; the collection's named fields: {known}")]
    UnknownVector {
        /// The name given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A vector of the query does not fit its named field.
    #[error("the query's vector `{name}`: {reason}")]
    NamedVector {
        /// The field.
        name: String,
        /// What was expected, what came.
        reason: String,
    },
    /// The request holds nothing to search by.
    #[error("the query is empty: give a dense vector, a token matrix, or words")]
    NothingToSearch,
    /// The query's text is empty or blank.
    #[error("the query's text is empty; give at least one word, or leave the text out")]
    EmptyText,
    /// A query vector is of another dimension than the field.
    #[error("the query's {field} has dimension {got}; the collection's has {expected}")]
    Dimension {
        /// `dense vector` or `token matrix`.
        field: &'static str,
        /// The schema's dimension.
        expected: usize,
        /// The query's dimension.
        got: usize,
    },
    /// The token matrix's length is not a multiple of its dimension.
    #[error("the query's token matrix has {got} numbers, which is no multiple of its dimension {dim}")]
    RaggedTokens {
        /// Numbers given.
        got: usize,
        /// Dimension given.
        dim: usize,
    },
    /// The query has no token, or too many.
    #[error("the query has {got} tokens; it must have 1 to {most}: shorten the text, or encode it in parts")]
    QueryTokens {
        /// Tokens given.
        got: usize,
        /// The largest number.
        most: usize,
    },
    /// A query vector holds NaN or an infinity.
    #[error("the query's {field} holds {value} at position {at}; every number must be finite")]
    NotFinite {
        /// `dense vector` or `token matrix`.
        field: &'static str,
        /// The index of the first such number.
        at: usize,
        /// The number.
        value: f32,
    },
    /// The plan needs something that is not there.
    #[error("the plan `{plan}` needs {needs}; {cure}")]
    PlanNeeds {
        /// The plan's name.
        plan: String,
        /// What is missing.
        needs: &'static str,
        /// What to give, or to ask for instead.
        cure: &'static str,
    },
    /// A name that is no plan's.
    #[error("`{name}` is no plan; plans are auto, {known}")]
    UnknownPlan {
        /// The name given.
        name: String,
        /// The names of all plans.
        known: String,
    },
    /// The filter's evaluation or the plan was made for another snapshot.
    #[error("the {what} was made for another snapshot; make it again for the one that is searched")]
    OtherSnapshot {
        /// What was made.
        what: &'static str,
    },
    /// The reranker failed.
    #[error("rerank: {0}")]
    Rerank(#[from] RerankError),
    /// Vectors were refused by the codecs.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Stored data could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
