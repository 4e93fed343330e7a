//! A control group with a limit of memory: what a process in it may hold, page cache included.

use std::fs;
use std::path::{Path, PathBuf};

use latewood_benches::Failure;

/// A group that is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes a group of version 2, or else 1, of Linux's control groups, which root may.
    pub(crate) fn create(bytes: u64) -> Result<Self, Failure> {
        let name = format!("latewood-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup", "cgroup.controllers", "memory.max"),
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.limit_in_bytes",
            ),
        ];
        for (root, shows, limit) in kinds {
            if Path::new(root).join(shows).exists() {
                let folder = Path::new(root).join(&name);
                fs::create_dir_all(&folder)?;
                let group = Self { folder };
                fs::write(group.folder.join(limit), bytes.to_string())?;
                return Ok(group);
            }
        }
        Err("no control groups are mounted at /sys/fs/cgroup".into())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the calling process into a group.
    pub(crate) fn enter(folder: &Path) -> Result<(), Failure> {
        Ok(fs::write(
            folder.join("cgroup.procs"),
            std::process::id().to_string(),
        )?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended; what cannot be removed is an empty group.
        let _ = fs::remove_dir(&self.folder);
    }
}
