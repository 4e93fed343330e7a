//! Telling one input from another without reading all of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::error::ImportError;

/// A fingerprint of files as the input of one ingest: their sizes, and the first and last mebibyte of each. Moving or
/// copying a file does not change it; appending to it does.
pub fn fingerprint(paths: &[impl AsRef<Path>]) -> Result<String, ImportError> {
    const SAMPLE_BYTES: u64 = 1 << 20;
    let mut hash = Xxh3::new();
    for path in paths {
        let path = path.as_ref();
        let io = |source| ImportError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        hash.update(&size.to_le_bytes());
        for start in [0, size.saturating_sub(SAMPLE_BYTES)] {
            let mut sample = Vec::new();
            file.seek(SeekFrom::Start(start)).map_err(io)?;
            file.by_ref()
                .take(SAMPLE_BYTES)
                .read_to_end(&mut sample)
                .map_err(io)?;
            hash.update(&sample);
        }
    }
    Ok(format!("{:032x}", hash.digest128()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_does_not_count_and_the_end_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut text = vec![b'a'; 3 << 20];
        std::fs::write(path("one"), &text).unwrap();
        std::fs::write(path("same"), &text).unwrap();
        *text.last_mut().unwrap() = b'b';
        std::fs::write(path("changed"), &text).unwrap();
        text.pop();
        std::fs::write(path("shorter"), &text).unwrap();
        let of = |name: &str| fingerprint(&[path(name)]).unwrap();
        assert_eq!(of("one"), of("same"));
        assert_ne!(of("one"), of("changed"));
        assert_ne!(of("one"), of("shorter"));
        assert!(fingerprint(&[path("none")]).is_err());
    }
}
