//! Files and directories: the functions of [`std::fs`] on threads of the runtime's pool.
//!
//! Each function returns the kernel's error; in a runtime that has ended it returns one of kind `Other`, and outside of a
//! runtime it panics. An operation that was polled once goes on if it is dropped.

mod directory;
mod file;
mod options;

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

pub use directory::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::File;
pub use options::{FileTimes, OpenOptions};

use crate::blocking;

/// Returns the absolute path, without links and dots.
///
/// # Errors
///
/// Returns the errors of [`std::fs::canonicalize`].
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_path(path.as_ref(), |path| std::fs::canonicalize(path)).await
}

/// Copies a file with its permissions, and returns the number of bytes.
///
/// # Errors
///
/// Returns the errors of [`std::fs::copy`].
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64, io::Error> {
    on_paths(from.as_ref(), to.as_ref(), |from, to| std::fs::copy(from, to)).await
}

/// Creates a directory.
///
/// # Errors
///
/// Returns the errors of [`std::fs::create_dir`].
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::create_dir(path)).await
}

/// Creates a directory and those above it, as far as they are missing.
///
/// # Errors
///
/// Returns the errors of [`std::fs::create_dir_all`].
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::create_dir_all(path)).await
}

/// Creates another name of a file.
///
/// # Errors
///
/// Returns the errors of [`std::fs::hard_link`].
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    on_paths(original.as_ref(), link.as_ref(), |original, link| std::fs::hard_link(original, link)).await
}

/// Returns what the system knows of a file, behind links.
///
/// # Errors
///
/// Returns the errors of [`std::fs::metadata`].
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    on_path(path.as_ref(), |path| std::fs::metadata(path)).await
}

/// Reads a whole file.
///
/// # Errors
///
/// Returns the errors of [`std::fs::read`].
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    on_path(path.as_ref(), |path| std::fs::read(path)).await
}

/// Returns the target of a symbolic link.
///
/// # Errors
///
/// Returns the errors of [`std::fs::read_link`].
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    on_path(path.as_ref(), |path| std::fs::read_link(path)).await
}

/// Reads a whole file as text.
///
/// # Errors
///
/// Returns the errors of [`std::fs::read_to_string`].
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    on_path(path.as_ref(), |path| std::fs::read_to_string(path)).await
}

/// Removes an empty directory.
///
/// # Errors
///
/// Returns the errors of [`std::fs::remove_dir`].
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::remove_dir(path)).await
}

/// Removes a directory with all that it contains.
///
/// # Errors
///
/// Returns the errors of [`std::fs::remove_dir_all`].
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::remove_dir_all(path)).await
}

/// Removes a file.
///
/// # Errors
///
/// Returns the errors of [`std::fs::remove_file`].
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::remove_file(path)).await
}

/// Renames a file or a directory, and replaces what has the new name.
///
/// # Errors
///
/// Returns the errors of [`std::fs::rename`].
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    on_paths(from.as_ref(), to.as_ref(), |from, to| std::fs::rename(from, to)).await
}

/// Sets the permissions of a file or a directory.
///
/// # Errors
///
/// Returns the errors of [`std::fs::set_permissions`].
pub async fn set_permissions(path: impl AsRef<Path>, perm: Permissions) -> io::Result<()> {
    on_path(path.as_ref(), |path| std::fs::set_permissions(path, perm)).await
}

/// Creates a symbolic link.
///
/// # Errors
///
/// Returns the errors of [`std::os::unix::fs::symlink`].
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    on_paths(original.as_ref(), link.as_ref(), |original, link| std::os::unix::fs::symlink(original, link))
        .await
}

/// Returns what the system knows of a file, or of the link that has this name.
///
/// # Errors
///
/// Returns the errors of [`std::fs::symlink_metadata`].
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    on_path(path.as_ref(), |path| std::fs::symlink_metadata(path)).await
}

/// Returns whether there is a file of this name, behind links.
///
/// # Errors
///
/// Returns the errors of [`Path::try_exists`].
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    on_path(path.as_ref(), |path| path.try_exists()).await
}

/// Creates a file, or empties it, and writes a copy of `contents` to it.
///
/// # Errors
///
/// Returns the errors of [`std::fs::write`].
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let contents = contents.as_ref().to_vec();
    on_path(path.as_ref(), move |path| std::fs::write(path, contents)).await
}

/// Calls a function of std with a path, on a thread of the pool.
async fn on_path<T: Send + 'static>(
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_owned();
    blocking::run(move || call(&path)).await
}

/// Calls a function of std with two paths, on a thread of the pool.
async fn on_paths<T: Send + 'static>(
    one: &Path,
    other: &Path,
    call: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (one, other) = (one.to_owned(), other.to_owned());
    blocking::run(move || call(&one, &other)).await
}
