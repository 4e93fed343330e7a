//! A fingerprint of everything that decides a model's outputs.

use std::path::Path;

use latewood_storage::ModelIdentity;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

/// Hashes the graph, the tokenizer and the settings, each preceded by its length. Where the folder lies and what it is
/// called do not count, so that a copy of a model is the same model.
pub(crate) fn identity(
    name: &str,
    source: &str,
    graph: &[&[u8]],
    tokenizer: &[u8],
    settings: &impl Serialize,
) -> ModelIdentity {
    let settings = serde_json::to_vec(settings).unwrap_or_default();
    let mut hasher = Xxh3::new();
    for part in graph.iter().copied().chain([tokenizer, &settings]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    ModelIdentity {
        name: name.to_owned(),
        fingerprint: format!("{:032x}", hasher.digest128()),
        source: source.to_owned(),
    }
}

/// The folder's last component.
pub(crate) fn folder_name(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    absolute
        .file_name()
        .unwrap_or(absolute.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_and_the_name_does_not() {
        let of = |name, graph: &[&[u8]], tokenizer: &[u8], settings: u32| {
            identity(name, "here", graph, tokenizer, &settings).fingerprint
        };
        let base = of("a", &[b"graph"], b"tokenizer", 1);
        assert_eq!(base.len(), 32);
        assert_eq!(base, of("b", &[b"graph"], b"tokenizer", 1));
        for other in [
            of("a", &[b"grapH"], b"tokenizer", 1),
            of("a", &[b"grap"], b"htokenizer", 1),
            of("a", &[b"graph"], b"tokenizer", 2),
            of("a", &[b"graph", b""], b"tokenizer", 1),
        ] {
            assert_ne!(base, other);
        }
    }
}
