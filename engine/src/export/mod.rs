//! Writers of files for other programs.

pub(crate) mod folder;
pub(crate) mod npy;
pub(crate) mod plaid;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::Error;

/// Writes a small file whole, and syncs it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}
