//! What others do to a Deployment while it rolls: change its image, empty its nodes, delete its
//! ReplicaSets, scale it to nothing and back, guard its pods with network policies.

use super::*;

const MOMENTS: &[&str] = &["orphan", "release", "detach", "drain", "delete"];

/// What somebody else writes over the image.
fn write_by_hand(cluster: &mut Cluster, letter: char) {
    let path = "/spec/template/spec/containers/0/image";
    cluster.patch(&vec![json!({ "op": "replace", "path": path, "value": mk_image(letter) })]);
}

fn scale(cluster: &mut Cluster, replicas: i32) {
    cluster.patch(&vec![json!({ "op": "replace", "path": "/spec/replicas", "value": replicas })]);
}

#[test]
fn pods_that_a_newer_change_leaves_without_an_owner_are_ended_by_the_next_rollout() {
    let before = Cluster::at_rest('a', 3);
    for moment in MOMENTS {
        for wanted in ['c', 'd'] {
            let mut cluster = before.clone();
            until(&mut cluster, moment);
            write_by_hand(&mut cluster, 'c');
            let mut first = Run::new(&mut cluster, usize::MAX);
            first.floor = 0;
            let generation = first.cluster.look().deployment.metadata.generation.unwrap() - 1;
            let goal = Goal { generation, ..mk_goal('b') };
            assert_eq!(first.steps(&goal, &mk_order('b')), End::Superseded, "{moment}: {:?}", first.said);
            cluster.settle();
            let mut second = Run::new(&mut cluster, usize::MAX);
            second.floor = 0;
            let end = second.roll(&mk_order(wanted), Way::Detached);
            assert_eq!(end, End::Done, "{moment}, then {wanted}: {:?}", second.said);
            cluster.lost = 0;
            assert_at_rest(&cluster, wanted, &before);
        }
    }
}

#[test]
fn pods_out_of_their_services_have_the_rest_of_their_drain_when_somebody_else_takes_over() {
    let mut cluster = Cluster::at_rest('a', 3);
    until(&mut cluster, "detach");
    write_by_hand(&mut cluster, 'c');
    let step = |cluster: &Cluster, out| clear(&cluster.look(), SECOND * out, SECOND * 5);
    let pods = cluster.look().orphans().cloned().collect::<Vec<_>>();
    for pod in &pods {
        let operations = patch::detach(&cluster.look(), pod);
        cluster.patch_pod(pod.metadata.name.as_ref(), &operations);
    }
    assert_eq!(word(&step(&cluster, 60)), "wait", "endpoints name them still");
    cluster.settle();
    assert!(matches!(step(&cluster, 2), Step::Drain(rest) if rest == SECOND * 3));
    assert!(matches!(step(&cluster, 5), Step::Delete(pods) if pods.len() == 3));
    assert!(matches!(clear(&Cluster::at_rest('a', 3).look(), SECOND, SECOND), Step::Done));
}

#[test]
fn a_node_that_is_emptied_while_old_pods_drain_brings_the_others_back_until_all_is_there() {
    let before = Cluster::at_rest('a', 3);
    for moment in ["drain", "delete"] {
        let mut cluster = before.clone();
        until(&mut cluster, moment);
        // One node had an old pod that drains and a new one that serves.
        let (old, new): (Vec<Pod>, Vec<Pod>) = cluster.pods.clone().into_iter().partition(is_detached);
        for pod in [&old[0], &new[0]] {
            cluster.end(pod.metadata.name.as_ref());
        }
        let (end, did) = finish_b(&mut cluster);
        assert_eq!((end, did.first()), (End::Done, Some(&"attach")), "{moment}: {did:?}");
        cluster.lost = 0;
        assert_at_rest(&cluster, 'b', &before);
    }
}

#[test]
fn a_replica_set_that_is_deleted_with_its_pods_at_any_write_is_made_up_for() {
    let before = Cluster::at_rest('a', 3);
    for writes in 1..10 {
        for newest in [true, false] {
            let mut cluster = before.clone();
            let _ = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
            cluster.settle();
            let new = cluster.look().new_set().and_then(|set| set.metadata.uid.clone());
            let (gone, kept): (Vec<ReplicaSet>, Vec<ReplicaSet>) =
                cluster.sets.drain(..).partition(|set| (set.metadata.uid == new) == newest);
            cluster.sets = kept;
            let uids: Vec<_> = gone.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
            cluster.pods.retain(|pod| {
                !crate::rollout::observe::controller(&pod.metadata).is_some_and(|uid| uids.contains(&uid))
            });
            let (end, did) = finish_b(&mut cluster);
            assert_eq!(end, End::Done, "after {writes} writes, newest {newest}: {did:?}");
            cluster.lost = 0;
            assert_at_rest(&cluster, 'b', &before);
        }
    }
}

#[test]
fn a_deployment_may_be_scaled_to_nothing_and_back_at_any_write() {
    let before = Cluster::at_rest('a', 3);
    for writes in 1..10 {
        for (meanwhile, afterwards) in [(0, 3), (0, 0), (5, 2)] {
            let mut cluster = before.clone();
            let _ = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
            scale(&mut cluster, meanwhile);
            cluster.settle();
            scale(&mut cluster, afterwards);
            let (end, did) = finish_b(&mut cluster);
            assert_eq!(end, End::Done, "{meanwhile} then {afterwards} after {writes} writes: {did:?}");
            cluster.lost = 0;
            assert_at_rest(&cluster, 'b', &before);
        }
    }
}

#[test]
fn a_deployment_without_pods_that_is_scaled_up_in_the_middle_is_waited_for() {
    let before = Cluster::at_rest('a', 0);
    let mut cluster = before.clone();
    let written = Run::new(&mut cluster, 1).roll(&mk_order('b'), Way::Plain);
    assert!(matches!(written, End::Done | End::Killed), "{written:?}");
    scale(&mut cluster, 3);
    let mut run = Run::new(&mut cluster, usize::MAX);
    run.floor = 0;
    assert_eq!(run.roll(&mk_order('b'), Way::Plain), End::Done, "{:?}", run.said);
    assert_eq!((cluster.pods.len(), cluster.serving()), (3, 3));
}

#[test]
fn a_network_policy_moves_the_drain_to_a_label_that_it_does_not_go_by() {
    let mut before = Cluster::at_rest('a', 3);
    before.services = vec![mk_service("app", &json!({ "app": "app", "tier": "web" }))];
    let selector = json!({ "matchLabels": { "app": "app" } });
    before.policies =
        vec![mk(json!({ "metadata": { "name": "guard" }, "spec": { "podSelector": selector } }))];
    before.settle();
    let mut cluster = before.clone();
    until(&mut cluster, "drain");
    let look = cluster.look();
    let away: Vec<&Pod> = look.orphans().filter(|pod| is_detached(pod)).collect();
    let labels = |pod: &Pod| pod.metadata.labels.clone().unwrap();
    assert!(away.len() == 3 && away.iter().all(|pod| labels(pod).contains_key("app")), "{away:#?}");
    assert!(away.iter().all(|pod| !labels(pod).contains_key("tier")), "{away:#?}");
    let (end, did) = finish_b(&mut cluster);
    assert_eq!(end, End::Done, "{did:?}");
    assert_at_rest(&cluster, 'b', &before);
}

/// Nothing is left of a rollout under the name that the policy gives the image.
fn assert_renamed(cluster: &Cluster, letter: char, before: &Cluster) {
    let look = cluster.look();
    assert_eq!(look.image(), mk_image(letter).replace("registry/", "mirror/"));
    assert_eq!((cluster.pods.len(), look.orphans().count(), look.journal()), (3, 0, None));
    assert_eq!(cluster.settings(), before.settings());
}

#[test]
fn an_admission_policy_that_renames_the_registry_is_not_somebody_elses_wish() {
    let mut before = Cluster::at_rest('a', 3);
    before.renames = true;
    for way in [Way::Detached, Way::Rolling] {
        for writes in 0.. {
            let mut cluster = before.clone();
            let end = Run::new(&mut cluster, writes).roll(&mk_order('b'), way);
            let mut second = Run::new(&mut cluster, usize::MAX);
            let reached = second.roll(&mk_order('b'), way);
            assert_eq!(reached, End::Done, "{way:?}, killed after {writes} writes: {:?}", second.said);
            let said = second.said;
            assert_renamed(&cluster, 'b', &before);
            if end == End::Done {
                assert_eq!(said, ["done"], "it is there already");
                break;
            }
        }
    }
}

#[test]
fn a_rollout_that_an_admission_policy_renamed_goes_back_like_any_other() {
    let mut cluster = Cluster::at_rest('a', 3);
    cluster.renames = true;
    let mut run = Run::new(&mut cluster, 1);
    run.floor = 0;
    let _ = run.roll(&mk_order('b'), Way::Detached);
    cluster.settle();
    let (end, did) = go_back(&mut cluster, Way::Rolling, usize::MAX);
    assert_eq!(end, End::Done, "{did:?}");
    let look = cluster.look();
    assert_eq!(look.image(), mk_image('a').replace("registry/", "mirror/"));
    assert_eq!((cluster.serving(), look.journal()), (3, None));
}
