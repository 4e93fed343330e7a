//! Models as a user meets them: folders of every layout, the built-in ones, and everything that can be wrong with either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use latewood::models::verify::{verify_encoder, verify_folder, verify_reranker};
use latewood::models::{
    Encoding, ModelError, ModelOptions, OnnxEncoder, OnnxReranker, TextEncoder, init_runtime,
};
use latewood::{Database, DatabaseOptions, Document, Error, SchemaBuilder};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/models")
        .join(name)
}

fn options(threads: usize) -> ModelOptions {
    ModelOptions::new().threads(threads)
}

fn tiny(threads: usize) -> OnnxEncoder {
    OnnxEncoder::builtin("tiny", &options(threads)).unwrap()
}

fn texts() -> Vec<String> {
    const WORDS: [&str; 12] = [
        "search",
        "engine",
        "text",
        "editor",
        "vectors,",
        "late",
        "interaction!",
        "compaction",
        "of",
        "naïve",
        "snapshots",
        "東京",
    ];
    (0..70)
        .map(|i| {
            (0..=(i * 37) % 61)
                .map(|j| WORDS[(i * 5 + j * 7) % 12])
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn largest_difference(a: &[Encoding], b: &[Encoding]) -> f32 {
    assert_eq!(a.len(), b.len());
    let numbers = |e: &Encoding| {
        e.dense
            .iter()
            .chain(&e.tokens)
            .flatten()
            .copied()
            .collect::<Vec<f32>>()
    };
    let of = |(a, b): (&Encoding, &Encoding)| {
        let (a, b) = (numbers(a), numbers(b));
        assert_eq!(a.len(), b.len());
        a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
    };
    a.iter().zip(b).map(of).fold(0.0, f32::max)
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a fixture folder, to be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_into(&fixture(name), folder.path());
    folder
}

fn refusal(folder: &Path) -> ModelError {
    OnnxEncoder::open(folder, &options(1))
        .err()
        .expect("the model should be refused")
}

#[test]
fn the_builtin_encoder_agrees_with_its_reference() {
    let agreement = verify_encoder(&tiny(1), &fixture("tiny.reference.json")).unwrap();
    assert_eq!(agreement.inputs, 6);
    assert!(agreement.passed(), "{agreement}");
}

#[test]
fn the_builtin_reranker_agrees_with_its_reference() {
    let reranker = OnnxReranker::builtin("tiny-cross", &options(1)).unwrap();
    let agreement = verify_reranker(&reranker, &fixture("tiny-cross.reference.json")).unwrap();
    assert_eq!(agreement.inputs, 9);
    assert!(agreement.passed(), "{agreement}");
}

#[test]
fn every_layout_of_folder_gives_its_reference_outputs() {
    for name in [
        "sentence-mean",
        "sentence-cls",
        "sentence-max",
        "sentence-sqrt",
        "colbert-expanded",
        "colbert-unattended",
        "colbert-plain",
        "cross-two-logits",
    ] {
        let agreement = verify_folder(fixture(name), &options(1)).unwrap();
        assert!(agreement.passed(), "{name}: {agreement}");
    }
}

#[test]
fn a_reference_that_differs_is_not_agreement() {
    let folder = copy("sentence-mean");
    let path = folder.path().join("reference.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("0.123775", "0.125775", 1)).unwrap();
    let agreement = verify_folder(folder.path(), &options(1)).unwrap();
    assert!(
        !agreement.passed() && (agreement.max_difference - 2e-3).abs() < 1e-4,
        "{agreement}"
    );
}

#[test]
fn dimensions_and_limits_are_those_of_the_model() {
    let tiny = tiny(1);
    assert_eq!(
        (tiny.dense_dim(), tiny.token_dim(), tiny.max_document_tokens()),
        (Some(128), Some(64), 128)
    );
    assert_eq!(tiny.identity().source, "builtin");
    let sentence = OnnxEncoder::open(fixture("sentence-mean"), &options(1)).unwrap();
    assert_eq!(
        (
            sentence.dense_dim(),
            sentence.token_dim(),
            sentence.max_document_tokens()
        ),
        (Some(8), None, 16)
    );
    let colbert = OnnxEncoder::open(fixture("colbert-plain"), &options(1)).unwrap();
    assert_eq!((colbert.dense_dim(), colbert.token_dim()), (None, Some(8)));
    assert_eq!(colbert.identity().name, "colbert-plain");
    assert!(colbert.notes().is_empty());
}

#[test]
fn a_text_gets_the_same_vectors_whatever_it_is_batched_with() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for encoder in [
        tiny(2),
        OnnxEncoder::open(fixture("colbert-plain"), &options(2)).unwrap(),
    ] {
        let together = encoder.encode_documents(&texts, None).unwrap();
        let alone: Vec<_> = texts
            .iter()
            .flat_map(|t| encoder.encode_documents(&[t], None).unwrap())
            .collect();
        let difference = largest_difference(&together, &alone);
        assert!(difference < 1e-5, "{}: {difference}", encoder.identity().name);
    }
}

#[test]
fn progress_counts_up_to_the_number_of_texts() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for threads in [1, 3] {
        let seen = Mutex::new(Vec::new());
        tiny(threads)
            .encode_documents(&texts, Some(&|done| seen.lock().unwrap().push(done)))
            .unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(
            seen.len() > 1 && seen.is_sorted() && seen.last() == Some(&texts.len()),
            "{seen:?}"
        );
    }
}

#[test]
fn threads_share_an_encoder() {
    let encoder = tiny(2);
    let expected = encoder.encode_query("late interaction").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(encoder.encode_query("late interaction").unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn empty_texts_are_refused_by_position() {
    let encoder = tiny(2);
    for empty in ["", " \t\n", "\u{200b}\u{0}"] {
        let error = encoder.encode_query(empty).unwrap_err();
        assert!(
            matches!(error, ModelError::EmptyText { index: 0 }),
            "{empty:?}: {error}"
        );
        let mut batch = vec!["a text"; 150];
        batch[97] = empty;
        batch[140] = empty;
        let error = encoder.encode_documents(&batch, None).unwrap_err();
        assert!(
            matches!(error, ModelError::EmptyText { index: 97 }),
            "{empty:?}: {error}"
        );
    }
    assert!(encoder.encode_documents(&[], None).unwrap().is_empty());
}

#[test]
fn a_very_long_text_is_cut() {
    let encoder = tiny(1);
    let long = "vector database ".repeat(100_000);
    let one_word = "x".repeat(1_000_000);
    let encodings = encoder
        .encode_documents(&[&long, &long[..4000], &one_word, "short"], None)
        .unwrap();
    assert_eq!(encodings[0], encodings[1]);
    let facts: Vec<_> = encodings.iter().map(|e| (e.input_tokens, e.truncated)).collect();
    assert_eq!(facts, [(128, true), (128, true), (4, false), (4, false)]);
    let query = encoder.encode_query(&long).unwrap();
    assert_eq!((query.input_tokens, query.truncated), (32, true));
    assert_eq!(query.tokens.unwrap().len(), 32 * 64);
}

#[test]
fn a_copy_of_a_model_is_the_same_model_and_other_settings_are_another() {
    let fingerprint = |path: &Path| {
        OnnxEncoder::open(path, &options(1))
            .unwrap()
            .identity()
            .fingerprint
            .clone()
    };
    let folder = copy("colbert-plain");
    assert_eq!(fingerprint(folder.path()), fingerprint(&fixture("colbert-plain")));
    let path = folder.path().join("config_sentence_transformers.json");
    let settings = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        settings.replace("\"document_length\": 16", "\"document_length\": 15"),
    )
    .unwrap();
    assert_ne!(fingerprint(folder.path()), fingerprint(&fixture("colbert-plain")));
}

#[test]
fn a_reranker_scores_as_many_as_its_budget_and_none_after_its_deadline() {
    let reranker = OnnxReranker::builtin("tiny-cross", &options(2)).unwrap();
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = reranker.rerank("text editor", &texts, usize::MAX, None).unwrap();
    assert_eq!((all.scored, all.scores.len()), (texts.len(), texts.len()));
    let some = reranker.rerank("text editor", &texts, 9, None).unwrap();
    assert_eq!(some.scored, 9);
    assert!(some.scores[..9].iter().all(Option::is_some) && some.scores[9..].iter().all(Option::is_none));
    for (text, score) in texts.iter().zip(&all.scores) {
        let alone = reranker.rerank("text editor", &[text], 1, None).unwrap().scores[0].unwrap();
        assert!((alone - score.unwrap()).abs() < 1e-4, "{alone} {score:?}");
    }
    let late = reranker
        .rerank("text editor", &texts, 50, Some(Instant::now()))
        .unwrap();
    assert_eq!((late.scored, late.scores.len()), (0, texts.len()));
    let in_time = Instant::now() + Duration::from_secs(3600);
    assert_eq!(
        reranker
            .rerank("text editor", &texts, 50, Some(in_time))
            .unwrap()
            .scored,
        50
    );
}

#[test]
fn a_reranker_puts_the_document_about_the_query_first() {
    let reranker = OnnxReranker::builtin("tiny", &options(1)).unwrap();
    let documents = [
        "a compiler for the C language",
        "",
        "a small text editor for the terminal",
    ];
    let scores = reranker
        .rerank("text editor", &documents, 3, None)
        .unwrap()
        .scores;
    assert!(scores[2] > scores[0] && scores[0] > scores[1], "{scores:?}");
    assert!(matches!(
        reranker.rerank(" ", &documents, 3, None),
        Err(ModelError::EmptyText { index: 0 })
    ));
    let long = "editor ".repeat(500);
    assert_eq!(
        reranker.rerank(&long, &[&long], 1, None).unwrap().input_tokens,
        128
    );
}

#[test]
fn missing_files_are_named_with_their_folder() {
    let folder = copy("sentence-mean");
    let path = folder.path();
    fs::remove_file(path.join("1_Pooling/config.json")).unwrap();
    let message = refusal(path).to_string();
    assert!(
        message.contains("1_Pooling/config.json") && message.contains(&*path.to_string_lossy()),
        "{message}"
    );
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    assert!(refusal(path).to_string().contains("looked for tokenizer.json"));
    fs::remove_file(path.join("onnx/model.onnx")).unwrap();
    assert!(
        refusal(path)
            .to_string()
            .contains("looked for model.onnx, onnx/model.onnx")
    );
    assert!(matches!(
        refusal(&path.join("nowhere")),
        ModelError::FolderMissing { .. }
    ));
    assert!(matches!(
        refusal(&path.join("modules.json")),
        ModelError::FolderMissing { .. }
    ));
}

#[test]
fn one_other_graph_is_taken_and_of_two_the_settings_must_name_one() {
    let folder = copy("colbert-plain");
    let at = |name: &str| folder.path().join(name);
    fs::rename(at("model.onnx"), at("model_int8.onnx")).unwrap();
    assert!(verify_folder(folder.path(), &options(1)).unwrap().passed());
    fs::copy(at("model_int8.onnx"), at("model_f16.onnx")).unwrap();
    let message = refusal(folder.path()).to_string();
    assert!(
        message.contains("model_f16.onnx, model_int8.onnx") && message.contains("model_file"),
        "{message}"
    );
    fs::write(at("onnx_config.json"), r#"{"model_file": "model_f16.onnx"}"#).unwrap();
    assert!(verify_folder(folder.path(), &options(1)).unwrap().passed());
}

#[test]
fn damaged_files_are_errors_that_say_which() {
    for (file, bytes) in [
        ("model.onnx", &b"this is not a graph"[..]),
        ("model.onnx", b""),
        ("tokenizer.json", b"{\"model\": 7}"),
        (
            "config_sentence_transformers.json",
            b"{\"query_length\": \"long\"}",
        ),
        ("config_sentence_transformers.json", b"{}"),
    ] {
        let folder = copy("colbert-plain");
        fs::write(folder.path().join(file), bytes).unwrap();
        let error = refusal(folder.path());
        let typed = match file {
            "model.onnx" => matches!(error, ModelError::GraphRefused { .. }),
            _ => matches!(error, ModelError::BadFile { .. } | ModelError::Unsupported { .. }),
        };
        assert!(typed, "{file}: {error}");
    }
    let folder = copy("colbert-plain");
    let graph = fs::read(folder.path().join("model.onnx")).unwrap();
    fs::write(folder.path().join("model.onnx"), &graph[..graph.len() / 2]).unwrap();
    let message = refusal(folder.path()).to_string();
    assert!(
        message.contains("ONNX Runtime"),
        "it should say that another runtime may run it: {message}"
    );
}

#[test]
fn a_model_of_the_other_kind_is_refused_with_advice() {
    let error = refusal(&fixture("cross-two-logits")).to_string();
    assert!(
        error.contains("cross-encoder") && error.contains("reranker"),
        "{error}"
    );
    let error = OnnxReranker::open(fixture("colbert-plain"), &options(1))
        .err()
        .unwrap();
    assert!(matches!(error, ModelError::WrongKind { .. }), "{error}");
    let error = OnnxReranker::builtin("huge", &options(1)).err().unwrap();
    assert!(matches!(error, ModelError::UnknownBuiltin { .. }), "{error}");
}

#[test]
fn a_graph_that_does_not_fit_its_folder_is_refused() {
    let folder = copy("sentence-mean");
    fs::copy(
        fixture("cross-two-logits/model.onnx"),
        folder.path().join("onnx/model.onnx"),
    )
    .unwrap();
    assert!(matches!(refusal(folder.path()), ModelError::GraphMismatch { .. }));
    let folder = copy("cross-two-logits");
    fs::write(folder.path().join("onnx_config.json"), r#"{"num_labels": 1}"#).unwrap();
    let error = OnnxReranker::open(folder.path(), &options(1)).err().unwrap();
    assert!(matches!(error, ModelError::GraphMismatch { .. }), "{error}");
}

#[test]
fn the_runtime_is_chosen_once() {
    let info = init_runtime(None).unwrap();
    assert!(info.is_tract());
    assert_eq!(init_runtime(None).unwrap(), info);
    let missing = init_runtime(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
    assert!(
        matches!(missing, ModelError::RuntimeUnavailable { .. }),
        "{missing}"
    );
    let other = init_runtime(Some(&fixture("make.py"))).unwrap_err();
    assert!(matches!(other, ModelError::RuntimeFixed { .. }), "{other}");
}

/// A process that has no runtime yet, and is told to load one from files that are no library.
#[test]
#[ignore = "runs in a process of its own, started by the test below"]
fn in_a_fresh_process_a_file_that_is_no_library_is_an_error() {
    let path = fixture("make.py");
    let unavailable = |path: &Path| match init_runtime(Some(path)) {
        Err(ModelError::RuntimeUnavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(unavailable(&path).contains("OrtGetApiBase"));
    assert!(unavailable(&path).contains("OrtGetApiBase"));
    let error = OnnxEncoder::builtin("tiny", &options(1).runtime(Some(&path)))
        .err()
        .unwrap();
    assert!(error.to_string().contains("make.py"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let pretender = folder.path().join("libonnxruntime.so");
    fs::write(&pretender, "OrtGetApiBase").unwrap();
    assert!(unavailable(&pretender).contains("loading failed"));
    assert!(unavailable(&pretender).contains("earlier in this process"));
    assert!(
        tiny(1).runtime().is_tract(),
        "nothing was chosen, and tract still can be"
    );
    println!("the errors were typed");
}

#[test]
fn a_wrong_runtime_path_is_an_error_and_leaves_the_choice_open() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--nocapture",
            "--exact",
            "in_a_fresh_process_a_file_that_is_no_library_is_an_error",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("the errors were typed"),
        "{text}"
    );
}

/// A database with a collection that was made with a model in a folder, which is given back.
fn database_with_model() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("models/colbert");
    fs::create_dir_all(folder.path().join("models")).unwrap();
    copy_into(&fixture("colbert-plain"), &model);
    let db = Database::open(folder.path().join("db")).unwrap();
    let c = db
        .create_collection("c", SchemaBuilder::new().encoder(&*model))
        .unwrap();
    c.upsert(Document::new("a").text("search engine")).unwrap();
    drop(c);
    db.close().unwrap();
    (folder, model)
}

fn ask(options: DatabaseOptions, folder: &Path) -> Result<usize, Error> {
    let db = options.create(false).open(folder.join("db"))?;
    let found = db.collection("c")?.query().text("engine").run()?.len();
    Ok(found)
}

#[test]
fn a_model_is_loaded_from_where_a_database_says_only_if_the_caller_names_that_folder() {
    let (folder, model) = database_with_model();
    let parent = folder.path().join("models");
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let naming = |named: &Path| Database::options().models(named);
    for named in [&model, &parent, &parent.join("../models/colbert")] {
        assert_eq!(
            ask(naming(named), folder.path()).unwrap(),
            1,
            "{}",
            named.display()
        );
    }
    let both = naming(&elsewhere).models(&parent);
    assert_eq!(ask(both, folder.path()).unwrap(), 1, "the second of two");
    // A folder of another name that begins alike, one that is not there, none at all.
    let alike = folder.path().join("mod");
    fs::create_dir(&alike).unwrap();
    let refused = [&elsewhere, &alike, &parent.join("colbert/onnx"), Path::new("")];
    for options in refused.map(naming).into_iter().chain([Database::options()]) {
        let error = ask(options, folder.path()).unwrap_err();
        assert!(
            matches!(error, Error::ModelNotNamed { role: "encoder", .. }),
            "{error}"
        );
        assert!(error.to_string().contains(&*model.to_string_lossy()), "{error}");
        assert!(error.hint().unwrap().contains("--models"), "{error}");
    }
    // It is not so much as read: what is no model is refused in the same words.
    fs::write(model.join("model.onnx"), b"no graph").unwrap();
    let error = ask(Database::options(), folder.path()).unwrap_err();
    assert!(matches!(error, Error::ModelNotNamed { .. }), "{error}");
    let error = ask(naming(&parent), folder.path()).unwrap_err();
    assert!(matches!(error, Error::ModelUnavailable { .. }), "{error}");
    copy_into(&fixture("colbert-plain"), &model);
    // A caller who gives the model names it thereby.
    let db = Database::open(folder.path().join("db")).unwrap();
    let c = db.collection("c").unwrap();
    assert!(c.query().text("engine").run().is_err());
    c.set_encoder(&*model).unwrap();
    assert_eq!(c.query().text("engine").run().unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_in_a_named_folder_leads_to_no_model_outside_of_it() {
    let (folder, model) = database_with_model();
    let outside = folder.path().join("outside");
    fs::rename(&model, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &model).unwrap();
    let error = ask(
        Database::options().models(folder.path().join("models")),
        folder.path(),
    )
    .unwrap_err();
    assert!(matches!(error, Error::ModelNotNamed { .. }), "{error}");
    assert_eq!(
        ask(Database::options().models(&outside), folder.path()).unwrap(),
        1
    );
}

#[test]
fn a_named_folder_with_another_model_is_refused_by_its_fingerprint() {
    let (folder, model) = database_with_model();
    let settings = model.join("config_sentence_transformers.json");
    let text = fs::read_to_string(&settings).unwrap();
    let changed = text.replacen("\"query_length\": ", "\"query_length\": 1", 1);
    assert_ne!(text, changed);
    fs::write(&settings, changed).unwrap();
    let error = ask(Database::options().models(&model), folder.path()).unwrap_err();
    assert!(
        matches!(error, Error::ModelMismatch { role: "encoder", .. }),
        "{error}"
    );
}
