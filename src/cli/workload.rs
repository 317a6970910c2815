//! A workload on the command line: `app`, `deployment/app`, `statefulset/db` or `daemonset/agent`.

use std::str::FromStr;

use crate::cluster::is_name;
use crate::rollout::Kind;

/// A workload by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What kind it is; a Deployment when nobody says.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = Kind::split(text).map_err(|kind| {
            format!("`{kind}` is not a kind that can be rolled; write `deployment/NAME`, `statefulset/NAME` or `daemonset/NAME`")
        })?;
        if name.is_empty() || name.contains('/') {
            return Err("write it as `NAME` or `KIND/NAME`".to_owned());
        }
        if !is_name(name) {
            return Err("not a name of Kubernetes: lower case letters, digits, `-` and `.`".to_owned());
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_a_name_with_or_without_its_kind() {
        for text in ["app", "deployment/app", "deploy/app", "Deployment/app", "deployment.apps/app"] {
            let workload = text.parse::<Workload>().unwrap();
            assert_eq!((workload.kind, workload.name.as_str()), (Kind::Deployment, "app"), "{text}");
        }
        assert_eq!("sts/db".parse::<Workload>().unwrap().kind, Kind::StatefulSet);
        for text in ["", "cronjob/app", "deployment/", "deployment/a/b", "App_X", "sts/-db"] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
