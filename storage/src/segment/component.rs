//! The files of a segment: what each holds, its name and its kind.

use serde::Serialize;

use crate::wire::FileKind;

/// One file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Component {
    /// What the segment holds and which files it is made of.
    Meta,
    /// Document ids in order of ordinals, and a hash index over them.
    Ids,
    /// Texts and payloads, compressed in blocks.
    Documents,
    /// Payload fields that filters may name, one typed column each.
    Columns,
    /// Dense vectors, coded.
    Dense,
    /// The HNSW graph over the dense vectors. Derived.
    Graph,
    /// Token matrices: raw, or residual codes.
    Tokens,
    /// The tokens as they came, for exact rescoring.
    Original,
    /// Posting lists: centroid to documents. Derived.
    Ivf,
    /// The inverted index of the texts. Derived.
    Lexical,
}

impl Component {
    /// Every component, in the order in which they are written.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Ids,
        Self::Documents,
        Self::Columns,
        Self::Dense,
        Self::Graph,
        Self::Tokens,
        Self::Original,
        Self::Ivf,
        Self::Lexical,
    ];

    /// The file's name inside the segment's folder, and the key in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Ids => "ids",
            Self::Documents => "documents",
            Self::Columns => "columns",
            Self::Dense => "dense",
            Self::Graph => "graph",
            Self::Tokens => "tokens",
            Self::Original => "original",
            Self::Ivf => "ivf",
            Self::Lexical => "lexical",
        }
    }

    /// The kind that stands in the file's head.
    pub(crate) const fn kind(self) -> FileKind {
        FileKind(match self {
            Self::Meta => *b"SEGM",
            Self::Ids => *b"IDS ",
            Self::Documents => *b"DOCS",
            Self::Columns => *b"COLS",
            Self::Dense => *b"DENS",
            Self::Graph => *b"GRPH",
            Self::Tokens => *b"TOKS",
            Self::Original => *b"ORIG",
            Self::Ivf => *b"IVF ",
            Self::Lexical => *b"LEXI",
        })
    }

    /// Whether the file can be rebuilt from the others, so that damage to it costs speed and never an answer.
    pub const fn is_derived(self) -> bool {
        matches!(self, Self::Graph | Self::Ivf | Self::Lexical)
    }
}

/// The kind of a codebook file, which belongs to a collection and not to one segment.
pub(crate) const CODEBOOK_KIND: FileKind = FileKind(*b"CODB");
