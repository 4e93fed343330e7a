//! What a user gives: arrays, lines of JSON, filters, judgments, indexes of other engines.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use latewood::Filter;
use latewood::import::{JsonLines, NpyReader, PlaidIndex, read_lengths, read_queries};
use tempfile::TempDir;

use super::Target;
use crate::command::{write_npy, write_npy_bytes};
use crate::hostile::{copy, files};

/// A folder of this thread's, for readers that want a path.
fn in_scratch<T>(f: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    SCRATCH.with_borrow_mut(|scratch| f(scratch.get_or_insert_with(scratch_folder).path()))
}

/// In memory where the system has such a place.
pub(super) fn scratch_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn with_file<T>(bytes: &[u8], f: impl FnOnce(PathBuf) -> T) -> T {
    in_scratch(|folder| {
        let path = folder.join("input");
        fs::write(&path, bytes).unwrap();
        f(path)
    })
}

/// numpy's arrays: header, rows, lengths.
pub(super) const NPY: Target = Target {
    name: "npy",
    run: |bytes| {
        with_file(bytes, |path| {
            let _ = read_lengths(&path);
            let Ok(mut reader) = NpyReader::open(&path) else {
                return false;
            };
            let (mut halves, mut singles) = (Vec::new(), Vec::new());
            let some = usize::try_from(reader.rows().min(64)).unwrap_or(0);
            let read = reader
                .read_f16(some / 2, &mut halves)
                .and_then(|()| reader.skip(1))
                .and_then(|()| reader.read_f32(some / 4, &mut singles));
            read.is_ok() && reader.remaining() < reader.rows()
        })
    },
    corpus: || {
        in_scratch(|folder| {
            let path = folder.join("a.npy");
            let read = || fs::read(&path).unwrap();
            write_npy(&path, &[4, 8], &[0.25; 32]);
            let plain = read();
            let numbers: Vec<u8> = [3_i64, 1, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
            write_npy_bytes(&path, "<i8", "(3,)", &numbers);
            let lengths = read();
            write_npy_bytes(&path, "<f2", "(2, 3, 4)", &[60; 48]);
            vec![plain, lengths, read()]
        })
    },
};

/// Documents, one a line.
pub(super) const DOCUMENTS: Target = Target {
    name: "documents_jsonl",
    run: |bytes| {
        let Ok(lines) = JsonLines::new("input", std::io::Cursor::new(bytes.to_vec())) else {
            return false;
        };
        let read: Vec<bool> = lines.take(1000).map(|line| line.is_ok()).collect();
        read.contains(&true)
    },
    corpus: || {
        let lines = b"{\"_id\": \"a\", \"title\": \"t\", \"text\": \"one\", \"year\": 3}\n\n{\"_id\": 7, \"text\": \"two\", \"_dense\": [1, 2.5e-3], \"_tokens\": [[1, 2], [3, 4]], \"_vectors\": {\"s\": {\"indices\": [7, 1], \"values\": [0.5, 2]}}}\n";
        let packed = zstd_of(lines);
        vec![lines.to_vec(), packed]
    },
};

/// A frame of zstd with one block as it is: magic, head without sizes and checksum (1 KiB window), last block.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let block = (length << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00], &block[..3], bytes].concat()
}

/// Queries, one a line.
pub(super) const QUERIES: Target = Target {
    name: "queries_jsonl",
    run: |bytes| with_file(bytes, |path| read_queries(path).is_ok()),
    corpus: || {
        vec![b"{\"_id\": \"1\", \"text\": \"what is late wood\"}\n{\"_id\": 2, \"text\": \"why\"}\n".to_vec()]
    },
};

/// Filters as text; what is taken is taken again from how it is shown.
pub(super) const FILTER: Target = Target {
    name: "filter",
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return false;
        };
        let Ok(filter) = Filter::parse(text) else {
            return false;
        };
        let shown = filter.to_string();
        let again =
            Filter::parse(&shown).unwrap_or_else(|error| panic!("{text:?} is shown as {shown:?}: {error}"));
        assert_eq!(again.to_string(), shown, "of {text:?}");
        true
    },
    corpus: || {
        let texts = [
            "year >= 10 and (lang = \"de\" or not lang in (\"en\", 'it''s'))",
            "-1.5e3 < price <= 20 and open == true or exists(`in`)",
            "year <> 1999 AND lang not in (\"x\\\"y\", 2) and all(a = 1, any(b = 2))",
            "((((year < 3))))",
        ];
        let deep = ["(", "not "].map(|part| part.repeat(20_000).into_bytes());
        texts
            .map(|text| text.as_bytes().to_vec())
            .into_iter()
            .chain(deep)
            .collect()
    },
};

/// Relevance judgments as BEIR and TREC have them.
pub(super) const JUDGMENTS: Target = Target {
    name: "judgments",
    run: |bytes| with_file(bytes, |path| latewood::evaluation::Judgments::read(path).is_ok()),
    corpus: || {
        vec![
            b"query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n".to_vec(),
            b"q1 0 d1 2\nq1 0 d2 1\n".to_vec(),
        ]
    },
};

/// An index of fast-plaid; the first byte says which file, what follows is in it.
pub(super) const PLAID: Target = Target {
    name: "plaid",
    run: |bytes| {
        let Some((which, contents)) = bytes.split_first() else {
            return false;
        };
        with_plaid(|folder, all| {
            let path = folder.join(&all[usize::from(*which) % all.len()].0);
            fs::write(&path, contents).unwrap();
            let taken = PlaidIndex::open(folder).is_ok();
            fs::write(&path, &all[usize::from(*which) % all.len()].1).unwrap();
            taken
        })
    },
    corpus: || {
        with_plaid(|_, all| {
            let all = all.iter().zip(0_u8..);
            all.map(|((_, contents), which)| [&[which][..], contents].concat())
                .collect()
        })
    },
};

/// A copy of an index, and its files with what is in them.
fn with_plaid<T>(f: impl FnOnce(&Path, &[(PathBuf, Vec<u8>)]) -> T) -> T {
    type Index = (TempDir, Vec<(PathBuf, Vec<u8>)>);
    thread_local! {
        static INDEX: RefCell<Option<Index>> = const { RefCell::new(None) };
    }
    let make = || {
        let place = scratch_folder();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plaid/merged"),
            place.path(),
        );
        let inside = |path: PathBuf| {
            let contents = fs::read(&path).unwrap();
            (path.strip_prefix(place.path()).unwrap().to_owned(), contents)
        };
        let all = files(place.path()).into_iter().map(inside).collect();
        (place, all)
    };
    INDEX.with_borrow_mut(|index| {
        let (place, all) = index.get_or_insert_with(make);
        f(place.path(), all)
    })
}
