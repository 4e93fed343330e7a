//! Reading one file of a segment without the others.

use std::path::Path;

use latewood_codecs::DenseCodec;

use super::component::Component;
use super::documents::Documents;
use super::graph;
use super::ids::Ids;
use super::ivf;
use super::meta::Beside;
use super::reader::ComponentFile;
use super::tokens;
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};

/// Rows that are looked at one by one at most.
const ROWS: u32 = 2000;

/// Reads everything in a file of the kind that its header names.
pub(crate) fn decode_component(backend: &dyn StorageBackend, path: &Path) -> Result<()> {
    let opened = Component::ALL
        .into_iter()
        .map(|c| (c, ComponentFile::open(backend, path, c.kind())));
    let mut error = None;
    for (component, file) in opened {
        match file {
            Ok(file) => return decode(component, &file),
            Err(other) => error = Some(other),
        }
    }
    Err(error.unwrap_or_else(|| StorageError::corruption(path, 0, "a file of a segment", "another")))
}

fn decode(component: Component, file: &ComponentFile) -> Result<()> {
    let [first, second, third, ..] = file.params();
    let rows = u32::try_from(first).unwrap_or(u32::MAX);
    let some = || 0..rows.min(ROWS);
    match component {
        Component::Ids => some().try_for_each(|row| {
            let id = Ids::new(file, rows).get(row)?;
            Ids::new(file, rows).find(&id).map(drop)
        }),
        Component::Documents => {
            let documents = Documents::new(file, rows);
            some().for_each(|row| drop(documents.payload(row)));
            documents.verify()
        }
        Component::Graph => {
            let graph = graph::open(file, rows, true)?;
            for row in some() {
                for level in 0..=graph.max_level() {
                    let linked = graph.neighbours(level, row);
                    debug_assert!(linked.iter().all(|other| *other < rows));
                }
            }
            Ok(())
        }
        Component::Tokens => {
            let dim = usize::try_from(third).unwrap_or(usize::MAX);
            tokens::open(file, rows, dim, None, true).map(drop)
        }
        Component::Ivf => {
            let documents = u32::try_from(second).unwrap_or(u32::MAX);
            ivf::verify(&ivf::open(
                file,
                documents,
                usize::try_from(first).unwrap_or(usize::MAX),
            )?)
        }
        Component::Dense => {
            let rows = usize::try_from(first).unwrap_or(usize::MAX);
            let dim = usize::try_from(second).unwrap_or(usize::MAX);
            file.exactly::<u8>(
                1,
                rows.saturating_mul(DenseCodec::Int8.row_bytes(dim.min(1 << 16))),
            )
            .map(drop)
        }
        Component::Meta => {
            drop(Beside::read(file));
            file.verify()
        }
        Component::Columns | Component::Original => file.verify(),
    }
}
