//! The models that a database has loaded, each once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Reranker;
use crate::error::Error;
use crate::model_source::{EncoderSource, RerankerSource};
use crate::models::{ModelError, ModelIdentity, TextEncoder};

/// Where the identity of a model inside the library says that it is.
const BUILTIN_SOURCE: &str = "builtin";

/// Models by fingerprint; collections made with the same model share it.
pub(crate) struct ModelRegistry {
    runtime: Option<PathBuf>,
    threads: usize,
    /// Folders of models, and folders of such, that the caller has named.
    named: Vec<PathBuf>,
    encoders: Mutex<HashMap<String, Arc<dyn TextEncoder>>>,
    rerankers: Mutex<HashMap<String, Arc<dyn Reranker>>>,
}

impl ModelRegistry {
    pub(crate) fn new(runtime: Option<PathBuf>, threads: usize, named: Vec<PathBuf>) -> Self {
        Self {
            runtime,
            threads,
            named,
            encoders: Mutex::default(),
            rerankers: Mutex::default(),
        }
    }

    /// Loads an encoder and keeps it.
    pub(crate) fn add_encoder(&self, source: &EncoderSource) -> Result<Arc<dyn TextEncoder>, ModelError> {
        let encoder = self.load_encoder(source)?;
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(encoders
            .entry(encoder.identity().fingerprint.clone())
            .or_insert(encoder)
            .clone())
    }

    /// Loads a reranker and keeps it.
    pub(crate) fn add_reranker(&self, source: &RerankerSource) -> Result<Arc<dyn Reranker>, ModelError> {
        let reranker = self.load_reranker(source)?;
        let mut rerankers = self.rerankers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rerankers
            .entry(reranker.identity().fingerprint.clone())
            .or_insert(reranker)
            .clone())
    }

    /// The encoder of a collection, loaded from where it was if it is not in memory and the caller has named that folder.
    pub(crate) fn encoder(
        &self,
        collection: &str,
        stored: &ModelIdentity,
    ) -> Result<Arc<dyn TextEncoder>, Error> {
        let mut encoders = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = encoders.get(&stored.fingerprint) {
            return Ok(encoder.clone());
        }
        let source = if stored.source == BUILTIN_SOURCE {
            EncoderSource::Builtin(stored.name.clone())
        } else {
            EncoderSource::Folder(self.named_folder(collection, "encoder", stored)?)
        };
        let encoder = self
            .load_encoder(&source)
            .map_err(|e| unavailable(collection, "encoder", stored, e))?;
        check_identity(
            collection,
            "encoder",
            stored,
            encoder.identity(),
            &source.to_string(),
        )?;
        encoders.insert(stored.fingerprint.clone(), encoder.clone());
        Ok(encoder)
    }

    /// The reranker of a collection, loaded from where it was if it is not in memory and the caller has named that folder.
    pub(crate) fn reranker(
        &self,
        collection: &str,
        stored: &ModelIdentity,
    ) -> Result<Arc<dyn Reranker>, Error> {
        let mut rerankers = self.rerankers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reranker) = rerankers.get(&stored.fingerprint) {
            return Ok(reranker.clone());
        }
        let source = if stored.source == BUILTIN_SOURCE {
            RerankerSource::Builtin(stored.name.clone())
        } else {
            RerankerSource::Folder(self.named_folder(collection, "reranker", stored)?)
        };
        let reranker = self
            .load_reranker(&source)
            .map_err(|e| unavailable(collection, "reranker", stored, e))?;
        check_identity(
            collection,
            "reranker",
            stored,
            reranker.identity(),
            &source.to_string(),
        )?;
        rerankers.insert(stored.fingerprint.clone(), reranker.clone());
        Ok(reranker)
    }

    /// Where a collection's model is, if the caller has named that folder or one around it. What a database says is not
    /// reason enough to read a folder, let alone to run what is in it.
    fn named_folder(
        &self,
        collection: &str,
        role: &'static str,
        stored: &ModelIdentity,
    ) -> Result<PathBuf, Error> {
        let refused = || Error::ModelNotNamed {
            collection: collection.to_owned(),
            role,
            identity: Box::new(stored.clone()),
        };
        if self.named.is_empty() {
            return Err(refused());
        }
        // Without links and `..`, so that none leads out of what is named. Of a folder that is gone the load says so.
        let stored = Path::new(&stored.source);
        let folder = stored.canonicalize().unwrap_or_else(|_| stored.to_owned());
        let holds = |named: &PathBuf| named.canonicalize().is_ok_and(|named| folder.starts_with(named));
        if self.named.iter().any(holds) {
            Ok(folder)
        } else {
            Err(refused())
        }
    }

    fn load_encoder(&self, source: &EncoderSource) -> Result<Arc<dyn TextEncoder>, ModelError> {
        match source {
            EncoderSource::Own(encoder) => Ok(encoder.clone()),
            #[cfg(feature = "builtin-models")]
            EncoderSource::Builtin(name) => Ok(Arc::new(crate::models::OnnxEncoder::builtin(
                name,
                &self.model_options(),
            )?)),
            #[cfg(feature = "models")]
            EncoderSource::Folder(folder) => Ok(Arc::new(crate::models::OnnxEncoder::open(
                absolute(folder),
                &self.model_options(),
            )?)),
            #[cfg(not(feature = "builtin-models"))]
            other => Err(self.not_built(&other.to_string())),
        }
    }

    fn load_reranker(&self, source: &RerankerSource) -> Result<Arc<dyn Reranker>, ModelError> {
        match source {
            RerankerSource::Own(reranker) => Ok(reranker.clone()),
            #[cfg(feature = "builtin-models")]
            RerankerSource::Builtin(name) => Ok(Arc::new(crate::models::OnnxReranker::builtin(
                name,
                &self.model_options(),
            )?)),
            #[cfg(feature = "models")]
            RerankerSource::Folder(folder) => Ok(Arc::new(crate::models::OnnxReranker::open(
                absolute(folder),
                &self.model_options(),
            )?)),
            #[cfg(not(feature = "builtin-models"))]
            other => Err(self.not_built(&other.to_string())),
        }
    }

    #[cfg(feature = "models")]
    fn model_options(&self) -> crate::models::ModelOptions {
        crate::models::ModelOptions::new()
            .runtime(self.runtime.as_ref())
            .threads(self.threads)
    }

    #[cfg(not(feature = "builtin-models"))]
    fn not_built(&self, model: &str) -> ModelError {
        let runtime = self
            .runtime
            .as_ref()
            .map_or_else(String::new, |path| format!(" with {}", path.display()));
        ModelError::Unsupported {
            model: model.to_owned(),
            problem: format!("this build cannot run it{runtime} on {} threads", self.threads),
            advice: "build latewood with the feature `builtin-models`, or `models` for folders, or give a model of your own",
        }
    }
}

/// The path that is kept with a collection, to be found from any working directory.
#[cfg(feature = "models")]
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// That a model is the one that the collection was made with.
pub(crate) fn check_identity(
    collection: &str,
    role: &'static str,
    stored: &ModelIdentity,
    given: &ModelIdentity,
    given_from: &str,
) -> Result<(), Error> {
    if stored.fingerprint == given.fingerprint {
        return Ok(());
    }
    Err(Error::ModelMismatch {
        collection: collection.to_owned(),
        role,
        stored: Box::new(stored.clone()),
        given_from: given_from.to_owned(),
        given: Box::new(given.clone()),
    })
}

fn unavailable(collection: &str, role: &'static str, stored: &ModelIdentity, source: ModelError) -> Error {
    Error::ModelUnavailable {
        collection: collection.to_owned(),
        role,
        identity: Box::new(stored.clone()),
        source: Box::new(source),
    }
}
