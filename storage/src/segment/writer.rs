//! Writing one file of a segment from beginning to end.
//!
//! Several sections may grow at once (a token's code, its residual, its norm): the first goes straight to the file, the
//! others wait in memory and, past a limit, in files of their own beside it, and are appended when the first is done.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::guard::{BlockSums, Guard};
use super::header::{ALIGNMENT, Header, PARAMS, Section, head};
use crate::backend::{StorageBackend, WritableFile};
use crate::error::{IoContext, Result, StorageError};
use crate::wire::FileKind;

/// Bytes that a waiting section, or what is on its way to the file, may hold in memory.
const BUFFER: usize = 1 << 20;

/// A file that was written: its length and the checksum of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
}

/// A file that was written, and what its whole parts are known by should it be damaged.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) written: Written,
    pub(crate) guard: Guard,
}

/// Bytes that go to one file, in order.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: Box<dyn WritableFile>,
    buffer: Vec<u8>,
}

impl Sink {
    fn create(backend: &dyn StorageBackend, path: PathBuf) -> Result<Self> {
        let file = backend.create(&path).at("create", &path)?;
        Ok(Self {
            path,
            file,
            buffer: Vec::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() >= BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return self.file.write_all(bytes).at("write", &self.path);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.buffer).at("write", &self.path)?;
        self.buffer.clear();
        Ok(())
    }
}

/// A section that waits for its turn.
#[derive(Debug)]
struct Waiting {
    tag: u32,
    memory: Vec<u8>,
    spilled: Option<Sink>,
    length: u64,
}

/// One file of a segment while it is written.
#[derive(Debug)]
pub(crate) struct ComponentWriter<'a> {
    backend: &'a dyn StorageBackend,
    kind: FileKind,
    sink: Sink,
    end: u64,
    header: Header,
    hasher: crc32fast::Hasher,
    sums: BlockSums,
    waiting: Vec<Waiting>,
}

impl<'a> ComponentWriter<'a> {
    /// Creates the file. `tags` are its sections in order; the first is written straight through.
    pub(crate) fn create(
        backend: &'a dyn StorageBackend,
        path: &Path,
        kind: FileKind,
        tags: &[u32],
    ) -> Result<Self> {
        let mut sink = Sink::create(backend, path.to_owned())?;
        let head = head(kind);
        let mut sums = BlockSums::default();
        sums.update(&head);
        sink.write(&head)?;
        let end = head.len() as u64;
        let first = tags.first().map(|&tag| Section {
            tag,
            crc: 0,
            offset: end,
            length: 0,
        });
        let waiting = |&tag| Waiting {
            tag,
            memory: Vec::new(),
            spilled: None,
            length: 0,
        };
        Ok(Self {
            backend,
            kind,
            sink,
            end,
            header: Header {
                params: [0; PARAMS],
                sections: first.into_iter().collect(),
                crc: 0,
            },
            hasher: crc32fast::Hasher::new(),
            sums,
            waiting: tags.iter().skip(1).map(waiting).collect(),
        })
    }

    /// Appends bytes to a section named in [`Self::create`].
    pub(crate) fn append(&mut self, tag: u32, bytes: &[u8]) -> Result<()> {
        if self.header.sections.last().is_some_and(|s| s.tag == tag) {
            return self.through(bytes);
        }
        let Some(waiting) = self.waiting.iter_mut().find(|w| w.tag == tag) else {
            return Err(StorageError::InvalidOption {
                name: "section",
                expected: "a section of this file".to_owned(),
                got: tag.to_string(),
            });
        };
        waiting.length += bytes.len() as u64;
        if waiting.spilled.is_none() && waiting.memory.len() + bytes.len() > BUFFER {
            let name = format!("{}.{tag}.part", file_name(&self.sink.path));
            let mut sink = Sink::create(self.backend, self.sink.path.with_file_name(name))?;
            sink.write(&std::mem::take(&mut waiting.memory))?;
            waiting.spilled = Some(sink);
        }
        match &mut waiting.spilled {
            Some(sink) => sink.write(bytes),
            None => {
                waiting.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Appends to the section that is open in the file itself.
    fn through(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.sums.update(bytes);
        self.end += bytes.len() as u64;
        if let Some(section) = self.header.sections.last_mut() {
            section.length += bytes.len() as u64;
        }
        self.sink.write(bytes)
    }

    /// Closes the open section and fills up to the next multiple of 64.
    fn close_section(&mut self) -> Result<()> {
        let crc = std::mem::take(&mut self.hasher).finalize();
        if let Some(section) = self.header.sections.last_mut() {
            section.crc = crc;
        }
        let padding = self.end.next_multiple_of(ALIGNMENT) - self.end;
        self.end += padding;
        (0..padding).try_for_each(|_| {
            self.sums.update(&[0]);
            self.sink.write(&[0])
        })
    }

    /// Appends the waiting sections, the table and the trailer, and syncs the file.
    pub(crate) fn finish(mut self, params: [u64; PARAMS]) -> Result<Finished> {
        self.header.params = params;
        self.close_section()?;
        for waiting in std::mem::take(&mut self.waiting) {
            self.header.sections.push(Section {
                tag: waiting.tag,
                crc: 0,
                offset: self.end,
                length: 0,
            });
            match waiting.spilled {
                None => self.through(&waiting.memory)?,
                Some(mut spilled) => {
                    spilled.flush()?;
                    drop(spilled.file);
                    let bytes = self.backend.map(&spilled.path).at("map", &spilled.path)?;
                    for block in bytes.chunks(BUFFER) {
                        self.through(block)?;
                        bytes.relieve();
                    }
                    self.backend
                        .remove_file(&spilled.path)
                        .at("remove", &spilled.path)?;
                }
            }
            self.close_section()?;
        }
        let tail = self.header.seal(self.kind, self.end);
        self.sink.write(&tail)?;
        self.sink.flush()?;
        self.sink.file.sync_data().at("sync", &self.sink.path)?;
        let written = Written {
            bytes: self.end + tail.len() as u64,
            crc: self.header.crc,
        };
        Ok(Finished {
            written,
            guard: self.sums.finish(tail),
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{BUFFER, ComponentWriter};
    use crate::backend::{MemoryBackend, StorageBackend};
    use crate::segment::reader::ComponentFile;
    use crate::wire::FileKind;
    use std::path::Path;

    const KIND: FileKind = FileKind(*b"TEST");

    #[test]
    fn sections_that_grow_at_once_end_up_whole_and_in_order() {
        let backend = MemoryBackend::default();
        backend.create_dir_all(Path::new("/s")).unwrap();
        let path = Path::new("/s/f");
        let mut writer = ComponentWriter::create(&backend, path, KIND, &[1, 2, 3, 4]).unwrap();
        let mut expected = [const { Vec::new() }; 4];
        let blocks = [3, 1000, BUFFER / 2, BUFFER - 1, 7, BUFFER, 3 * BUFFER + 5, 1];
        for (n, length) in (0u8..).zip(blocks) {
            for (tag, section) in (1..=3).zip(&mut expected) {
                // The third stays small, the fourth empty.
                let length = if tag == 3 { length.min(10) } else { length };
                let block = vec![n.wrapping_mul(37).wrapping_add(u8::try_from(tag).unwrap()); length];
                writer.append(tag, &block).unwrap();
                section.extend_from_slice(&block);
            }
        }
        assert!(writer.append(9, &[1]).is_err());
        assert_eq!(
            backend.list(Path::new("/s")).unwrap().len(),
            2,
            "the second section waits in a file"
        );
        let finished = writer.finish([1, 2, 3, 4, 5, 6]).unwrap();
        let mut bytes = backend.read(path).unwrap();
        assert!(finished.guard.damaged(&bytes).is_empty());
        bytes[100_000] ^= 1;
        assert_eq!(finished.guard.damaged(&bytes).first(), Some(&(98_304..102_400)));
        let written = finished.written;
        assert_eq!(backend.list(Path::new("/s")).unwrap().len(), 1);
        let file = ComponentFile::open(&backend, path, KIND).unwrap();
        file.expect(written).unwrap();
        file.verify().unwrap();
        assert_eq!(file.params(), [1, 2, 3, 4, 5, 6]);
        for (tag, section) in (1..=4).zip(&expected) {
            assert!(file.section(tag).unwrap() == section, "section {tag}");
        }
        assert!(file.section(5).is_err());
    }
}
