//! The request that Concourse puts on stdin: keys that hold nothing are left out.

use serde_json::{Map, Value, json};

use crate::concourse::{AnyVersion, Step};

/// What a pipeline says for one step of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The resource's `source`.
    pub source: Map<String, Value>,
    /// The step's `params`.
    pub params: Map<String, Value>,
    /// The cursor of a check, the wanted version of a get.
    pub version: Option<AnyVersion>,
}

impl Payload {
    /// Returns the JSON for `step`. `source` is always there; a put has no version and a check no params.
    #[must_use]
    pub fn request(&self, step: Step) -> String {
        let mut request = Map::from_iter([("source".to_owned(), Value::Object(self.source.clone()))]);
        if step != Step::Check && !self.params.is_empty() {
            request.insert("params".to_owned(), Value::Object(self.params.clone()));
        }
        if step != Step::Put
            && let Some(version) = self.version.as_ref().filter(|version| !version.is_empty())
        {
            request.insert("version".to_owned(), json!(version));
        }
        Value::Object(request).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_keys_are_left_out() {
        let payload = Payload::default();
        for step in [Step::Check, Step::Get, Step::Put] {
            assert_eq!(payload.request(step), r#"{"source":{}}"#);
        }
    }

    #[test]
    fn each_step_gets_its_own_keys() {
        let payload = Payload {
            source: Map::from_iter([("a".to_owned(), json!(1))]),
            params: Map::from_iter([("b".to_owned(), json!(2))]),
            version: Some(AnyVersion::from([("c".to_owned(), "3".to_owned())])),
        };
        assert_eq!(payload.request(Step::Check), r#"{"source":{"a":1},"version":{"c":"3"}}"#);
        assert_eq!(payload.request(Step::Get), r#"{"source":{"a":1},"params":{"b":2},"version":{"c":"3"}}"#);
        assert_eq!(payload.request(Step::Put), r#"{"source":{"a":1},"params":{"b":2}}"#);
    }
}
