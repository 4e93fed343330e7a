//! What a host hears with the feature `telemetry`: spans that say what a profile says, counters that say what was done, and
//! nothing of what was asked or stored.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use latewood::{Analysis, Collection, Database, Document, LexicalSpec, Maintenance, Metric, SchemaBuilder};
use latewood_tests::disk::{Call, Failing, Failure, HookedDisk, RecordingDisk};
use latewood_tests::telemetry::{Numbers, Seen, Spans, Step};
use tempfile::TempDir;
use tracing::Dispatch;

/// A word that is in ids, texts, payloads, filters and queries, and must not be in anything that is told.
const SECRET: &str = "zanzibar";

/// While a process has but one subscriber, `tracing` asks the one of the calling thread alone whether a span is wanted, and keeps
/// the answer for all threads: a test that has none would silence the spans of one that has. With two of them it asks all.
static BYSTANDERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Spans::default())));

/// Runs `work` with a subscriber and a recorder of its own.
fn heard<T>(work: impl FnOnce() -> T) -> (T, Spans, Numbers) {
    let (spans, numbers) = (Spans::default(), Numbers::default());
    let result =
        tracing::subscriber::with_default(spans.clone(), || metrics::with_local_recorder(&numbers, work));
    (result, spans, numbers)
}

fn database(folder: &Path) -> Database {
    LazyLock::force(&BYSTANDERS);
    let options = Database::options().maintenance(Maintenance::Manual).threads(2);
    options.open(folder).unwrap()
}

/// Documents that any search finds, in a segment and in the memtable.
fn notes() -> (TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let schema = SchemaBuilder::new()
        .encoder("tiny")
        .reranker("tiny")
        .lexical(LexicalSpec::default());
    let notes = database(folder.path())
        .create_collection("notes", schema)
        .unwrap();
    let note = |n: u32| {
        Document::new(format!("{SECRET}-{n}"))
            .text(format!(
                "The market of {SECRET} sells spices, stall {n} has cloves."
            ))
            .field("place", SECRET)
            .field("stall", n)
    };
    notes.upsert_many((0..30).map(note)).unwrap();
    notes.optimize(|_| ControlFlow::Continue(())).unwrap();
    notes.upsert_many((30..40).map(note)).unwrap();
    (folder, notes)
}

/// Documents of two numbers, of 50 kinds; the kinds of the first 500 are one.
fn points() -> (TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let schema = SchemaBuilder::new()
        .dense(2, Metric::InnerProduct)
        .lexical(LexicalSpec::default());
    let points = database(folder.path())
        .create_collection("points", schema)
        .unwrap();
    let point = |n: u32| {
        Document::new(u64::from(n))
            .text("point")
            .dense([1.0, (2000 - n) as f32])
            .field("kind", if n < 500 { 0 } else { n % 50 })
    };
    points.upsert_many((0..2000).map(point)).unwrap();
    (folder, points)
}

fn number<T: std::str::FromStr>(span: &Seen, field: &str) -> T {
    let told = span.fields.get(field).map(String::as_str);
    told.and_then(|told| told.parse().ok())
        .unwrap_or_else(|| panic!("{field} of {span:?}"))
}

fn names(stages: &[Seen]) -> Vec<&str> {
    stages
        .iter()
        .map(|stage| stage.fields["stage"].as_str())
        .collect()
}

fn profiled(analysis: &Analysis) -> Vec<&str> {
    let stages = analysis.profile.stages.iter();
    stages.map(|stage| stage.name.as_str()).collect()
}

/// The stages of the one query that was heard, each of them with what the profile says.
fn same_as_the_profile(spans: &Spans, analysis: &Analysis) {
    let [query] = spans.named("query")[..] else {
        panic!("{:?}", spans.seen());
    };
    let stages = spans.within(query);
    assert_eq!(names(&stages), profiled(analysis));
    for (told, stage) in stages.iter().zip(&analysis.profile.stages) {
        assert_eq!((told.name, told.target), ("stage", "latewood::query"));
        assert_eq!(told.level, tracing::Level::DEBUG);
        assert_eq!(number::<u64>(told, "candidates_in"), stage.candidates_in);
        assert_eq!(number::<u64>(told, "candidates_out"), stage.candidates_out);
        assert_eq!(number::<u64>(told, "bytes"), stage.bytes, "{}", stage.name);
        assert_eq!(number::<u64>(told, "flops"), stage.flops);
        assert_eq!(number::<u64>(told, "work"), stage.work);
        assert_eq!(number::<f64>(told, "microseconds"), stage.microseconds);
    }
    let query = &spans.seen()[query];
    let sum = |of: fn(&latewood::StageProfile) -> u64| analysis.profile.stages.iter().map(of).sum::<u64>();
    assert_eq!((query.parent, query.target), (None, "latewood::query"));
    assert_eq!(query.fields["collection"], "notes");
    assert_eq!(query.fields["plan"], analysis.plan.name.name());
    assert_eq!(number::<usize>(query, "hits"), analysis.hits.len());
    assert_eq!(number::<u64>(query, "bytes"), sum(|stage| stage.bytes));
    assert_eq!(number::<u64>(query, "work"), sum(|stage| stage.work));
    assert_eq!(number::<usize>(query, "cuts"), analysis.cut.len());
    assert_eq!(
        number::<f64>(query, "microseconds"),
        analysis.profile.total_microseconds
    );
    assert!(!query.fields.contains_key("error"));
}

#[test]
fn a_query_is_a_span_and_each_stage_of_its_profile_is_one_within() {
    let (_folder, notes) = notes();
    for plan in [
        "bm25",
        "dense",
        "maxsim",
        "bm25/dense+rerank",
        "dense+maxsim+rerank",
    ] {
        let ask = || {
            let query = notes.query().text("where are cloves sold").plan(plan);
            query
                .filter("stall >= 3")
                .order_by("stall", false)
                .analyze()
                .unwrap()
        };
        let (analysis, spans, _) = heard(ask);
        assert!(
            profiled(&analysis).len() >= 7,
            "{plan}: {:?}",
            profiled(&analysis)
        );
        same_as_the_profile(&spans, &analysis);
    }
}

#[test]
fn a_span_is_entered_while_its_stage_runs_and_only_then() {
    let (_folder, notes) = notes();
    let ask = || {
        notes
            .query()
            .text("cloves")
            .plan("dense+maxsim")
            .analyze()
            .unwrap()
    };
    let (analysis, spans, _) = heard(ask);
    assert_eq!(
        profiled(&analysis)[..4],
        ["prepare", "encode", "filter", "plan"],
        "{:?}",
        profiled(&analysis)
    );
    // Encoding is in the midst of what is prepared: prepare is left for it, and entered again.
    let (query, prepare, encode) = (0, 1, 2);
    let mut expected = vec![
        Step::Enter(query),
        Step::Enter(prepare),
        Step::Exit(prepare),
        Step::Enter(encode),
        Step::Exit(encode),
        Step::Close(encode),
        Step::Enter(prepare),
        Step::Exit(prepare),
        Step::Close(prepare),
    ];
    for stage in encode + 1..=profiled(&analysis).len() {
        expected.extend([Step::Enter(stage), Step::Exit(stage), Step::Close(stage)]);
    }
    expected.extend([Step::Exit(query), Step::Close(query)]);
    assert_eq!(spans.steps(), expected);
}

#[test]
fn searches_that_were_too_shallow_for_the_groups_have_their_spans() {
    let (_folder, points) = points();
    let ask = || {
        let query = points.query().dense([0.0, 1.0]).plan("dense");
        query.group_by("kind", 1).limit(5).analyze().unwrap()
    };
    let (analysis, spans, numbers) = heard(ask);
    let own = profiled(&analysis);
    assert_eq!(
        own[..2],
        ["prepare", "shallower searches"],
        "the first 50 are of one kind"
    );
    let stages = spans.within(0);
    let told = names(&stages);
    // The last search as the profile has it, and before it the same stages of those that it sums up.
    let search = &own[2..own.len() - 1];
    assert_eq!(
        search,
        ["filter", "plan", "dense scan", "merge", "shape"],
        "{told:?}"
    );
    let (times, rest) = ((told.len() - 2) / search.len(), (told.len() - 2) % search.len());
    assert!(times > 1 && rest == 0, "{told:?}");
    assert_eq!(told[1..told.len() - 1], search.repeat(times));
    let stage = |name| format!("latewood_stage_seconds{{collection=points,stage={name}}}");
    assert_eq!(
        numbers.values(&stage("dense scan")).len(),
        1,
        "counted as the profile has it"
    );
    assert_eq!(numbers.values(&stage("shallower searches")).len(), 1);
}

#[test]
fn counters_of_queries_equal_their_profiles() {
    let (_folder, notes) = notes();
    let ask = |plan| {
        notes
            .query()
            .text("where are cloves sold")
            .plan(plan)
            .analyze()
            .unwrap()
    };
    let work = || [ask("dense"), ask("maxsim"), ask("dense")];
    let (analyses, _, numbers) = heard(work);
    let plan = |name: &str, plan| format!("{name}{{collection=notes,plan={plan}}}");
    assert_eq!(numbers.counter(&plan("latewood_queries_total", "dense")), 2);
    assert_eq!(numbers.counter(&plan("latewood_queries_total", "maxsim")), 1);
    let seconds = numbers.values(&plan("latewood_query_seconds", "dense"));
    for (seconds, analysis) in seconds.iter().zip([&analyses[0], &analyses[2]]) {
        // A duration is whole nanoseconds.
        assert!((seconds - analysis.profile.total_microseconds / 1e6).abs() < 2e-9);
    }
    let all = || analyses.iter().flat_map(|analysis| &analysis.profile.stages);
    for stage in all() {
        let of = || all().filter(|other| other.name == stage.name);
        let key = |name: &str| format!("{name}{{collection=notes,stage={}}}", stage.name);
        let candidates: u64 = of().map(|stage| stage.candidates_out).sum();
        let bytes: u64 = of().map(|stage| stage.bytes).sum();
        assert_eq!(numbers.counter(&key("latewood_candidates_total")), candidates);
        assert_eq!(numbers.counter(&key("latewood_bytes_read_total")), bytes);
        let seconds = numbers.values(&key("latewood_stage_seconds"));
        assert_eq!(seconds.len(), of().count(), "{}", stage.name);
        for (seconds, stage) in seconds.iter().zip(of()) {
            assert!(
                (seconds - stage.microseconds / 1e6).abs() < 2e-9,
                "{}",
                stage.name
            );
        }
    }
    assert!(all().any(|stage| stage.bytes > 0));
}

#[test]
fn what_was_given_up_for_a_budget_and_what_failed_is_counted() {
    let (_folder, notes) = notes();
    let cuts = "latewood_budget_cuts_total{collection=notes}";
    let queries = "latewood_queries_total{collection=notes,plan=dense}";
    let tight = || {
        let query = notes.query().text("cloves").plan("dense+rerank");
        query.budget(Duration::from_nanos(1)).analyze().unwrap()
    };
    let (analysis, spans, numbers) = heard(tight);
    assert!(!analysis.cut.is_empty());
    assert_eq!((numbers.counter(cuts), numbers.counter(queries)), (1, 1));
    same_as_the_profile(&spans, &analysis);

    let wrong = || {
        let query = notes.query().text("cloves").plan("dense");
        query.filter(format!("nowhere = '{SECRET}'").as_str()).run()
    };
    let (result, spans, numbers) = heard(wrong);
    assert!(result.unwrap_err().to_string().contains("nowhere"));
    assert_eq!(
        numbers.counter("latewood_query_errors_total{collection=notes,kind=query}"),
        1
    );
    assert_eq!(numbers.counter(queries), 0);
    assert_eq!(spans.seen()[0].fields["error"], "query");
    assert_eq!(names(&spans.within(0)), ["prepare", "encode", "unfinished"]);
    assert!(nothing_secret(&spans, &numbers) > 0);
}

#[test]
fn a_hit_that_is_explained_is_no_query_but_has_its_stages() {
    let (_folder, notes) = notes();
    let id = format!("{SECRET}-7");
    let explain = || {
        notes
            .query()
            .text("cloves")
            .plan("dense+maxsim")
            .explain_hit(id.as_str())
            .unwrap()
    };
    let (_, spans, numbers) = heard(explain);
    assert_eq!(spans.seen()[0].name, "explain hit");
    let stages = spans.within(0);
    assert_eq!(stages.len() + 1, spans.seen().len());
    assert_eq!(names(&stages)[..2], ["filter", "dense scan"]);
    assert_eq!(names(&stages).last(), Some(&"merge"));
    assert!(numbers.keys().is_empty(), "{:?}", numbers.keys());
    nothing_secret(&spans, &numbers);
}

fn log_bytes(collection: &Collection) -> u64 {
    collection.stats().unwrap().bytes["wal"]
}

#[test]
fn counters_of_writes_equal_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| format!("{name}{{collection=points}}");
    let point = |n: u32| Document::new(u64::from(n)).dense([1.0, n as f32]).text("point");
    let work = || {
        let db = database(folder.path());
        let schema = SchemaBuilder::new().dense(2, Metric::InnerProduct);
        let points = db.create_collection("points", schema).unwrap();
        let empty = log_bytes(&points);
        points.upsert_many((0..7).map(point)).unwrap();
        points.upsert(point(3)).unwrap();
        points.delete(5u64).unwrap();
        points
            .batch()
            .upsert(point(8))
            .delete(99u64)
            .delete(0u64)
            .commit()
            .unwrap();
        (points.clone(), log_bytes(&points) - empty)
    };
    let ((points, logged), spans, numbers) = heard(work);
    assert_eq!(numbers.counter(&of("latewood_commits_total")), 4);
    assert_eq!(numbers.counter(&of("latewood_documents_written_total")), 9);
    assert_eq!(numbers.counter(&of("latewood_deletes_total")), 3);
    assert_eq!(numbers.counter(&of("latewood_wal_bytes_total")), logged);
    assert_eq!(numbers.gauge(&of("latewood_memtable_documents")), Some(6.0));
    assert_eq!(numbers.gauge(&of("latewood_documents")), Some(6.0));
    assert_eq!(numbers.gauge(&of("latewood_segments")), Some(0.0));
    let times = "latewood_write_seconds{collection=points,work=commit}";
    assert_eq!(numbers.values(times).len(), 4);
    let commits: Vec<Seen> = spans.seen();
    assert!(
        commits
            .iter()
            .all(|span| (span.name, span.target) == ("commit", "latewood::storage"))
    );
    let sum = |field| commits.iter().map(|span| number::<u64>(span, field)).sum::<u64>();
    assert_eq!(
        (sum("batches"), sum("written"), sum("deleted"), sum("bytes")),
        (4, 9, 3, logged)
    );

    let maintain = || {
        points.flush().unwrap();
        points.flush().unwrap();
        points.upsert(point(9)).unwrap();
        points.ingest((10..15).map(point)).optimize(false).run().unwrap();
        points.optimize(|_| ControlFlow::Continue(())).unwrap();
    };
    let ((), spans, numbers) = heard(maintain);
    let count = |name: &str| numbers.counter(&of(name));
    assert_eq!(
        count("latewood_flushes_total"),
        2,
        "one of them had nothing to do"
    );
    assert_eq!(count("latewood_merges_total"), 1);
    assert_eq!(count("latewood_codebooks_trained_total"), 0);
    assert_eq!(
        count("latewood_documents_written_total"),
        1 + 5 * count("latewood_bulk_loads_total")
    );
    assert_eq!(count("latewood_bulk_loads_total"), 1);
    assert_eq!(numbers.gauge(&of("latewood_segments")), Some(1.0));
    assert_eq!(numbers.gauge(&of("latewood_documents")), Some(12.0));
    assert_eq!(numbers.gauge(&of("latewood_memtable_documents")), Some(0.0));
    let optimize = spans.named("optimize")[0];
    let inner = spans.within(optimize);
    assert_eq!(
        inner.iter().map(|span| span.name).collect::<Vec<_>>(),
        ["flush", "merge"]
    );
    assert_eq!(inner[1].fields["segments"], "3");
    assert_eq!(inner[1].fields["documents"], "12");
    assert!(number::<u64>(&inner[1], "bytes") > 0);
    let optimize = &spans.seen()[optimize];
    assert_eq!(optimize.level, tracing::Level::INFO);
    assert_eq!(optimize.fields["segments_before"], "3");
    assert_eq!(optimize.fields["segments_after"], "1");
}

#[test]
fn training_tuning_and_dropping_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let work = || {
        let schema = SchemaBuilder::new().tokens(16, 2);
        let tokens = db.create_collection("tokens", schema).unwrap();
        let token = |n: u32| -> Vec<f32> { (0..16).map(|d| ((n * 31 + d * 7) % 13) as f32 - 6.0).collect() };
        let document =
            |n: u32| Document::new(u64::from(n)).tokens((0..8).map(|t| token(n * 8 + t)).collect::<Vec<_>>());
        tokens.upsert_many((0..600).map(document)).unwrap();
        tokens.optimize(|_| ControlFlow::Continue(())).unwrap();
    };
    let ((), spans, numbers) = heard(work);
    let of = |name: &str| format!("{name}{{collection=tokens}}");
    assert_eq!(numbers.counter(&of("latewood_codebooks_trained_total")), 1);
    let train = &spans.seen()[spans.named("train")[0]];
    assert_eq!(train.fields["tokens"], "4800");
    assert!(number::<u64>(train, "centroids") > 1);
    assert_eq!(
        spans.seen()[train.parent.unwrap()].name,
        "optimize",
        "{:?}",
        spans.seen()
    );
    let tune = &spans.seen()[spans.named("tune")[0]];
    assert_eq!((tune.target, tune.parent), ("latewood::tune", None));
    assert_eq!(numbers.gauge(&of("latewood_documents")), Some(600.0));
    let ((), _, numbers) = heard(|| db.drop_collection("tokens").unwrap());
    assert_eq!(numbers.gauge(&of("latewood_documents")), Some(0.0));
}

/// Looks for the secret in all that was told; how many texts that were.
fn nothing_secret(spans: &Spans, numbers: &Numbers) -> usize {
    let mut told: Vec<String> = numbers.keys();
    for span in spans.seen() {
        told.push(span.name.to_owned());
        told.extend(span.fields.values().cloned());
    }
    told.extend(spans.events());
    for text in &told {
        assert!(!text.to_lowercase().contains(SECRET), "{text}");
        assert!(!text.contains("clove") && !text.contains("stall"), "{text}");
    }
    told.len()
}

#[test]
fn nothing_of_what_was_asked_or_stored_is_told() {
    let work = || {
        let (_folder, notes) = notes();
        for plan in ["bm25", "dense+maxsim+rerank", "bm25/maxsim"] {
            let query = || {
                notes
                    .query()
                    .text(format!("cloves of {SECRET}"))
                    .plan(plan)
                    .with_text(true)
            };
            let filter = format!("place = '{SECRET}' and stall >= 2");
            query()
                .filter(filter.as_str())
                .order_by("stall", true)
                .run()
                .unwrap();
            query().group_by("place", 2).run().unwrap();
            query().diversity(0.5).run().unwrap();
        }
        notes.delete(format!("{SECRET}-3")).unwrap();
        notes.flush().unwrap();
        notes.upsert(Document::new(SECRET)).unwrap_err();
        notes.optimize(|_| ControlFlow::Continue(())).unwrap();
    };
    let ((), spans, numbers) = heard(work);
    let told = nothing_secret(&spans, &numbers);
    assert!(told > 500, "{told}");
}

#[test]
fn work_that_fails_is_counted_in_the_call_and_in_the_background() {
    // The background thread has no recorder of its own.
    let global = Numbers::default();
    metrics::set_global_recorder(global.clone()).unwrap();
    let disk = RecordingDisk::with_dir(Path::new("/data"));
    let failing = Arc::new(Failing::new(&disk));
    let hooked = HookedDisk::new(Arc::new(disk), failing.clone());
    let options = Database::options()
        .backend(Arc::new(hooked))
        .memory_budget_bytes(16 << 20)
        .threads(1);
    let db = options.open("/data/db").unwrap();
    let schema = SchemaBuilder::new().dense(2, Metric::InnerProduct);
    let failures = db.create_collection("failures", schema).unwrap();
    let document = |n: u32| {
        Document::new(u64::from(n))
            .dense([1.0, 2.0])
            .text("x".repeat(256 << 10))
    };

    failing.arm(Call::Write, Failure::Full, 0);
    let (result, spans, numbers) = heard(|| failures.upsert(document(0)));
    assert!(result.is_err() && failing.disarm());
    let failed = "latewood_write_failures_total{collection=failures,work=commit}";
    assert_eq!(numbers.counter(failed), 1);
    assert_eq!(
        numbers.counter("latewood_documents_written_total{collection=failures}"),
        0
    );
    assert_eq!(spans.seen()[0].fields["failed"], "true");

    failing.arm(Call::Create, Failure::Broken, 0);
    let (begun, mut n) = (Instant::now(), 0);
    let background = "latewood_background_failures_total{collection=failures}";
    while global.counter(background) == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the memtable was to be flushed"
        );
        // Full for the background thread, and not yet for a writer, who would flush it himself.
        if n < 20 {
            failures.upsert(document(n)).unwrap();
            n += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(failing.disarm());
    let failed = "latewood_write_failures_total{collection=failures,work=flush}";
    assert_eq!(global.counter(failed), 1);
    db.close().unwrap();
}

#[test]
fn every_metric_is_described_and_documented() {
    let docs = include_str!("../docs/telemetry.md");
    let work = || {
        latewood::telemetry::describe();
        let (_folder, notes) = notes();
        let query = notes.query().text("cloves").plan("dense+rerank");
        query.budget(Duration::from_nanos(1)).run().unwrap();
        notes.query().filter("nowhere = 1").run().unwrap_err();
        notes
            .ingest([Document::new(1u64).text("cloves")])
            .optimize(false)
            .run()
            .unwrap();
    };
    let ((), spans, numbers) = heard(work);
    let described = numbers.described();
    for key in numbers.keys() {
        let name = key.split('{').next().unwrap();
        assert!(described.contains_key(name), "{name}");
    }
    for (name, kind) in &described {
        let row = format!("| `{name}` | {kind} |");
        assert!(docs.contains(&row), "docs/telemetry.md has no row {row}");
    }
    let rows = docs.lines().filter(|line| line.starts_with("| `latewood_"));
    assert_eq!(rows.count(), described.len());
    for span in spans.seen() {
        assert!(docs.contains(&format!("`{}`", span.name)), "{}", span.name);
        for field in span.fields.keys() {
            assert!(docs.contains(&format!("`{field}`")), "{field} of {}", span.name);
        }
    }
}
