//! What is known of the files of a segment, and the check that reads all of them.

use super::component::Component;
use super::meta::Beside;
use super::view::{Segment, Slot};
use super::{graph, ivf, lexical, sparse};
use crate::error::{Result, StorageError};

/// What is known of one file of a segment.
#[derive(Clone, Debug)]
pub struct ComponentHealth {
    /// The file.
    pub component: Component,
    /// Its length, as it was written.
    pub bytes: u64,
    /// What is wrong with it. Damage to a derived component costs speed; it is repaired by merging.
    pub damage: Option<StorageError>,
}

impl Segment {
    /// What is known of each file so far, without reading more.
    pub fn health(&self) -> Vec<ComponentHealth> {
        let health = |(&component, slot): (&Component, &Slot)| {
            let in_use = || slot.checked.get().and_then(|checked| checked.as_ref().err());
            let damage = slot.file.as_ref().err().or_else(in_use).cloned();
            ComponentHealth {
                component,
                bytes: slot.bytes,
                damage,
            }
        };
        self.files.iter().map(health).collect()
    }

    /// Does what the first use of each file would do: compares the checksums of what queries read, and looks at links and
    /// lists. [`Self::health`] then tells what is damaged.
    pub(crate) fn check_for_readers(&self) {
        for (component, slot) in &self.files {
            // Texts and payloads are checked block by block, each time that one is read.
            if *component != Component::Documents
                && let Ok(file) = &slot.file
                && let Err(error) = file.verify()
            {
                let _ = slot.checked.set(Err(error));
            }
        }
        let fields = 0..self.schema.vectors.len();
        let _ = (self.tokens(), self.ivf(), self.graph(), self.lexical());
        for field in fields {
            let _ = (
                self.sparse(field),
                self.sparse_index(field),
                self.named_graph(field),
            );
        }
    }

    /// Reads every file whole and compares every checksum.
    pub fn verify(&self) -> Vec<ComponentHealth> {
        let beside = Beside::read(&self.meta_file);
        let health = |(&component, slot): (&Component, &Slot)| {
            let damage = self.verify_one(component, slot, &beside).err();
            ComponentHealth {
                component,
                bytes: slot.bytes,
                damage,
            }
        };
        let meta = ComponentHealth {
            component: Component::Meta,
            bytes: self.meta_file.written().bytes,
            damage: self.meta_file.verify().err(),
        };
        std::iter::once(meta)
            .chain(self.files.iter().map(health))
            .collect()
    }

    fn verify_one(&self, component: Component, slot: &Slot, beside: &Beside) -> Result<()> {
        let file = slot.file.as_ref().map_err(Clone::clone)?;
        if let Some(guard) = beside.guard(component)
            && let Some(damaged) = guard.damaged_asking(file.bytes(), || file.read_ahead()).first()
        {
            let expected = format!("the bytes up to {} as they were written", damaged.end);
            return Err(file.corruption(damaged.start as u64, expected, "others"));
        }
        file.verify()?;
        match component {
            Component::Ids => (0..self.len()).try_for_each(|ordinal| {
                let id = self.document_id(ordinal)?;
                self.find(&id)?
                    .map(drop)
                    .ok_or_else(|| file.corruption(0, format!("id {id} in the index"), "none"))
            }),
            Component::Documents => self.documents()?.verify(),
            Component::Columns => (0..self.schema.fields.len()).try_for_each(|i| self.column_at(i).map(drop)),
            Component::Dense => self.dense().map(drop),
            Component::Graph => {
                let spec = self.schema.dense.as_ref();
                graph::open(file, (spec, self.coarse()), self.len(), true).map(drop)
            }
            Component::Tokens => self.tokens().map(drop),
            Component::Original => self.original().map(drop),
            Component::Ivf => match &self.codebook {
                Some(codebook) => ivf::verify(&ivf::open(file, self.len(), codebook.codec.len())?),
                None => Ok(()),
            },
            Component::Lexical => {
                let spec = self.schema.lexical.as_ref();
                lexical::verify(&lexical::open(file, self.len(), spec, true)?)
            }
            Component::Vectors(field) => self.named(usize::from(field)).map(drop),
            Component::VectorGraph(field) => {
                let field = usize::from(field);
                // Vectors that are damaged are told by themselves.
                match (self.named_spec(field), self.named(field).ok().flatten()) {
                    (Some((_, spec)), Some(rows)) => {
                        graph::open(file, (Some(spec), rows.rows().coarse()), rows.len(), true).map(drop)
                    }
                    _ => Ok(()),
                }
            }
            Component::Sparse(_) => sparse::verify_rows(&sparse::open_rows(file, self.len(), true)?),
            Component::Postings(_) => sparse::verify_index(&sparse::open_index(file, self.len(), true)?),
            Component::Meta => Ok(()),
        }
    }
}
