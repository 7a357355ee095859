//! An error of something that has a name in the file system.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A path, and what the kernel said of it.
#[derive(Debug)]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for AtPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.source)
    }
}

impl Error for AtPath {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// With the path; the kind is kept.
pub(crate) fn at_path(path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), AtPath { path: path.to_owned(), source })
}
