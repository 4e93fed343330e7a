//! What there is without the feature: nothing that takes room or time.

use super::Work;
use crate::error::Result;
use crate::segment::Segment;
use crate::snapshot::Snapshot;

#[derive(Debug)]
pub(crate) struct Task;

#[expect(clippy::unused_self, reason = "as with the feature")]
impl Task {
    #[inline]
    pub(crate) fn begin(_work: Work, _collection: &str) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn record(&self, _field: &'static str, _value: u64) {}

    #[inline]
    pub(crate) fn made(&self, _segment: &Segment) {}

    #[inline]
    pub(crate) fn end<T>(self, _result: &Result<T>) {}
}

#[derive(Debug, Default)]
pub(crate) struct Applied {}

#[expect(clippy::unused_self, reason = "as with the feature")]
impl Applied {
    #[inline]
    pub(crate) fn batch(&mut self, _upserts: impl Iterator<Item = bool>) {}

    #[inline]
    pub(crate) fn documents(_collection: &str, _documents: usize) {}

    #[inline]
    pub(crate) fn log(_collection: &str, _bytes: usize) {}

    #[inline]
    pub(crate) fn end(self, _task: &Task, _collection: &str) {}
}

#[inline]
pub(crate) fn gauge(_collection: &str, _snapshot: &Snapshot) {}

#[inline]
pub(crate) fn dropped(_collection: &str) {}

#[inline]
pub(crate) fn background_failed(_collection: &str) {}
