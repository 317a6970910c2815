//! Canaries on the simulated cluster.

use super::*;
use crate::rollout::order::Canary;
use crate::rollout::order::canary::Share;
use crate::rollout::plan::canary::mark;

fn mk_canary(letter: char, pods: Share) -> Order {
    Order { canary: Some(Canary { pods, ..Canary::default() }), ..mk_order(letter) }
}

fn names(cluster: &Cluster) -> std::collections::BTreeSet<Option<String>> {
    cluster.pods.iter().map(|pod| pod.metadata.name.clone()).collect()
}

/// Rolls until the canary is watched.
fn watched(cluster: &mut Cluster, order: &Order, way: Way) {
    for writes in 1..40 {
        let mut copy = cluster.clone();
        let look = copy.look();
        copy.patch(&patch::write(&look, order, way, "now"));
        for _ in 0..writes * 5 {
            copy.turn();
        }
        let goal = mk_goal_of(&copy, order);
        if matches!(next(&goal, &copy.look(), Clocks::default(), SECOND), Step::Test) {
            *cluster = copy;
            return;
        }
    }
    panic!("the canary never serves");
}

fn mk_goal_of(cluster: &Cluster, order: &Order) -> Goal {
    let look = cluster.look();
    let generation = look.deployment.metadata.generation.unwrap();
    Goal { generation, image: order.image.to_string(), ..mk_goal('b') }
}

fn count(cluster: &Cluster, letter: char) -> usize {
    let image = mk_image(letter);
    cluster
        .pods
        .iter()
        .filter(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_ref() == Some(&image))
        .count()
}

#[test]
fn a_canary_starts_so_many_pods_and_touches_no_old_one() {
    for (pods, replicas, wanted) in [
        (Share::Pods(1), 3, 1),
        (Share::Pods(2), 3, 2),
        (Share::Percent(10), 11, 2),
        (Share::Percent(1), 3, 1),
    ] {
        for way in [Way::Detached, Way::Rolling, Way::Plain] {
            let before = Cluster::at_rest('a', replicas);
            let mut cluster = before.clone();
            watched(&mut cluster, &mk_canary('b', pods), way);
            cluster.settle();
            assert_eq!(count(&cluster, 'b'), wanted, "{pods} of {replicas}, {way:?}");
            assert!(names(&before).is_subset(&names(&cluster)));
            assert_eq!(cluster.serving(), before.pods.len() + wanted);
        }
    }
}

#[test]
fn a_canary_that_passes_goes_on_in_the_way_that_was_chosen() {
    let before = Cluster::at_rest('a', 3);
    let order = mk_canary('b', Share::Pods(1));
    for (way, did) in [
        (Way::Detached, &["widen", "orphan", "release", "detach", "delete", "finish", "done"][..]),
        (Way::Rolling, &["widen", "finish", "done"][..]),
        (Way::Plain, &["widen", "finish", "done"][..]),
    ] {
        let mut cluster = before.clone();
        let mut run = Run::new(&mut cluster, usize::MAX);
        // The Deployment's own strategy is allowed to be a pod short.
        run.floor = if way == Way::Plain { 2 } else { 3 };
        assert_eq!(run.roll(&order, way), End::Done, "{way:?}: {:?}", run.said);
        assert_eq!(deeds(&run), did, "{way:?}");
        cluster.lost = if way == Way::Detached { cluster.lost } else { 0 };
        assert_at_rest(&cluster, 'b', &before);
    }
}

#[test]
fn a_canary_of_all_pods_is_none() {
    let cluster = Cluster::at_rest('a', 3);
    for (pods, marked) in [
        (Share::Pods(3), None),
        (Share::Pods(4), None),
        (Share::Percent(99), None),
        (Share::Pods(2), Some(2)),
    ] {
        let mark = mark(&mk_canary('b', pods), &cluster.look(), Way::Detached);
        assert_eq!(mark.map(|mark| mark.pods), marked, "{pods}");
    }
    let before = cluster.clone();
    let mut cluster = cluster;
    let mut run = Run::new(&mut cluster, usize::MAX);
    assert_eq!(run.roll(&mk_canary('b', Share::Pods(3)), Way::Detached), End::Done);
    assert_eq!(deeds(&run), ["orphan", "release", "detach", "delete", "finish", "done"]);
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn a_canary_killed_at_any_write_is_watched_again_and_finished_by_the_next_run() {
    let before = Cluster::at_rest('a', 3);
    let order = mk_canary('b', Share::Pods(1));
    for way in [Way::Detached, Way::Rolling] {
        for writes in 0.. {
            let mut cluster = before.clone();
            let end = Run::new(&mut cluster, writes).roll(&order, way);
            let is_watched_again = cluster.look().journal().is_some_and(|journal| journal.canary.is_some());
            let mut second = Run::new(&mut cluster, usize::MAX);
            assert_eq!(
                second.roll(&order, way),
                End::Done,
                "{way:?}, after {writes} writes: {:?}",
                second.said
            );
            assert_eq!(
                second.said.contains(&"test"),
                is_watched_again || writes == 0,
                "after {writes} writes"
            );
            cluster.lost = if way == Way::Detached { cluster.lost } else { 0 };
            assert_at_rest(&cluster, 'b', &before);
            if end == End::Done {
                break;
            }
        }
    }
}

#[test]
fn a_canary_that_fails_goes_back_and_every_old_pod_is_the_one_from_before() {
    let before = Cluster::at_rest('a', 3);
    for way in [Way::Detached, Way::Rolling, Way::Plain] {
        let mut cluster = before.clone();
        watched(&mut cluster, &mk_canary('b', Share::Pods(2)), way);
        let (end, did) = go_back(&mut cluster, way, usize::MAX);
        assert_eq!(end, End::Done, "{way:?}: {did:?}");
        assert_eq!(names(&cluster), names(&before), "{way:?}");
        // In the detached way the canary's own pods are drained too; in the others they end as any pod does.
        cluster.lost = if way == Way::Detached { cluster.lost } else { 0 };
        assert_at_rest(&cluster, 'a', &before);
    }
}

#[test]
fn a_canary_whose_way_back_is_killed_at_any_write_is_taken_back_by_the_next_run() {
    let before = Cluster::at_rest('a', 3);
    for way in [Way::Detached, Way::Rolling] {
        for writes in 0.. {
            let mut cluster = before.clone();
            watched(&mut cluster, &mk_canary('b', Share::Pods(1)), way);
            let (end, _) = go_back(&mut cluster, way, writes);
            let mut second = Run::new(&mut cluster, usize::MAX);
            let reached = second.roll(&mk_order('a'), way);
            assert_eq!(reached, End::Done, "{way:?}, after {writes} writes: {:?}", second.said);
            assert_eq!(names(&cluster), names(&before), "{way:?}, after {writes} writes");
            cluster.lost = 0;
            assert_at_rest(&cluster, 'a', &before);
            if end == End::Done {
                break;
            }
        }
    }
}

#[test]
fn a_canary_may_be_followed_by_another_image_with_or_without_one() {
    let before = Cluster::at_rest('a', 3);
    for order in [mk_order('c'), mk_canary('c', Share::Pods(2))] {
        for way in [Way::Detached, Way::Rolling] {
            let mut cluster = before.clone();
            watched(&mut cluster, &mk_canary('b', Share::Pods(1)), way);
            let mut run = Run::new(&mut cluster, usize::MAX);
            assert_eq!(run.roll(&order, way), End::Done, "{way:?}: {:?}", run.said);
            cluster.lost = 0;
            assert_at_rest(&cluster, 'c', &before);
        }
    }
}

#[test]
fn a_canary_that_is_never_ready_keeps_all_old_pods() {
    let before = Cluster::at_rest('a', 3);
    for way in [Way::Detached, Way::Rolling] {
        let mut cluster = before.clone();
        cluster.broken = Some(mk_image('b'));
        let mut run = Run::new(&mut cluster, usize::MAX);
        assert_eq!(run.roll(&mk_canary('b', Share::Pods(1)), way), End::Stuck);
        assert_eq!(deeds(&run), [""; 0]);
        assert_eq!((cluster.serving(), count(&cluster, 'a'), count(&cluster, 'b')), (3, 3, 1));
    }
}

#[test]
fn replicas_may_change_while_a_canary_is_watched() {
    let before = Cluster::at_rest('a', 3);
    for replicas in [1, 2, 6] {
        let mut cluster = before.clone();
        watched(&mut cluster, &mk_canary('b', Share::Pods(2)), Way::Detached);
        cluster.patch(&vec![json!({ "op": "replace", "path": "/spec/replicas", "value": replicas })]);
        let mut run = Run::new(&mut cluster, usize::MAX);
        run.floor = 0;
        let end = run.roll(&mk_canary('b', Share::Pods(2)), Way::Detached);
        assert_eq!(end, End::Done, "{replicas}: {:?}", run.said);
        cluster.lost = 0;
        assert_at_rest(&cluster, 'b', &before);
    }
}

#[test]
fn a_finished_rollout_is_closed_when_it_has_held_still() {
    let mut cluster = Cluster::at_rest('a', 3);
    until(&mut cluster, "finish");
    let clocks = |settle| Clocks { settle, ..Clocks::default() };
    let goal = mk_goal('b');
    assert_eq!(word(&next(&goal, &cluster.look(), clocks(SECOND), SECOND)), "settle");
    assert_eq!(word(&next(&goal, &cluster.look(), clocks(Duration::ZERO), SECOND)), "finish");
}
