//! A section of the configuration, and everything that is wrong with it.
//!
//! A section is read into the struct of its owner with serde. Unknown keys must be refused, so the
//! struct says `#[serde(deny_unknown_fields)]`; [`Section::read`] then finds every fault at once by
//! setting aside each key that does not fit and reading again.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The keys that lead to it: `["pools", "default", "workers"]`.
    pub path: Vec<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// Where it stands: `folk.toml:12`, `FOLK_HTTP__LISTEN`. Filled in by the loader.
    pub location: Option<String>,
}

impl Fault {
    /// A fault of the key that `path` leads to.
    pub fn new<I, S>(path: I, message: impl Into<String>) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let path = path.into_iter().map(Into::into).collect();
        Self { path, message: message.into(), location: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds one.
    pub fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// `value` when there is none.
    pub fn or_ok<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// One section of the configuration, not yet read.
#[derive(Debug, Clone)]
pub struct Section {
    path: Vec<String>,
    dict: Dict,
    base: PathBuf,
}

impl Section {
    /// The section that `path` leads to. Relative paths in it are relative to `base`, the directory
    /// of `folk.toml`.
    pub fn new(path: Vec<String>, dict: Dict, base: PathBuf) -> Self {
        Self { path, dict, base }
    }

    /// A section from TOML-like pairs, for tests.
    pub fn from_pairs(name: &str, pairs: &[(&str, Value)]) -> Self {
        let dict = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Self { path: vec![name.to_owned()], dict, base: PathBuf::from(".") }
    }

    /// The keys that lead to it.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// A fault of one of its keys.
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        let path = self.path.iter().cloned().chain(key.split('.').map(str::to_owned));
        Fault::new(path, message)
    }

    /// The path a value of the section means: relative ones start at the directory of `folk.toml`.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The directory of `folk.toml`.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Reads it into the struct of its owner.
    ///
    /// # Errors
    ///
    /// Every key that is unknown (with the nearest known name) or does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Faults> {
        let mut faults = Faults::default();
        let mut value = Value::from(self.dict.clone());
        let mut seen = BTreeSet::new();
        loop {
            let errors = match value.deserialize::<T>() {
                Ok(read) => return faults.or_ok(read),
                Err(errors) => errors,
            };
            let mut progress = false;
            for error in errors {
                progress |= self.set_aside(&error, &mut value, &mut faults, &mut seen);
            }
            if !progress {
                return Err(faults);
            }
        }
    }

    /// Notes what `error` says and takes the key it speaks of out of `value`. Whether reading again
    /// can find more.
    fn set_aside(
        &self,
        error: &figment::Error,
        value: &mut Value,
        faults: &mut Faults,
        seen: &mut BTreeSet<Vec<String>>,
    ) -> bool {
        let mut key = error.path.clone();
        let message = match &error.kind {
            Kind::UnknownField(name, known) => {
                if key.last() != Some(name) {
                    key.push(name.clone());
                }
                unknown_key(name, known)
            }
            Kind::MissingField(name) => {
                faults.push(self.fault(&joined(&key, name), "is missing"));
                return false;
            }
            Kind::InvalidType(Actual::Str(text), _) | Kind::InvalidValue(Actual::Str(text), _)
                if seen.insert(key.clone()) && replace_with_scalar(value, &key, text) =>
            {
                return true;
            }
            Kind::InvalidType(actual, expected) => format!("is {actual}, expected {expected}"),
            Kind::InvalidValue(actual, expected) => format!("is {actual}, expected {expected}"),
            Kind::UnknownVariant(name, known) => unknown_value(name, known),
            other => other.to_string(),
        };
        let removed = remove(value, &key);
        faults.push(self.fault(&key.join("."), message));
        removed
    }
}

/// "unknown key", with the nearest of the `known` names.
pub fn unknown_key(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown key; did you mean {near:?}?"),
        None if known.is_empty() => "unknown key".to_owned(),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}

fn unknown_value(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("is {name:?}; did you mean {near:?}? known are {}", known.join(", ")),
        None => format!("is {name:?}; known are {}", known.join(", ")),
    }
}

/// The one of `known` that `name` is likely a misspelling of.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = (name.len() / 3).max(1);
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= close)
        .min()
        .map(|(_, candidate)| candidate)
}

fn joined(path: &[String], last: &str) -> String {
    path.iter().map(String::as_str).chain([last]).collect::<Vec<_>>().join(".")
}

/// `"4"` where a number is expected is what `"${WORKERS:-4}"` expands to: take it for one.
fn replace_with_scalar(value: &mut Value, path: &[String], text: &str) -> bool {
    let scalar = if let Ok(number) = text.parse::<i64>() {
        Value::from(number)
    } else if let Ok(flag) = text.parse::<bool>() {
        Value::from(flag)
    } else if let Ok(number) = text.parse::<f64>() {
        Value::from(number)
    } else {
        return false;
    };
    match lookup(value, path) {
        Some(place) => {
            *place = scalar;
            true
        }
        None => false,
    }
}

fn lookup<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Dict(_, dict) => dict.get_mut(key),
        Value::Array(_, items) => key.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        _ => None,
    })
}

fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match lookup(value, parents) {
        Some(Value::Dict(_, dict)) => dict.remove(last).is_some(),
        // An item of a list cannot be set aside without moving the others: the whole list goes.
        Some(Value::Array(..)) => remove(value, parents),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        workers: usize,
        listen: String,
        nested: Nested,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Nested {
        max: u32,
    }

    fn section(toml: &[(&str, Value)]) -> Section {
        Section::from_pairs("sample", toml)
    }

    #[test]
    fn reports_every_fault_of_a_section_at_once() {
        let nested = Dict::from([
            ("mx".to_owned(), Value::from(1)),
            ("max".to_owned(), Value::from("many")),
        ]);
        let section = section(&[
            ("worker", Value::from(4)),
            ("listen", Value::from(80)),
            ("nested", Value::from(nested)),
        ]);
        let faults = section.read::<Sample>().unwrap_err().to_string();
        assert!(
            faults.contains("sample.worker: unknown key; did you mean \"workers\"?"),
            "{faults}"
        );
        assert!(faults.contains("sample.listen: "), "{faults}");
        assert!(faults.contains("sample.nested.mx: unknown key"), "{faults}");
        assert!(faults.contains("sample.nested.max: "), "{faults}");
    }

    #[test]
    fn takes_numbers_that_came_as_text_from_the_environment() {
        let read = section(&[("workers", Value::from("4"))]).read::<Sample>();
        assert_eq!(read, Ok(Sample { workers: 4, ..Sample::default() }));
    }
}
