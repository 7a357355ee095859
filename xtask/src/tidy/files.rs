//! The tree that tidy looks at, read once.

use std::path::{Path, PathBuf};

use super::source::Source;
use xtask::cmd;

/// The five packages.
const PACKAGES: &[&str] = &["core", "std-rt", "loom-tests", "examples", "xtask"];

/// Every source and every text of the tree.
pub struct Files {
    pub root: PathBuf,
    pub rust: Vec<Source>,
    /// Path and lines of every file that is text, the Rust files too.
    pub texts: Vec<(String, Vec<String>)>,
}

/// What a rule objects to. Lines count from 1.
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub message: String,
}

impl Files {
    /// Reads the packages, the root's own files and the folders of the CI.
    pub fn load(root: &Path) -> Result<Self, String> {
        let built = |path: &Path| path.ends_with("target") || path.ends_with(".git");
        let mut paths = Vec::new();
        cmd::files_under(root, &|path| path.is_dir() || built(path), &mut paths)?;
        for folder in PACKAGES.iter().chain(&[".github", ".ci", ".cargo"]) {
            let folder = root.join(folder);
            if folder.is_dir() {
                cmd::files_under(&folder, &built, &mut paths)?;
            }
        }
        let mut files = Self { root: root.to_path_buf(), rust: Vec::new(), texts: Vec::new() };
        for path in paths {
            let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            // What is not text (a picture) holds nothing for us.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            if name.ends_with(".rs") {
                files.rust.push(Source::new(name.clone(), &text));
            }
            files.texts.push((name, text.lines().map(str::to_owned).collect()));
        }
        if files.rust.is_empty() {
            Err(format!("no Rust source under {}", root.display()))
        } else {
            Ok(files)
        }
    }

    /// The Rust sources under one of the folders.
    pub fn under<'f>(&'f self, folders: &'f [&str]) -> impl Iterator<Item = &'f Source> {
        self.rust.iter().filter(|source| folders.iter().any(|folder| source.path.starts_with(folder)))
    }

    /// The sources that are not tests: the `src` of every package, and of a package below it.
    pub fn src(&self) -> impl Iterator<Item = &Source> {
        self.rust.iter().filter(|source| source.path.contains("/src/"))
    }

    /// One source by its path.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.rust.iter().find(|source| source.path == path)
    }
}

impl Source {
    /// An objection to a line of this file, counted from 0.
    pub fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: line + 1, message: message.into() }
    }
}
