//! How often each value of a payload field is there.

use latewood_query::{FacetCounts, facets};

use super::Collection;
use crate::error::Error;
use crate::search::FilterInput;

impl Collection {
    /// Counts the values of a payload field over all documents, or over those that match a filter (a
    /// [`Filter`](crate::Filter), or the text of one): exact, most frequent first. An indexed field is counted from its
    /// column, another from the stored payloads, which [`FacetCounts::note`] says.
    ///
    /// # Errors
    /// A filter that does not fit, a field that is not declared and that no document has, a field of places.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), latewood::Error> {
    /// # let collection = latewood::Database::open("db")?.collection("notes")?;
    /// for facet in collection.facets("lang", Some("year >= 2020".into()))?.values {
    ///     println!("{} {}", facet.value, facet.count);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn facets(&self, field: &str, filter: Option<FilterInput>) -> Result<FacetCounts, Error> {
        let filter = filter.map(FilterInput::into_filter).transpose()?;
        Ok(facets(&*self.snapshot()?, field, filter.as_ref())?)
    }
}
