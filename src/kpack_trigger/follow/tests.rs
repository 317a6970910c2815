use super::*;
use crate::kpack::fixtures::{mk_build, mk_running, recorded, stream};

fn said(standing: &Standing) -> &'static str {
    match standing {
        Standing::Running(_) => "running",
        Standing::Succeeded(_) => "succeeded",
        Standing::Failed(_) => "failed",
        Standing::Phantom(_) => "phantom",
        Standing::Deleted { again: false } => "deleted",
        Standing::Deleted { again: true } => "another has its name",
    }
}

#[test]
fn only_the_build_itself_says_how_it_ended() {
    for (case, ended) in [
        ("ok-trigger-idle", "succeeded"),
        ("stack-rebase", "succeeded"),
        ("fail-detect", "failed"),
        ("fail-sa", "failed"),
        ("running", "running"),
        ("fail-pull-waiting", "running"),
        ("fail-pull-timeout", "failed"),
    ] {
        let case_ = recorded(case);
        let pods: Vec<Pod> = case_.pod().into_iter().collect();
        assert_eq!(said(&standing(&case_.build(), &[case_.build()], &pods)), ended, "{case}");
    }
}

#[test]
fn a_deleted_build_whose_name_is_given_again_is_neither_a_success_nor_a_failure() {
    for (name, followed) in [("delete-newest", "f2db4e"), ("delete-running", "1beeeb")] {
        let moments = stream(name);
        let build = moments.iter().flat_map(|moment| &moment.builds).find(|it| it.uid.starts_with(followed));
        let build = build.cloned().unwrap_or_else(|| {
            let mut build = moments[1].builds[0].clone();
            build.uid = followed.to_owned();
            build
        });
        let last = moments.last().unwrap();
        assert_eq!(said(&standing(&build, &last.builds, &last.pods)), "another has its name", "{name}");
        let before: Vec<Build> = Vec::new();
        assert_eq!(said(&standing(&build, &before, &[])), "deleted", "{name}");
    }
}

#[test]
fn a_verdict_from_the_pod_of_a_deleted_build_is_none() {
    let moments = stream("delete-running");
    let last = moments.iter().rev().find(|moment| !moment.pods.is_empty()).unwrap();
    let phantom = last.builds.iter().find(|build| build.uid.starts_with("684d6e")).unwrap();
    let verdicts: Vec<&str> = moments
        .iter()
        .filter(|moment| moment.builds.iter().any(|build| build.uid == phantom.uid))
        .map(|moment| said(&standing(phantom, &moment.builds, &moment.pods)))
        .collect();
    assert!(verdicts.contains(&"phantom"), "{verdicts:?}");
    assert!(!verdicts[..verdicts.len() - 1].contains(&"failed"), "{verdicts:?}");
}

#[test]
fn what_keeps_a_build_from_going_on_is_said_from_its_pod_or_else_from_itself() {
    let waiting = recorded("fail-pull-waiting");
    let pods: Vec<Pod> = waiting.pod().into_iter().collect();
    let from_pod = trouble(&waiting.build(), &pods).unwrap();
    let Stuck::NoStart(from_pod) = from_pod else { panic!("{from_pod:?}") };
    assert!(from_pod.starts_with("step analyze cannot start: ErrImagePull: failed to pull"), "{from_pod}");
    let from_itself = trouble(&waiting.build(), &[]).unwrap().words().to_owned();
    assert!(from_itself.starts_with("ErrImagePull: failed to pull"), "{from_itself}");
    let running = recorded("running");
    let pods: Vec<Pod> = running.pod().into_iter().collect();
    assert_eq!(trouble(&running.build(), &pods), None);
    assert_eq!(trouble(&mk_running(1), &[]), None);
    assert_eq!(trouble(&mk_build(1), &[]), None);
}

#[test]
fn a_pod_that_no_node_takes_is_said() {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "ownerReferences": [{"apiVersion": "v", "kind": "Build", "name": "b", "uid": "uid-1"}]},
        "spec": {"containers": [{"name": "completion"}]},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/3 nodes are available"}]},
    }))
    .unwrap();
    assert_eq!(
        trouble(&mk_running(1), &[pod]),
        Some(Stuck::NoNode("no node takes the build's pod: 0/3 nodes are available".to_owned()))
    );
}

#[test]
fn a_pull_that_fails_is_trouble_from_its_first_error_to_its_end() {
    let moments = stream("pull-backoff");
    let troubles: Vec<Option<Stuck>> =
        moments.iter().filter_map(|moment| Some(trouble(moment.builds.first()?, &moment.pods))).collect();
    let first = troubles.iter().position(Option::is_some).unwrap();
    let pulls = troubles[first..].iter().take_while(|trouble| trouble.is_some()).count();
    assert!(pulls > 10, "{troubles:?}");
}
