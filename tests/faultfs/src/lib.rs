//! A medium under SQLite that remembers every write, and can lose power, fill up or fail.
//!
//! [`FaultFs`] is a SQLite VFS on plain files. It logs each write, truncation, sync and deletion. From that log
//! [`FaultFs::image`] makes the files as a power cut may leave them: everything synced is there, and of what was not, each
//! 512-byte sector holds any one of the versions it had since (dropped, reordered, torn). Sectors themselves are whole,
//! as disks and flash translation layers promise. Nothing is really synced: tests run at memory speed.
//!
//! Locks and shared memory are left out: for databases with one connection in exclusive mode.

mod ffi;
mod image;
mod medium;

pub use image::Keep;
pub use medium::{Fault, Stats};

use medium::{Killed, Medium};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// One medium, registered with SQLite under a name of its own.
pub struct FaultFs {
    name: String,
    medium: Arc<Mutex<Medium>>,
}

impl FaultFs {
    /// Registers a new medium. It stays registered as long as the process lives.
    ///
    /// # Panics
    /// When SQLite refuses to register it.
    #[must_use]
    pub fn register() -> Self {
        let medium = Arc::new(Mutex::new(Medium::default()));
        Self { name: ffi::register(&medium), medium }
    }

    /// The VFS name to open databases with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What has been written so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Length of the log: a place to cut at.
    #[must_use]
    pub fn now(&self) -> usize {
        self.lock().log.len()
    }

    /// The places just before each sync takes effect: where most is at stake.
    #[must_use]
    pub fn sync_points(&self) -> Vec<usize> {
        self.lock().sync_points()
    }

    /// After `writes` more writes, every write (and extension) fails with `fault`, until [`FaultFs::heal`].
    pub fn fail_writes_after(&self, writes: u64, fault: Fault) {
        self.lock().fail_writes = Some((writes, fault));
    }

    /// After `syncs` more syncs, every sync fails, until [`FaultFs::heal`].
    pub fn fail_syncs_after(&self, syncs: u64) {
        self.lock().fail_syncs = Some(syncs);
    }

    /// Others have taken all the room: what makes a file longer fails with [`Fault::Full`], until [`FaultFs::heal`].
    pub fn fill(&self) {
        self.lock().filled = true;
    }

    /// The process is killed and the system lives: after `steps` more writes, truncations, syncs and deletions nothing
    /// reaches the files any more. With `in_a_write`, the write in which it dies gets through up to where it crosses from
    /// one page of memory into the next, if it does: there a kill can cut it.
    pub fn kill_after(&self, steps: u64, in_a_write: bool) {
        self.lock().killed = Some(Killed { after_steps: steps, in_a_write });
    }

    /// The process is gone; see [`FaultFs::kill_after`].
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.lock().killed.as_ref().is_some_and(|killed| killed.after_steps == 0)
    }

    /// The medium works again.
    pub fn heal(&self) {
        let mut medium = self.lock();
        medium.fail_writes = None;
        medium.fail_syncs = None;
        medium.filled = false;
    }

    /// The files as a power cut at `cut` may leave them, by file name.
    #[must_use]
    pub fn image(&self, cut: usize, keep: Keep) -> BTreeMap<String, Vec<u8>> {
        image::image(&self.lock().log, cut, keep)
    }

    /// Writes [`FaultFs::image`] into `dir`.
    ///
    /// # Errors
    /// When `dir` can't be written.
    pub fn write_image(&self, dir: &Path, cut: usize, keep: Keep) -> std::io::Result<()> {
        for (name, bytes) in self.image(cut, keep) {
            std::fs::write(dir.join(name), bytes)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Medium> {
        medium::lock(&self.medium)
    }
}
