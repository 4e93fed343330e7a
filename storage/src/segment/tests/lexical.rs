//! The lexical index: what it says of the texts, whichever way it was made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use latewood_codecs::DenseCodec;
use proptest::prelude::*;

use super::{backend, options, schema, view};
use crate::document::{DocumentId, Payload, Record};
use crate::memtable::MemtableView;
use crate::schema::Schema;
use crate::segment::{LexicalView, PostingsBlock, Segment, merge_segments, write_segment};
use crate::text::{Analyzer, LexicalSpec};

/// For each term, the rows that have it, with its positions.
type Inverted = BTreeMap<String, BTreeMap<u32, Vec<u32>>>;

/// Everything that an index says.
fn all_of(view: &LexicalView<'_>, terms: &[String]) -> (Inverted, Vec<u32>) {
    let mut inverted = Inverted::new();
    let mut block = PostingsBlock::default();
    for term in terms {
        let Some(info) = view.find(term).unwrap() else {
            continue;
        };
        let postings = view.postings(&info).unwrap();
        let rows = inverted.entry(term.clone()).or_default();
        for number in 0..postings.blocks() {
            postings.read(number, &mut block).unwrap();
            let mut places = postings.positions(number).unwrap();
            for (row, frequency) in block.documents.iter().zip(&block.frequencies) {
                let mut at = Vec::new();
                places.take(*frequency, &mut at).unwrap();
                rows.insert(*row, at);
            }
        }
        let most = rows.values().map(Vec::len).max().unwrap();
        let shortest = rows.keys().map(|row| view.lengths().get(*row)).min().unwrap();
        assert_eq!(
            (info.documents as usize, info.most as usize, info.shortest),
            (rows.len(), most, shortest)
        );
    }
    assert_eq!(inverted.len() as u64, view.num_terms(), "no term is left out");
    let lengths: Vec<u32> = (0..view.rows()).map(|row| view.lengths().get(row)).collect();
    assert_eq!(
        lengths.iter().map(|l| u64::from(*l)).sum::<u64>(),
        view.total_length()
    );
    assert_eq!(
        lengths.iter().filter(|l| **l > 0).count() as u64,
        view.documents()
    );
    (inverted, lengths)
}

/// The same, read off the texts.
fn expected(texts: &[Option<String>]) -> (Inverted, Vec<u32>) {
    let analyzer = Analyzer::new(&LexicalSpec::default());
    let (mut inverted, mut lengths) = (Inverted::new(), Vec::new());
    for (row, text) in (0..).zip(texts) {
        let terms = analyzer.terms(text.as_deref().unwrap_or_default());
        for (position, term) in (0..).zip(&terms) {
            let rows = inverted.entry(term.clone()).or_default();
            rows.entry(row).or_default().push(position);
        }
        lengths.push(u32::try_from(terms.len()).unwrap());
    }
    (inverted, lengths)
}

/// What a segment's index says of the terms of its texts.
pub(super) fn read(segment: &Segment) -> (Inverted, Vec<u32>) {
    let texts: Vec<Option<String>> = (0..segment.len()).map(|row| segment.text(row).unwrap()).collect();
    let terms: Vec<String> = expected(&texts).0.into_keys().collect();
    let all = all_of(&segment.lexical().unwrap().unwrap(), &terms);
    assert_eq!(all, expected(&texts));
    all
}

fn lexical_schema() -> Schema {
    Schema {
        dense: None,
        tokens: None,
        fields: Vec::new(),
        ..schema(DenseCodec::F32, 2, None)
    }
}

fn records(texts: &[Option<String>]) -> Vec<Arc<Record>> {
    let record = |(number, text): (u64, &Option<String>)| Record {
        id: DocumentId::U64(number),
        text: text.clone(),
        payload: Payload::new(),
        dense: None,
        tokens: None,
        vectors: crate::document::Vectors::new(),
    };
    (0..).zip(texts).map(record).map(Arc::new).collect()
}

/// Texts of few words, some of them in nearly every text, so that lists have several blocks.
fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
    let word = prop_oneof![4 => Just("the".to_owned()), 6 => "[a-d]{1,2}", 1 => "[a-z]{3,9}"];
    let text = prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    prop::collection::vec(prop::option::weighted(0.9, text), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_index_says_what_the_texts_say(texts in texts(), cut in 0.0f64..1.0, dead in prop::collection::btree_set(0u32..400, 0..40)) {
        let (backend, schema) = (backend(), lexical_schema());
        let records = records(&texts);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
        let cut = (cut * texts.len() as f64) as usize;
        let mut sources = Vec::new();
        let parts = [&records[..cut], &records[cut..]];
        for (number, part) in (1u64..).zip(parts) {
            let dir = format!("/c/segments/{number}");
            write_segment(&backend, Path::new(&dir), &schema, None, part, &options(number)).unwrap();
            let segment = super::open(&backend, Path::new(&dir), &schema, &[]).unwrap();
            read(&segment);
            let dead: Vec<u32> = dead.iter().copied().filter(|row| *row < segment.len()).collect();
            sources.push(view(segment, &dead));
        }
        let out = Path::new("/c/segments/3");
        merge_segments(&backend, out, &schema, None, &sources, &options(3), &|_| std::ops::ControlFlow::Continue(())).unwrap();
        let merged = super::open(&backend, out, &schema, &[]).unwrap();
        prop_assert!(merged.verify().iter().all(|health| health.damage.is_none()));
        read(&merged);

        let mut memtable = MemtableView::default();
        records.iter().for_each(|record| memtable.upsert(Arc::clone(record)));
        let spec = LexicalSpec::default();
        for (first, view) in memtable.lexical(&spec).unwrap() {
            let first = first as usize;
            let own = &texts[first..first + view.rows() as usize];
            let terms: Vec<String> = expected(own).0.into_keys().collect();
            prop_assert_eq!(all_of(&view, &terms), expected(own));
        }
    }
}

#[test]
fn an_index_of_another_spec_is_done_without() {
    let (backend, schema) = (backend(), lexical_schema());
    let records = records(&[Some("Running runs".to_owned())]);
    let dir = Path::new("/c/segments/1");
    write_segment(&backend, dir, &schema, None, &records, &options(1)).unwrap();
    let stemmed = Schema {
        lexical: Some(LexicalSpec {
            stemmer: crate::text::Language::named("english"),
            ..LexicalSpec::default()
        }),
        ..schema
    };
    let segment = super::open(&backend, dir, &stemmed, &[]).unwrap();
    let view = segment.lexical().unwrap().unwrap();
    assert_eq!(view.find("run").unwrap().unwrap().most, 2);
    assert!(segment.health().iter().any(|health| health.damage.is_some()));
}
