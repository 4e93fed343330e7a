//! The command line as its users meet it: every command, its JSON, its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use latewood_tests::command::{Ran, run, write_npy, write_npy_lengths};
use latewood_tests::words::unit_vector;
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_latewood-under-test");

fn latewood<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ran {
    run(BINARY, arguments)
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/examples/data")
        .join(name);
    path.to_str().unwrap().to_owned()
}

struct Workplace {
    folder: TempDir,
}

impl Workplace {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn db(&self) -> String {
        self.path("db")
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn from_text_to_judged_hits() {
    let place = Workplace::new();
    let db = place.db();
    let created = latewood(&[
        "create",
        &db,
        "packages",
        "--encoder",
        "tiny",
        "--reranker",
        "tiny",
        "--field",
        "section:keyword",
        "--field",
        "installed_kib:int",
        "--json",
    ])
    .ok();
    assert_eq!(created.json()["schema"]["tokens"]["dim"], 64);

    let documents = std::fs::read_to_string(shipped("packages.jsonl"))
        .unwrap()
        .lines()
        .count();
    let ingested = latewood(&["ingest", &db, "packages", &shipped("packages.jsonl"), "--json"])
        .ok()
        .json();
    assert_eq!(ingested["documents"], documents);
    assert!(number(&ingested, "tokens") > 10_000.0);

    let stats = latewood(&["stats", &db, "packages", "--json"]).ok().json();
    assert_eq!(stats["documents"], documents);
    assert_eq!(stats["tokens"], ingested["tokens"]);
    assert!(number(&stats["bytes"], "tokens") > 0.0 && number(&stats, "bytes_per_token") > 0.0);
    assert!(
        latewood(&["stats", &db])
            .ok()
            .stdout
            .contains("late interaction takes")
    );

    let question = "find prime factors of large numbers";
    let hits = latewood(&["search", &db, "packages", question, "-k", "3", "--json"])
        .ok()
        .json();
    assert_eq!(hits.as_array().unwrap().len(), 3);
    assert!(hits[0]["id"].as_str().unwrap().contains("flintqs"), "{hits}");
    assert!(hits[0]["score"].is_number());
    let filtered = latewood(&[
        "search",
        &db,
        "packages",
        question,
        "--filter",
        "section = \"python\"",
        "--json",
    ])
    .ok()
    .json();
    let filtered = filtered.as_array().unwrap();
    assert!(!filtered.is_empty());
    for hit in filtered {
        assert_eq!(hit["payload"]["section"], "python");
    }
    let explained = latewood(&[
        "search",
        &db,
        "packages",
        question,
        "--plan",
        "dense+maxsim",
        "--explain",
    ])
    .ok();
    assert!(explained.stdout.contains("dense"), "{}", explained.stdout);
    let analyzed = latewood(&[
        "search",
        &db,
        "packages",
        question,
        "--plan",
        "dense+rerank",
        "--explain",
        "--analyze",
        "--json",
    ])
    .ok()
    .json();
    assert_eq!(analyzed["plan"]["name"], "dense+rerank");
    assert!(analyzed["profile"]["stages"].as_array().unwrap().len() >= 3);

    let rows = latewood(&[
        "eval",
        &db,
        "packages",
        "--queries",
        &shipped("queries.jsonl"),
        "--qrels",
        &shipped("qrels.tsv"),
        "--plans",
        "dense,maxsim,dense+maxsim,maxsim+rerank",
        "--json",
    ])
    .ok()
    .json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(row["queries"], 60);
        assert!(number(row, "ndcg@10") > 0.6, "{row}");
        assert!(
            number(row, "mrr@10") > 0.6 && number(row, "recall@10") > 0.7,
            "{row}"
        );
        assert!(number(row, "recall@100") >= number(row, "recall@10"));
        assert!(number(row, "p95_ms") >= number(row, "p50_ms"));
        assert!(
            number(row, "bytes") > 600.0 && number(row, "flops") > 600.0,
            "{row}"
        );
        let beaten = rows.iter().any(|other| {
            let (quick, good) = (number(other, "p50_ms"), number(other, "ndcg@10"));
            let (p50, ndcg) = (number(row, "p50_ms"), number(row, "ndcg@10"));
            quick <= p50 && good >= ndcg && (quick < p50 || good > ndcg)
        });
        assert_eq!(row["pareto"], !beaten, "{rows:?}");
    }
    assert!(number(&rows[2], "bytes") > number(&rows[0], "bytes"));

    let unjudged = [
        "eval",
        &db,
        "packages",
        "--queries",
        &shipped("queries.jsonl"),
        "--limit-queries",
        "6",
        "--plans",
        "dense,bm25,bm25/dense+maxsim+rerank",
    ];
    let rows = latewood(&[&unjudged[..], &["--json"]].concat()).ok().json();
    let agreements = |row: usize| {
        let of = |key: &str| number(&rows[row], key);
        (of("agreement_with_exact@10"), of("agreement_with_deepest@10"))
    };
    assert_eq!(rows[0]["deepest"], "bm25/dense+maxsim+rerank");
    assert!(
        rows[0].get("ndcg@10").is_none(),
        "agreement is not quality: {rows}"
    );
    let (dense, words, deepest) = (agreements(0), agreements(1), agreements(2));
    assert!(dense.0 >= 0.9 && dense.1 > 0.2 && dense.1 < 1.0, "{dense:?}");
    assert!(words.0 == 1.0 && words.1 > 0.1 && words.1 < 1.0, "{words:?}");
    assert!(deepest.1 >= 0.9 && deepest.0 == deepest.1, "{deepest:?}");
    let text = latewood(&unjudged).ok().stdout;
    assert!(text.contains("agreement@10, not quality"), "{text}");

    let advise = |more: &[&str]| {
        let (queries, qrels) = (shipped("queries.jsonl"), shipped("qrels.tsv"));
        let given = [
            "advise",
            &db,
            "packages",
            "--queries",
            &queries,
            "--qrels",
            &qrels,
            "--depths",
            "10",
        ];
        latewood(&[&given[..], more].concat())
    };
    let advice = advise(&["--json"]).ok().json();
    assert_eq!((&advice["queries"], &advice["worth"]), (&60.into(), &0.01.into()));
    for question in ["rerank", "late_interaction"] {
        let measured = &advice[question]["measured"];
        let answers = ["use", "skip", "inconclusive"];
        assert!(
            answers.contains(&measured["verdict"]["answer"].as_str().unwrap()),
            "{measured}"
        );
        assert!(number(&measured["gain"], "low") <= number(&measured["gain"], "high"));
        assert!(number(&measured["baseline"], "milliseconds") > 0.0);
    }
    assert_eq!(advice["storage"]["bits"].as_array().unwrap().len(), 3);
    let widths = advice["bits"]["measured"]["widths"].as_array().unwrap();
    let bits: Vec<f64> = widths.iter().map(|width| number(width, "bits")).collect();
    assert_eq!(bits, [1.0, 2.0, 4.0, 1.0]);
    assert_eq!(widths[3]["original"], "f16");
    assert!(number(&widths[2], "bytes_per_document") > number(&widths[1], "bytes_per_document"));
    let text = advise(&["--worth", "0.5"]).ok().stdout;
    assert!(
        text.contains("rerank: skip it") && text.contains("late interaction: skip it"),
        "{text}"
    );
    assert!(text.contains("bytes a document: dense"), "{text}");
    assert!(
        text.contains("residual bits: 1 bit does") && text.contains("1 bit, original f16"),
        "{text}"
    );
    let refused = advise(&["--worth", "2"]);
    assert!(
        refused
            .stderr
            .contains("cannot advise: the gain worth paying for is 2"),
        "{}",
        refused.stderr
    );

    let out = place.path("run.txt");
    let ran = latewood(&[
        "run",
        &db,
        "packages",
        "--queries",
        &shipped("queries.jsonl"),
        "-k",
        "5",
        "--plan",
        "maxsim",
        "--out",
        &out,
        "--json",
    ])
    .ok()
    .json();
    assert_eq!(ran["queries"], 60);
    assert!(number(&ran, "qps") > 0.0 && number(&ran, "p50_ms") <= number(&ran, "p95_ms"));
    let lines: Vec<String> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 300);
    let columns: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!(
        (columns.len(), columns[1], columns[3], columns[5]),
        (6, "Q0", "1", "maxsim")
    );

    assert!(latewood(&["check", &db]).ok().json_or_text().contains("packages"));
    let exported = place.path("out.jsonl");
    latewood(&["export", &db, "packages", "--out", &exported, "--vectors"]).ok();
    latewood(&["create", &db, "copy", "--dense", "128", "--multi", "64"]).ok();
    let copied = latewood(&["ingest", &db, "copy", &exported, "--json"])
        .ok()
        .json();
    assert_eq!(
        (copied["documents"].clone(), copied["tokens"].clone()),
        (documents.into(), ingested["tokens"].clone())
    );
    let folder = place.path("exported");
    let told = latewood(&["export", &db, "packages", &folder, "--json"])
        .ok()
        .json();
    assert_eq!(told["documents"], copied["documents"]);
    latewood(&["create", &db, "again", "--dense", "128", "--multi", "64"]).ok();
    let again = latewood(&["ingest", &db, "again", &folder, "--no-optimize", "--json"])
        .ok()
        .json();
    assert_eq!(
        (again["documents"].clone(), again["tokens"].clone()),
        (copied["documents"].clone(), copied["tokens"].clone())
    );
    assert_eq!(
        latewood(&["optimize", &db, "--json"])
            .ok()
            .json()
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

trait JsonOrText {
    fn json_or_text(&self) -> String;
}

impl JsonOrText for Ran {
    fn json_or_text(&self) -> String {
        self.stdout.clone()
    }
}

/// 200 documents of 1 to 3 tokens of 16 numbers, and a dense vector of 8: document n is about word n.
fn write_vectors(place: &Workplace) -> usize {
    let (mut tokens, mut lengths, mut dense) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..200 {
        let length = 1 + n % 3;
        lengths.push(i64::from(length));
        for token in 0..length {
            tokens.extend(unit_vector(&format!("word {n} {token}"), 16));
        }
        dense.extend(unit_vector(&format!("text {n}"), 8));
    }
    let rows = tokens.len() / 16;
    write_npy(Path::new(&place.path("tokens.npy")), &[rows, 16], &tokens);
    write_npy_lengths(Path::new(&place.path("lengths.npy")), &lengths);
    write_npy(Path::new(&place.path("dense.npy")), &[200, 8], &dense);
    rows
}

#[test]
fn vectors_of_ones_own() {
    let place = Workplace::new();
    let db = place.db();
    let rows = write_vectors(&place);
    latewood(&[
        "create",
        &db,
        "own",
        "--multi",
        "16",
        "--bits",
        "4",
        "--dense",
        "8",
        "--dense-codec",
        "f32",
    ])
    .ok();
    let ingested = latewood(&[
        "ingest",
        &db,
        "own",
        "--multi",
        &place.path("tokens.npy"),
        "--doclens",
        &place.path("lengths.npy"),
        "--dense",
        &place.path("dense.npy"),
        "--json",
    ])
    .ok()
    .json();
    assert_eq!(
        (ingested["documents"].as_u64(), ingested["tokens"].as_u64()),
        (Some(200), Some(rows as u64))
    );

    let queries: Vec<f32> = (0..10)
        .flat_map(|n| unit_vector(&format!("text {n}"), 8))
        .collect();
    write_npy(Path::new(&place.path("q.npy")), &[10, 8], &queries);
    let tokens: Vec<f32> = (0..10)
        .flat_map(|n| unit_vector(&format!("word {n} 0"), 16))
        .collect();
    write_npy(Path::new(&place.path("qt.npy")), &[10, 1, 16], &tokens);
    let out = place.path("run.txt");
    for arguments in [
        vec!["--dense", "q.npy", "--plan", "dense"],
        vec!["--multi", "qt.npy", "--plan", "maxsim"],
        vec!["--multi", "qt.npy", "--plan", "maxsim", "--exact"],
        vec!["--multi", "qt.npy", "--dense", "q.npy", "--plan", "dense+maxsim"],
    ] {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|a| {
                if a.ends_with(".npy") {
                    place.path(a)
                } else {
                    (*a).to_owned()
                }
            })
            .collect();
        let base = ["run", &db, "own", "--out", &out, "-k", "1"].map(str::to_owned);
        latewood(&[&base[..], &arguments].concat()).ok();
        let found = std::fs::read_to_string(&out).unwrap();
        for (n, line) in found.lines().enumerate() {
            let columns: Vec<&str> = line.split(' ').collect();
            assert_eq!(
                (columns[0], columns[2]),
                (n.to_string().as_str(), n.to_string().as_str()),
                "{arguments:?}"
            );
        }
        assert_eq!(found.lines().count(), 10);
    }
}

#[test]
fn documents_from_standard_input() {
    let place = Workplace::new();
    let db = place.db();
    latewood(&["create", &db, "notes", "--encoder", "tiny"]).ok();
    let mut child = Command::new(BINARY)
        .args(["ingest", &db, "notes", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"_id\": 1, \"text\": \"an owl\"}\n{\"_id\": 2, \"text\": \"a fox\"}\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let hits = latewood(&["search", &db, "notes", "owl", "--json"]).ok().json();
    assert_eq!(hits[0]["id"], 1);
}

#[test]
fn an_ingest_that_is_killed_goes_on() {
    let place = Workplace::new();
    let db = place.db();
    let input = place.path("many.jsonl");
    let lines: Vec<String> = (0..40_000_u32)
        .map(|n| {
            let token: Vec<String> = unit_vector(&n.to_string(), 8)
                .iter()
                .map(ToString::to_string)
                .collect();
            format!("{{\"_id\": {n}, \"_tokens\": [[{}]]}}", token.join(","))
        })
        .collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    latewood(&["create", &db, "many", "--multi", "8"]).ok();
    let mut child = Command::new(BINARY)
        .args(["ingest", &db, "many", &input])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Killed once something was written: after the first segment has appeared.
    let segments = PathBuf::from(&db).join("collections/many/segments");
    while std::fs::read_dir(&segments).map_or(0, Iterator::count) == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = latewood(&["ingest", &db, "many", &input, "--json"]).ok().json();
    assert_eq!(
        number(&resumed, "documents") + number(&resumed, "skipped"),
        40_000.0
    );
    let stats = latewood(&["stats", &db, "many", "--json"]).ok().json();
    assert_eq!(stats["documents"], 40_000);
    assert_eq!(stats["deleted"], 0);
    latewood(&["check", &db, "many"]).ok();
}

/// Runs a command that must fail with exit code 1, and returns what it said.
fn refused<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> String {
    let ran = latewood(arguments);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        &["frobnicate"][..],
        &["create", "db"],
        &["ingest", "db", "c"],
        &["search", "db", "c", "text", "--plan", "fast"],
        &["create", "db", "c", "--field", "year:date"],
        &["create", "db", "c", "--metric", "manhattan"],
        &["search", "db", "c", "text", "--threads", "0"],
        &["run", "db", "c", "--out", "x"],
    ] {
        let ran = latewood(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
    assert_eq!(latewood(&["--help"]).code, Some(0));
    assert!(latewood(&["--version"]).ok().stdout.contains("latewood"));
}

#[test]
fn bad_input_is_explained() {
    let place = Workplace::new();
    let db = place.db();
    assert!(refused(&["stats", &db]).contains("no database"));
    latewood(&["create", &db, "notes", "--encoder", "tiny", "--field", "year:int"]).ok();
    assert!(refused(&["create", &db, "notes", "--encoder", "tiny"]).contains("exists"));
    assert!(refused(&["search", &db, "nope", "text"]).contains("notes"));
    assert!(refused(&["create", &db, "x", "--encoder", "tiny", "--dense", "99"]).contains("99"));
    assert!(refused(&["create", &db, "x", "--encoder", "/no/such/folder"]).contains("/no/such/folder"));
    assert!(refused(&["create", &db, "x"]).contains("no vectors"));
    assert!(refused(&["create", &db, "x", "--multi", "12"]).contains("multiple of 8"));
    refused(&["search", &db, "notes", "text", "-k", "0"]);
    refused(&["search", &db, "notes", "  "]);
    assert!(refused(&["search", &db, "notes", "text", "--filter", "colour = 1"]).contains("year"));
    assert!(refused(&["search", &db, "notes", "text", "--filter", "year >"]).contains("column"));
    refused(&["search", &db, "notes", "text", "--plan", "dense+rerank"]);
    refused(&[
        "search",
        &db,
        "notes",
        "text",
        "--onnxruntime",
        "/no/such/library.so",
    ]);

    let input = place.path("bad.jsonl");
    let ingest = |text: &str| {
        std::fs::write(&input, text).unwrap();
        refused(&["ingest", &db, "notes", &input])
    };
    assert!(ingest("{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\"").contains("line 2"));
    assert!(ingest("{\"text\": \"x\"}").contains("_id"));
    assert!(ingest("{\"_id\": \"empty\", \"text\": \"\"}").contains("empty"));
    assert!(ingest("{\"_id\": \"a\", \"text\": \"x\", \"year\": \"old\"}").contains("year"));
    assert!(ingest("{\"_id\": \"a\", \"text\": \"x\", \"_dense\": [1, 2]}").contains("128"));
    refused(&["ingest", &db, "notes", &place.path("none.jsonl")]);
}

#[test]
fn bad_arrays_are_explained() {
    let place = Workplace::new();
    let db = place.db();
    write_vectors(&place);
    latewood(&["create", &db, "own", "--multi", "8"]).ok();
    let tokens = place.path("tokens.npy");
    let lengths = place.path("lengths.npy");
    assert!(refused(&["ingest", &db, "own", "--multi", &tokens]).contains("lengths"));
    assert!(refused(&["ingest", &db, "own", "--multi", &tokens, "--doclens", &lengths]).contains("16"));
    assert!(refused(&["ingest", &db, "own", "--multi", &lengths, "--doclens", &lengths]).contains("float"));
    let cut = place.path("cut.npy");
    let bytes = std::fs::read(&tokens).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&["ingest", &db, "own", "--multi", &cut, "--doclens", &lengths]).contains("bytes"));
    std::fs::write(&cut, b"not an array at all").unwrap();
    assert!(refused(&["ingest", &db, "own", "--multi", &cut, "--doclens", &lengths]).contains(".npy"));
    let out = place.path("missing/run.txt");
    let query = place.path("q.npy");
    write_npy(Path::new(&query), &[1, 1, 8], &unit_vector("x", 8));
    assert!(refused(&["run", &db, "own", "--multi", &query, "--out", &out]).contains("cannot write"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let place = Workplace::new();
    let db = place.db();
    write_vectors(&place);
    latewood(&["create", &db, "own", "--dense", "8"]).ok();
    latewood(&["ingest", &db, "own", "--dense", &place.path("dense.npy")]).ok();
    assert!(refused(&["export", &db, "own", "--vectors", "--out", "/dev/full"]).contains("/dev/full"));
}

#[test]
fn filters_facets_and_orders() {
    let place = Workplace::new();
    let db = place.db();
    let fields = ["lang:keyword", "year:int", "when:datetime", "at:geo"];
    let declared = fields.iter().flat_map(|field| ["--field", field]);
    let create = ["create", &db, "notes", "--encoder", "tiny"];
    latewood(&create.into_iter().chain(declared).collect::<Vec<_>>()).ok();
    let lines = place.path("notes.jsonl");
    let cities = [(52.5, 13.4), (48.9, 2.4), (-18.1, 178.4), (35.7, 139.7)];
    let text: String = (0..40)
        .map(|n| {
            let (lat, lon) = cities[n % 4];
            let (lang, year, colour) = (["de", "en"][n % 2], 2000 + n % 10, ["red", "blue"][n % 2]);
            serde_json::json!({
                "_id": format!("n{n:02}"), "text": format!("note number {n}"), "lang": lang, "year": year,
                "when": format!("2024-05-{:02}T00:00:00+02:00", n % 20 + 1), "at": { "lat": lat, "lon": lon },
                "author": { "name": format!("author {}", n % 3) }, "colour": colour,
            })
            .to_string()
                + "\n"
        })
        .collect();
    std::fs::write(&lines, text).unwrap();
    latewood(&["ingest", &db, "notes", &lines]).ok();

    let scan = |filter: &str| {
        let scan = ["scan", &db, "notes", "-k", "100", "--filter", filter, "--json"];
        latewood(&scan).ok().json().as_array().unwrap().len()
    };
    assert_eq!(scan("geo_radius(at, 52.52, 13.405, 20000)"), 10);
    assert_eq!(scan("geo_box(at, -20, 170, -15, -170)"), 10);
    assert_eq!(scan("when < \"2024-05-02\""), 4);
    assert_eq!(scan("author.name = \"author 2\" and lang prefix \"d\""), 7);

    let newest = [
        "scan",
        &db,
        "notes",
        "--order-by",
        "when:desc",
        "-k",
        "2",
        "--json",
    ];
    let newest = latewood(&newest).ok().json();
    assert_eq!(
        (&newest[0]["id"], &newest[1]["id"]),
        (&"n19".into(), &"n39".into())
    );
    assert_eq!(latewood(&["scan", &db, "notes"]).ok().stdout.lines().count(), 10);

    let counts = latewood(&[
        "facets",
        &db,
        "notes",
        "lang",
        "--filter",
        "year < 2003",
        "--json",
    ])
    .ok()
    .json();
    assert_eq!(
        counts["values"][0],
        serde_json::json!({ "value": "de", "count": 8 })
    );
    assert_eq!(
        (&counts["documents"], &counts["missing"]),
        (&12.into(), &0.into())
    );
    let counts = latewood(&["facets", &db, "notes", "colour", "-k", "1"])
        .ok()
        .stdout;
    assert!(counts.contains("20  blue") && !counts.contains("red"), "{counts}");
    assert!(
        counts.contains("`colour` is not indexed: 40 payloads read"),
        "{counts}"
    );

    let search = [
        "search",
        &db,
        "notes",
        "note",
        "--filter",
        "colour = \"red\"",
        "--order-by",
        "year",
    ];
    let analyzed = latewood(&[&search[..], &["--analyze"]].concat()).ok().stdout;
    assert!(
        analyzed.contains("`colour` is not indexed: 40 payloads read"),
        "{analyzed}"
    );
    let hits = latewood(&[&search[..], &["--json"]].concat()).ok().json();
    let years: Vec<i64> = hits
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|h| h["payload"]["year"].as_i64())
        .collect();
    assert!(years.len() == 10 && years.is_sorted(), "{years:?}");
    let exact = latewood(&["pairs", &db, "notes", "-k", "3", "--exact", "--json"])
        .ok()
        .json();
    let by_index = latewood(&["pairs", &db, "notes", "-k", "3", "--json"])
        .ok()
        .json();
    assert_eq!(exact.as_array().unwrap().len(), 3);
    assert_eq!(
        exact, by_index,
        "no segment is large enough for a graph: all are scanned"
    );
    let refused = latewood(&["facets", &db, "notes", "colr"]);
    assert!(
        refused.stderr.contains("`colr`") && refused.stderr.contains("`year`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_model_folder_is_named_by_every_call_that_needs_it() {
    let place = Workplace::new();
    let db = place.db();
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let (models, model) = (
        models.display().to_string(),
        models.join("colbert-plain").display().to_string(),
    );
    latewood(&["create", &db, "notes", "--encoder", &model]).ok();
    let file = place.path("notes.jsonl");
    std::fs::write(&file, "{\"_id\": \"1\", \"text\": \"search engine\"}\n").unwrap();
    let refused = refused(&["ingest", &db, "notes", &file]);
    assert!(
        refused.contains("colbert-plain") && refused.contains("--models"),
        "{refused}"
    );
    latewood(&["ingest", &db, "notes", &file, "--models", &models]).ok();
    for named in [["--models", &models], ["--models", &model], ["--encoder", &model]] {
        let found = latewood(&["search", &db, "notes", "engine", "--json", named[0], named[1]]).ok();
        assert_eq!(found.json().as_array().unwrap().len(), 1);
    }
    latewood(&["stats", &db, "notes"]).ok();
}
