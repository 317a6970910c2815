//! A workload on the command line: `app` or `deployment/app`.

use std::str::FromStr;

/// A Deployment by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: String,
}

/// How people write the kinds that can be rolled, kubectl's short forms too.
const DEPLOYMENT: [&str; 5] = ["deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"];

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('/').unwrap_or(("deployment", text));
        if !DEPLOYMENT.contains(&kind.to_lowercase().as_str()) {
            return Err(format!("`{kind}` is not a kind that can be rolled; write `deployment/NAME`"));
        }
        if name.is_empty() || name.contains('/') {
            return Err("write it as `NAME` or `deployment/NAME`".to_owned());
        }
        Ok(Self { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_a_name_with_or_without_its_kind() {
        for text in ["app", "deployment/app", "deploy/app", "Deployment/app", "deployment.apps/app"] {
            assert_eq!(text.parse::<Workload>().unwrap().name, "app", "{text}");
        }
        for text in ["", "cronjob/app", "deployment/", "deployment/a/b"] {
            assert!(text.parse::<Workload>().is_err(), "{text}");
        }
    }
}
