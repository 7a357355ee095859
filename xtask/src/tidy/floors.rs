//! Calls go down: a file uses only files of a lower floor.

use super::Looked;
use super::files::{Files, Finding};
use super::source::{Source, identifier, line_of, words};
use super::tables::{CORE, FLOOR_EXCEPTIONS, POLL, SCHED, STD_RT, Tower, covers};

/// Every `crate::` and `super::` path of the two crates that have floors.
pub fn floors(files: &Files, out: &mut Vec<Finding>) -> Looked {
    let (mut count, mut paths) = (0, 0);
    for tower in [CORE, POLL, SCHED, STD_RT] {
        for source in files.under(&[tower.src]) {
            count += 1;
            paths += file(&tower, source, out);
        }
    }
    Looked(paths, format!("{count} files, {paths} paths between them"))
}

/// Returns how many paths it looked at.
fn file(tower: &Tower, source: &Source, out: &mut Vec<Finding>) -> usize {
    let below_src = source.path[tower.src.len()..].trim_end_matches(".rs");
    let module = below_src.split('/').next().unwrap_or_default();
    if module == "lib" {
        return 0;
    }
    let Some(floor) = floor_of(tower, module) else {
        out.push(source.finding(0, "give it a floor in xtask/src/tidy/tables.rs"));
        return 0;
    };
    let text = source.text();
    let used = used_modules(&text, below_src.split('/').count());
    for (at, name) in &used {
        let allowed = *name == module
            || floor_of(tower, name).is_some_and(|used_floor| used_floor < floor)
            || FLOOR_EXCEPTIONS.iter().any(|(file, used, _)| covers(file, &source.path) && used == name);
        if !allowed {
            let stands = floor_of(tower, name).map_or("the door".to_owned(), |used| format!("floor {used}"));
            let message = format!("{module} (floor {floor}) uses {name} ({stands}); calls go down");
            out.push(source.finding(line_of(&text, *at), message));
        }
    }
    used.len()
}

fn floor_of(tower: &Tower, module: &str) -> Option<usize> {
    tower.floors.iter().position(|names| names.split(' ').any(|name| name == module))
}

/// What follows `crate::`, or as many `super::` as lead out of a file this deep below `src`.
fn used_modules(text: &str, depth: usize) -> Vec<(usize, &str)> {
    let outward = "super::".repeat(depth);
    let mut used = Vec::new();
    for (prefix, word) in [("crate::", "crate"), (&outward, "super")] {
        for at in words(text, word).filter(|&at| !text[..at].ends_with("::")) {
            let path = text[at..].strip_prefix(prefix);
            used.extend(path.into_iter().flat_map(heads).map(|name| (at, name)));
        }
    }
    used
}

/// The first names of a path: `a` of `a::b`, and `a`, `c` of `{a::b, c}`.
fn heads(path: &str) -> impl Iterator<Item = &str> {
    let group = path.strip_prefix('{').map(|rest| &rest[..group_end(rest)]);
    let mut depth = 0;
    let outer = move |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    };
    let names = group.unwrap_or(path).split(outer).take(if group.is_some() { usize::MAX } else { 1 });
    names.map(|name| name.trim_start()).filter(|name| !name.is_empty()).map(|name| match identifier(name) {
        "" => "*",
        name => name,
    })
}

fn group_end(rest: &str) -> usize {
    let mut depth = 1;
    let closing = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    };
    rest.find(closing).unwrap_or(rest.len())
}
