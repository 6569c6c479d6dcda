//! The data directory: made 0700, held by one process at a time, home of keys and certificates.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refused something.
    #[error("data directory: {action} {path}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process holds it.
    #[error(
        "data directory {0} is in use by another vendfleet process; stop it or set another server.data_dir"
    )]
    InUse(PathBuf),
    /// A file in it is not what it must be.
    #[error("{path}: {rule}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it must be.
        rule: String,
    },
}

/// The data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Held while the server runs; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    file: File,
}

impl Drop for DataDirLock {
    /// Unlocked by name, not by closing: a child that was forked meanwhile has the same open file, and would hold the lock until
    /// it begins its own program.
    fn drop(&mut self) {
        // What can't be unlocked is closed in a moment.
        let _ = self.file.unlock();
    }
}

impl DataDir {
    /// Opens the directory, making it (0700) when it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let dir = Self { root: root.into() };
        dir.make_dir(&dir.root)?;
        Ok(dir)
    }

    /// Takes the directory for this process alone.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        let path = self.path("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|cause| DataDirError::Io { action: "open", path: path.clone(), cause })?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock { file }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(self.root.clone())),
            Err(TryLockError::Error(cause)) => Err(DataDirError::Io { action: "lock", path, cause }),
        }
    }

    /// A path inside.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Reads a file. `Ok(None)`: it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(DataDirError::Io { action: "read", path, cause }),
        }
    }

    /// Writes a file whole or not at all, readable by its owner alone when it is a secret.
    pub fn write(&self, name: &str, bytes: &[u8], secret: bool) -> Result<(), DataDirError> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root).to_owned();
        self.make_dir(&parent)?;
        let temporary = path.with_extension("new");
        let io = |action: &'static str| {
            let path = path.clone();
            move |cause| DataDirError::Io { action, path, cause }
        };
        // Left over from a process that was killed while writing; its mode is not to be trusted.
        if let Err(cause) = fs::remove_file(&temporary)
            && cause.kind() != io::ErrorKind::NotFound
        {
            return Err(io("replace")(cause));
        }
        let mode = if secret { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&temporary)
            .map_err(io("write"))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write"))?;
        fs::rename(&temporary, &path).map_err(io("rename"))?;
        File::open(&parent).and_then(|dir| dir.sync_all()).map_err(io("sync"))
    }

    /// Reads a secret, making it the first time.
    pub fn secret(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, DataDirError> {
        if let Some(bytes) = self.read(name)? {
            return Ok(bytes);
        }
        let bytes = make();
        self.write(name, &bytes, true)?;
        Ok(bytes)
    }

    fn make_dir(&self, path: &Path) -> Result<(), DataDirError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|cause| DataDirError::Io { action: "make", path: path.to_owned(), cause })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use super::{DataDir, DataDirError};

    /// A fork has the same open file, as a clone of it has.
    #[test]
    fn a_fork_beside_a_running_server_does_not_keep_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let held = dir.lock().unwrap();
        let forked = held.file.try_clone().unwrap();
        assert!(matches!(dir.lock(), Err(DataDirError::InUse(_))), "while it is held it is held");
        drop(held);
        dir.lock().expect("whoever held it has let go");
        drop(forked);
    }
}
