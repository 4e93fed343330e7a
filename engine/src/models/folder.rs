//! A model's folder: which files it has, and where.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ModelError;

/// A folder laid out as on the Hugging Face hub.
#[derive(Debug)]
pub(crate) struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        if path.is_dir() {
            Ok(Self {
                path: path.to_owned(),
            })
        } else {
            Err(ModelError::FolderMissing {
                path: path.to_owned(),
            })
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The graph: `model_file` where the settings name one, else model.onnx, onnx/model.onnx, or the only other .onnx file.
    pub(crate) fn graph(&self, model_file: Option<&str>) -> Result<PathBuf, ModelError> {
        if let Some(name) = model_file {
            let path = self.path.join(name);
            return if path.is_file() {
                Ok(path)
            } else {
                Err(self.missing("graph", name.to_owned()))
            };
        }
        for name in ["model.onnx", "onnx/model.onnx"] {
            let path = self.path.join(name);
            if path.is_file() {
                return Ok(path);
            }
        }
        let mut others = onnx_files(&self.path);
        others.extend(onnx_files(&self.path.join("onnx")));
        match <[PathBuf; 1]>::try_from(others) {
            Ok([only]) => Ok(only),
            Err(others) if others.is_empty() => Err(self.missing(
                "graph",
                "model.onnx, onnx/model.onnx, any other .onnx file".into(),
            )),
            Err(others) => {
                let names: Vec<_> = others
                    .iter()
                    .filter_map(|p| p.file_name())
                    .map(|n| n.to_string_lossy())
                    .collect();
                let looked_for = format!(
                    "model.onnx, onnx/model.onnx, and found several others ({}); name one as model_file in onnx_config.json",
                    names.join(", ")
                );
                Err(self.missing("graph", looked_for))
            }
        }
    }

    /// A file that must be there.
    pub(crate) fn required(&self, name: &str, what: &'static str) -> Result<PathBuf, ModelError> {
        let path = self.path.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(self.missing(what, name.to_owned()))
        }
    }

    /// A JSON file that may be there.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ModelError> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| ModelError::BadFile {
                path,
                expected: "a model's settings in JSON",
                problem: e.to_string(),
            })
    }

    fn missing(&self, what: &'static str, looked_for: String) -> ModelError {
        ModelError::FileMissing {
            folder: self.path.clone(),
            what,
            looked_for,
        }
    }
}

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|e| ModelError::BadFile {
        path: path.to_owned(),
        expected: "a readable file",
        problem: e.to_string(),
    })
}

fn onnx_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx") && path.is_file())
        .collect();
    files.sort();
    files
}
