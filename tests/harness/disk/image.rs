//! What a disk may hold after a power loss: of what was not synced, any part.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::recording::{Names, Node, RecordingDisk, Tree, Versions};
use crate::random::Random;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Which part of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// None of it.
    Nothing,
    /// All but the name of this number.
    AllButName(usize),
    /// The name of this number, and nothing else.
    Name(usize),
    /// Every name, and every sector of every file, is as it was after some of the changes; drawn from a seed.
    Random(u64),
}

struct Builder<'a> {
    from: &'a Tree,
    to: Tree,
    loss: Loss,
    random: Random,
    /// The numbers of the unsynced names by directory and name.
    numbers: BTreeMap<(usize, &'a str), usize>,
    hasher: DefaultHasher,
}

impl RecordingDisk {
    /// How many names have changed and were not synced.
    pub fn unsynced_names(&self) -> usize {
        unsynced_names(&self.tree()).len()
    }

    /// The disk after a power loss, and a fingerprint of its contents.
    pub fn after(&self, loss: Loss) -> (Self, u64) {
        let from = self.tree();
        let seed = match loss {
            Loss::Random(seed) => seed,
            _ => 0,
        };
        let mut builder = Builder {
            numbers: unsynced_names(&from),
            from: &from,
            to: Tree::default(),
            loss,
            random: Random::new(seed),
            hasher: DefaultHasher::new(),
        };
        builder.directory(0, 0);
        (Self::of(builder.to), builder.hasher.finish())
    }
}

fn unsynced_names(tree: &Tree) -> BTreeMap<(usize, &str), usize> {
    let mut found = BTreeMap::new();
    for (number, node) in tree.nodes.iter().enumerate() {
        if let Node::Dir(names) = &**node {
            for name in names.unsynced.keys() {
                let next = found.len();
                found.insert((number, name.as_str()), next);
            }
        }
    }
    found
}

impl<'a> Builder<'a> {
    fn directory(&mut self, from: usize, to: usize) {
        let Node::Dir(names) = &*self.from.nodes[from] else {
            return;
        };
        let all: std::collections::BTreeSet<&String> =
            names.now.keys().chain(names.unsynced.keys()).collect();
        for name in all {
            let Some(node) = self.meaning(from, names, name) else {
                continue;
            };
            name.hash(&mut self.hasher);
            let copy = match &*self.from.nodes[node] {
                Node::Dir(_) => self.to.add(Node::Dir(Names::default())),
                Node::File(versions) => {
                    let bytes = self.contents(versions);
                    bytes.hash(&mut self.hasher);
                    self.to.add(Node::File(Versions::of(bytes)))
                }
            };
            if let Ok(dir) = self.to.dir_mut(to) {
                dir.now.insert(name.clone(), copy);
            }
            self.directory(node, copy);
        }
        "end".hash(&mut self.hasher);
    }

    fn meaning(&mut self, dir: usize, names: &'a Names, name: &str) -> Option<usize> {
        let Some(history) = names.unsynced.get(name) else {
            return names.now.get(name).copied();
        };
        let number = self.numbers.get(&(dir, name)).copied();
        let (first, last) = (history.first()?, history.last()?);
        *match self.loss {
            Loss::Everything => first,
            Loss::Nothing => last,
            Loss::AllButName(kept) if number == Some(kept) => last,
            Loss::AllButName(_) => first,
            Loss::Name(lost) if number == Some(lost) => first,
            Loss::Name(_) => last,
            Loss::Random(_) => &history[self.random.index(history.len())],
        }
    }

    fn contents(&mut self, versions: &Versions) -> Arc<Vec<u8>> {
        let versions = &versions.all;
        let (first, last) = (&versions[0], &versions[versions.len() - 1]);
        match self.loss {
            _ if versions.len() == 1 => Arc::clone(first),
            Loss::Everything | Loss::AllButName(_) => Arc::clone(first),
            Loss::Nothing | Loss::Name(_) => Arc::clone(last),
            Loss::Random(_) => Arc::new(self.sectors(versions)),
        }
    }

    fn sectors(&mut self, versions: &[Arc<Vec<u8>>]) -> Vec<u8> {
        let lengths = || versions.iter().map(|version| version.len());
        let (least, most) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
        let len = match self.random.below(3) {
            0 => least + self.random.index(most - least + 1),
            _ => versions[self.random.index(versions.len())].len(),
        };
        let mut bytes = vec![0; len];
        for (number, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            let version = &versions[self.random.index(versions.len())];
            let start = (number * SECTOR).min(version.len());
            let end = (start + sector.len()).min(version.len());
            sector[..end - start].copy_from_slice(&version[start..end]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use latewood::StorageBackend;

    use super::*;

    fn names(disk: &RecordingDisk) -> Vec<String> {
        let entries = disk.list(Path::new("/d")).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn what_was_not_synced_may_be_lost_in_any_part() {
        let disk = RecordingDisk::with_dir(Path::new("/d"));
        let mut file = disk.create(Path::new("/d/a")).unwrap();
        file.write_all(&[1; 2000]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all(&[2; 2000]).unwrap();
        disk.create(Path::new("/d/b")).unwrap();
        disk.rename(Path::new("/d/a"), Path::new("/d/c")).unwrap();
        assert_eq!(disk.unsynced_names(), 3);
        let (everything, _) = disk.after(Loss::Everything);
        assert_eq!(names(&everything), ["a"]);
        assert_eq!(everything.read(Path::new("/d/a")).unwrap(), [1; 2000]);
        let (nothing, _) = disk.after(Loss::Nothing);
        assert_eq!(names(&nothing), ["b", "c"]);
        assert_eq!(nothing.read(Path::new("/d/c")).unwrap().len(), 4000);
        assert_eq!(names(&disk.after(Loss::AllButName(1)).0), ["a", "b"]);
        assert_eq!(names(&disk.after(Loss::Name(1)).0), ["c"]);
        let images: std::collections::BTreeSet<u64> =
            (0..200).map(|seed| disk.after(Loss::Random(seed)).1).collect();
        assert!(images.len() > 50, "{}", images.len());
        for seed in 0..200 {
            let (image, _) = disk.after(Loss::Random(seed));
            if let Ok(bytes) = image.read(Path::new("/d/c")) {
                assert!(bytes.starts_with(&[1; 2000]), "what was synced stays");
            }
        }
    }
}
