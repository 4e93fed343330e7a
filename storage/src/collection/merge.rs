//! Makes one segment of several, while readers and writers go on.

use std::collections::HashSet;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::CollectionStore;
use super::load::{codebook_path, segment_dir};
use super::state::{Cause, State, needed_codebooks};
use crate::error::{IoContext, Result};
use crate::segment::{
    Codebook, Origin, ProgressFn, Remap, Segment, SegmentView, TrainingSet, merge_segments, train_codebook,
};
use crate::snapshot::Snapshot;
use crate::telemetry::{Task, Work, gauge};
use crate::tombstones::Tombstones;

/// Seed of every training: the same documents give the same codebook.
const SEED: u64 = 0x1a7e_300d;

impl CollectionStore {
    /// Merges the segments of `pinned` at these indices, coding tokens with `codebook`. The caller holds the merge lock,
    /// so that no one else removes segments.
    pub(super) fn merge(
        &self,
        pinned: &Snapshot,
        indices: &[usize],
        codebook: Option<&Arc<Codebook>>,
        progress: &ProgressFn<'_>,
    ) -> Result<()> {
        let sources: Vec<SegmentView> = indices
            .iter()
            .filter_map(|index| pinned.segments.get(*index).cloned())
            .collect();
        if sources.is_empty() {
            // Only a codebook comes into force.
            return self.install_merged(&sources, codebook, None);
        }
        let task = Task::begin(Work::Merge, &self.name);
        task.record("segments", sources.len() as u64);
        let merged = self.merge_sources(pinned, &sources, codebook, progress);
        if let Ok(Some(segment)) = &merged {
            task.made(segment);
        }
        task.end(&merged);
        merged.map(drop)
    }

    /// The segment that they became; none where no document was left.
    fn merge_sources(
        &self,
        pinned: &Snapshot,
        sources: &[SegmentView],
        codebook: Option<&Arc<Codebook>>,
        progress: &ProgressFn<'_>,
    ) -> Result<Option<Arc<Segment>>> {
        let built = if sources.iter().any(|view| view.live_len() > 0) {
            Some(self.build_merged(pinned, sources, codebook, progress)?)
        } else {
            None
        };
        let installed = self.install_merged(sources, codebook, built.as_ref());
        if let (Err(error), Some((segment, _))) = (&installed, &built) {
            self.abandon(segment_dir(&self.dir, segment.id()), error);
        }
        installed.map(|()| built.map(|(segment, _)| segment))
    }

    fn build_merged(
        &self,
        pinned: &Snapshot,
        sources: &[SegmentView],
        codebook: Option<&Arc<Codebook>>,
        progress: &ProgressFn<'_>,
    ) -> Result<(Arc<Segment>, Vec<Remap>)> {
        let id = self.with_state("merge", |state| Ok(state.take_segment()))?;
        let folder = segment_dir(&self.dir, id);
        let backend = self.context.backend().as_ref();
        let mut options = self.context.segment_options(id)?;
        let origin = |view: &SegmentView| view.segment.origin().flushed;
        options.origin = Origin {
            sequence: pinned.sequence,
            flushed: sources.iter().map(origin).max().unwrap_or(0),
            sources: sources.iter().map(|view| view.segment.id()).collect(),
        };
        let progress: &ProgressFn<'_> = &|step| {
            pinned.relieve();
            progress(step)
        };
        let merged = merge_segments(
            backend,
            &folder,
            &self.schema,
            codebook,
            sources,
            &options,
            progress,
        );
        let opened = merged.and_then(|(_, remaps)| {
            let mut with_codebook = pinned.clone();
            add_codebook(&mut with_codebook, codebook);
            Ok((self.open_segment(folder.clone(), &with_codebook)?, remaps))
        });
        opened.inspect_err(|error| self.abandon(folder, error))
    }

    fn install_merged(
        &self,
        sources: &[SegmentView],
        codebook: Option<&Arc<Codebook>>,
        built: Option<&(Arc<Segment>, Vec<Remap>)>,
    ) -> Result<()> {
        let ids: HashSet<u64> = sources.iter().map(|view| view.segment.id()).collect();
        let install = |state: &mut State, current: &Snapshot| {
            let mut next = current.clone();
            let is_source = |view: &SegmentView| ids.contains(&view.segment.id());
            let place = next
                .segments
                .iter()
                .position(is_source)
                .unwrap_or(next.segments.len());
            next.segments.retain(|view| !is_source(view));
            if let Some((segment, remaps)) = built {
                let tombstones = Arc::new(arrived(sources, remaps, current));
                next.segments.insert(
                    place,
                    SegmentView {
                        segment: Arc::clone(segment),
                        tombstones,
                    },
                );
            }
            add_codebook(&mut next, codebook);
            needed_codebooks(&mut next);
            state.install(&self.context, &self.dir, &self.poison, &next, Cause::Merge)?;
            gauge(&self.name, &next);
            Ok((next, ()))
        };
        self.with_state("merge", |state| {
            self.snapshot.change(|current| install(state, current))?;
            for view in sources {
                state.retire(&self.dir, &view.segment);
            }
            Ok(())
        })
    }

    /// Trains a codebook and makes its file durable. No manifest names it yet.
    pub(super) fn train(
        &self,
        pinned: &Snapshot,
        set: &TrainingSet<'_>,
        progress: &ProgressFn<'_>,
    ) -> Result<Arc<Codebook>> {
        let task = Task::begin(Work::Train, &self.name);
        let trained = self.train_one(pinned, set, progress);
        if let Ok(codebook) = &trained {
            task.record("tokens", codebook.trained_on_tokens);
            task.record("centroids", codebook.codec.len() as u64);
        }
        task.end(&trained);
        trained
    }

    fn train_one(
        &self,
        pinned: &Snapshot,
        set: &TrainingSet<'_>,
        progress: &ProgressFn<'_>,
    ) -> Result<Arc<Codebook>> {
        let id = self.with_state("train a codebook", |state| Ok(state.take_codebook()))?;
        let pool = self.context.pool()?;
        let progress: &ProgressFn<'_> = &|step| {
            pinned.relieve();
            progress(step)
        };
        let codebook = train_codebook(id, &self.schema, set, SEED, &pool, progress)?;
        self.save_codebook(&codebook)?;
        Ok(Arc::new(codebook))
    }

    /// Makes the file of a new codebook durable.
    pub(super) fn save_codebook(&self, codebook: &Codebook) -> Result<()> {
        let (path, folder) = (codebook_path(&self.dir, codebook.id), self.dir.join("codebooks"));
        let backend = self.context.backend().as_ref();
        let written = codebook.write(backend, &path).map(drop);
        written
            .and_then(|()| backend.sync_dir(&folder).at("sync", &folder))
            .inspect_err(|error| {
                if error.is_failed_sync() {
                    self.poison.set(error.to_string());
                }
                Codebook::remove(backend, &path);
            })
    }

    /// Removes the folders of merged segments that no reader of this process holds; whether nothing is left of before.
    pub(super) fn tidy(&self) -> Result<bool> {
        let forgotten = self.snapshot.forget_unread();
        self.with_state("merge", |state| {
            state.remove_retired(self.context.backend().as_ref());
            Ok(forgotten && !state.has_retired())
        })
    }
}

pub(super) fn add_codebook(snapshot: &mut Snapshot, codebook: Option<&Arc<Codebook>>) {
    if let Some(codebook) = codebook {
        Arc::make_mut(&mut snapshot.codebooks).insert(codebook.id, Arc::clone(codebook));
    }
}

/// Rows of the merged segment whose sources were deleted after the merge began.
fn arrived(sources: &[SegmentView], remaps: &[Remap], current: &Snapshot) -> Tombstones {
    let mut tombstones = RoaringBitmap::new();
    for (source, remap) in sources.iter().zip(remaps) {
        let now = current
            .segments
            .iter()
            .find(|view| view.segment.id() == source.segment.id());
        if let Some(now) = now {
            let new = &**now.tombstones - &**source.tombstones;
            tombstones.extend(new.iter().filter_map(|ordinal| remap.get(ordinal)));
        }
    }
    tombstones.into()
}
