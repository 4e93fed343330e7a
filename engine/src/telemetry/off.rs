//! What there is without the feature: nothing that takes room or time.

use super::Work;
use crate::error::Error;
use crate::search::Analysis;

#[must_use = "it ends when it is dropped"]
pub(crate) struct Around;

impl Around {
    #[inline]
    pub(crate) fn begin(_work: Work, _collection: &str) -> Self {
        Self
    }
}

pub(crate) struct Asked;

impl Asked {
    #[inline]
    pub(crate) fn begin(_collection: &str) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn end(self, _answer: &Result<Analysis, Error>) {}
}

#[inline]
pub(crate) fn background_failed(_collection: &str) {}
