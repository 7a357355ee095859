//! Calls go down: a module uses only modules of a lower layer, and no two modules of a folder use each other.

use std::collections::{BTreeMap, BTreeSet};

use tidy::source::Source;

use super::tables::{CYCLES, LAYER_EXCEPTIONS, LAYERS, Layers, covers};
use super::{Findings, Looked, Tree};

/// A use of one module by another: the index of the token, and the path from the crate's root.
type Use = (usize, Vec<String>);

/// Compares every `crate::` and `super::` path with the table of layers.
pub fn layers(tree: &Tree, out: &mut Findings) -> Looked {
    let (mut files, mut paths) = (0, 0);
    for layers in LAYERS {
        for source in tree.under(layers.folder) {
            files += 1;
            paths += check(layers, source, out);
        }
    }
    Looked(paths, format!("{files} files, {paths} paths between them"))
}

/// Returns how many paths it compared.
fn check(layers: &Layers, source: &Source, out: &mut Findings) -> usize {
    let (module, folder) = (module(&source.path), module(layers.folder));
    let [name, ..] = &module[folder.len()..] else { return 0 };
    let Some(layer) = layers.of(name) else {
        out.add(&source.path, 1, "needs a layer in xtask/src/tidy/tables.rs");
        return 0;
    };
    let (mut count, mut told) = (0, BTreeSet::new());
    for (at, path) in uses(source) {
        let Some(used) = path.strip_prefix(&folder[..]).and_then(<[String]>::first) else { continue };
        count += 1;
        let used_layer = layers.of(used);
        let below = match used_layer {
            Some(used_layer) => used_layer < layer,
            // A name that is no module is an item of the folder's own module, which only the crate's root forbids.
            None => !folder.is_empty(),
        };
        let exception =
            LAYER_EXCEPTIONS.iter().any(|(file, name, _)| covers(file, &source.path) && used == name);
        if used != name && !below && !exception && told.insert((at, used.clone())) {
            let of_used = used_layer.map_or("the root".to_owned(), |layer| format!("layer {layer}"));
            let message = format!("{name} (layer {layer}) uses {used} ({of_used}); calls go down");
            out.add(&source.path, source.line(at), message);
        }
    }
    count
}

/// Finds two modules of one folder that use each other, directly or through others. The layers above forbid that
/// between the modules of a table.
pub fn cycles(tree: &Tree, out: &mut Findings) -> Looked {
    let sources: Vec<&Source> = ["core/src/", "std-rt/src/"].iter().flat_map(|src| tree.under(src)).collect();
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in &sources {
        let krate = source.path.split('/').next().unwrap_or_default();
        let module = module(&source.path);
        for (_, path) in uses(source) {
            let shared = module.iter().zip(&path).take_while(|(one, other)| one == other).count();
            // Not at the root: a table has the layers there.
            if shared == 0 || module.len() == shared || path.len() == shared {
                continue;
            }
            let edges = folders.entry(format!("{krate}/src/{}/", module[..shared].join("/"))).or_default();
            edges.entry(module[shared].clone()).or_default().insert(path[shared].clone());
        }
    }
    for (folder, edges) in
        folders.iter().filter(|(folder, _)| CYCLES.iter().all(|(known, _)| known != folder))
    {
        for from in edges.keys().filter(|from| reaches(edges, from, from)) {
            out.add(folder, 1, format!("{from} uses itself through other modules of the folder"));
        }
    }
    Looked(folders.len(), format!("{} folders", folders.len()))
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut queue) = (BTreeSet::new(), vec![from]);
    while let Some(module) = queue.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                queue.push(next);
            }
        }
    }
    false
}

/// Returns the module of a file, or of a folder: `poll`, `sema` for `core/src/poll/sema.rs`.
fn module(path: &str) -> Vec<String> {
    let below = path.split_once("/src/").map_or("", |(_, below)| below).trim_end_matches(".rs");
    below.split('/').filter(|name| !name.is_empty() && *name != "lib").map(str::to_owned).collect()
}

/// Finds the paths that begin with `crate::` or `super::`.
fn uses(source: &Source) -> Vec<Use> {
    let module = module(&source.path);
    let mut found = Vec::new();
    let roots = source.words("crate").chain(source.words("super"));
    for at in
        roots.filter(|at| source.stands(at + 1, &[":", ":"]) && (*at == 0 || source.word(at - 1) != ":"))
    {
        let (mut next, mut depth) = (at + 3, usize::from(source.word(at) == "super"));
        while source.stands(next, &["super", ":", ":"]) {
            depth += 1;
            next += 3;
        }
        let outside = module.len().saturating_sub(depth);
        let prefix = if depth == 0 { &[][..] } else { &module[..outside] };
        let mut paths = Vec::new();
        tails(source, next, prefix, &mut paths);
        found.extend(paths.into_iter().map(|path| (at, path)));
    }
    found
}

/// Adds every path that goes on here, one for each name of a group; returns the token behind them.
fn tails(source: &Source, mut at: usize, prefix: &[String], out: &mut Vec<Vec<String>>) -> usize {
    if source.word(at) == "{" {
        at += 1;
        while !["}", ""].contains(&source.word(at)) {
            at = tails(source, at, prefix, out);
            if source.word(at) == "as" {
                at += 2;
            }
            at += usize::from(source.word(at) == ",");
        }
        return at + 1;
    }
    let path: Vec<String> = prefix.iter().cloned().chain([source.word(at).to_owned()]).collect();
    if source.stands(at + 1, &[":", ":"]) && source.word(at + 3) != "<" {
        return tails(source, at + 3, &path, out);
    }
    out.push(path);
    at + 1
}
