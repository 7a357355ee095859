//! What the user is told: each release in the user's words, each future's end.

use super::Looked;
use super::files::{Files, Finding};
use super::source::has_word;

/// CHANGELOG.md has at least one bullet under Unreleased or the version at hand.
pub fn changelog(files: &Files, out: &mut Vec<Finding>) -> Looked {
    const PATH: &str = "CHANGELOG.md";
    let lines =
        |name: &str| files.texts.iter().find(|(path, _)| path == name).map_or(&[][..], |(_, lines)| lines);
    let version =
        lines("Cargo.toml").iter().find_map(|line| line.strip_prefix("version = ")).unwrap_or("\"?\"");
    let version = format!("[{}]", version.trim_matches('"'));
    let current = |heading: &str| heading.contains("Unreleased") || heading.contains(&version);
    let (mut inside, mut sections, mut bullets) = (false, 0, 0);
    for line in lines(PATH) {
        if let Some(heading) = line.strip_prefix("## ") {
            inside = current(heading);
            sections += usize::from(inside);
        }
        bullets += usize::from(inside && line.starts_with("- ") && line.len() > 4);
    }
    if bullets == 0 {
        let message = format!("no bullet under [Unreleased] or {version}");
        out.push(Finding { path: PATH.to_owned(), line: 1, message });
    }
    Looked(1, format!("{sections} current sections, {bullets} bullets"))
}

/// Every `pub async fn` of the runtime says what happens when its future is dropped.
pub fn dropped(files: &Files, out: &mut Vec<Finding>) -> Looked {
    let mut count = 0;
    for source in files.under(&["std-rt/src/"]) {
        let public = |head: &str| has_word(head, "pub") && !head.contains("pub(") && has_word(head, "async");
        for function in source.functions.iter().filter(|function| public(&function.head)) {
            count += 1;
            let doc = |line: usize| source.comments[line].trim_start().starts_with("///");
            let told = |line: usize| doc(line) && has_word(&source.comments[line], "Dropped");
            if !source.region(function.first).any(told) {
                let message = format!("the doc of {} says nothing about being Dropped", function.name);
                out.push(source.finding(function.first, message));
            }
        }
    }
    Looked(count, format!("{count} public async functions"))
}
