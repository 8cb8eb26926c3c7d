//! `${VAR}` and `${VAR:-default}` in texts.

use figment::value::{Dict, Value};
use folk_api::config::{Fault, Faults};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands every text of the tree. Keys are left alone.
pub(super) fn tree(dict: &mut Dict, lookup: Lookup<'_>, faults: &mut Faults) {
    walk_dict(dict, &mut Vec::new(), lookup, faults);
}

fn walk_dict(dict: &mut Dict, path: &mut Vec<String>, lookup: Lookup<'_>, faults: &mut Faults) {
    for (key, value) in dict {
        path.push(key.clone());
        walk(value, path, lookup, faults);
        path.pop();
    }
}

fn walk(value: &mut Value, path: &mut Vec<String>, lookup: Lookup<'_>, faults: &mut Faults) {
    match value {
        Value::String(_, text) if text.contains("${") => match expand(text, lookup) {
            Ok(expanded) => *text = expanded,
            Err(message) => faults.push(Fault::new(path.clone(), message)),
        },
        Value::Dict(_, dict) => walk_dict(dict, path, lookup, faults),
        Value::Array(_, items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                walk(item, path, lookup, faults);
                path.pop();
            }
        }
        _ => {}
    }
}

/// `$${` stands for a literal `${`.
fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &after[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            return Err("has a \"${\" without its \"}\"; write \"$${\" for the characters".into());
        };
        let inner = &after[2..end];
        if inner.contains("${") {
            return Err("has a \"${\" within another; defaults are plain text".into());
        }
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        // As a shell has it: an empty variable counts as unset where there is a default.
        match (lookup(name), default) {
            (Some(value), Some(default)) if value.is_empty() => out.push_str(default),
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(format!(
                    "environment variable {name} is not set; set it or write \"${{{name}:-default}}\""
                ));
            }
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &|name| match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn expands_variables_and_their_defaults() {
        assert_eq!(expanded("a ${SET} b ${SET}"), Ok("a value b value".into()));
        assert_eq!(expanded("${UNSET:-x}${EMPTY:-y}${EMPTY}"), Ok("xy".into()));
        assert_eq!(expanded("${UNSET:-}"), Ok(String::new()));
        assert_eq!(expanded("$${SET} $5"), Ok("${SET} $5".into()));
    }

    #[test]
    fn names_a_variable_that_is_not_set() {
        assert!(expanded("${UNSET}").unwrap_err().contains("UNSET is not set"));
        assert!(expanded("${UNSET").unwrap_err().contains("without"));
        assert!(expanded("${A:-${B:-x}}").unwrap_err().contains("plain text"));
    }
}
