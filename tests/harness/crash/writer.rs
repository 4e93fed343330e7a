//! The process that is killed.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use latewood::{Database, DatabaseOptions, DiskBackend, Durability, Maintenance};

use super::point::{Ending, Point};
use crate::command::Arguments;
use crate::disk::HookedDisk;
use crate::operation::Operation;
use crate::random::Random;

/// The collections.
pub(super) const COLLECTIONS: [&str; 2] = ["a", "b"];
/// What it says: the database is open; an operation begins; it was acknowledged; a backup was made after it.
pub(super) const OPEN: u8 = b'o';
pub(super) const BEGIN: u8 = b'b';
pub(super) const DONE: u8 = b'd';
pub(super) const BACKED_UP: u8 = b's';
/// One operation in so many is followed by a backup.
const BACKUPS: u64 = 12;

/// How a writer is started.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) directory: String,
    pub(super) seed: u64,
    /// The version that its first operation writes.
    pub(super) first: u64,
    pub(super) durability: Durability,
    pub(super) maintenance: Maintenance,
    pub(super) point: Option<Point>,
}

impl Writing {
    const NAMES: [&'static str; 6] = ["directory", "seed", "first", "durability", "maintenance", "point"];

    pub(super) fn arguments(&self) -> Vec<String> {
        let values = [
            self.directory.clone(),
            self.seed.to_string(),
            self.first.to_string(),
            format!("{:?}", self.durability),
            format!("{:?}", self.maintenance),
            self.point
                .map_or_else(|| "none".to_owned(), |point| point.to_string()),
        ];
        let named = Self::NAMES.into_iter().zip(values);
        named
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect()
    }

    fn parse(arguments: &Arguments) -> Self {
        let text = |name: &str| arguments.text(name).unwrap_or_default().to_owned();
        Self {
            directory: text("directory"),
            seed: arguments.number("seed", 0),
            first: arguments.number("first", 0),
            durability: match text("durability").as_str() {
                "Buffered" => Durability::Buffered,
                "None" => Durability::None,
                _ => Durability::Sync,
            },
            maintenance: match text("maintenance").as_str() {
                "Manual" => Maintenance::Manual,
                _ => Maintenance::Background,
            },
            point: text("point").parse().ok(),
        }
    }

    pub(super) fn options(&self) -> DatabaseOptions {
        Database::options()
            .durability(self.durability)
            .maintenance(self.maintenance)
            .memory_budget_bytes(16 << 20)
            .threads(1)
    }
}

/// Writes until it is killed: the operations that the seed gives, one after another, each told before and after.
pub fn write() {
    let writing = Writing::parse(&Arguments::from_list(std::env::args().skip(2), &Writing::NAMES));
    let mut options = writing.options();
    if let Some(point) = writing.point {
        let disk = HookedDisk::new(Arc::new(DiskBackend), Arc::new(Ending::at(point)));
        options = options.backend(Arc::new(disk));
    }
    let database = open(&options, Path::new(&writing.directory));
    say(OPEN);
    let (mut random, mut backups) = (Random::new(writing.seed), Random::new(!writing.seed));
    for version in writing.first.. {
        let (collection, operation) = choose(&mut random, |name| {
            database
                .collections()
                .expect("names")
                .iter()
                .any(|known| known == name)
        });
        say(BEGIN);
        operation
            .run(&database, collection, version)
            .unwrap_or_else(|error| panic!("{operation:?} on {collection}: {error}"));
        say(DONE);
        if backups.one_in(BACKUPS) {
            let folder = backup_folder(&writing.directory, version);
            database
                .backup(&folder, version % 2 == 0)
                .unwrap_or_else(|error| panic!("backup to {folder}: {error}"));
            say(BACKED_UP);
        }
    }
}

/// Where the backup after the operation of this version is.
pub(super) fn backup_folder(directory: &str, version: u64) -> String {
    format!("{directory}-backup-{version}")
}

/// Opens the database. Another job of the parent may be starting its own writer: until that is another program, it holds
/// the locks that the parent held.
fn open(options: &DatabaseOptions, path: &Path) -> Database {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        match options.clone().open(path) {
            Err(latewood::Error::Storage(latewood::StorageError::Locked { .. })) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.expect("the database opens"),
        }
    }
    panic!("the database stays locked")
}

/// The next operation; whoever knows the seed and which collections there are knows it too.
pub(super) fn choose(random: &mut Random, exists: impl Fn(&str) -> bool) -> (&'static str, Operation) {
    let collection = COLLECTIONS[random.index(COLLECTIONS.len())];
    (collection, Operation::choose(random, exists(collection)))
}

fn say(what: u8) {
    let mut out = std::io::stdout().lock();
    out.write_all(&[what])
        .and_then(|()| out.flush())
        .expect("the parent listens");
}
