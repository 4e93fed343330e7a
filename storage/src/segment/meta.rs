//! What a segment holds and which files it is made of: an rkyv archive, validated before it is read.

use std::path::Path;

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::component::Component;
use super::guard::{Guard, put_guards, read_guards};
use super::origin::Origin;
use super::reader::ComponentFile;
use super::writer::{ComponentWriter, Written};
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::schema::{FieldType, Schema};

const ARCHIVE: u32 = 1;
const ORIGIN: u32 = 2;
const SCHEMA: u32 = 3;
const GUARDS: u32 = 4;

/// The contents of the meta file.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct SegmentMeta {
    pub(crate) id: u64,
    pub(crate) rows: u32,
    pub(crate) tokens: u64,
    /// The codebook of the residual codes, when the tokens are not raw.
    pub(crate) codebook: Option<u64>,
    pub(crate) layout: Layout,
    pub(crate) files: Vec<FileMeta>,
}

/// The part of the schema that decides how the files are read.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Layout {
    /// Dimension, metric, codec.
    dense: Option<(u32, u8, u8)>,
    /// Dimension, bits, and the codec of the original tier.
    tokens: Option<(u32, u8, Option<u8>)>,
    /// Name and type of each field.
    fields: Vec<(String, u8)>,
}

/// One file of the segment.
#[derive(Archive, Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct FileMeta {
    name: String,
    bytes: u64,
    crc: u32,
}

impl Layout {
    pub(crate) fn of(schema: &Schema) -> Self {
        let dim = |dim: usize| u32::try_from(dim).unwrap_or(u32::MAX);
        Self {
            dense: schema
                .dense
                .as_ref()
                .map(|d| (dim(d.dim), d.metric as u8, d.codec as u8)),
            tokens: schema
                .tokens
                .as_ref()
                .map(|t| (dim(t.dim), t.bits, t.original.map(|o| o as u8))),
            fields: schema
                .fields
                .iter()
                .map(|f| (f.name.clone(), field_number(f.kind)))
                .collect(),
        }
    }
}

fn field_number(kind: FieldType) -> u8 {
    match kind {
        FieldType::Keyword => 0,
        FieldType::Int => 1,
        FieldType::Float => 2,
        FieldType::Bool => 3,
        FieldType::Datetime => 4,
        FieldType::Geo => 5,
    }
}

impl FileMeta {
    pub(crate) fn new(component: Component, written: Written) -> Self {
        Self {
            name: component.name().to_owned(),
            bytes: written.bytes,
            crc: written.crc,
        }
    }

    pub(crate) fn written(&self) -> Written {
        Written {
            bytes: self.bytes,
            crc: self.crc,
        }
    }

    /// The component, when this build knows it.
    pub(crate) fn component(&self) -> Option<Component> {
        Component::all().find(|c| c.name() == self.name)
    }
}

/// What the meta file holds beside the archive, so that damage elsewhere can be mended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Beside {
    pub(crate) origin: Origin,
    /// The schema of the collection as JSON.
    pub(crate) schema: String,
    /// The name of each file, and its guard.
    pub(crate) guards: Vec<(String, Guard)>,
}

impl Beside {
    /// What a meta file says. What an older one does not say, or what is damaged, is empty: no answer depends on it.
    pub(crate) fn read(file: &ComponentFile) -> Self {
        let guards = file.section(GUARDS);
        let schema = file
            .section(SCHEMA)
            .ok()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        Self {
            origin: Self::origin(file),
            schema: schema.unwrap_or_default().to_owned(),
            guards: guards
                .and_then(|bytes| read_guards(file.path(), bytes, file.offset_of(GUARDS)))
                .unwrap_or_default(),
        }
    }

    /// The origin alone.
    pub(crate) fn origin(file: &ComponentFile) -> Origin {
        file.section(ORIGIN)
            .and_then(|bytes| Origin::decode(file.path(), bytes, file.offset_of(ORIGIN)))
            .unwrap_or_default()
    }

    /// The guard of a file.
    pub(crate) fn guard(&self, component: Component) -> Option<&Guard> {
        let name = component.name();
        self.guards
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, guard)| guard)
    }
}

impl SegmentMeta {
    pub(crate) fn write(&self, backend: &dyn StorageBackend, dir: &Path, beside: &Beside) -> Result<Written> {
        let path = dir.join(Component::Meta.name());
        let archive = rkyv::to_bytes::<rancor::Error>(self).map_err(|error| StorageError::Io {
            action: "archive",
            path: path.clone(),
            source: std::sync::Arc::new(std::io::Error::other(error.to_string())),
        })?;
        let tags = [ARCHIVE, ORIGIN, SCHEMA, GUARDS];
        let mut writer = ComponentWriter::create(backend, &path, Component::Meta.kind(), &tags)?;
        writer.append(ARCHIVE, &archive)?;
        writer.append(ORIGIN, &beside.origin.encode())?;
        writer.append(SCHEMA, beside.schema.as_bytes())?;
        writer.append(GUARDS, &put_guards(&beside.guards)?)?;
        let finished = writer.finish([self.id, u64::from(self.rows), 0, 0, 0, 0])?;
        Ok(finished.written)
    }

    /// Reads the meta file.
    pub(crate) fn open(backend: &dyn StorageBackend, dir: &Path) -> Result<(Self, ComponentFile)> {
        let path = dir.join(Component::Meta.name());
        let file = ComponentFile::open(backend, &path, Component::Meta.kind())?;
        Ok((Self::parse(&file)?, file))
    }

    /// The archive of a meta file.
    pub(crate) fn parse(file: &ComponentFile) -> Result<Self> {
        let archive = file.section(ARCHIVE)?;
        let wrong = |error: rancor::Error| {
            file.corruption_in(ARCHIVE, 0, "a segment's description", error.to_string())
        };
        let meta = rkyv::access::<ArchivedSegmentMeta, rancor::Error>(archive).map_err(wrong)?;
        rkyv::deserialize::<Self, rancor::Error>(meta).map_err(wrong)
    }
}
