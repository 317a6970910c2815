//! Which containers are rolled (T002): the only rule that is needed before anything is looked at.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

use super::Refusal;

/// Finds the containers to roll: the named ones, or the only one. The first is never an init
/// container: its digest stands for the workload, and how it ends decides how the pods are drained.
///
/// # Errors
///
/// T002 when one is not there, or when several are and none was named.
pub fn containers(
    kind: &str,
    template: Option<&PodTemplateSpec>,
    named: &[String],
) -> Result<(String, Vec<String>), Refusal> {
    let spec = template.and_then(|template| template.spec.as_ref());
    let names = |list: &[Container]| list.iter().map(|container| container.name.clone()).collect::<Vec<_>>();
    let usual = spec.map(|spec| names(&spec.containers)).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).map(names).unwrap_or_default();
    let refusal = |words: String, hint: String| Err(Refusal { rule: "T002", words, hint });
    if let Some(name) = named.iter().find(|name| !usual.contains(name) && !init.contains(name)) {
        let listed: Vec<&str> = usual.iter().chain(&init).map(String::as_str).collect();
        let hint = format!("`container` is one of: {}", listed.join(", "));
        return refusal(format!("no container `{name}` in the {kind}"), hint);
    }
    match (named, usual.as_slice()) {
        ([first, ..], _) if init.contains(first) => refusal(
            format!("`{first}` is an init container, and the first container stands for the {kind}"),
            format!("name one of these first: {}", usual.join(", ")),
        ),
        ([first, others @ ..], _) => Ok((first.clone(), others.to_vec())),
        ([], [only]) => Ok((only.clone(), Vec::new())),
        ([], _) => refusal(
            format!("the {kind} has {} containers and `container` names none", usual.len()),
            format!("set `container` to one of: {}", usual.join(", ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::mk;
    use serde_json::json;

    fn chosen(named: &[&str]) -> Result<(String, Vec<String>), String> {
        let template: PodTemplateSpec = mk(json!({ "spec": {
            "containers": [{ "name": "app" }, { "name": "proxy" }],
            "initContainers": [{ "name": "migrate" }],
        } }));
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        containers("Deployment", Some(&template), &named).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn containers_are_those_that_are_named_and_the_first_one_stays() {
        assert_eq!(chosen(&["app"]).unwrap(), ("app".to_owned(), Vec::new()));
        let both = ("proxy".to_owned(), vec!["migrate".to_owned()]);
        assert_eq!(chosen(&["proxy", "migrate"]).unwrap(), both);
        let one: PodTemplateSpec = mk(json!({ "spec": { "containers": [{ "name": "app" }] } }));
        assert_eq!(containers("Deployment", Some(&one), &[]).unwrap().0, "app");
    }

    #[test]
    fn an_unknown_an_unnamed_or_a_first_init_container_is_refused() {
        assert_eq!(chosen(&["web"]).unwrap_err(), "no container `web` in the Deployment (T002)");
        let none = chosen(&[]).unwrap_err();
        assert_eq!(none, "the Deployment has 2 containers and `container` names none (T002)");
        let init = chosen(&["migrate", "app"]).unwrap_err();
        assert_eq!(
            init,
            "`migrate` is an init container, and the first container stands for the Deployment (T002)"
        );
    }
}
