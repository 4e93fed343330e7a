//! Codebooks are learnt from what is live, and come back from their files.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::Quantizer;
use latewood_codecs::{DenseCodec, TokenMatrix};

use super::{TOKEN_DIM, backend, open, options, pool, record, schema, unit_rows, view};
use crate::backend::StorageBackend;
use crate::document::Record;
use crate::error::StorageError;
use crate::schema::Schema;
use crate::segment::random::SplitMix64;
use crate::segment::{AwaitedTokens, Codebook, ReadToken, TrainingSet, train_codebook, write_segment};

/// Documents whose tokens lie near one of a few directions.
fn clustered(range: std::ops::Range<u64>) -> Vec<Arc<Record>> {
    let directions = unit_rows(&mut SplitMix64::new(77), 6, TOKEN_DIM);
    let document = |n| {
        let mut random = SplitMix64::new(n + 1_000_000);
        let mut tokens = unit_rows(&mut random, 12, TOKEN_DIM);
        for token in tokens.chunks_mut(TOKEN_DIM) {
            let cluster = usize::try_from(random.below(6)).unwrap();
            let direction = &directions[cluster * TOKEN_DIM..][..TOKEN_DIM];
            token
                .iter_mut()
                .zip(direction)
                .for_each(|(t, d)| *t = d + 0.1 * *t);
        }
        Arc::new(Record {
            tokens: Some(TokenMatrix::from_f32(TOKEN_DIM, &tokens).unwrap()),
            ..record(n)
        })
    };
    range.map(document).collect()
}

fn of(records: &[Arc<Record>]) -> TrainingSet<'_> {
    TrainingSet {
        records,
        ..TrainingSet::default()
    }
}

/// The rows of the records' matrices, in a file as it were.
fn row(records: &[Arc<Record>], document: usize, token: usize) -> &[f16] {
    let tokens = records[document].tokens.as_ref().unwrap().as_f16();
    &tokens[token * TOKEN_DIM..][..TOKEN_DIM]
}

#[test]
fn a_codebook_of_documents_to_come_is_the_one_of_the_same_documents_written() {
    let (schema, records) = (schema(DenseCodec::F32, 2, None), clustered(0..200));
    let go = |_| ControlFlow::Continue(());
    let lengths = vec![12; records.len()];
    let read = |document: usize, token: usize, out: &mut [f32]| {
        row(&records, document, token).convert_to_f32_slice(out);
        Ok(())
    };
    let train = |read: &ReadToken<'_>| {
        let awaited = AwaitedTokens {
            path: Path::new("/in.npy"),
            lengths: &lengths,
            read,
        };
        assert_eq!(awaited.tokens(), 200 * 12);
        let set = TrainingSet {
            awaited: Some(&awaited),
            ..TrainingSet::default()
        };
        train_codebook(1, &schema, &set, 1, &pool(), &go)
    };
    let codebook = train(&read).unwrap();
    let written = train_codebook(1, &schema, &of(&records), 1, &pool(), &go).unwrap();
    // Rows whose rounded norm has come to lie outside of what counts as 1 are normalised once more.
    let pairs = || codebook.codec.centroids().iter().zip(written.codec.centroids());
    assert!(pairs().all(|(a, b)| (a - b).abs() < 0.01));
    assert_eq!(codebook.trained_on_tokens, 200 * 12);
    // What is no number is the load's to refuse; what cannot be read is told here.
    let nan = |document: usize, token: usize, out: &mut [f32]| {
        read(document, token, out)?;
        if document == 7 {
            out.fill(f32::NAN);
        }
        Ok(())
    };
    assert!(
        train(&nan)
            .unwrap()
            .codec
            .centroids()
            .iter()
            .all(|x| x.is_finite())
    );
    let unreadable = |document: usize, token: usize, out: &mut [f32]| match document {
        7 => Err(std::io::Error::other("a bad sector")),
        _ => read(document, token, out),
    };
    let error = train(&unreadable).unwrap_err();
    assert!(
        matches!(&error, StorageError::Io { path, .. } if path == Path::new("/in.npy")),
        "{error}"
    );
}

#[test]
fn a_codebook_learns_the_clusters_of_segments_and_memtable() {
    let (backend, schema) = (backend(), schema(DenseCodec::F32, 2, None));
    let stored = clustered(0..150);
    let dir = Path::new("/c/segments/1");
    write_segment(&backend, dir, &schema, None, &stored, &options(1)).unwrap();
    let sources = [view(open(&backend, dir, &schema, &[]).unwrap(), &[0, 1, 2])];
    let fresh = clustered(150..200);
    let set = TrainingSet {
        segments: &sources,
        records: &fresh,
        awaited: None,
    };
    let train =
        |seed| train_codebook(5, &schema, &set, seed, &pool(), &|_| ControlFlow::Continue(())).unwrap();
    let codebook = train(1);
    assert_eq!((codebook.id, codebook.trained_on_tokens), (5, 197 * 12));
    assert_eq!(codebook.codec.len(), 512);
    assert_eq!(
        codebook.codec.centroids(),
        train(1).codec.centroids(),
        "the seed decides"
    );
    assert_ne!(codebook.codec.centroids(), train(2).codec.centroids());
    let tokens = fresh[7].tokens.as_ref().unwrap().to_f32();
    let mut codes = Vec::new();
    codebook.codec.assign(&tokens, &mut codes);
    for (token, code) in tokens.chunks(TOKEN_DIM).zip(codes) {
        let dot: f32 = token
            .iter()
            .zip(codebook.codec.centroid(code))
            .map(|(a, b)| a * b)
            .sum();
        assert!(dot > 0.95, "{dot}");
    }
    codebook.write(&backend, Path::new("/c/codebook")).unwrap();
    let read = Codebook::open(&backend, Path::new("/c/codebook")).unwrap();
    assert_eq!(
        (read.id, read.trained_on_tokens),
        (codebook.id, codebook.trained_on_tokens)
    );
    assert_eq!(read.codec.centroids(), codebook.codec.centroids());
    let tables = |codebook: &Codebook| match codebook.codec.quantizer() {
        Quantizer::Buckets(buckets) => (buckets.cutoffs().to_vec(), buckets.weights().to_vec()),
        Quantizer::Trellis(trellis) => (trellis.scales().to_vec(), trellis.inverse_norms().to_vec()),
    };
    assert_eq!(tables(&read), tables(&codebook));
    assert_eq!(read.codec.centroid_bytes(), codebook.codec.centroid_bytes());
}

/// Copies the files of a codebook but those in `without`, and flips a bit of the one in `flip`.
fn copy_codebook(backend: &dyn StorageBackend, to: &str, without: &[&str], flip: Option<(&str, usize)>) {
    for part in ["", ".second", ".spare"] {
        if without.contains(&part) {
            continue;
        }
        let mut bytes = backend.read(Path::new(&format!("/c/1{part}"))).unwrap();
        if let Some((_, at)) = flip.filter(|(flipped, _)| *flipped == part) {
            bytes[at] ^= 0x40;
        }
        crate::backend::write_file(backend, Path::new(&format!("{to}{part}")), &bytes).unwrap();
    }
}

#[test]
fn any_two_files_of_a_codebook_are_enough_and_every_byte_is_guarded() {
    let backend = backend();
    // An odd number of centroids: the halves differ in length.
    let good = super::codebook(1, 2, 9);
    good.write(&backend, Path::new("/c/1")).unwrap();
    let parts = ["", ".second", ".spare"];
    for (lost, other) in [(0, 1), (1, 2), (2, 0)].map(|(lost, other)| (parts[lost], parts[other])) {
        let length = backend.read(Path::new(&format!("/c/1{lost}"))).unwrap().len();
        let same = |path: &str| {
            let read = Codebook::open(&backend, Path::new(path)).unwrap();
            assert_eq!(read.codec.centroids(), good.codec.centroids());
            assert_eq!(read.codec.centroid_bytes(), good.codec.centroid_bytes());
        };
        let path = format!("/c/2{}{}", lost.len(), other.len());
        copy_codebook(&backend, &path, &[lost], None);
        same(&path);
        assert_eq!(Codebook::damage(&backend, Path::new(&path)).len(), 1);
        for at in (0..length).step_by(3) {
            let path = format!("/c/3{}{at}", lost.len());
            copy_codebook(&backend, &path, &[other], Some((lost, at)));
            let first = backend.read(Path::new(&format!("/c/1{lost}"))).unwrap();
            if first[at] != 0 {
                assert!(
                    Codebook::open(&backend, Path::new(&path)).is_err(),
                    "{lost} flipped at {at}"
                );
            }
            let path = format!("/c/4{}{at}", lost.len());
            copy_codebook(&backend, &path, &[], Some((lost, at)));
            same(&path);
        }
    }
}

#[test]
fn files_of_two_codebooks_are_not_put_together() {
    let backend = backend();
    super::codebook(1, 2, 9)
        .write(&backend, Path::new("/c/1"))
        .unwrap();
    super::codebook(2, 2, 9)
        .write(&backend, Path::new("/c/2"))
        .unwrap();
    copy_codebook(&backend, "/c/3", &[".second", ".spare"], None);
    let second = backend.read(Path::new("/c/2.second")).unwrap();
    crate::backend::write_file(&backend, Path::new("/c/3.second"), &second).unwrap();
    let error = Codebook::open(&backend, Path::new("/c/3")).unwrap_err();
    assert!(error.to_string().contains("files of one codebook"), "{error}");
}

#[test]
fn one_token_is_enough_and_none_is_too_few() {
    let schema = schema(DenseCodec::F32, 1, None);
    let go = |_| ControlFlow::Continue(());
    let one = TokenMatrix::from_f32(TOKEN_DIM, &unit_rows(&mut SplitMix64::new(1), 1, TOKEN_DIM)).unwrap();
    let records = [Arc::new(Record {
        tokens: Some(one),
        ..record(1)
    })];
    let codebook = train_codebook(1, &schema, &of(&records), 1, &pool(), &go).unwrap();
    assert_eq!(codebook.codec.len(), 1);
    let error = train_codebook(1, &schema, &of(&[]), 1, &pool(), &go).unwrap_err();
    assert!(
        matches!(error, StorageError::InvalidOption { name: "codebook", .. }),
        "{error}"
    );
    let error = train_codebook(1, &Schema::default(), &of(&records), 1, &pool(), &go).unwrap_err();
    assert!(matches!(error, StorageError::InvalidSchema { .. }), "{error}");
}

#[test]
fn training_can_be_cancelled_at_any_report() {
    let (schema, records) = (schema(DenseCodec::F32, 2, None), clustered(0..60));
    let reports = Cell::new(0);
    let train = |stop: u32| {
        reports.set(0);
        let progress = |_| {
            reports.set(reports.get() + 1);
            if reports.get() == stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        train_codebook(1, &schema, &of(&records), 1, &pool(), &progress).map(drop)
    };
    train(u32::MAX).unwrap();
    let all = reports.get();
    assert!(all > 3);
    for stop in 1..=all {
        assert!(matches!(train(stop), Err(StorageError::Cancelled)));
    }
}

#[test]
fn codebook_and_codes_do_not_depend_on_the_number_of_threads() {
    let (schema, records) = (schema(DenseCodec::F32, 2, None), clustered(0..5500));
    let go = |_| ControlFlow::Continue(());
    let runs = [1, 3].map(|threads| {
        let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = Arc::new(built.unwrap());
        let codebook = train_codebook(1, &schema, &of(&records), 1, &pool, &go).unwrap();
        // Enough for assignment in two levels.
        assert_eq!(codebook.codec.len(), 4096);
        let backend = backend();
        let mut options = options(1);
        options.pool = pool;
        options.graph_min_rows = usize::MAX;
        let dir = Path::new("/c/segments/1");
        let codebook = Arc::new(codebook);
        write_segment(&backend, dir, &schema, Some(&codebook), &records, &options).unwrap();
        let file = backend.read(&dir.join("tokens")).unwrap();
        (codebook.codec.centroids().to_vec(), file)
    });
    assert!(runs[0] == runs[1]);
}
