//! Where settings come from: `folk.toml`, then `FOLK_SECTION__KEY`, then `-o section.key=value`.
//!
//! Later sources win, key by key. `${VAR}` and `${VAR:-default}` are expanded in every text. Who
//! owns a section reads it ([`Config::section`]); every fault is collected and shown with the place
//! it stands at. See `spec/05-configuration.md`.

mod expand;
pub mod log;
pub mod pool;
pub mod server;
#[cfg(test)]
mod tests;
pub mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use folk_api::config::{Fault, Faults, Section, unknown_key};
use toml_edit::Document;

/// The prefix of environment variables that are settings. Those without a `__` are not.
const ENV_PREFIX: &str = "FOLK_";

/// All settings, merged and expanded, not yet read by their owners.
#[derive(Debug)]
pub struct Config {
    tree: Dict,
    base: PathBuf,
    origins: Origins,
}

/// Where keys were set, to tell where a fault stands.
#[derive(Debug, Default)]
struct Origins {
    file: String,
    text: String,
    document: Option<Document<String>>,
    /// Keys set outside the file, and by what.
    others: BTreeMap<Vec<String>, String>,
}

/// Where settings are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub file: PathBuf,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// `section.key=value`, as given with `-o`.
    pub overrides: Vec<String>,
}

impl Config {
    /// Reads and merges all sources.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no TOML, an override that is none, a variable that is not
    /// set: all of them at once.
    pub fn load(sources: &Sources) -> Result<Self, Faults> {
        let (config, faults) = Self::load_partly(sources);
        match faults.or_ok(()) {
            Ok(()) => Ok(config),
            Err(faults) => Err(config.locate(faults)),
        }
    }

    /// As [`load`](Self::load), but also with what could be read beside the faults, so that those of
    /// the sections can be told together with them.
    pub fn load_partly(sources: &Sources) -> (Self, Faults) {
        let mut faults = Faults::default();
        let mut origins =
            Origins { file: sources.file.display().to_string(), ..Origins::default() };
        let file = match std::fs::read_to_string(&sources.file) {
            Ok(text) => origins.parse(text).unwrap_or_else(|fault| {
                faults.push(fault);
                Dict::new()
            }),
            Err(error) => {
                faults.push(unreadable(&sources.file, &error));
                Dict::new()
            }
        };
        let env = from_env(&sources.env, &file, &mut origins);
        let overrides = from_overrides(&sources.overrides, &mut origins, &mut faults);
        let merged = Figment::new().merge(Source(file)).merge(Source(env)).merge(Source(overrides));
        let mut tree = match merged.extract::<Dict>() {
            Ok(tree) => tree,
            Err(error) => {
                faults.push(Fault::new(error.path.clone(), error.kind.to_string()));
                Dict::new()
            }
        };
        let lookup = |name: &str| {
            sources.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        expand::tree(&mut tree, &lookup, &mut faults);
        let base = match sources.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let base = std::path::absolute(&base).unwrap_or(base);
        (Self { tree, base, origins }, faults)
    }

    /// Whether the file could not be read, so that nothing is known of what is in it.
    pub fn is_unread(&self) -> bool {
        self.origins.document.is_none()
    }

    /// The directory of the file, which relative paths start at.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether there is a section of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tree.contains_key(name)
    }

    /// The section of this name, empty where there is none.
    ///
    /// # Errors
    ///
    /// There is a key of this name that is no section.
    pub fn section(&self, name: &str) -> Result<Section, Faults> {
        let dict = match self.tree.get(name) {
            None => Dict::new(),
            Some(Value::Dict(_, dict)) => dict.clone(),
            Some(_) => return Err(Fault::new([name], "must be a section").into()),
        };
        Ok(Section::new(vec![name.to_owned()], dict, self.base.clone()))
    }

    /// The sections below `name`, as in `[pools.default]`, by name.
    ///
    /// # Errors
    ///
    /// Something below it is no section.
    pub fn subsections(&self, name: &str) -> Result<Vec<(String, Section)>, Faults> {
        let mut faults = Faults::default();
        let mut sections = Vec::new();
        match self.tree.get(name) {
            None => {}
            Some(Value::Dict(_, dict)) => {
                for (key, value) in dict {
                    let path = vec![name.to_owned(), key.clone()];
                    match value {
                        Value::Dict(_, dict) => {
                            let section = Section::new(path, dict.clone(), self.base.clone());
                            sections.push((key.clone(), section));
                        }
                        _ => faults.push(Fault::new(path, "must be a section")),
                    }
                }
            }
            Some(_) => faults.push(Fault::new([name], "must be a section")),
        }
        faults.or_ok(sections)
    }

    /// Refuses sections that nobody owns.
    ///
    /// # Errors
    ///
    /// Each of them, with the nearest of the `known` names.
    pub fn refuse_unknown(&self, known: &[&str], absent: &[&str]) -> Result<(), Faults> {
        let mut faults = Faults::default();
        for name in self.tree.keys() {
            if absent.contains(&name.as_str()) {
                faults
                    .push(Fault::new([name], "this build has no such plugin; remove the section"));
            } else if !known.contains(&name.as_str()) {
                faults.push(Fault::new([name], unknown_key(name, known)));
            }
        }
        faults.or_ok(())
    }

    /// Says of each fault where it stands, and brings them into the order of the file.
    pub fn locate(&self, mut faults: Faults) -> Faults {
        for fault in &mut faults.0 {
            if fault.location.is_none() && !fault.path.is_empty() {
                fault.location = Some(self.origins.locate(&fault.path));
            }
        }
        faults.0.sort_by_key(|fault| self.origins.line(&fault.path));
        // What is wrong with a key first is often the cause of what is wrong with it then.
        let mut seen = BTreeSet::new();
        faults.0.retain(|fault| fault.path.is_empty() || seen.insert(fault.path.clone()));
        faults
    }
}

impl Origins {
    fn parse(&mut self, text: String) -> Result<Dict, Fault> {
        let parsed = Document::parse(text.clone())
            .map_err(|error| (error.span(), error.message().to_owned()))
            .and_then(|document| {
                toml_edit::de::from_str::<Dict>(&text)
                    .map(|dict| (document, dict))
                    .map_err(|error| (error.span(), error.message().to_owned()))
            });
        match parsed {
            Ok((document, dict)) => {
                self.document = Some(document);
                self.text = text;
                Ok(dict)
            }
            Err((span, message)) => {
                let line = span.map_or(1, |span| line_of(&text, span.start));
                let mut fault = Fault::new([] as [&str; 0], message.trim().replace('\n', ", "));
                fault.location = Some(format!("{}:{line}", self.file));
                Err(fault)
            }
        }
    }

    fn locate(&self, path: &[String]) -> String {
        // A key that was set outside the file, or something below or above it that was.
        let other = (1..=path.len()).rev().find_map(|end| self.others.get(&path[..end]));
        match (other, self.line(path)) {
            (Some(other), _) => other.clone(),
            (None, Some(line)) => format!("{}:{line}", self.file),
            (None, None) => self.file.clone(),
        }
    }

    /// The line of the file that sets the key, or the nearest key above it.
    fn line(&self, path: &[String]) -> Option<usize> {
        let document = self.document.as_ref()?;
        let mut item = document.as_item();
        let mut found = None;
        for key in path {
            let span = match item {
                toml_edit::Item::ArrayOfTables(tables) => {
                    let table = key.parse().ok().and_then(|index: usize| tables.get(index));
                    found = table.and_then(toml_edit::Table::span).or(found);
                    None
                }
                _ => item.as_table_like().and_then(|table| table.key(key)).and_then(|k| k.span()),
            };
            found = span.or(found);
            match item.get(key) {
                Some(next) => item = next,
                None => break,
            }
        }
        found.map(|span| line_of(&self.text, span.start))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn unreadable(file: &Path, error: &std::io::Error) -> Fault {
    let cure = match error.kind() {
        std::io::ErrorKind::NotFound => "; name the configuration with -c FILE",
        _ => "",
    };
    Fault::new([] as [&str; 0], format!("cannot read {}: {error}{cure}", file.display()))
}

fn from_env(env: &[(String, String)], file: &Dict, origins: &mut Origins) -> Dict {
    let mut dict = Dict::new();
    for (name, value) in env {
        let Some(key) = name.strip_prefix(ENV_PREFIX).filter(|key| key.contains("__")) else {
            continue;
        };
        let path = env_path(key, file);
        insert(&mut dict, &path, parse_value(value));
        origins.others.insert(path, format!("environment variable {name}"));
    }
    dict
}

/// The keys that a variable means. Names of variables are upper-case by custom: a key of the file that
/// differs by its case alone is meant, else the lower-case one. Below `env` the case is the
/// application's own.
fn env_path(key: &str, file: &Dict) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut here = Some(file);
    for part in key.split("__") {
        let known =
            here.and_then(|dict| dict.iter().find(|(key, _)| key.eq_ignore_ascii_case(part)));
        let verbatim = path.last().is_some_and(|last| last == "env");
        path.push(match known {
            _ if verbatim => part.to_owned(),
            Some((key, _)) => key.clone(),
            None => part.to_lowercase(),
        });
        here = match known {
            Some((_, Value::Dict(_, below))) => Some(below),
            _ => None,
        };
    }
    path
}

fn from_overrides(overrides: &[String], origins: &mut Origins, faults: &mut Faults) -> Dict {
    let mut dict = Dict::new();
    for text in overrides {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty())
        else {
            let message = format!("-o {text}: write -o section.key=value");
            faults.push(Fault::new([] as [&str; 0], message));
            continue;
        };
        let path: Vec<_> = key.trim().split('.').map(str::to_owned).collect();
        insert(&mut dict, &path, parse_value(value.trim()));
        origins.others.insert(path, format!("-o {key}"));
    }
    dict
}

/// A number, a boolean, a list or a table where the text is one in TOML; else the text itself, so
/// that `-o http.listen=127.0.0.1:80` needs no quotes within quotes.
fn parse_value(text: &str) -> Value {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        value: Value,
    }
    // A number only where nothing of the text is lost by it: 1.10 may be a version.
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
        || text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
    let is_toml = text.starts_with(['[', '{', '"', '\'']) || is_number;
    match text {
        "true" => return Value::from(true),
        "false" => return Value::from(false),
        _ => {}
    }
    if is_toml && let Ok(wrapped) = toml_edit::de::from_str::<Wrapped>(&format!("value = {text}")) {
        return wrapped.value;
    }
    Value::from(text)
}

fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            dict.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let below = dict.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, below) = below {
                insert(below, rest, value);
            } else {
                let mut fresh = Dict::new();
                insert(&mut fresh, rest, value);
                *below = Value::from(fresh);
            }
        }
    }
}

/// A dictionary as a figment provider.
struct Source(Dict);

impl Provider for Source {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}
