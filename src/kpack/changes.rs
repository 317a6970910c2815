//! What changed since the build before, as kpack notes it on a Build, and in words. Values of
//! environment variables are in no words: they may be anybody's secret.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::build::Buildpack;
use super::one_line;

/// What kpack writes before the time of a trigger.
const TRIGGERED: &str = "A new build was manually triggered on ";
/// How much of a commit tells it from others.
const COMMIT: usize = 12;
/// How much of a value that is not understood is worth reading.
const LONGEST: usize = 100;

/// One reason for a build, with the state before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// TRIGGER, COMMIT, CONFIG, BUILDPACK, STACK, LIFECYCLE, or what a later kpack adds.
    #[serde(default)]
    pub reason: String,
    /// Before.
    #[serde(default)]
    pub old: Value,
    /// After.
    #[serde(default)]
    pub new: Value,
}

/// Reads the annotation; what is not understood says nothing.
#[must_use]
pub fn read(text: &str) -> Vec<Change> {
    serde_json::from_str(text).unwrap_or_default()
}

impl Change {
    /// Says it in words; `built` are the buildpacks that took part, which say what came after.
    #[must_use]
    pub fn words(&self, built: &[Buildpack]) -> Vec<String> {
        let (old, new) = (short(&self.old), short(&self.new));
        match self.reason.as_str() {
            "TRIGGER" => {
                let text = self.new.as_str().unwrap_or_default();
                let when = text.strip_prefix(TRIGGERED).unwrap_or(text);
                vec![format!("triggered on {}", one_line(when))]
            }
            "COMMIT" => vec![format!("commit {old} → {new}")],
            "STACK" => vec![format!("stack: run image {old} → {new}")],
            "LIFECYCLE" => vec![format!("lifecycle {old} → {new}")],
            "BUILDPACK" => self.buildpacks(built),
            "CONFIG" => vec![self.config()],
            other if old.is_empty() && new.is_empty() => vec![one_line(other).to_lowercase()],
            other => vec![format!("{} {old} → {new}", one_line(other).to_lowercase())],
        }
    }

    /// kpack notes the buildpacks that left the builder, and not what came in their place.
    fn buildpacks(&self, built: &[Buildpack]) -> Vec<String> {
        let gone = self.old.as_array().into_iter().flatten();
        let said = gone.map(|gone| {
            let (id, version) = (short(&gone["id"]), short(&gone["version"]));
            match built.iter().find(|buildpack| buildpack.id == id) {
                Some(now) => format!("buildpack {id} {version} → {}", now.version),
                None => format!("buildpack {id} {version} is not in the builder any more"),
            }
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() { vec!["the builder's buildpacks changed".to_owned()] } else { said }
    }

    /// Names what changed in the Image, without values.
    fn config(&self) -> String {
        if self.old["source"].as_object().is_some_and(serde_json::Map::is_empty) {
            return "first build".to_owned();
        }
        let mut parts = environment(&self.old["env"], &self.new["env"]);
        let keys =
            |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        let mut names: Vec<String> = keys(&self.old);
        let added: Vec<String> = keys(&self.new);
        names.extend(added.into_iter().filter(|key| !self.old[key.as_str()].is_object()));
        names.retain(|key| key != "env" && self.old[key] != self.new[key]);
        names.sort();
        names.dedup();
        parts.extend(names.into_iter().map(|name| format!("{name} changed")));
        if parts.is_empty() { "config changed".to_owned() } else { format!("config: {}", parts.join(", ")) }
    }
}

/// Says which variables came, went or changed, by name.
fn environment(old: &Value, new: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    let of = |all: &[Value], name: &Value| all.iter().find(|item| item["name"] == *name).cloned();
    let mut said = Vec::new();
    for item in &new {
        let verb = match of(&old, &item["name"]) {
            None => "added",
            Some(before) if before != *item => "changed",
            Some(_) => continue,
        };
        said.push(format!("env {} {verb}", short(&item["name"])));
    }
    let gone = old.iter().filter(|item| of(&new, &item["name"]).is_none());
    said.extend(gone.map(|item| format!("env {} removed", short(&item["name"]))));
    said
}

/// Returns a value as one short word: a digest and a commit as much as tells them apart.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    };
    if let Ok(digest) = text.parse::<crate::image::Digest>() {
        return digest.short().to_owned();
    }
    let is_commit = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.chars().take(if is_commit { COMMIT } else { LONGEST }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(changes: Value) -> Vec<String> {
        let built = [Buildpack { id: "lab/jre".to_owned(), version: "11.0.6".to_owned() }];
        read(&changes.to_string()).iter().flat_map(|change| change.words(&built)).collect()
    }

    #[test]
    fn each_reason_has_its_words() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        for (change, said) in [
            (
                json!({"reason": "TRIGGER", "old": "", "new": "A new build was manually triggered on Mon, 23 Nov"}),
                "triggered on Mon, 23 Nov",
            ),
            (
                json!({"reason": "COMMIT", "old": "5e5919f39394bf1fd5afdfad5ebf50d41252fa9f",
                       "new": "0dacaee0c0929bb2a624f87a74f1130c99b385ce"}),
                "commit 5e5919f39394 → 0dacaee0c092",
            ),
            (
                json!({"reason": "STACK", "old": digest("a"), "new": digest("b")}),
                "stack: run image sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb",
            ),
            (
                json!({"reason": "BUILDPACK", "old": [{"id": "lab/jre", "version": "11.0.5"}], "new": null}),
                "buildpack lab/jre 11.0.5 → 11.0.6",
            ),
            (
                json!({"reason": "BUILDPACK", "old": [{"id": "lab/go", "version": "1"}], "new": null}),
                "buildpack lab/go 1 is not in the builder any more",
            ),
            (json!({"reason": "LIFECYCLE", "old": "0.20.1", "new": "0.20.2"}), "lifecycle 0.20.1 → 0.20.2"),
            (json!({"reason": "MOON", "old": "new", "new": "full"}), "moon new → full"),
            (json!({"reason": "MOON"}), "moon"),
        ] {
            assert_eq!(words(json!([change])), [said]);
        }
    }

    #[test]
    fn a_changed_configuration_is_told_by_name_and_without_values() {
        let old = json!({"env": [{"name": "A", "value": "hunter1"}, {"name": "B", "value": "2"}],
            "source": {"git": {"url": "u"}}, "resources": {}});
        let new = json!({"env": [{"name": "A", "value": "hunter2"}, {"name": "C", "value": "3"}],
            "source": {"git": {"url": "v"}}, "resources": {}});
        let said = words(json!([{"reason": "CONFIG", "old": old, "new": new}]));
        assert_eq!(said, ["config: env A changed, env C added, env B removed, source changed"]);
        let first = json!([{"reason": "CONFIG", "old": {"resources": {}, "source": {}}, "new": new}]);
        assert_eq!(words(first), ["first build"]);
    }

    #[test]
    fn what_anybody_wrote_into_the_annotation_draws_on_no_terminal() {
        let said = words(json!([{"reason": "TRIGGER", "old": "", "new": "\u{1b}[31mred\u{7}\nnow"}]));
        assert_eq!(said, ["triggered on [31mred now"]);
        let said = words(json!([{"reason": "COMMIT", "old": "\u{1b}]0;a", "new": "b"},
            {"reason": "\u{1b}[2J", "old": "", "new": ""}]));
        assert_eq!(said, ["commit ]0;a → b", "[2j"]);
    }

    #[test]
    fn an_annotation_that_is_not_understood_says_nothing() {
        for text in ["", "null", "{}", "not json"] {
            assert_eq!(read(text), [], "{text}");
        }
    }
}
