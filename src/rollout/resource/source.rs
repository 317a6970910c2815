//! The `source` of a pipeline: which workloads of which cluster, and the registry that knows their
//! image.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use serde_json::Value;

use super::Error;
use crate::cluster::{self, Cluster};
use crate::registry;
use crate::rollout::{Kind, Target, driver};

cluster::with_cluster_keys! {
/// Where the workloads are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The Deployment's name, or a list of names. Exactly one of this, `statefulset`, `daemonset` and
    /// `selector`.
    #[serde(default, deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub deployment: Vec<String>,
    /// The StatefulSet's name, or a list of names.
    #[serde(default, deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub statefulset: Vec<String>,
    /// The DaemonSet's name, or a list of names.
    #[serde(default, deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub daemonset: Vec<String>,
    /// The labels of the workloads, as `kubectl -l` takes them.
    #[serde(default, deserialize_with = "cluster::optional_text")]
    pub selector: Option<String>,
    /// The kind that `selector` selects: `deployment`, `statefulset` or `daemonset`. Default:
    /// `deployment`.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// The containers to set the image of, one name or a list; init containers may be among them, but
    /// not first: the first one's digest is the version. May be left out when the pod has one.
    #[serde(default, deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub container: Vec<String>,
    /// Credentials and trust for the image's registry, which is asked whether a digest exists and
    /// which platform digests belong to it. Default: anonymous.
    #[serde(default)]
    pub registry: registry::Access,
    /// Say more on stderr. Default: false.
    #[serde(default, deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub debug: bool,
}
}

impl Source {
    /// Refuses names before they become part of a URL.
    pub(super) fn inspect(&self) -> Result<(), Error> {
        let lists = || self.named().into_iter().map(|(kind, names)| (kind.word(), names));
        let lists = || lists().chain([("container", &self.container)]);
        let all = lists().flat_map(|(key, names)| names.iter().map(move |name| (key, name)));
        let mut all = all.chain(self.namespace.iter().map(|name| ("namespace", name)));
        if let Some((key, value)) = all.find(|(_, name)| !cluster::is_name(name)) {
            return Err(Error::Name { key, value: value.clone() });
        }
        for (key, names) in lists() {
            let mut seen = BTreeSet::new();
            if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
                return Err(Error::Twice { key, name: name.clone() });
            }
        }
        self.inspect_workloads()
    }

    /// Refuses a source that names no workload, or in two ways.
    fn inspect_workloads(&self) -> Result<(), Error> {
        let named = self.named().into_iter().filter(|(_, names)| !names.is_empty());
        let mut given = named.map(|(kind, _)| kind.word()).chain(self.selector.as_ref().map(|_| "selector"));
        match (given.next(), given.next()) {
            (None, _) => Err(Error::NoWorkload),
            (Some(one), Some(other)) => Err(Error::TwoWorkloads { one, other }),
            (Some(_), None) if self.kind.is_some() && self.selector.is_none() => Err(Error::KindAlone),
            (Some(_), None) => Ok(()),
        }
    }

    fn named(&self) -> [(Kind, &Vec<String>); 3] {
        [
            (Kind::Deployment, &self.deployment),
            (Kind::StatefulSet, &self.statefulset),
            (Kind::DaemonSet, &self.daemonset),
        ]
    }

    /// Connects to the cluster that the keys describe.
    pub(super) async fn connect(&self) -> Result<Cluster, cluster::Error> {
        cluster::connect(&self.access()).await
    }

    /// Returns what is rolled, in the namespace that the connection settled on: one or more.
    pub(super) async fn targets(&self, cluster: &Cluster) -> Result<Vec<Target>, cluster::Error> {
        let (kind, names) = match &self.selector {
            Some(selector) => {
                let kind = self.kind.unwrap_or_default();
                (kind, driver::select(cluster, &cluster.namespace, kind, selector).await?)
            }
            None => {
                let named = self.named().into_iter().find(|(_, names)| !names.is_empty());
                named.map(|(kind, names)| (kind, names.clone())).unwrap_or_default()
            }
        };
        let target = |name| Target {
            namespace: cluster.namespace.clone(),
            kind,
            name,
            containers: self.container.clone(),
        };
        Ok(names.into_iter().map(target).collect())
    }
}

/// Reads one name or a list of them; nothing, null and empty text are none.
pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    const EXPECTED: &str = "a name or a list of names";
    let wrong = || D::Error::invalid_value(Unexpected::Other("something else"), &EXPECTED);
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(text).collect(),
        value => Ok(vec![text(&value)?]),
    }
}

pub(super) fn names_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "array", "null"], "items": {"type": "string"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_to_name_workloads_is_required() {
        let source: Source = serde_json::from_str(r#"{"deployment": "app", "container": ""}"#).unwrap();
        assert_eq!((source.container.len(), source.debug), (0, false));
        let inspect = |json: &str| {
            let source: Source = serde_json::from_str(json).unwrap();
            source.inspect().map_err(|error| error.to_string())
        };
        for good in [
            r#"{"deployment": ["a", "b"]}"#,
            r#"{"statefulset": "db"}"#,
            r#"{"selector": "team=a", "kind": "daemonset"}"#,
        ] {
            assert_eq!(inspect(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("{}", "`source` names no workload"),
            (r#"{"deployment": [], "statefulset": ""}"#, "`source` names no workload"),
            (r#"{"deployment": "a", "daemonset": "b"}"#, "`deployment` and `daemonset` are both set"),
            (r#"{"statefulset": "a", "selector": "a=b"}"#, "`statefulset` and `selector` are both set"),
            (r#"{"deployment": "a", "kind": "deployment"}"#, "`source.kind` is set without `selector`"),
            (r#"{"deployment": ["a", "a"]}"#, "`source.deployment` names `a` twice"),
        ] {
            let error = inspect(bad).unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn containers_are_one_name_or_a_list_without_repetition() {
        let read = |container: &str| -> Result<Source, String> {
            let json = format!(r#"{{"deployment": "app", "container": {container}}}"#);
            serde_json::from_str(&json).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#""app""#).unwrap().container, ["app"]);
        assert_eq!(read(r#"["app", "migrate"]"#).unwrap().container, ["app", "migrate"]);
        assert_eq!(read("null").unwrap().container.len(), 0);
        assert!(read("5").unwrap_err().contains("expected a name or a list of names"));
        assert!(read(r#"["app", 5]"#).unwrap_err().contains("expected a name or a list of names"));
        let twice = read(r#"["app", "migrate", "app"]"#).unwrap().inspect().unwrap_err();
        assert_eq!(twice.to_string(), "`source.container` names `app` twice");
    }

    #[test]
    fn debug_output_keeps_secrets_to_itself() {
        let json = r#"{"deployment": "app", "kubeconfig": "canary", "token": "canary",
                       "registry": {"username": "a", "password": "canary"}}"#;
        let source: Source = serde_json::from_str(json).unwrap();
        assert!(!format!("{source:?}").contains("canary"));
    }
}
