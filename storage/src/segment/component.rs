//! The files of a segment: what each holds, its name and its kind.

use serde::{Serialize, Serializer};

use crate::validate::MAX_VECTOR_FIELDS;
use crate::wire::FileKind;

/// One file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The dense vectors of the named field of this number, coded.
    Vectors(u8),
    /// The HNSW graph over them. Derived.
    VectorGraph(u8),
    /// The sparse vectors of the named field of this number, row after row.
    Sparse(u8),
    /// The inverted index over them. Derived.
    Postings(u8),
}

const VECTORS: [&str; MAX_VECTOR_FIELDS] = [
    "dense-0", "dense-1", "dense-2", "dense-3", "dense-4", "dense-5", "dense-6", "dense-7", "dense-8",
    "dense-9", "dense-10", "dense-11", "dense-12", "dense-13", "dense-14", "dense-15",
];
const VECTOR_GRAPHS: [&str; MAX_VECTOR_FIELDS] = [
    "graph-0", "graph-1", "graph-2", "graph-3", "graph-4", "graph-5", "graph-6", "graph-7", "graph-8",
    "graph-9", "graph-10", "graph-11", "graph-12", "graph-13", "graph-14", "graph-15",
];
const SPARSE: [&str; MAX_VECTOR_FIELDS] = [
    "sparse-0",
    "sparse-1",
    "sparse-2",
    "sparse-3",
    "sparse-4",
    "sparse-5",
    "sparse-6",
    "sparse-7",
    "sparse-8",
    "sparse-9",
    "sparse-10",
    "sparse-11",
    "sparse-12",
    "sparse-13",
    "sparse-14",
    "sparse-15",
];
const POSTINGS: [&str; MAX_VECTOR_FIELDS] = [
    "postings-0",
    "postings-1",
    "postings-2",
    "postings-3",
    "postings-4",
    "postings-5",
    "postings-6",
    "postings-7",
    "postings-8",
    "postings-9",
    "postings-10",
    "postings-11",
    "postings-12",
    "postings-13",
    "postings-14",
    "postings-15",
];

impl Component {
    /// Every component but those of named vector fields, in the order in which they are written.
    pub const SINGLE: [Self; 10] = [
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

    /// Every component that there may be.
    pub fn all() -> impl Iterator<Item = Self> {
        let fields = (0_u8..).take(MAX_VECTOR_FIELDS);
        let of_fields = fields.flat_map(|field| {
            [
                Self::Vectors(field),
                Self::VectorGraph(field),
                Self::Sparse(field),
                Self::Postings(field),
            ]
        });
        Self::SINGLE.into_iter().chain(of_fields)
    }

    /// The file's name inside the segment's folder, and the key in statistics.
    pub fn name(self) -> &'static str {
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
            Self::Vectors(field) => of_field(&VECTORS, field),
            Self::VectorGraph(field) => of_field(&VECTOR_GRAPHS, field),
            Self::Sparse(field) => of_field(&SPARSE, field),
            Self::Postings(field) => of_field(&POSTINGS, field),
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
            Self::Vectors(_) => *b"DENS",
            Self::VectorGraph(_) => *b"GRPH",
            Self::Sparse(_) => *b"SPAR",
            Self::Postings(_) => *b"SPIX",
        })
    }

    /// Whether the file can be rebuilt from the others, so that damage to it costs speed and never an answer.
    pub const fn is_derived(self) -> bool {
        matches!(
            self,
            Self::Graph | Self::VectorGraph(_) | Self::Ivf | Self::Lexical | Self::Postings(_)
        )
    }
}

/// The name of a field's file; a schema has no more fields than there are names.
fn of_field(names: &[&'static str; MAX_VECTOR_FIELDS], field: u8) -> &'static str {
    names.get(usize::from(field)).copied().unwrap_or_default()
}

/// The name, as in statistics.
impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The kind of a codebook file, which belongs to a collection and not to one segment.
pub(crate) const CODEBOOK_KIND: FileKind = FileKind(*b"CODB");
