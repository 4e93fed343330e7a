//! Where the documents of a segment come from: enough to put a collection together again whose manifest is lost.

use std::path::Path;

use crate::error::Result;
use crate::wire::{Put, Reader};

/// Where the documents of a segment come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The last change that was known when the segment was begun: of a document that was changed later, the segment has
    /// no later version. 0: unknown.
    pub sequence: u64,
    /// Changes up to this one are in segments, and no longer wanted from logs; 0 for a bulk load, which says nothing of
    /// them.
    pub flushed: u64,
    /// The segments that were merged into this one, and which it stands in for.
    pub sources: Vec<u64>,
}

impl Origin {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.sequence);
        out.put_u64(self.flushed);
        self.sources.iter().for_each(|source| out.put_u64(*source));
        out
    }

    pub(super) fn decode(file: &Path, bytes: &[u8], offset: u64) -> Result<Self> {
        let mut reader = Reader::with_base(file, bytes, offset);
        let (sequence, flushed) = (reader.number()?, reader.number()?);
        let mut sources = Vec::new();
        while reader.remaining() > 0 {
            sources.push(reader.u64()?);
        }
        Ok(Self {
            sequence,
            flushed,
            sources,
        })
    }
}
