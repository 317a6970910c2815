//! `((variables))` as fly fills them in: a value that is nothing but a variable takes its type, a
//! longer string takes its text, and `((.:name))` waits for the build that sets it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::Error;

/// The ATC's own pattern: an optional source, then a path.
#[expect(clippy::expect_used, reason = "the pattern is constant and a test uses it")]
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\(\(([-/.\w\pL]+:)?([-/.:@"\w\pL]+)\)\)"#).expect("the pattern is a constant")
});

/// The source of the variables that a build makes.
const LOCAL: &str = ".:";

/// Values by name, the first that has one wins.
#[derive(Clone, Default)]
pub struct Variables {
    layers: Vec<Value>,
}

/// Which variables are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `((name))`: when the pipeline is loaded.
    Pipeline,
    /// `((.:name))`: while a build runs.
    Local,
}

impl Variables {
    /// Adds values that win over those added before.
    pub fn add(&mut self, values: Value) {
        self.layers.insert(0, values);
    }

    /// Sets one value; dots in `path` lead into maps.
    pub fn set(&mut self, path: &str, value: Value) {
        let nested = segments(path)
            .into_iter()
            .rev()
            .fold(value, |value, key| Value::Object(Map::from_iter([(key, value)])));
        self.add(nested);
    }

    /// Returns `value` with the variables of `kind` filled in.
    ///
    /// # Errors
    ///
    /// When variables have no value, all of them named; or when one is no text inside a longer string.
    pub fn fill(&self, value: &Value, kind: Kind) -> Result<Value, Error> {
        let mut filling =
            Filling { variables: self, kind, undefined: BTreeSet::new(), not_text: BTreeSet::new() };
        let filled = filling.value(value);
        let names = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
        if !filling.undefined.is_empty() {
            return Err(Error::Undefined { names: names(filling.undefined) });
        }
        if !filling.not_text.is_empty() {
            return Err(Error::NotText { names: names(filling.not_text) });
        }
        Ok(filled)
    }

    fn lookup(&self, path: &[String]) -> Option<&Value> {
        self.layers.iter().find_map(|layer| path.iter().try_fold(layer, |value, key| value.get(key)))
    }
}

struct Filling<'a> {
    variables: &'a Variables,
    kind: Kind,
    undefined: BTreeSet<String>,
    not_text: BTreeSet<String>,
}

impl Filling<'_> {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    let key = match self.text(key) {
                        Value::String(key) => key,
                        other => other.to_string(),
                    };
                    (key, self.value(value))
                };
                Value::Object(map.iter().map(entry).collect())
            }
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> Value {
        if let Some(captures) = VARIABLE.captures(text)
            && captures.get(0).is_some_and(|all| all.len() == text.len())
        {
            return self.one(&captures).unwrap_or_else(|| Value::String(text.to_owned()));
        }
        let replace = |captures: &Captures<'_>| {
            let whole = captures.get(0).map_or_else(String::new, |all| all.as_str().to_owned());
            match self.one(captures) {
                None => whole,
                Some(Value::String(text)) => text,
                Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
                Some(_) => {
                    self.not_text.insert(name(captures));
                    whole
                }
            }
        };
        Value::String(VARIABLE.replace_all(text, replace).into_owned())
    }

    /// Returns the value, or none where the text stays as it is.
    fn one(&mut self, captures: &Captures<'_>) -> Option<Value> {
        let source = captures.get(1).map_or("", |source| source.as_str());
        let is_local = source == LOCAL;
        if is_local != (self.kind == Kind::Local) {
            return None;
        }
        let path = segments(captures.get(2).map_or("", |path| path.as_str()));
        // Var sources need a server; what they would give is undefined here.
        let found = if source.is_empty() || is_local { self.variables.lookup(&path) } else { None };
        if found.is_none() {
            self.undefined.insert(name(captures));
        }
        found.cloned()
    }
}

fn name(captures: &Captures<'_>) -> String {
    let part = |index| captures.get(index).map_or("", |part| part.as_str());
    format!("{}{}", part(1), part(2))
}

/// Splits at dots; a quoted part keeps its dots.
fn segments(path: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut is_quoted = false;
    for letter in path.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => segments.push(String::new()),
            letter => segments.iter_mut().next_back().into_iter().for_each(|last| last.push(letter)),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(value: &Value, kind: Kind) -> Result<Value, String> {
        let mut variables = Variables::default();
        variables.add(json!({"a": "old", "n": 180, "b": true, "f": 1.5, "none": null, "m": {"x": "deep", "y.z": "dotted"}}));
        variables.add(json!({"a": "new"}));
        variables.set("v.w", json!("set"));
        variables.fill(value, kind).map_err(|error| error.to_string())
    }

    #[test]
    fn variable_alone_keeps_its_type() {
        let value = json!({"a": "((a))", "n": "((n))", "b": "((b))", "none": "((none))", "m": "((m))"});
        let expected =
            json!({"a": "new", "n": 180, "b": true, "none": null, "m": {"x": "deep", "y.z": "dotted"}});
        assert_eq!(fill(&value, Kind::Pipeline).unwrap(), expected);
    }

    #[test]
    fn variable_in_a_longer_string_gives_its_text() {
        let value = json!(["((a))/((n))", "x((m.x))", "((m.\"y.z\"))", "((v.w))", {"((a))": 1}, "(( a ))"]);
        let expected = json!(["new/180", "xdeep", "dotted", "set", {"new": 1}, "(( a ))"]);
        assert_eq!(fill(&value, Kind::Pipeline).unwrap(), expected);
    }

    #[test]
    fn all_variables_without_a_value_are_named_once() {
        let value = json!({"a": ["((zzz))", "((m.gone))"], "b": "((zzz))((vault:x))"});
        assert_eq!(
            fill(&value, Kind::Pipeline).unwrap_err(),
            "variables are without a value: `m.gone`, `vault:x`, `zzz`"
        );
        assert_eq!(fill(&json!("((q))"), Kind::Pipeline).unwrap_err(), "a variable is without a value: `q`");
    }

    #[test]
    fn structures_do_not_fit_into_strings() {
        assert_eq!(
            fill(&json!("x((m))((b))"), Kind::Pipeline).unwrap_err(),
            "variables inside a longer string must be strings or whole numbers: `b`, `m`"
        );
    }

    #[test]
    fn local_variables_wait_for_the_build() {
        let value = json!("((.:image.digest)) ((a))");
        assert_eq!(fill(&value, Kind::Pipeline).unwrap(), json!("((.:image.digest)) new"));
        let mut local = Variables::default();
        local.add(json!({"image": {"digest": "sha256:1"}}));
        assert_eq!(local.fill(&value, Kind::Local).unwrap(), json!("sha256:1 ((a))"));
    }
}
