//! The settings and the tokenizer of a model's folder.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use latewood::models::{ModelOptions, OnnxEncoder, OnnxReranker};
use tempfile::TempDir;

use super::Target;
use super::inputs::scratch_folder;

/// The files that are read before the graph. The graph is empty, and refused when they are not.
const FILES: [&str; 7] = [
    "onnx_config.json",
    "config_sentence_transformers.json",
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "tokenizer.json",
];

/// The first byte says which model, the second which of its files, what follows is in it.
pub(super) const MODEL: Target = Target {
    name: "model",
    run: |bytes| {
        let Some(([model, which], contents)) = bytes.split_first_chunk::<2>() else {
            return false;
        };
        let all = corpus_of(usize::from(*model) % MODELS.len());
        in_scratch(|folder| {
            for (name, before) in &all {
                let chosen = *name == FILES[usize::from(*which) % FILES.len()];
                let path = folder.join(name);
                match before {
                    _ if chosen => fs::write(path, contents).unwrap(),
                    Some(before) => fs::write(path, before).unwrap(),
                    None => drop(fs::remove_file(path)),
                }
            }
            let told = [
                OnnxEncoder::open(folder, &ModelOptions::new()).err(),
                OnnxReranker::open(folder, &ModelOptions::new()).err(),
            ];
            // All of the settings were right where it came to the graph.
            told.into_iter()
                .flatten()
                .any(|error| error.to_string().contains("graph"))
        })
    },
    corpus: || {
        let of = |model: usize| {
            let files = corpus_of(model).into_iter().enumerate();
            files.filter_map(move |(which, (_, contents))| {
                let head = [u8::try_from(model).ok()?, u8::try_from(which).ok()?];
                Some([&head[..], &contents?].concat())
            })
        };
        (0..MODELS.len()).flat_map(of).collect()
    },
};

const MODELS: [&str; 3] = ["colbert-plain", "sentence-mean", "cross-two-logits"];

fn corpus_of(model: usize) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/models")
        .join(MODELS[model]);
    FILES
        .into_iter()
        .map(|name| (name, fs::read(folder.join(name)).ok()))
        .collect()
}

fn in_scratch<T>(f: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    let make = || {
        let place = scratch_folder();
        fs::create_dir(place.path().join("1_Pooling")).unwrap();
        fs::write(place.path().join("model.onnx"), b"").unwrap();
        place
    };
    SCRATCH.with_borrow_mut(|scratch| f(scratch.get_or_insert_with(make).path()))
}
