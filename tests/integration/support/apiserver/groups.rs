//! Which API groups there are: those that the server has objects of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::World;

impl World {
    /// Returns the groups that objects of this server are of.
    pub(super) fn groups(&self) -> Value {
        let parts = self.objects.keys().filter_map(|path| {
            let mut parts = path.strip_prefix("/apis/")?.split('/');
            Some((parts.next()?, parts.next()?))
        });
        let parts: BTreeSet<(&str, &str)> = parts.collect();
        let group = |(group, version): (&str, &str)| {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [version]})
        };
        let groups: Vec<Value> = parts.into_iter().map(group).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }
}
