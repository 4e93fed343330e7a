//! What can go wrong in storage. Every variant says what was expected, what came, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use latewood_codecs::CodecError;

use crate::document::DocumentId;

/// The result of a storage operation.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What went wrong in storage.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused an operation on a file.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The verb of the operation, for example `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The disk, or the quota, is full. Nothing of the failed operation is visible.
    #[error("no space left to {action} {}; free space on this disk and repeat the operation", path.display())]
    Full {
        /// The verb of the operation.
        action: &'static str,
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A file does not hold what its checksums and lengths promise.
    #[error(
        "{} is damaged at byte {offset}: expected {expected}, found {found}; restore it from a backup, or run `latewood \
         repair`, which keeps every whole document, and the damaged files beside them",
        file.display()
    )]
    Corruption {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage was noticed.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file was written by a newer Latewood.
    #[error("{} has format version {found}, this build reads up to {supported}; open it with a newer Latewood", file.display())]
    VersionTooNew {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// Another process (or another handle of this one) writes to the database.
    #[error(
        "{} is locked by {}; close it there, or open it read-only here",
        path.display(),
        pid.map_or_else(|| "another writer".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The database directory.
        path: PathBuf,
        /// The process that holds the lock, when its file says so.
        pid: Option<u32>,
    },
    /// A write on a handle that was opened read-only.
    #[error("this database is open read-only; open it without the read-only option to {action}")]
    ReadOnly {
        /// What was refused.
        action: &'static str,
    },
    /// There is no database in the directory.
    #[error("no database at {}; create it, or check the path", path.display())]
    NoDatabase {
        /// The directory.
        path: PathBuf,
    },
    /// There is no collection of that name.
    #[error("no collection {name:?}; there are: {}", list(known))]
    NoCollection {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A collection of that name exists.
    #[error("collection {name:?} exists already; open it, or choose another name")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// The collection was dropped while this handle was open.
    #[error("collection {name:?} was dropped; this handle can no longer write")]
    Dropped {
        /// The name.
        name: String,
    },
    /// A collection name that cannot be a folder.
    #[error(
        "collection name {name:?} is not valid: expected 1 to 64 letters, digits, '-' or '_', beginning with a letter or digit"
    )]
    InvalidName {
        /// The name that came.
        name: String,
    },
    /// A schema that cannot be stored.
    #[error("schema: {reason}")]
    InvalidSchema {
        /// What was expected, what came.
        reason: String,
    },
    /// A document that does not fit its collection. Nothing of its batch was written.
    #[error("document {id}: {reason}; nothing of this batch was written")]
    InvalidRecord {
        /// The document's id.
        id: DocumentId,
        /// What was expected, what came.
        reason: RecordFault,
    },
    /// An option out of its range.
    #[error("option {name}: expected {expected}, got {got}")]
    InvalidOption {
        /// The option.
        name: &'static str,
        /// Its range.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// An earlier write or sync failed, so that what is on the disk is uncertain.
    #[error(
        "writes are refused after an earlier failure ({reason}); reads go on; close the database and open it again"
    )]
    Poisoned {
        /// The earlier failure.
        reason: String,
    },
    /// The handle was closed.
    #[error("the database is closed; open it again")]
    Closed,
    /// The caller's progress function asked to stop. Nothing of the operation is visible.
    #[error("cancelled; nothing was changed")]
    Cancelled,
    /// A vector could not be coded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Why a document does not fit its collection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A string id that is empty or too long.
    #[error("expected an id of 1 to {max} bytes, got {got}")]
    IdLength {
        /// The longest id.
        max: usize,
        /// Its length.
        got: usize,
    },
    /// The id stands twice in one batch.
    #[error(
        "expected each id once in a batch, got this one twice; send the second in another batch, or drop one"
    )]
    DuplicateId,
    /// A text of no characters.
    #[error("expected a text of at least one character, got an empty one; leave the text out instead")]
    EmptyText,
    /// A text, payload or record over the limit.
    #[error("expected {what} of at most {max} bytes, got {got}")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// The limit.
        max: usize,
        /// Its size.
        got: usize,
    },
    /// The collection has the vector, the document has not.
    #[error("expected {expected}, got none")]
    MissingVector {
        /// The field and its dimension.
        expected: String,
    },
    /// The document has a vector that the collection has no field for.
    #[error(
        "the collection has no {field} field, got one of dimension {got}; leave it out, or create a collection with it"
    )]
    UnexpectedVector {
        /// `dense` or `tokens`.
        field: &'static str,
        /// Its dimension.
        got: usize,
    },
    /// A vector of another dimension.
    #[error("{field}: expected dimension {expected}, got {got}")]
    Dimension {
        /// `dense` or `tokens`.
        field: &'static str,
        /// The collection's dimension.
        expected: usize,
        /// The document's.
        got: usize,
    },
    /// A NaN, an infinity, or a zero vector under cosine.
    #[error("{field}: {reason}")]
    Vector {
        /// `dense` or `tokens`.
        field: &'static str,
        /// What the codec says.
        reason: String,
    },
    /// A vector of a field that the collection does not have.
    #[error("vector {name:?}: the collection has no such field; there are: {known}")]
    UnknownVector {
        /// The name that came.
        name: String,
        /// The names of those that there are.
        known: String,
    },
    /// A vector that does not fit the named field.
    #[error("vector {name:?}: {reason}")]
    NamedVector {
        /// The field.
        name: String,
        /// What was expected, what came.
        reason: String,
    },
    /// A payload value that is not of its field's declared type.
    #[error("payload field {field:?}: expected {expected}, got {got}")]
    FieldType {
        /// The field.
        field: String,
        /// Its declared type.
        expected: &'static str,
        /// The value that came, shortened.
        got: String,
    },
}

impl StorageError {
    /// An error of the operating system, with the full disk told apart.
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { action, path },
            _ => Self::Io {
                action,
                path,
                source: Arc::new(source),
            },
        }
    }

    /// Damage at a byte of a file.
    pub fn corruption(
        file: &Path,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Corruption {
            file: file.to_owned(),
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// Whether the operating system failed to read or write what is there: another try may go well.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Full { .. }) && !self.is_not_found()
    }

    /// Whether a sync failed: what the disk holds of the file is unknown then.
    pub(crate) fn is_failed_sync(&self) -> bool {
        matches!(
            self,
            Self::Io { action: "sync", .. } | Self::Full { action: "sync", .. }
        )
    }

    /// Whether the file or folder was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Gives an [`io::Result`] the file that it was about.
pub trait IoContext<T> {
    /// Turns an error of the operating system into a [`StorageError`] that names the file and the action.
    ///
    /// # Errors
    /// The error, in its new form.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| StorageError::io(action, path, source))
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
