//! Spans of the stages of a query. Without the feature `telemetry` nothing of it is compiled in.

use crate::profile::StageProfile;

/// A span around one stage of a query, entered from [`Self::begin`] to [`Self::end`]. A stage is named when it ends, as only
/// then it is known which one it was; one that an error broke off is named `unfinished`.
#[derive(Debug)]
#[must_use = "the span ends when it is dropped"]
pub struct StageSpan {
    #[cfg(feature = "telemetry")]
    entered: Option<tracing::span::EnteredSpan>,
}

#[cfg(feature = "telemetry")]
impl StageSpan {
    /// Begins a stage, as a child of the span that is entered on this thread.
    pub fn begin() -> Self {
        use tracing::field::Empty;
        let span = tracing::debug_span!(
            target: "latewood::query",
            "stage",
            stage = Empty,
            candidates_in = Empty,
            candidates_out = Empty,
            bytes = Empty,
            flops = Empty,
            work = Empty,
            microseconds = Empty,
        );
        Self {
            entered: Some(span.entered()),
        }
    }

    /// No stage: what is done within it is not told.
    pub fn none() -> Self {
        Self { entered: None }
    }

    /// Ends the stage and says what it did; never its note, which may quote a filter.
    pub fn end(mut self, stage: &StageProfile) {
        if let Some(span) = self.entered.take() {
            span.record("stage", stage.name.as_str());
            span.record("candidates_in", stage.candidates_in);
            span.record("candidates_out", stage.candidates_out);
            span.record("bytes", stage.bytes);
            span.record("flops", stage.flops);
            span.record("work", stage.work);
            span.record("microseconds", stage.microseconds);
        }
    }

    /// Ends the stage and begins the next one.
    pub(crate) fn next(&mut self, stage: &StageProfile) {
        // The next one must not be a child of this one.
        let ended = Self {
            entered: self.entered.take(),
        };
        ended.end(stage);
        *self = Self::begin();
    }

    /// Runs what is another stage in the midst of this one: the two stand side by side, and this one is left meanwhile.
    pub fn aside<T>(&mut self, run: impl FnOnce(Self) -> T) -> T {
        let left = self.entered.take().map(tracing::span::EnteredSpan::exit);
        let other = if left.is_some() {
            Self::begin()
        } else {
            Self::none()
        };
        let result = run(other);
        self.entered = left.map(tracing::Span::entered);
        result
    }
}

#[cfg(feature = "telemetry")]
impl Drop for StageSpan {
    fn drop(&mut self) {
        if let Some(span) = &self.entered {
            span.record("stage", "unfinished");
        }
    }
}

#[cfg(not(feature = "telemetry"))]
#[expect(clippy::unused_self, reason = "as with the feature")]
impl StageSpan {
    /// Begins nothing.
    #[inline]
    pub fn begin() -> Self {
        Self {}
    }

    /// Nothing as well.
    #[inline]
    pub fn none() -> Self {
        Self {}
    }

    /// Ends nothing.
    #[inline]
    pub fn end(self, _stage: &StageProfile) {}

    #[inline]
    pub(crate) fn next(&mut self, _stage: &StageProfile) {}

    /// Runs it.
    #[inline]
    pub fn aside<T>(&mut self, run: impl FnOnce(Self) -> T) -> T {
        run(Self {})
    }
}
