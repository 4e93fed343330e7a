//! The one runtime of the process: ONNX Runtime from a path, or tract.
//!
//! `ort` keeps its API table and its environment in globals that can be set once. Everything that could panic there (a
//! missing library, a second environment) is turned into an error here, before `ort` is asked.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use super::ModelError;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());
/// Why `ort` failed to load a library, if it did. It must not be asked again: after a failure ort 2.0.0-rc.14 takes the
/// library for loaded.
static FAILED: OnceLock<String> = OnceLock::new();

/// The function by which an ONNX Runtime library is entered.
const ENTRY: &[u8] = b"OrtGetApiBase";

/// The runtime and its environment, which must outlive every session.
pub(crate) struct Runtime {
    pub(crate) environment: Environment,
    pub(crate) info: RuntimeInfo,
}

/// Which runtime runs the models of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// The library that was loaded; None for tract, which is compiled in.
    pub library: Option<PathBuf>,
    /// What the runtime says of its build.
    pub build: String,
}

impl RuntimeInfo {
    /// Whether models run in pure Rust.
    pub fn is_tract(&self) -> bool {
        self.library.is_none()
    }

    /// `tract` or `onnxruntime`.
    pub fn name(&self) -> &'static str {
        if self.is_tract() { "tract" } else { "onnxruntime" }
    }
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.library {
            None => f.write_str("tract (pure Rust)"),
            Some(path) => write!(f, "ONNX Runtime ({})", path.display()),
        }
    }
}

/// Chooses the runtime of the process, once: the ONNX Runtime library at `path`, or, without one, tract.
///
/// Calling it again with the same path, or with None, returns the runtime in use.
///
/// # Errors
/// [`ModelError::RuntimeUnavailable`] if the library cannot be loaded or is older than 1.24; nothing is chosen then, and
/// tract, or, if the file was no ONNX Runtime at all, another path may be tried. [`ModelError::RuntimeFixed`] if another
/// runtime is in use.
pub fn init_runtime(path: Option<&Path>) -> Result<RuntimeInfo, ModelError> {
    runtime(path).map(|runtime| runtime.info.clone())
}

pub(crate) fn runtime(path: Option<&Path>) -> Result<&'static Runtime, ModelError> {
    let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let library = path.map(library_path).transpose()?;
    if let Some(current) = RUNTIME.get() {
        return match &library {
            Some(asked) if current.info.library.as_ref() != Some(asked) => Err(ModelError::RuntimeFixed {
                current: current.info.to_string(),
                asked: format!("ONNX Runtime ({})", asked.display()),
            }),
            _ => Ok(current),
        };
    }
    let started = match library {
        Some(library) => start_onnxruntime(library)?,
        None => start_tract()?,
    };
    Ok(RUNTIME.get_or_init(|| started))
}

/// Looks for the name of the entry function in the file, because `ort` can be asked to load a library only once.
fn has_entry(library: &Path) -> io::Result<bool> {
    let mut file = File::open(library)?;
    let mut window = Vec::with_capacity(1 << 20);
    loop {
        let keep = window.len().min(ENTRY.len() - 1);
        window.drain(..window.len() - keep);
        if file.by_ref().take(1 << 20).read_to_end(&mut window)? == 0 {
            return Ok(false);
        }
        if window.windows(ENTRY.len()).any(|w| w == ENTRY) {
            return Ok(true);
        }
    }
}

/// An absolute path to a file: `ort` would look for a relative one beside the executable first.
fn library_path(path: &Path) -> Result<PathBuf, ModelError> {
    let found = path.canonicalize().map_err(|e| unavailable(path, &e))?;
    if found.is_file() {
        Ok(found)
    } else {
        Err(unavailable(path, &"it is not a file"))
    }
}

fn start_onnxruntime(library: PathBuf) -> Result<Runtime, ModelError> {
    if let Some(earlier) = FAILED.get() {
        let reason =
            format!("{earlier} earlier in this process, and a second library can only be tried in a new one");
        return Err(unavailable(&library, &reason));
    }
    if !has_entry(&library).map_err(|e| unavailable(&library, &e))? {
        return Err(unavailable(
            &library,
            &"it is not an ONNX Runtime (it has no function OrtGetApiBase)",
        ));
    }
    let builder = ort::init_from(&library).map_err(|e| {
        let reason = FAILED.get_or_init(|| format!("loading failed ({e})"));
        unavailable(&library, reason)
    })?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|e| unavailable(&library, &e))?;
    let build = ort::info().to_owned();
    Ok(Runtime {
        environment,
        info: RuntimeInfo {
            library: Some(library),
            build,
        },
    })
}

fn start_tract() -> Result<Runtime, ModelError> {
    let fixed = |current: &str| ModelError::RuntimeFixed {
        current: current.into(),
        asked: "tract".into(),
    };
    // False when another user of `ort` in this process, or an ONNX Runtime that loaded but did not start, was first.
    if !ort::set_api(ort_tract::api()) {
        return Err(fixed("a runtime that was started outside Latewood"));
    }
    let environment = ort::init()
        .with_telemetry(false)
        .build()
        .map_err(|e| fixed(&format!("another environment ({e})")))?;
    let build = ort::info().to_owned();
    Ok(Runtime {
        environment,
        info: RuntimeInfo { library: None, build },
    })
}

fn unavailable(path: &Path, reason: &dyn fmt::Display) -> ModelError {
    ModelError::RuntimeUnavailable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
