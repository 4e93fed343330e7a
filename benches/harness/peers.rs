//! What other engines did with the same data: read from the lines of JSON that their own programs print.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Failure;

/// One engine at one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// The engine.
    pub name: String,
    /// How it was set.
    pub setting: String,
    /// Median milliseconds of a query.
    pub p50_ms: f64,
    /// 95th percentile of the milliseconds of a query.
    pub p95_ms: Option<f64>,
    /// Mean milliseconds of a query on a processor.
    pub cpu_mean_ms: Option<f64>,
    /// Recall@10 against the exact ranking in single precision.
    pub recall: f64,
    /// Bytes on disk a token, all files.
    pub bytes_per_token: Option<f64>,
    /// Seconds to build the index.
    pub build_s: Option<f64>,
    /// Documents that were searched, where the file says so.
    pub documents: Option<u64>,
}

/// Reads a file of JSON objects, one a line, or of one array of them:
///
/// `{"name", "setting", "p50_ms", "p95_ms", "cpu_mean_ms", "recall_at_10", "bytes_per_token", "build_s", "documents"}`
///
/// The lines of shared/bench/late_interaction_peers.py are read as they are: `engine` is the name, `recall@10` the
/// recall, and all other keys together are the setting. Lines that are no objects, such as
/// the progress that an engine prints, are passed over.
///
/// # Errors
/// A file that cannot be read, an object without name, time or recall, a file without any object.
pub fn read(path: &Path) -> Result<Vec<Peer>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let peers = parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    if peers.is_empty() {
        return Err(format!("{}: expected JSON objects, one a line, got none", path.display()).into());
    }
    Ok(peers)
}

fn parse(text: &str) -> Result<Vec<Peer>, String> {
    if let Ok(Value::Array(all)) = serde_json::from_str(text) {
        return all.iter().filter_map(Value::as_object).map(peer).collect();
    }
    let objects = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    objects.map(|object| peer(&object)).collect()
}

/// Keys with a place of their own; what else an object has describes the setting.
const KNOWN: [&str; 13] = [
    "name",
    "engine",
    "setting",
    "p50_ms",
    "p95_ms",
    "cpu_mean_ms",
    "recall_at_10",
    "recall@10",
    "bytes_per_token",
    "build_s",
    "documents",
    "queries",
    "peak_rss_mb",
];

fn peer(object: &Map<String, Value>) -> Result<Peer, String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| object.get(key).and_then(Value::as_f64);
    let name = text("name")
        .or_else(|| text("engine"))
        .ok_or("an object without \"name\"")?;
    let missing = |key: &str| format!("{name}: expected a number \"{key}\"");
    let others = || {
        let rest = object.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str()));
        let pairs: Vec<String> = rest
            .map(|(key, value)| format!("{key} {}", value.to_string().trim_matches('"')))
            .collect();
        pairs.join(", ")
    };
    Ok(Peer {
        setting: text("setting").unwrap_or_else(others),
        p50_ms: number("p50_ms").ok_or_else(|| missing("p50_ms"))?,
        p95_ms: number("p95_ms"),
        cpu_mean_ms: number("cpu_mean_ms"),
        recall: number("recall_at_10")
            .or(number("recall@10"))
            .ok_or_else(|| missing("recall_at_10"))?,
        bytes_per_token: number("bytes_per_token"),
        build_s: number("build_s"),
        documents: object.get("documents").and_then(Value::as_u64),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_are_read_and_chatter_is_not() {
        let text = r#"training...
{"engine": "fast-plaid", "nbits": 4, "n_ivf_probe": 8, "build_s": 12.5, "bytes_per_token": 80.1, "p50_ms": 199.7, "p95_ms": 222.3, "recall@10": 0.949, "queries": 200, "peak_rss_mb": 4573}
{"name": "other", "setting": "default", "p50_ms": 1, "recall_at_10": 0.5, "documents": 10000}
"#;
        let peers = parse(text).unwrap();
        assert_eq!(peers.len(), 2);
        assert_eq!((peers[0].name.as_str(), peers[0].recall), ("fast-plaid", 0.949));
        assert_eq!(peers[0].setting, "n_ivf_probe 8, nbits 4");
        assert_eq!(
            (peers[0].p95_ms, peers[0].bytes_per_token, peers[0].build_s),
            (Some(222.3), Some(80.1), Some(12.5))
        );
        assert_eq!(
            (peers[1].setting.as_str(), peers[1].documents, peers[1].p95_ms),
            ("default", Some(10_000), None)
        );
        assert_eq!(
            parse(&format!("[{}]", text.lines().nth(2).unwrap())).unwrap(),
            peers[1..]
        );
    }

    #[test]
    fn objects_without_figures_and_files_without_objects_are_errors() {
        assert!(
            parse(r#"{"name": "x", "recall_at_10": 1}"#)
                .unwrap_err()
                .contains("p50_ms")
        );
        assert!(
            parse(r#"{"p50_ms": 1, "recall_at_10": 1}"#)
                .unwrap_err()
                .contains("name")
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nothing\n").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("got none"));
    }
}
