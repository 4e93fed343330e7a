//! Keeps the pages of mapped files that a process holds within a share of the memory budget.
//!
//! Pages that are read through a mapping count as the process's memory until something takes them out. The operating system
//! does so when memory runs short, and only then: a process that has read a large collection once looks as large as the
//! collection. Here they are handed back once there are too many. Nothing is lost by it but the next reader's time to find
//! them again, a microsecond for each 64 KiB that the system still has in its own cache.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Instant;

use crate::backend::{DirectoryEntry, StorageBackend, WritableFile};
use crate::mmap::{MappedFile, Mapping};
use crate::read_ahead::{DiskReads, ReadAhead};

/// Nanoseconds between two looks at how many pages there are, at most: each takes a microsecond or two.
const PAUSE: u64 = 200_000;
/// The same, at least.
const SHORT_PAUSE: u64 = 10_000;
/// Bytes that a thread's reads here and there may bring in a nanosecond: each finds half a megabyte at once where the system
/// keeps a file in large pieces.
const ARRIVING: u64 = 128;
/// Times that pages are handed back between two counts of whose they are, each of which takes a read of the page tables.
const RELEASES: u32 = 32;

/// The mappings of a database, and how much of them the process may hold at once.
#[derive(Debug)]
pub(crate) struct ResidentPages {
    budget: u64,
    /// What they may take whatever else does.
    least: u64,
    /// What the process held beside files when the database was opened.
    memory_before: u64,
    begun: Instant,
    /// When to look again, in nanoseconds from the beginning.
    next_look: AtomicU64,
    threads: u64,
    /// Bytes of files that the process holds beside ours: the program's own, and what its host maps.
    others: AtomicU64,
    /// Bytes of all mappings.
    mapped: AtomicU64,
    mappings: Mutex<Mappings>,
    counter: Option<Counter>,
    reads: DiskReads,
}

impl ResidentPages {
    /// Keeps them to what `budget` bytes leave beside the rest of the process's growth, and to `least` where that is more.
    pub(crate) fn new(budget: u64, least: u64) -> Self {
        let counter = Counter::open();
        let held = counter.as_ref().and_then(Counter::held).unwrap_or_default();
        Self {
            budget,
            least,
            memory_before: held.memory,
            begun: Instant::now(),
            next_look: AtomicU64::new(0),
            threads: available_parallelism().map_or(1, |threads| threads.get() as u64),
            others: AtomicU64::new(held.files),
            mapped: AtomicU64::new(0),
            mappings: Mutex::default(),
            counter,
            reads: DiskReads::new(),
        }
    }

    /// Whether it is known what is read from disk, so that it may be read ahead.
    pub(crate) fn knows_reads(&self) -> bool {
        self.reads.are_known()
    }

    pub(crate) fn read_ahead(&self) -> ReadAhead {
        self.reads.read_ahead()
    }

    /// Whether what is read here and there is better copied: the mappings are larger than the most that they may ever take, and the
    /// system has in memory what is read. Pages come in pieces of 64 KiB then, and all of them count. What comes from disk comes
    /// page by page, and copying it makes the system keep it before what every query reads.
    pub(crate) fn are_tight(&self) -> bool {
        self.mapped.load(Ordering::Relaxed) > self.most() && !self.read_ahead().is_on()
    }

    /// What pages of files may take where nothing else does.
    fn most(&self) -> u64 {
        (self.budget - self.budget / 8).max(self.least)
    }

    pub(crate) fn watch(&self, mapping: &Arc<Mapping>) {
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let live = &mut mappings.live;
        if live.len() == live.capacity() {
            live.retain(|mapping| mapping.strong_count() > 0);
        }
        live.push(Arc::downgrade(mapping));
        let bytes = live
            .iter()
            .filter_map(Weak::upgrade)
            .map(|m| m.bytes().len() as u64);
        self.mapped.store(bytes.sum(), Ordering::Relaxed);
    }

    /// Hands pages back if there are too many. To be called every few hundred kilobytes read; it costs next to nothing
    /// where all mappings together are within the limit.
    #[inline]
    pub(crate) fn relieve(&self) {
        if self.mapped.load(Ordering::Relaxed) > self.least {
            self.look();
        }
    }

    fn look(&self) {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if now < self.next_look.load(Ordering::Relaxed) {
            return;
        }
        self.next_look.store(now + PAUSE, Ordering::Relaxed);
        let Some(counter) = &self.counter else {
            return;
        };
        let mut room = self.room(counter);
        if room == 0 {
            room = self.release(counter);
        }
        // The nearer the limit the sooner, or all threads together are far beyond it when it is looked again.
        let pause = (room / (ARRIVING * self.threads)).clamp(SHORT_PAUSE, PAUSE);
        self.next_look.fetch_min(now + pause, Ordering::Relaxed);
    }

    /// How many bytes more pages of files may take; 0 where there are too many already.
    fn room(&self, counter: &Counter) -> u64 {
        let Some(held) = counter.held() else {
            return u64::MAX;
        };
        let others = self.others.fetch_min(held.files, Ordering::Relaxed);
        self.share(held).saturating_sub(held.files.saturating_sub(others))
    }

    /// What pages of files may take beside what else the process holds by now, and in any case their least share.
    fn share(&self, held: Held) -> u64 {
        let own = held.memory.saturating_sub(self.memory_before);
        let all = self.budget - self.budget / 8;
        all.saturating_sub(own).max(self.least)
    }

    /// Hands all pages back; how many bytes they may take then.
    fn release(&self, counter: &Counter) -> u64 {
        // Whoever finds it locked waits: if they read on while the other thread is held up, there would be far too many.
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.room(counter);
        if room > 0 {
            return room;
        }
        let own: Vec<Arc<Mapping>> = mappings.live.iter().filter_map(Weak::upgrade).collect();
        own.iter().for_each(|mapping| mapping.release());
        if mappings.releases.is_multiple_of(RELEASES)
            && let Some(held) = counter.held()
        {
            // Other threads go on reading, so not all that is left is others'.
            let ours: u64 = own.iter().filter_map(|mapping| counter.resident(mapping)).sum();
            self.others
                .store(held.files.saturating_sub(ours), Ordering::Relaxed);
        }
        mappings.releases = mappings.releases.wrapping_add(1);
        drop(mappings);
        self.room(counter)
    }
}

/// The mappings that are watched.
#[derive(Debug, Default)]
struct Mappings {
    live: Vec<Weak<Mapping>>,
    /// How often their pages were handed back.
    releases: u32,
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Pages that files stand behind.
    files: u64,
    /// All others.
    memory: u64,
}

/// Tells what this process has in memory.
#[derive(Debug)]
struct Counter {
    #[cfg(target_os = "linux")]
    statm: File,
    #[cfg(target_os = "linux")]
    pagemap: File,
    #[cfg(target_os = "linux")]
    page_bytes: u64,
}

#[cfg(target_os = "linux")]
impl Counter {
    fn open() -> Option<Self> {
        Some(Self {
            statm: File::open("/proc/self/statm").ok()?,
            pagemap: File::open("/proc/self/pagemap").ok()?,
            page_bytes: rustix::param::page_size() as u64,
        })
    }

    /// The second number of statm are all resident pages, the third those that files stand behind (proc(5)).
    fn held(&self) -> Option<Held> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).ok()?;
        let text = str::from_utf8(text.get(..length)?).ok()?;
        let mut numbers = text.split_ascii_whitespace().skip(1);
        let mut bytes = || Some(numbers.next()?.parse::<u64>().ok()? * self.page_bytes);
        let (all, files) = (bytes()?, bytes()?);
        Some(Held {
            files,
            memory: all.saturating_sub(files),
        })
    }
}

#[cfg(target_os = "linux")]
impl Counter {
    /// Bytes of a mapping that are in this process's memory: bit 63 of the pages' entries (the kernel's documentation,
    /// admin-guide/mm/pagemap.rst).
    fn resident(&self, mapping: &Mapping) -> Option<u64> {
        use std::os::unix::fs::FileExt;
        const ENTRIES: usize = 8192;
        let bytes = mapping.bytes();
        let mut at = bytes.as_ptr().addr() as u64 / self.page_bytes;
        let end = at + (bytes.len() as u64).div_ceil(self.page_bytes);
        let (mut entries, mut present) = (vec![0; ENTRIES * 8], 0);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(ENTRIES).min(ENTRIES);
            let read = self
                .pagemap
                .read_at(entries.get_mut(..wanted * 8)?, at * 8)
                .ok()?;
            let words: Vec<u64> = bytemuck::allocation::pod_collect_to_vec(entries.get(..read / 8 * 8)?);
            present += words.iter().filter(|word| **word >> 63 == 1).count() as u64;
            if words.is_empty() {
                break;
            }
            at += words.len() as u64;
        }
        Some(present * self.page_bytes)
    }
}

#[cfg(not(target_os = "linux"))]
impl Counter {
    fn open() -> Option<Self> {
        None
    }

    fn held(&self) -> Option<Held> {
        None
    }

    fn resident(&self, _mapping: &Mapping) -> Option<u64> {
        None
    }
}

/// A disk whose mappings are watched.
#[derive(Debug)]
pub(crate) struct WatchedBackend {
    inner: Arc<dyn StorageBackend>,
    pages: Arc<ResidentPages>,
}

impl WatchedBackend {
    pub(crate) fn new(inner: Arc<dyn StorageBackend>, budget: u64, least: u64) -> Self {
        let pages = Arc::new(ResidentPages::new(budget, least));
        Self { inner, pages }
    }
}

impl StorageBackend for WatchedBackend {
    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        Ok(self.inner.map(path)?.watched(&self.pages))
    }

    fn map_and_keep(&self, path: &Path) -> io::Result<MappedFile> {
        Ok(self.inner.map_and_keep(path)?.watched(&self.pages))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.inner.create(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.inner.append(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn std::any::Any + Send + Sync>> {
        self.inner.lock(path)
    }

    fn native_path(&self, path: &Path) -> Option<PathBuf> {
        self.inner.native_path(path)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::DiskBackend;

    const FILE: usize = 16 << 20;
    const LEAST: u64 = 1 << 20;

    /// Reads a mapped file in steps, relieving after each, and returns the most of it that was in memory after a step.
    fn read(backend: &WatchedBackend, path: &Path) -> (MappedFile, u64) {
        let file = backend.map(path).unwrap();
        let counter = Counter::open().unwrap();
        let mut most = 0;
        for step in file.chunks(256 << 10) {
            assert!(step.iter().step_by(1024).all(|byte| *byte == 7));
            std::thread::sleep(Duration::from_nanos(2 * PAUSE));
            file.relieve();
            most = most.max(counter.resident(mapping(backend).as_ref()).unwrap());
        }
        (file, most)
    }

    fn mapping(backend: &WatchedBackend) -> Arc<Mapping> {
        let mappings = backend.pages.mappings.lock().unwrap();
        mappings.live.iter().find_map(Weak::upgrade).unwrap()
    }

    #[test]
    fn what_is_larger_than_the_share_is_copied_and_brings_in_no_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let bytes: Vec<u8> = (0..=250).cycle().take(FILE).collect();
        std::fs::write(&path, &bytes).unwrap();
        let tight = WatchedBackend::new(Arc::new(DiskBackend), 0, LEAST);
        let file = tight.map_and_keep(&path).unwrap();
        let resident = || Counter::open().unwrap().resident(&mapping(&tight)).unwrap();
        let (before, mut buffer) = (resident(), Vec::new());
        for at in (0..FILE - 5000).step_by(70_001) {
            let range = at..at + 4321;
            assert_eq!(file.copy(&file[range.clone()], &mut buffer), &bytes[range]);
        }
        assert_eq!(resident(), before);
        assert_eq!(file.copy(&file[FILE - 3..], &mut buffer), &bytes[FILE - 3..]);
        assert!(file.copy(&file[..0], &mut buffer).is_empty());
        // What is elsewhere, and what was not kept, is given back as it is.
        assert_eq!(file.copy(&bytes[7..90], &mut buffer), &bytes[7..90]);
        let only_mapped = tight.map(&path).unwrap();
        assert_eq!(only_mapped.copy(&only_mapped[7..90], &mut buffer), &bytes[7..90]);
        // Once the looks at what is read from disk find nothing.
        let is_tight = || {
            (0..50).any(|_| {
                std::thread::sleep(Duration::from_millis(11));
                file.is_tight()
            })
        };
        assert!(is_tight());
        let ample = WatchedBackend::new(Arc::new(DiskBackend), 0, 2 * FILE as u64);
        assert!(!ample.map_and_keep(&path).unwrap().is_tight());
    }

    #[test]
    fn pages_beyond_the_share_are_handed_back_and_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, vec![7; FILE]).unwrap();
        let tight = WatchedBackend::new(Arc::new(DiskBackend), 0, LEAST);
        let (file, most) = read(&tight, &path);
        assert!(most < FILE as u64 / 2, "{most} bytes were in memory");
        assert!(file.iter().step_by(4096).all(|byte| *byte == 7));
        // What fits is left alone.
        let ample = WatchedBackend::new(Arc::new(DiskBackend), 0, FILE as u64);
        assert_eq!(read(&ample, &path).1, FILE as u64);
    }
}
