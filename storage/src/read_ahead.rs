//! Asks for pages of mapped files before they are read, as long as this process reads from disk at all.
//!
//! Files of segments, but for columns, are read page by page: a read brings in the page it needs and not megabytes around it,
//! which in a collection larger than memory push out what the next read needs. So each read that misses memory waits for the disk
//! by itself. Whoever knows what will be read says so first, and the disk is asked for all of it at once, in as few calls as there
//! are runs of pages.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytemuck::NoUninit;

use crate::mmap::{begin_to_read, pages_of};

/// Between two looks at what was read, each of which takes a few microseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether pages are asked for before they are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadAhead {
    on: bool,
}

impl ReadAhead {
    /// They are, whatever is in memory.
    pub(crate) const fn always() -> Self {
        Self { on: true }
    }

    /// Whether they are: not while everything that is read is in memory.
    #[inline]
    #[must_use]
    pub fn is_on(self) -> bool {
        self.on
    }

    /// Begins to read the pages of values that a mapped file holds, and does not wait for them.
    #[inline]
    pub fn of<T: NoUninit>(self, values: &[T]) {
        if self.on {
            begin_to_read(pages_of(bytemuck::cast_slice(values)));
        }
    }

    /// Begins to read all that `name` wants, what lies on the same pages or on pages side by side in one call.
    pub fn all<R>(self, name: impl FnOnce(&mut Wanted) -> R) -> R {
        let pages = if self.on { PAGES.take() } else { Vec::new() };
        let mut wanted = Wanted { on: self.on, pages };
        let named = name(&mut wanted);
        if self.on {
            wanted.ask();
            PAGES.set(wanted.pages);
        }
        named
    }

    /// Begins to read all that `name` wants of each of `items`; does nothing where nothing is asked for.
    pub fn each<T>(self, items: &[T], mut name: impl FnMut(&T, &mut Wanted)) {
        if self.on {
            self.all(|wanted| items.iter().for_each(|item| name(item, wanted)));
        }
    }
}

thread_local! {
    /// What is kept from call to call, for its memory.
    static PAGES: Cell<Vec<(usize, usize)>> = const { Cell::new(Vec::new()) };
}

/// Values of mapped files that will be read soon; see [`ReadAhead::all`].
#[derive(Debug)]
pub struct Wanted {
    on: bool,
    /// The first page of each and the one after its last.
    pages: Vec<(usize, usize)>,
}

impl Wanted {
    /// Whether they are asked for: not while everything that is read is in memory.
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Wants values.
    #[inline]
    pub fn add<T: NoUninit>(&mut self, values: &[T]) {
        if self.on {
            let Range { start, end } = pages_of(bytemuck::cast_slice(values));
            self.pages.push((start, end));
        }
    }

    fn ask(&mut self) {
        self.pages.sort_unstable();
        runs(self.pages.drain(..), begin_to_read);
    }
}

/// Pages between two that are wanted which are read as well: reading them takes less than another call to the system.
const BETWEEN: usize = 2;

/// Calls `each` with runs of pages that lie together, of pages in the order of their beginnings.
fn runs(pages: impl Iterator<Item = (usize, usize)>, mut each: impl FnMut(Range<usize>)) {
    let mut run = 0..0;
    for (start, end) in pages.filter(|(start, end)| start < end) {
        if run.is_empty() || start > run.end + BETWEEN {
            let before = std::mem::replace(&mut run, start..end);
            Some(before).filter(|run| !run.is_empty()).map(&mut each);
        }
        run.end = run.end.max(end);
    }
    if !run.is_empty() {
        each(run);
    }
}

/// Bytes that are read in one go.
pub(crate) const RUN: usize = 1 << 20;

/// Bytes that are read from the first to the last, [`RUN`] at a time; the disk is asked for two runs ahead, so that it is never idle.
pub(crate) fn in_order(bytes: &[u8], ahead: impl Fn() -> ReadAhead) -> impl Iterator<Item = &[u8]> {
    let mut next = bytes.chunks(RUN);
    let mut ask = move || next.next().into_iter().for_each(|run| ahead().of(run));
    ask();
    ask();
    bytes.chunks(RUN).inspect(move |_| ask())
}

/// What this process reads from disk.
#[derive(Debug)]
pub(crate) struct DiskReads {
    begun: Instant,
    /// When to look again, in nanoseconds from the beginning.
    next_look: AtomicU64,
    /// Bytes at the last look.
    bytes: AtomicU64,
    on: AtomicBool,
    counter: Option<File>,
}

impl DiskReads {
    pub(crate) fn new() -> Self {
        Self::by(counter())
    }

    fn by(counter: Option<File>) -> Self {
        Self {
            begun: Instant::now(),
            next_look: AtomicU64::new(0),
            // Other than any first count: what is read first is likely to be on disk.
            bytes: AtomicU64::new(u64::MAX),
            on: AtomicBool::new(counter.is_some()),
            counter,
        }
    }

    /// Whether this system tells what is read.
    pub(crate) fn are_known(&self) -> bool {
        self.counter.is_some()
    }

    /// Whether to read ahead: if something was read from disk between the last two looks.
    pub(crate) fn read_ahead(&self) -> ReadAhead {
        self.at(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn at(&self, now: u64) -> ReadAhead {
        if now >= self.next_look.load(Ordering::Relaxed)
            && let Some(bytes) = self.counter.as_ref().and_then(bytes_read)
        {
            let pause = u64::try_from(PAUSE.as_nanos()).unwrap_or(u64::MAX);
            self.next_look.store(now.saturating_add(pause), Ordering::Relaxed);
            let before = self.bytes.swap(bytes, Ordering::Relaxed);
            self.on.store(bytes != before, Ordering::Relaxed);
        }
        ReadAhead {
            on: self.on.load(Ordering::Relaxed),
        }
    }
}

/// What the process has made the disk read, its mapped files included (proc(5), /proc/pid/io); nothing on systems that do not
/// tell.
fn counter() -> Option<File> {
    let file = File::open("/proc/self/io").ok()?;
    bytes_read(&file).map(|_| file)
}

#[cfg(unix)]
fn bytes_read(file: &File) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut text = [0; 512];
    let length = file.read_at(&mut text, 0).ok()?;
    let text = str::from_utf8(text.get(..length)?).ok()?;
    let found = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    found?.trim().parse().ok()
}

#[cfg(not(unix))]
fn bytes_read(_: &File) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    #[cfg(unix)]
    fn it_is_on_as_long_as_something_is_read_from_disk() {
        let mut told = tempfile::NamedTempFile::new().unwrap();
        let mut tell = |bytes: u64| {
            told.as_file().set_len(0).unwrap();
            write!(told, "rchar: 7\nread_bytes: {bytes}\nwrite_bytes: 9\n").unwrap();
            std::io::Seek::rewind(&mut told).unwrap();
            File::open(told.path()).unwrap()
        };
        let reads = DiskReads::by(Some(tell(0)));
        let pause = u64::try_from(PAUSE.as_nanos()).unwrap();
        assert!(reads.at(0).is_on(), "the first reads are of what was just opened");
        assert!(reads.at(pause - 1).is_on());
        assert!(!reads.at(pause).is_on(), "nothing since");
        tell(8192);
        assert!(!reads.at(2 * pause - 1).is_on(), "not looked again yet");
        assert!(reads.at(2 * pause).is_on());
        assert!(!reads.at(3 * pause).is_on());
        assert!(!DiskReads::by(None).at(0).is_on(), "a system that does not tell");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_system_tells() {
        assert!(DiskReads::new().are_known());
    }

    #[test]
    fn what_is_read_in_order_is_all_of_it_and_asked_for_before() {
        for length in [0, 1, RUN, 3 * RUN + 7] {
            let bytes = vec![3; length];
            let asked = std::cell::Cell::new(0);
            let ahead = || {
                asked.set(asked.get() + 1);
                ReadAhead::default()
            };
            let mut read = 0;
            for (number, run) in (1..).zip(in_order(&bytes, ahead)) {
                read += run.len();
                assert_eq!(asked.get(), length.div_ceil(RUN).min(number + 2));
            }
            assert_eq!(read, length);
        }
    }

    #[test]
    fn pages_that_lie_together_are_one_run() {
        let of = |pages: &[(usize, usize)]| {
            let mut found = Vec::new();
            runs(pages.iter().copied(), |run| found.push((run.start, run.end)));
            found
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[(0, 0)]), [], "of no bytes");
        assert_eq!(of(&[(0, 0), (7, 9)]), [(7, 9)]);
        assert_eq!(of(&[(7, 9), (7, 8), (8, 9)]), [(7, 9)], "the same pages");
        assert_eq!(of(&[(7, 19), (8, 9), (19, 20)]), [(7, 20)], "one within another");
        assert_eq!(of(&[(7, 8), (10, 11)]), [(7, 11)], "two between");
        assert_eq!(of(&[(7, 8), (11, 12), (40, 41)]), [(7, 8), (11, 12), (40, 41)]);
    }

    #[test]
    fn all_that_is_named_is_asked_for_where_anything_is() {
        let values = vec![1u16; 10_000];
        let (on, off) = (ReadAhead::always(), ReadAhead::default());
        for ahead in [on, off] {
            let pages = ahead.all(|wanted| {
                wanted.add(&values[..10]);
                wanted.add::<u16>(&[]);
                assert_eq!(wanted.is_on(), ahead.is_on());
                wanted.pages.len()
            });
            assert_eq!(pages, if ahead.is_on() { 2 } else { 0 });
            let mut named = 0;
            ahead.each(&[3, 4], |_, _| named += 1);
            assert_eq!(named, if ahead.is_on() { 2 } else { 0 });
        }
        // One within another.
        on.all(|wanted| {
            wanted.add(&values);
            on.each(&[0], |_, wanted| wanted.add(&values[7000..]));
            wanted.add(&values);
        });
    }

    #[test]
    fn any_bytes_may_be_asked_for() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let map = crate::MappedFile::map(file.as_file()).unwrap();
        let on = ReadAhead::always();
        for range in [0..0, 0..1, 4095..4097, 4096..8192, 5..99_999, 0..100_000] {
            on.of(&map[range.clone()]);
            on.of(&bytes[range.clone()]);
            assert_eq!(map[range.clone()], bytes[range]);
        }
        on.of::<u64>(&[]);
        ReadAhead::default().of(&[1.0f32]);
    }
}
