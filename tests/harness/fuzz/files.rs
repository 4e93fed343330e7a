//! Files of a database, and parts of them.

use std::path::PathBuf;
use std::sync::OnceLock;

use latewood_storage::fuzzing;

use super::Target;
use crate::hostile::{create, create_raw, files};
use crate::reseal::reseal;

/// The decoder of one kind of file.
pub(super) const fn target(name: &'static str, corpus: fn() -> Vec<Vec<u8>>) -> Target {
    Target {
        name,
        run: decode,
        corpus,
    }
}

/// Operations and ids in a frame of the log.
pub(super) const RECORDS: Target = Target {
    name: "records",
    run: |bytes| fuzzing::decode_payload(bytes).is_ok(),
    corpus: || {
        let payloads = of_kind(b"WAL ").into_iter().filter_map(|log| {
            let payload = log.get(72..)?;
            Some(payload.to_vec())
        });
        payloads.collect()
    },
};

/// A packed posting list; the first four bytes say how many rows, below which limit.
pub(super) const POSTINGS: Target = Target {
    name: "postings",
    run: |bytes| {
        let Some((head, packed)) = bytes.split_first_chunk::<4>() else {
            return false;
        };
        let [low, high, limit, _] = head.map(usize::from);
        fuzzing::unpack(packed, low + 256 * high, u32::try_from(limit * 16).unwrap_or(0))
    },
    corpus: || {
        let packed = of_kind(b"IVF ").into_iter().filter_map(|file| {
            let part = file.get(64..)?.iter().take(4096).copied();
            Some([40, 0, 255, 0].into_iter().chain(part).collect())
        });
        packed.collect()
    },
};

/// What read-only handles see of the catalog.
pub(super) const READERS_COPY: Target = Target {
    name: "readers_copy",
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let json = text.split_once('\n').map_or("", |(_, json)| json);
        let right = format!(
            "{:08x}\n{json}",
            latewood_storage::checksum::crc32(json.as_bytes())
        );
        fuzzing::decode_readers_copy(&text) | fuzzing::decode_readers_copy(&right)
    },
    corpus: || {
        let values =
            r#"{"cost":{"scan":1.5e-9,"seek":[1,2]},"schema":{"dense":null,"fields":[]},"tuned":"x"}"#;
        vec![format!("00000000\n{values}").into_bytes(), b"\n{}".to_vec()]
    },
};

/// As they are, where a checksum is likely to refuse them, and with checksums that are right.
fn decode(bytes: &[u8]) -> bool {
    let right = fuzzing::decode_file(bytes).is_ok();
    let mut sealed = bytes.to_vec();
    let _ = reseal(&mut sealed);
    right | fuzzing::decode_file(&sealed).is_ok()
}

/// Files of this kind, from databases that have every kind.
pub(super) fn of_kind(kind: &[u8; 4]) -> Vec<Vec<u8>> {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let (large, raw) = (place.path().join("large"), place.path().join("raw"));
        create(&large);
        create_raw(&raw);
        let all = [large, raw].map(|folder| files(&folder.join("collections")));
        let read = |path: &PathBuf| std::fs::read(path).unwrap();
        all.iter().flatten().map(read).collect()
    });
    all.iter()
        .filter(|file| file.get(4..8) == Some(kind))
        .cloned()
        .collect()
}
