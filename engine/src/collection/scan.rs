//! Documents in the order of a payload field.

use latewood_query::{Filter, Matches, OrderBy, ordered};

use super::Collection;
use super::documents::{positions, record_at};
use crate::document::Document;
use crate::error::Error;
use crate::search::FilterInput;

/// A look through documents under construction: those that match a filter, ordered by a payload field.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # let collection = latewood::Database::open("db")?.collection("notes")?;
/// let newest = collection.scan().filter("lang = \"en\"").order_by("published", true).limit(10).run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a scan reads nothing before run()"]
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    collection: &'a Collection,
    filter: Option<FilterInput>,
    order: Option<OrderBy>,
    offset: usize,
    limit: usize,
}

impl Collection {
    /// Begins a look through the documents, in an order of one's own. [`Collection::scroll`] walks through all of them page
    /// by page.
    pub fn scan(&self) -> Scan<'_> {
        const LIMIT: usize = 100;
        Scan {
            collection: self,
            filter: None,
            order: None,
            offset: 0,
            limit: LIMIT,
        }
    }
}

impl Scan<'_> {
    /// Only documents that match: a [`Filter`], or the text of one.
    pub fn filter(mut self, filter: impl Into<FilterInput>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Orders by a payload field, indexed or not; documents without it come last, and of several values the first in the order
    /// counts. Default: the order in which documents are stored.
    pub fn order_by(mut self, field: impl Into<String>, descending: bool) -> Self {
        let field = field.into();
        self.order = Some(OrderBy { field, descending });
        self
    }

    /// How many documents to skip first. Default: 0.
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// How many documents. Default: 100.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Reads the documents.
    pub fn run(self) -> Result<Vec<Document>, Error> {
        let filter: Option<Filter> = self.filter.map(FilterInput::into_filter).transpose()?;
        let snapshot = self.collection.snapshot()?;
        let places = match &self.order {
            Some(by) => ordered(&snapshot, filter.as_ref(), by, (self.offset, self.limit))?.0,
            None => {
                let matches = Matches::evaluate(&snapshot, filter.as_ref())?;
                positions(&matches).skip(self.offset).take(self.limit).collect()
            }
        };
        let mut documents = Vec::with_capacity(places.len());
        for at in places {
            documents.extend(record_at(&snapshot, at)?.map(Document::from));
        }
        Ok(documents)
    }
}
