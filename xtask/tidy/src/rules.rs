//! `tidy`: the rules of this project that neither rustc nor clippy can check.

mod docs;
mod layers;
mod orderings;
mod places;
mod tables;
mod text;
mod turns;

use std::path::{Path, PathBuf};

use tidy::source::Source;
use xtask::{Outcome, cmd};

/// The folders that are read beside the files of the root.
const FOLDERS: &[&str] = &["core", "std-rt", "loom-tests", "examples", "xtask", ".github", ".ci", ".cargo"];

/// Every source and every text of a checkout.
pub struct Tree {
    root: PathBuf,
    rust: Vec<Source>,
    /// The path and the text of every file that is text, the Rust files too.
    texts: Vec<(String, String)>,
}

/// An objection of a rule.
struct Finding {
    path: String,
    line: usize,
    message: String,
}

/// The findings of one rule.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.0.push(Finding { path: path.to_owned(), line, message: message.into() });
    }
}

/// The extent of a rule: a count that must not be 0, and the count in words.
struct Looked(usize, String);

type Rule = fn(&Tree, &mut Findings) -> Looked;

/// A new rule is a new line here.
const RULES: &[(&str, Rule)] = &[
    ("layers", layers::layers),
    ("cycles", layers::cycles),
    ("cfg", places::cfg),
    ("words", places::words),
    ("orderings", orderings::orderings),
    ("invariants", docs::invariants),
    ("cancel", docs::cancel),
    ("english", docs::english),
    ("turns", turns::turns),
    ("sizes", text::sizes),
    ("leftovers", text::leftovers),
    ("changelog", text::changelog),
    ("licenses", text::licenses),
];

/// Applies every rule. A rule that had nothing to look at is red too.
pub fn run(args: &[String]) -> Outcome {
    let tree = Tree::read(&cmd::only_root(args)?)?;
    let mut total = 0;
    for (name, rule) in RULES {
        let mut findings = Findings::default();
        let Looked(count, extent) = rule(&tree, &mut findings);
        if count == 0 {
            findings.add(".", 1, "looked at nothing");
        }
        println!("{name:<10} {} findings in {extent}", findings.0.len());
        for Finding { path, line, message } in &findings.0 {
            println!("{path}:{line}: {name}: {message}");
        }
        total += findings.0.len();
    }
    println!("tidy: {} rules, {} Rust files, {total} findings", RULES.len(), tree.rust.len());
    if total == 0 { Ok(()) } else { Err(String::new()) }
}

impl Tree {
    /// Reads the packages, the files of the root and the folders of the CI.
    pub fn read(root: &Path) -> Result<Self, String> {
        let built = |path: &Path| path.ends_with("target") || path.ends_with(".git");
        let mut paths = Vec::new();
        cmd::files_under(root, &|path| path.is_dir() || built(path), &mut paths)?;
        for folder in FOLDERS.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()) {
            cmd::files_under(&folder, &built, &mut paths)?;
        }
        let mut tree = Self { root: root.to_path_buf(), rust: Vec::new(), texts: Vec::new() };
        for path in paths {
            let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            // A picture is no text.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            if name.ends_with(".rs") {
                tree.rust.push(Source::new(name.clone(), text.clone())?);
            }
            tree.texts.push((name, text));
        }
        if tree.rust.is_empty() { Err(format!("no Rust source under {}", root.display())) } else { Ok(tree) }
    }

    /// Returns the Rust sources.
    pub fn sources(&self) -> &[Source] {
        &self.rust
    }

    /// Returns the Rust sources under a folder.
    fn under<'t>(&'t self, folder: &'t str) -> impl Iterator<Item = &'t Source> {
        self.rust.iter().filter(move |source| source.path.starts_with(folder))
    }

    /// Returns the lines of a file, numbered from 1; an absent file has no line.
    fn lines(&self, path: &str) -> impl Iterator<Item = (usize, &str)> {
        let text = self.texts.iter().find(|(name, _)| name == path).map_or("", |(_, text)| text);
        text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}
