//! Damage is found, named, and kept to the file that has it; nothing panics on any bytes.

use super::lexical::read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use latewood_codecs::{DenseCodec, OriginalCodec};
use proptest::prelude::*;

use super::{backend, codebook, open, options, records, schema};
use crate::backend::{MemoryBackend, StorageBackend, write_file};
use crate::document::Record;
use crate::error::{Result, StorageError};
use crate::schema::Schema;
use crate::segment::{
    Codebook, ColumnView, Component, GraphSearch, Scored, Segment, SparseBlock, write_segment,
};

const DIR: &str = "/c/segments/1";
const ROWS: u64 = 90;

struct Whole {
    backend: MemoryBackend,
    schema: Schema,
    codebook: Arc<Codebook>,
    records: Vec<Arc<Record>>,
}

fn whole() -> Whole {
    let (backend, schema) = (
        backend(),
        schema(DenseCodec::Rabitq8, 2, Some(OriginalCodec::F16)),
    );
    let (codebook, records) = (codebook(1, 2, 16), records(100..100 + ROWS));
    write_segment(
        &backend,
        Path::new(DIR),
        &schema,
        Some(&codebook),
        &records,
        &options(1),
    )
    .unwrap();
    Whole {
        backend,
        schema,
        codebook,
        records,
    }
}

impl Whole {
    fn path(component: Component) -> PathBuf {
        Path::new(DIR).join(component.name())
    }

    /// A copy in which one file has other bytes.
    fn with(&self, component: Component, change: impl FnOnce(&mut Vec<u8>)) -> MemoryBackend {
        let (copy, path) = (self.backend.image(), Self::path(component));
        let mut bytes = copy.read(&path).unwrap();
        change(&mut bytes);
        copy.remove_file(&path).unwrap();
        write_file(&copy, &path, &bytes).unwrap();
        copy
    }

    fn open(&self, backend: &MemoryBackend) -> Result<Segment> {
        open(
            backend,
            Path::new(DIR),
            &self.schema,
            std::slice::from_ref(&self.codebook),
        )
    }

    /// Reads everything; what can be read must be what was written.
    fn read_all(&self, segment: &Segment) -> Vec<StorageError> {
        let mut errors = Vec::new();
        let mut note = |error| errors.push(error);
        for (ordinal, record) in (0..).zip(&self.records) {
            segment
                .document_id(ordinal)
                .map(|id| assert_eq!(id, record.id))
                .unwrap_or_else(&mut note);
            segment
                .find(&record.id)
                .map(|found| assert_eq!(found, Some(ordinal)))
                .unwrap_or_else(&mut note);
            segment
                .text(ordinal)
                .map(|text| assert_eq!(text, record.text))
                .unwrap_or_else(&mut note);
            segment
                .payload(ordinal)
                .map(|p| assert_eq!(p, record.payload))
                .unwrap_or_else(&mut note);
            segment
                .token_matrix(ordinal)
                .map(|t| assert_eq!(t, record.tokens))
                .unwrap_or_else(&mut note);
            if let Err(error) = segment.record(ordinal) {
                note(error);
            }
        }
        for field in ["lang", "tags", "year", "price", "open", "when", "at"] {
            let read = |column: Option<ColumnView<'_>>| match column.unwrap() {
                ColumnView::Keyword(c) => (0..91)
                    .map(|r| c.terms_of(r).iter().map(|&t| c.term(t).len()).sum::<usize>())
                    .sum(),
                ColumnView::Int(c) => (0..91).filter_map(|r| c.get(r)).count(),
                ColumnView::Float(c) => (0..91).filter_map(|r| c.get(r)).count(),
                ColumnView::Bool(c) => (0..91).filter_map(|r| c.get(r)).count(),
                ColumnView::Datetime(c) => (0..91).filter_map(|r| c.get(r)).count(),
                ColumnView::Geo(c) => (0..91).filter_map(|r| c.get(r)).count(),
            };
            segment
                .column(field)
                .map(read)
                .map(drop)
                .unwrap_or_else(&mut note);
        }
        if let Err(error) = self.search_all(segment) {
            note(error);
        }
        errors
    }

    fn search_all(&self, segment: &Segment) -> Result<()> {
        if let (Some(rows), Some(graph)) = (segment.dense()?, segment.graph()?) {
            let score = |row: u32| rows.pair_score(0, row as usize);
            let entries: Vec<Scored> = graph
                .entry()
                .map(|row| Scored {
                    score: score(row),
                    row,
                })
                .into_iter()
                .collect();
            for level in 0..=graph.max_level() {
                GraphSearch::new().search(
                    graph.len(),
                    &entries,
                    8,
                    |row| graph.neighbours(level, row),
                    |_| (),
                    |rows, scores| {
                        for (to, row) in scores.iter_mut().zip(rows) {
                            *to = score(*row);
                        }
                    },
                );
            }
        }
        let mut tokens = 0;
        if let Some(view) = segment.tokens()? {
            for rows in (0..segment.len()).filter_map(|ordinal| view.residual(ordinal)) {
                tokens += (0..rows.len()).filter(|&t| rows.codes.get(t) < 16).count();
            }
            assert_eq!(tokens, view.num_tokens());
        }
        if let (Some(named), Some(graph)) = (segment.named(1)?, segment.named_graph(1)) {
            for row in (0..named.len()).chain([u32::MAX]) {
                let _ = named.vector(row);
                for level in 0..=graph.max_level() {
                    assert!(graph.neighbours(level, row).all(|other| other < named.len()));
                }
            }
        }
        if let Some(index) = segment.sparse_index(0) {
            let mut block = SparseBlock::default();
            for dimension in (0..12).chain([u32::MAX - 1, u32::MAX]) {
                let Some(list) = index.list(dimension)? else {
                    continue;
                };
                for number in 0..list.blocks() {
                    if list.read(number, &mut block).is_some() {
                        assert!(block.rows.iter().all(|row| *row < segment.len()));
                    }
                    assert!(list.seek(number, segment.len()) <= list.blocks());
                }
            }
        }
        if let Some(ivf) = segment.ivf()? {
            let mut out = Vec::new();
            (0..16).try_for_each(|centroid| ivf.postings(centroid, &mut out))?;
            assert!(out.iter().all(|&document| document < segment.len()));
        }
        Ok(())
    }
}

const SOURCES: [Component; 8] = [
    Component::Ids,
    Component::Documents,
    Component::Columns,
    Component::Dense,
    Component::Tokens,
    Component::Original,
    Component::Sparse(0),
    Component::Vectors(1),
];

#[test]
fn a_cut_source_is_an_error_that_names_it_only_when_it_is_needed() {
    let whole = whole();
    for damaged in SOURCES {
        let copy = whole.with(damaged, |bytes| bytes.truncate(bytes.len() - 1));
        let segment = whole.open(&copy).unwrap();
        let errors = whole.read_all(&segment);
        assert!(!errors.is_empty(), "{damaged:?}");
        for error in errors {
            assert!(
                matches!(&error, StorageError::Corruption { file, .. } if *file == Whole::path(damaged)),
                "{damaged:?}: {error}"
            );
        }
        let bad: Vec<Component> = segment
            .verify()
            .iter()
            .filter(|h| h.damage.is_some())
            .map(|h| h.component)
            .collect();
        assert_eq!(bad, [damaged]);
    }
}

#[test]
fn a_missing_source_is_told_by_its_name() {
    let whole = whole();
    let copy = whole.backend.image();
    copy.remove_file(&Whole::path(Component::Dense)).unwrap();
    let segment = whole.open(&copy).unwrap();
    assert!(segment.dense().unwrap_err().is_not_found());
    assert_eq!(segment.text(0).unwrap(), whole.records[0].text);
}

#[test]
fn a_damaged_graph_or_list_is_done_without() {
    let whole = whole();
    for damaged in [
        Component::Graph,
        Component::Ivf,
        Component::Lexical,
        Component::Postings(0),
        Component::VectorGraph(1),
    ] {
        for change in [
            |b: &mut Vec<u8>| b[70] ^= 8,
            |b: &mut Vec<u8>| b.truncate(100),
            |b: &mut Vec<u8>| b.clear(),
        ] {
            let segment = whole.open(&whole.with(damaged, change)).unwrap();
            assert!(whole.read_all(&segment).is_empty(), "{damaged:?}");
            let gone = match damaged {
                Component::Graph => segment.graph().unwrap().is_none(),
                Component::Lexical => read(&segment) == read(&whole.open(&whole.backend).unwrap()),
                Component::VectorGraph(_) => segment.named_graph(1).is_none(),
                Component::Postings(_) => segment.sparse_index(0).is_none(),
                _ => segment.ivf().unwrap().is_none(),
            };
            assert!(gone, "{damaged:?}");
            let bad: Vec<Component> = segment
                .health()
                .iter()
                .filter(|h| h.damage.is_some())
                .map(|h| h.component)
                .collect();
            assert_eq!(bad, [damaged]);
        }
    }
}

#[test]
fn a_file_of_another_segment_is_refused() {
    let whole = whole();
    let other = whole.backend.image();
    let dir = Path::new("/c/segments/2");
    let records = records(1000..1000 + ROWS);
    write_segment(
        &other,
        dir,
        &whole.schema,
        Some(&whole.codebook),
        &records,
        &options(2),
    )
    .unwrap();
    let foreign = other.read(&dir.join(Component::Documents.name())).unwrap();
    let segment = whole
        .open(&whole.with(Component::Documents, |bytes| *bytes = foreign))
        .unwrap();
    assert!(matches!(segment.text(0), Err(StorageError::Corruption { .. })));
}

#[test]
fn a_missing_codebook_is_an_error_of_the_tokens_alone() {
    let whole = whole();
    let segment = open(&whole.backend, Path::new(DIR), &whole.schema, &[]).unwrap();
    assert!(matches!(segment.tokens(), Err(StorageError::Corruption { .. })));
    assert!(segment.ivf().unwrap().is_none());
    assert!(segment.dense().unwrap().is_some());
}

#[test]
fn every_byte_of_meta_is_guarded() {
    let whole = whole();
    let good = whole.backend.read(&Whole::path(Component::Meta)).unwrap();
    for at in 0..good.len() {
        let opened = whole.open(&whole.with(Component::Meta, |bytes| bytes[at] ^= 0x20));
        // What stands beside the archive answers no query; a check tells it all the same.
        let told = |segment: Segment| {
            segment
                .verify()
                .iter()
                .any(|health| health.component == Component::Meta && health.damage.is_some())
        };
        assert!(opened.is_err() || opened.is_ok_and(told), "flip at {at}");
        let cut = whole.open(&whole.with(Component::Meta, |bytes| bytes.truncate(at)));
        assert!(cut.is_err(), "cut to {at}");
    }
}

/// Every file of the segment.
fn all() -> Vec<Component> {
    let of_field = [
        Component::Sparse(0),
        Component::Postings(0),
        Component::Vectors(1),
        Component::VectorGraph(1),
    ];
    Component::SINGLE.into_iter().chain(of_field).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn flips_and_cuts_give_errors_or_the_truth(
        component in prop::sample::select(all()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let whole = whole();
        let copy = whole.with(component, |bytes| {
            for (at, mask) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            if let Some(keep) = keep {
                let length = keep.index(bytes.len());
                bytes.truncate(length);
            }
        });
        if let Ok(segment) = whole.open(&copy) {
            for error in whole.read_all(&segment) {
                prop_assert!(matches!(error, StorageError::Corruption { .. } | StorageError::VersionTooNew { .. }), "{error}");
            }
            segment.verify();
        }
    }

    /// Damage under checksums that are right: a hostile file rather than a broken one.
    #[test]
    fn sealed_nonsense_does_not_panic(
        component in prop::sample::select(all()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let whole = whole();
        let copy = whole.with(component, |bytes| {
            let mut sealed = super::super::header::Header::parse(Path::new("f"), bytes, component.kind()).unwrap();
            let last = sealed.sections.last().unwrap();
            let end = usize::try_from((last.offset + last.length).next_multiple_of(64)).unwrap();
            bytes.truncate(end);
            for (at, value) in &flips {
                let at = 64 + at.index(end - 64);
                bytes[at] = *value;
            }
            for section in &mut sealed.sections {
                let range = usize::try_from(section.offset).unwrap()..usize::try_from(section.offset + section.length).unwrap();
                section.crc = crc32fast::hash(&bytes[range]);
            }
            let tail = sealed.seal(component.kind(), end as u64);
            bytes.extend_from_slice(&tail);
        });
        let unguarded = whole.open_unguarded(&copy, component);
        if let Ok(segment) = unguarded {
            for ordinal in 0..segment.len().min(100) {
                let _ = segment.record(ordinal);
                let _ = segment.document_id(ordinal).and_then(|id| segment.find(&id));
            }
            for field in ["lang", "tags", "year", "price", "open"] {
                if let Ok(Some(ColumnView::Keyword(c))) = segment.column(field) {
                    (0..80).for_each(|row| c.terms_of(row).iter().for_each(|&t| assert!(c.term(t).len() < 1000)));
                    c.find("l3");
                }
            }
            let _ = whole.search_all(&segment);
            segment.verify();
        }
    }
}

impl Whole {
    /// Opens a segment whose meta file has been made to name the changed file.
    fn open_unguarded(&self, backend: &MemoryBackend, component: Component) -> Result<Segment> {
        use crate::segment::meta::{Beside, FileMeta, SegmentMeta};
        use crate::segment::reader::ComponentFile;
        if component != Component::Meta {
            let (mut meta, file) = SegmentMeta::open(backend, Path::new(DIR))?;
            let beside = Beside::read(&file);
            let file = ComponentFile::open(backend, &Self::path(component), component.kind())?;
            for entry in &mut meta.files {
                if entry.component() == Some(component) {
                    *entry = FileMeta::new(component, file.written());
                }
            }
            backend.remove_file(&Self::path(Component::Meta)).unwrap();
            meta.write(backend, Path::new(DIR), &beside)?;
        }
        self.open(backend)
    }
}
