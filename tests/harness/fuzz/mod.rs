//! Decoders and what to feed them: one list for the driver of the test suite, which mutates without looking, and for
//! the programs of `fuzz/`, which are led by coverage.

mod driver;
mod files;
mod folder;
mod inputs;
mod models;

pub use driver::{Settings, drive};

/// A decoder under attack. It may refuse what it is fed; it may not panic, hang, or take memory without measure.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, here and in `fuzz/`.
    pub name: &'static str,
    /// Feeds it; whether it took the bytes for right.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that it takes, and some that it does not.
    pub corpus: fn() -> Vec<Vec<u8>>,
}

/// Every decoder.
pub const TARGETS: [Target; 29] = [
    files::target("manifest", || files::of_kind(b"MANI")),
    files::target("current", || files::of_kind(b"CURR")),
    files::target("log", || files::of_kind(b"WAL ")),
    files::target("closed", || files::of_kind(b"CLOS")),
    files::target("tombstones", || files::of_kind(b"TOMB")),
    files::target("codebook", || files::of_kind(b"CODB")),
    files::target("meta", || files::of_kind(b"SEGM")),
    files::target("ids", || files::of_kind(b"IDS ")),
    files::target("documents", || files::of_kind(b"DOCS")),
    files::target("columns", || files::of_kind(b"COLS")),
    files::target("dense", || files::of_kind(b"DENS")),
    files::target("graph", || files::of_kind(b"GRPH")),
    files::target("tokens", || files::of_kind(b"TOKS")),
    files::target("original", || files::of_kind(b"ORIG")),
    files::target("ivf", || files::of_kind(b"IVF ")),
    files::target("lexical", || files::of_kind(b"LEXI")),
    files::target("sparse", || files::of_kind(b"SPAR")),
    files::target("sparse_index", || files::of_kind(b"SPIX")),
    files::RECORDS,
    files::POSTINGS,
    files::READERS_COPY,
    folder::DATABASE,
    inputs::NPY,
    inputs::DOCUMENTS,
    inputs::QUERIES,
    inputs::FILTER,
    inputs::JUDGMENTS,
    inputs::PLAID,
    models::MODEL,
];

/// The target of a name.
///
/// # Errors
/// The names that there are.
pub fn target(name: &str) -> Result<Target, String> {
    let known = TARGETS.into_iter().find(|target| target.name == name);
    known.ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("no target is called {name:?}; there are {}", names.join(", "))
    })
}
