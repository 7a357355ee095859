//! Rules on files as a whole: their length, marks that were meant for a day, the changelog.

use tidy::source::Source;

use super::tables::{FILE_LINES, ROOT};
use super::{Findings, Looked, Tree};

/// Finds files that are longer than the cap, tests too. clippy caps functions.
pub fn sizes(tree: &Tree, out: &mut Findings) -> Looked {
    let mut longest = 0;
    for source in &tree.rust {
        let lines = source.text.lines().count();
        longest = longest.max(lines);
        if lines > FILE_LINES {
            out.add(&source.path, FILE_LINES + 1, format!("{lines} lines, at most {FILE_LINES}"));
        }
    }
    Looked(longest, format!("{} files, the longest of {longest} lines", tree.rust.len()))
}

/// Finds marks, ignored tests, sleeps, paths of one machine, and strangers in the root.
pub fn leftovers(tree: &Tree, out: &mut Findings) -> Looked {
    for source in &tree.rust {
        for comment in &source.comments {
            let mut words = comment.text.split(|c: char| !c.is_alphanumeric());
            if let Some(word) = words.find(|word| ["FIXME", "XXX", "TODO"].contains(word)) {
                out.add(&source.path, comment.line, format!("{word} is left over"));
            }
        }
        for at in source.words("ignore").filter(|at| *at > 0 && source.word(at - 1) == "[") {
            out.add(&source.path, source.line(at), "#[ignore] is left over");
        }
        if source.path.starts_with("std-rt/tests/") || source.path.starts_with("core/tests/") {
            sleeps(source, out);
        }
    }
    for (path, text) in &tree.texts {
        for (at, _) in text.lines().enumerate().filter(|(_, line)| has_machine_path(line)) {
            out.add(path, at + 1, "a path of one machine");
        }
    }
    let entries = root(tree, out);
    Looked(tree.texts.len(), format!("{} files, {entries} entries of the root", tree.texts.len()))
}

fn sleeps(source: &Source, out: &mut Findings) {
    const EXCUSE: &str = "time is tested";
    for at in source.words("sleep").filter(|at| source.word(at + 1) == "(") {
        let line = source.line(at);
        let near = |line: usize, of: usize| line == of || line + 1 == of;
        if !source.comments.iter().any(|comment| near(comment.line, line) && comment.text.contains(EXCUSE)) {
            out.add(
                &source.path,
                line,
                format!("a test awaits an event, it does not sleep; else say `// {EXCUSE}`"),
            );
        }
    }
}

/// Returns whether a path begins in a folder that only one machine has.
fn has_machine_path(line: &str) -> bool {
    let starts = |at: usize| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.}~".contains(c))
    };
    let found = |folder| line.match_indices(&format!("/{folder}/")).any(|(at, _)| starts(at));
    ["work", "home", "root", "Users"].into_iter().any(found)
}

fn root(tree: &Tree, out: &mut Findings) -> usize {
    let ignored = |name: &str| tree.lines(".gitignore").any(|(_, line)| line.trim_matches('/') == name);
    // A root that cannot be read was not read either.
    let entries = std::fs::read_dir(&tree.root).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for name in names.iter().filter(|name| !ROOT.split(' ').any(|known| known == *name) && !ignored(name)) {
        out.add(name, 1, "does not belong in the root");
    }
    names.len()
}

/// Demands a bullet in CHANGELOG.md under Unreleased or under the version at hand.
pub fn changelog(tree: &Tree, out: &mut Findings) -> Looked {
    let version = tree.lines("Cargo.toml").find_map(|(_, line)| line.strip_prefix("version = "));
    let version = format!("[{}]", version.unwrap_or("?").trim_matches('"'));
    let (mut inside, mut bullets) = (false, 0);
    for (_, line) in tree.lines("CHANGELOG.md") {
        if let Some(heading) = line.strip_prefix("## ") {
            inside = heading.contains("Unreleased") || heading.contains(&version);
        }
        bullets += usize::from(inside && line.starts_with("- ") && line.len() > 4);
    }
    if bullets == 0 {
        out.add("CHANGELOG.md", 1, format!("no bullet under [Unreleased] or {version}"));
    }
    Looked(1, format!("{bullets} bullets of this version"))
}

/// Demands that each published package holds the licenses of the root, word for word: a package of the registry has no root.
pub fn licenses(tree: &Tree, out: &mut Findings) -> Looked {
    let text = |path: &str| tree.texts.iter().find(|(name, _)| name == path).map(|(_, text)| text);
    let mut packages = 0;
    for (path, manifest) in &tree.texts {
        let Some(folder) = path.strip_suffix("Cargo.toml").filter(|_| manifest.contains("[package]")) else {
            continue;
        };
        if manifest.lines().any(|line| line == "publish = false") {
            continue;
        }
        packages += 1;
        for license in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let copy = format!("{folder}{license}");
            if text(&copy).is_none() || text(&copy) != text(license) {
                out.add(path, 1, format!("{copy} is not a copy of {license}"));
            }
        }
    }
    Looked(packages, format!("{packages} published packages"))
}
