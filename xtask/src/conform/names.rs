//! The public names of tokio beside those of `std-rt/tokio`, as rustdoc sees both: items, methods, fields, variants, and the
//! traits that a type implements. `xtask/conform/tokio-names.txt` has the absent ones, each with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use xtask::{Outcome, cmd};

use super::tokio::Options;
use crate::json::Json;
use crate::upstream::{self, read};

/// The list, from the root. A line stands for a name and for all that lies under it.
const LIST: &str = "xtask/conform/tokio-names.txt";

/// Traits of the compiler, and `Drop`: no program asks whether a type has them.
const UNSEEN: &[&str] = &["Drop", "Freeze", "StructuralPartialEq", "UnsafeUnpin"];

/// The public names of a crate.
#[derive(Default)]
struct Names {
    all: BTreeSet<String>,
    /// The public path of each item, by the path of its definition.
    public: BTreeMap<String, String>,
    /// Re-exports from another crate: the public path, the path of the definition, and true for a glob.
    outside: Vec<(String, String, bool)>,
}

pub fn run(root: &Path) -> Outcome {
    let package = upstream::TOKIO.replacen('-', "@", 1);
    let wanted = Names::read(root, "peer", &package)?;
    let mut found = Names::read(root, "facade", &format!("{package}+netpoll"))?;
    // tokio's own code with the features that the facade asks for: a re-export of it has no other names.
    found.inline(&Names::read(root, "base", &format!("{}#{package}", upstream::GIT))?);
    let absent: BTreeSet<&String> = wanted.all.difference(&found.all).collect();
    let listed = reasons(&read(&root.join(LIST))?)?;
    let by_line = |name: &str| listed.iter().any(|line| line == name || rest(name, line).is_some());
    // An absent type is one line, without its methods.
    let by_parent = |name: &str| absent.iter().any(|parent| rest(name, parent).is_some());
    let unnamed = absent.iter().filter(|name| !by_line(name) && !by_parent(name));
    let mut red: Vec<String> =
        unnamed.map(|name| format!("{name} is absent, and no line says why")).collect();
    let there = listed.iter().filter(|line| !absent.contains(line));
    red.extend(there.map(|line| format!("{line} is listed and is no absent name")));
    red.iter().for_each(|reason| println!("red: {reason}"));
    println!(
        "names: {} of tokio's {} are there, {} are absent by {} lines of the list, {} red",
        wanted.all.len() - absent.len(),
        wanted.all.len(),
        absent.len(),
        listed.len(),
        red.len(),
    );
    if red.is_empty() && !wanted.all.is_empty() { Ok(()) } else { Err(String::new()) }
}

/// Returns the names of the list.
fn reasons(text: &str) -> Result<BTreeSet<String>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let name = |line: &str| match line.split_once(" - ") {
        Some((name, reason)) if !reason.is_empty() => Ok(name.to_owned()),
        _ => Err(format!("{LIST}: a line without a reason: {line}")),
    };
    lines.map(name).collect()
}

/// Returns the part of a name under another one: `::new` of `Mutex::new` under `Mutex`, `: Send` of `Mutex: Send`.
fn rest<'a>(name: &'a str, parent: &str) -> Option<&'a str> {
    name.strip_prefix(parent).filter(|rest| rest.starts_with(':'))
}

impl Names {
    /// Asks rustdoc for a package of those that the tests are built with.
    fn read(root: &Path, kind: &str, package: &str) -> Result<Self, String> {
        let folder = Options::new(root, kind == "peer").package()?;
        let target = cmd::target_dir(root)?.join("conform").join(format!("names-{kind}"));
        let mut command = upstream::cargo(root, &folder, &["rustdoc", "--quiet", "-p", package, "--"])?;
        command.args(["-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
        // The format is not stable, but few of its keys are read here.
        cmd::run(command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target))?;
        let json = Json::parse(&read(&target.join("doc/tokio.json"))?)?;
        let mut names = Self::default();
        names.items(&json, get(&json, "index", json.at("root")).at("inner.module"), "");
        if names.all.is_empty() { Err(format!("rustdoc shows no name of {package}")) } else { Ok(names) }
    }

    /// Adds the items of a module or of a trait.
    fn items(&mut self, json: &Json, owner: &Json, parent: &str) {
        for id in owner.at("items").list() {
            let item = get(json, "index", id);
            match item.at("inner").only() {
                Some(("use", inner)) => self.reexport(json, inner, parent),
                _ => self.item(json, id, join(parent, item.at("name"))),
            }
        }
    }

    fn reexport(&mut self, json: &Json, inner: &Json, parent: &str) {
        let (id, glob) = (inner.at("id"), inner.at("is_glob").is_true());
        let target = get(json, "index", id);
        match (target.is_null(), glob) {
            (false, true) => self.items(json, target.at("inner.module"), parent),
            (false, false) => self.item(json, id, join(parent, inner.at("name"))),
            (true, true) => self.outside.push((parent.to_owned(), definition(json, id), true)),
            (true, false) => self.outside.push((join(parent, inner.at("name")), definition(json, id), false)),
        }
    }

    /// Adds an item and all that is public in it.
    fn item(&mut self, json: &Json, id: &Json, path: String) {
        let Some((kind, inner)) = get(json, "index", id).at("inner").only() else { return };
        if ["module", "trait"].contains(&kind) {
            self.items(json, inner, &path);
        }
        for list in ["variants", "kind.plain.fields", "kind.tuple"] {
            for id in inner.at(list).list().iter().filter(|id| !id.is_null()) {
                self.item(json, id, join(&path, get(json, "index", id).at("name")));
            }
        }
        for id in inner.at("impls").list().iter().chain(inner.at("implementations").list()) {
            self.implementation(json, get(json, "index", id).at("inner.impl"), &path, kind == "trait");
        }
        self.public.insert(definition(json, id), path.clone());
        self.all.insert(path);
    }

    /// Adds the methods of a type, or a trait that it implements; of a trait, a type of another crate that implements it.
    fn implementation(&mut self, json: &Json, inner: &Json, path: &str, of_trait: bool) {
        let (name, own) = (inner.at("trait.path").text(), inner.at("for.resolved_path.id"));
        match name.map(|name| name.rsplit("::").next().unwrap_or(name)) {
            _ if !inner.at("blanket_impl").is_null() || inner.at("is_negative").is_true() => {}
            None => self.items(json, inner, path),
            Some(_) if of_trait && get(json, "index", own).is_null() => {
                self.all.insert(format!("{path}: for {}", words(inner.at("for")).join(" ")));
            }
            Some(name) if !of_trait && !UNSEEN.contains(&name) => {
                let words = words(inner.at("trait.args"));
                let of = if words.is_empty() { String::new() } else { format!("<{}>", words.join(" ")) };
                self.all.insert(format!("{path}: {name}{of}"));
            }
            Some(_) => {}
        }
    }

    /// Adds the names of the re-exports from another crate.
    fn inline(&mut self, base: &Self) {
        for (path, definition, glob) in &self.outside {
            let module = definition.trim_start_matches("tokio::");
            let from = if *glob { module } else { base.public.get(definition).map_or("", String::as_str) };
            self.all.extend((!glob).then(|| path.clone()));
            let inside = base.all.iter().filter_map(|name| rest(name, from)).filter(|_| !from.is_empty());
            self.all.extend(inside.map(|rest| format!("{path}{rest}")));
        }
    }
}

/// Returns an entry of one of rustdoc's tables.
fn get<'a>(json: &'a Json, table: &str, id: &Json) -> &'a Json {
    json.at(table).at(id.text().unwrap_or_default())
}

/// Returns the path at which an item is defined.
fn definition(json: &Json, id: &Json) -> String {
    let path = get(json, "paths", id).at("path").list().iter().filter_map(Json::text);
    path.collect::<Vec<_>>().join("::")
}

fn join(parent: &str, name: &Json) -> String {
    let name = name.text().unwrap_or_default();
    if parent.is_empty() { name.to_owned() } else { format!("{parent}::{name}") }
}

/// Returns the names and the signs of a type.
fn words(json: &Json) -> Vec<&str> {
    match json {
        Json::List(list) => list.iter().flat_map(words).collect(),
        Json::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("path", Json::Text(path)) => vec![path.rsplit("::").next().unwrap_or(path)],
                ("primitive", Json::Text(name)) => vec![name.as_str()],
                ("generic", _) => vec!["_"],
                ("borrowed_ref", value) => [vec!["&"], words(value)].concat(),
                ("slice", value) => [vec!["[]"], words(value)].concat(),
                (_, value) => words(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}
