//! Programs of Debian against the server.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of the servers of Postgres, which are not on the path.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Returns a program, or says that its test is skipped.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    folders
        .extend(fs::read_dir(POSTGRES).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A folder of its own for a test, for any user to write into, which is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    /// Creates it.
    pub fn new() -> io::Result<Self> {
        let mut number = 0;
        let path = loop {
            let path = env::temp_dir().join(format!("netpoll-web-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                result => break result.map(|()| path)?,
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
