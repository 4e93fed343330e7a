//! Documents page by page, in the order of their ids.

use std::collections::BinaryHeap;

use latewood_query::{Filter, Matches, Position};
use latewood_storage::DocumentId;

use super::Collection;
use super::documents::{Documents, id_at, positions, record_at};
use crate::document::Document;
use crate::error::Error;
use crate::search::FilterInput;

/// A walk through the documents under construction.
///
/// Pages are in the order of the ids (numbers before strings), so that a walk neither repeats nor misses a document that
/// was there all the time, whatever is written between two pages.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # let collection = latewood::Database::open("db")?.collection("notes")?;
/// let mut page = collection.scroll().filter("lang = \"en\"").limit(100).run()?;
/// while let Some(cursor) = page.next {
///     page = collection.scroll().filter("lang = \"en\"").limit(100).after(cursor).run()?;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a scroll reads nothing before run()"]
#[derive(Clone, Debug)]
pub struct Scroll<'a> {
    collection: &'a Collection,
    filter: Option<FilterInput>,
    after: Option<DocumentId>,
    limit: usize,
}

/// One page of a scroll.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The documents.
    pub documents: Vec<Document>,
    /// What to continue after; none if this was the last page.
    pub next: Option<DocumentId>,
}

impl Collection {
    /// Begins a walk through the documents, page by page.
    pub fn scroll(&self) -> Scroll<'_> {
        const LIMIT: usize = 100;
        Scroll {
            collection: self,
            filter: None,
            after: None,
            limit: LIMIT,
        }
    }

    /// All documents as they are now, in the order in which they are stored.
    pub fn documents(&self) -> Result<Documents, Error> {
        Documents::new(self)
    }
}

impl Scroll<'_> {
    /// Only documents that match: a [`Filter`], or the text of one.
    pub fn filter(mut self, filter: impl Into<FilterInput>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Only documents behind this id.
    pub fn after(mut self, cursor: impl Into<DocumentId>) -> Self {
        self.after = Some(cursor.into());
        self
    }

    /// Documents of a page, at least 1. Default: 100.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// Reads the page.
    pub fn run(self) -> Result<Page, Error> {
        let filter: Option<Filter> = self.filter.map(FilterInput::into_filter).transpose()?;
        let snapshot = self.collection.snapshot()?;
        let matches = Matches::evaluate(&snapshot, filter.as_ref())?;
        // The smallest ids behind the cursor, one more than the page holds: the greatest of them is on top.
        let mut smallest: BinaryHeap<(DocumentId, Position)> = BinaryHeap::with_capacity(self.limit + 2);
        for at in positions(&matches) {
            let Some(id) = id_at(&snapshot, at)? else { continue };
            if self.after.as_ref().is_some_and(|after| id <= *after) {
                continue;
            }
            if smallest.len() > self.limit && smallest.peek().is_some_and(|(greatest, _)| id >= *greatest) {
                continue;
            }
            smallest.push((id, at));
            if smallest.len() > self.limit + 1 {
                smallest.pop();
            }
        }
        let more = smallest.len() > self.limit;
        let mut page = smallest.into_sorted_vec();
        page.truncate(self.limit);
        let next = page.last().filter(|_| more).map(|(id, _)| id.clone());
        let mut documents = Vec::with_capacity(page.len());
        for (_, at) in page {
            documents.extend(record_at(&snapshot, at)?.map(Document::from));
        }
        Ok(Page { documents, next })
    }
}
