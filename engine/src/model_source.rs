//! Where a model comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Reranker;
use crate::models::TextEncoder;

/// Where an encoder comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum EncoderSource {
    /// A model inside the library, by name.
    Builtin(String),
    /// A folder laid out as on the Hugging Face hub.
    Folder(PathBuf),
    /// The caller's own.
    Own(Arc<dyn TextEncoder>),
}

/// Where a reranker comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum RerankerSource {
    /// A model inside the library, by name.
    Builtin(String),
    /// A folder laid out as on the Hugging Face hub.
    Folder(PathBuf),
    /// The caller's own.
    Own(Arc<dyn Reranker>),
}

/// The names of the models inside the library; a folder of such a name is written `./tiny`.
const BUILTIN: [&str; 2] = ["tiny", "tiny-cross"];

macro_rules! source {
    ($source:ident, $model:ident) => {
        impl From<&Path> for $source {
            fn from(path: &Path) -> Self {
                Self::Folder(path.to_owned())
            }
        }

        impl From<PathBuf> for $source {
            fn from(path: PathBuf) -> Self {
                Self::Folder(path)
            }
        }

        impl From<&str> for $source {
            fn from(name: &str) -> Self {
                if BUILTIN.contains(&name) {
                    Self::Builtin(name.to_owned())
                } else {
                    Self::Folder(name.into())
                }
            }
        }

        impl From<Arc<dyn $model>> for $source {
            fn from(model: Arc<dyn $model>) -> Self {
                Self::Own(model)
            }
        }

        impl<T: $model + 'static> From<Arc<T>> for $source {
            fn from(model: Arc<T>) -> Self {
                Self::Own(model)
            }
        }

        impl fmt::Display for $source {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Builtin(name) => write!(f, "the built-in {name}"),
                    Self::Folder(path) => write!(f, "{}", path.display()),
                    Self::Own(_) => f.write_str("the one given"),
                }
            }
        }

        impl fmt::Debug for $source {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

source!(EncoderSource, TextEncoder);
source!(RerankerSource, Reranker);
