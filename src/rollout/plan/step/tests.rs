//! Whole rollouts on the simulated cluster, and each of them again, killed at every write.

mod canary;
mod hostile;

use super::*;
use crate::rollout::Order;
use crate::rollout::fixtures::cluster::Cluster;
use crate::rollout::fixtures::*;
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::patch::{self, Operations};
use serde_json::json;

/// One write to the API server, as the driver makes them one after the other.
enum Write {
    Deployment(Operations),
    Orphan(ReplicaSet),
    Set(ReplicaSet, Operations),
    Pod(Pod, Operations),
    Delete(Pod),
}

fn writes(step: Step, look: &Snapshot) -> Vec<Write> {
    match step {
        Step::Orphan(sets) => sets.into_iter().map(Write::Orphan).collect(),
        Step::Release(journal) => vec![Write::Deployment(patch::release(look, &journal))],
        Step::Widen(journal) => vec![Write::Deployment(patch::widen(look, &journal))],
        Step::Finish(journal) => vec![Write::Deployment(patch::finish(look, &journal))],
        Step::FallBack(journal, _) => vec![Write::Deployment(patch::fall_back(look, &journal))],
        Step::Detach(pods) => pods
            .into_iter()
            .map(|pod| (patch::detach(look, &pod), pod))
            .map(|(o, p)| Write::Pod(p, o))
            .collect(),
        Step::Attach(pods) => {
            pods.into_iter().map(|pod| (patch::attach(&pod), pod)).map(|(o, p)| Write::Pod(p, o)).collect()
        }
        Step::Delete(pods) => pods.into_iter().map(Write::Delete).collect(),
        _ => Vec::new(),
    }
}

/// A process that rolls: it has clocks, and it may be killed after so many writes.
struct Run<'a> {
    cluster: &'a mut Cluster,
    clocks: Clocks,
    writes_left: usize,
    /// What must always serve.
    floor: usize,
    said: Vec<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Killed,
    Superseded,
    Stuck,
}

const SECOND: Duration = Duration::from_secs(1);

impl<'a> Run<'a> {
    fn new(cluster: &'a mut Cluster, writes_left: usize) -> Self {
        let floor = cluster.look().wanted();
        Self { cluster, clocks: Clocks::default(), writes_left, floor, said: Vec::new() }
    }

    fn write(&mut self, write: Write) -> bool {
        if self.writes_left == 0 {
            return false;
        }
        self.writes_left -= 1;
        match write {
            Write::Deployment(operations) => self.cluster.patch(&operations),
            Write::Orphan(set) => self.cluster.orphan(set.metadata.name.as_ref()),
            Write::Set(set, operations) => self.cluster.patch_set(set.metadata.name.as_ref(), &operations),
            Write::Pod(pod, operations) => self.cluster.patch_pod(pod.metadata.name.as_ref(), &operations),
            Write::Delete(pod) => self.cluster.end(pod.metadata.name.as_ref()),
        }
        self.check();
        true
    }

    fn check(&self) {
        let serving = self.cluster.serving();
        assert!(serving >= self.floor, "{serving} pods serve after {:?}", self.said);
    }

    fn roll(&mut self, order: &Order, way: Way) -> End {
        let look = self.cluster.look();
        let goal = |look: &Snapshot| Goal {
            uid: look.uid().to_owned(),
            generation: look.deployment.metadata.generation.unwrap(),
            image: order.image.to_string(),
            identities: [order.image.digest.clone()].into(),
            others: std::collections::BTreeMap::new(),
        };
        if !goal(&look).is_written(&look)
            && !self.write(Write::Deployment(patch::write(&look, order, way, "now")))
        {
            return End::Killed;
        }
        let goal = goal(&self.cluster.look());
        self.steps(&goal, order)
    }

    fn steps(&mut self, goal: &Goal, order: &Order) -> End {
        for _ in 0..400 {
            let look = self.cluster.look();
            self.tick(goal, &look);
            let step = next(goal, &look, self.clocks, order.drain_wait);
            self.said.push(word(&step));
            match step {
                Step::Done => return End::Done,
                Step::Superseded(_) | Step::Gone => return End::Superseded,
                step => {
                    for write in writes(step, &look) {
                        if !self.write(write) {
                            return End::Killed;
                        }
                    }
                }
            }
            self.cluster.turn();
            self.check();
        }
        End::Stuck
    }

    /// Every look comes a second after the one before.
    fn tick(&mut self, goal: &Goal, look: &Snapshot) {
        let lack = new_pods_lack(goal, look);
        let count = |clock: &mut Duration, is_true: bool| {
            *clock = if is_true { *clock + SECOND } else { Duration::ZERO };
        };
        // A canary passes when it was watched for three seconds.
        self.clocks.tested = self.said.iter().filter(|word| **word == "test").count() >= 3;
        count(&mut self.clocks.ready, lack.is_none());
        count(&mut self.clocks.unrouted, look.is_every_orphan_out());
        count(&mut self.clocks.refused, lack.is_some_and(|lack| lack.kind == Kind::Room));
    }
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::Wait(_) => "wait",
        Step::Orphan(_) => "orphan",
        Step::Release(_) => "release",
        Step::Test => "test",
        Step::Settle => "settle",
        Step::Widen(_) => "widen",
        Step::Detach(_) => "detach",
        Step::Attach(_) => "attach",
        Step::Drain(_) => "drain",
        Step::Delete(_) => "delete",
        Step::FallBack(..) => "fall back",
        Step::Finish(_) => "finish",
        Step::Done => "done",
        Step::Superseded(_) => "superseded",
        Step::Gone => "gone",
    }
}

/// What was done, without the waiting and without repetition.
fn deeds(run: &Run<'_>) -> Vec<&'static str> {
    let mut deeds: Vec<&str> =
        run.said.iter().copied().filter(|word| !matches!(*word, "wait" | "drain" | "test")).collect();
    deeds.dedup();
    deeds
}

/// Nothing of a rollout is left: the wanted pods, no others, and the settings from before.
fn assert_at_rest(cluster: &Cluster, letter: char, before: &Cluster) {
    let look = cluster.look();
    assert_eq!(look.image(), mk_image(letter));
    assert_eq!(cluster.pods.len(), look.wanted(), "pods are left over");
    assert_eq!(look.orphans().count(), 0);
    assert_eq!(cluster.settings(), before.settings());
    assert_eq!(look.journal(), None);
    assert_eq!(cluster.lost, 0, "pods ended while they got traffic");
}

#[test]
fn a_detached_drain_replaces_all_pods_and_ends_none_that_gets_traffic() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    let mut run = Run::new(&mut cluster, usize::MAX);
    assert_eq!(run.roll(&mk_order('b'), Way::Detached), End::Done);
    assert_eq!(deeds(&run), ["orphan", "release", "detach", "delete", "finish", "done"]);
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn a_rolling_update_adds_before_it_removes() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    let mut run = Run::new(&mut cluster, usize::MAX);
    assert_eq!(run.roll(&mk_order('b'), Way::Rolling), End::Done);
    assert_eq!(deeds(&run), ["finish", "done"]);
    cluster.lost = 0;
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn a_run_killed_at_any_write_is_finished_by_the_next() {
    let before = Cluster::at_rest('a', 3);
    for writes in 0.. {
        let mut cluster = before.clone();
        let end = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
        let mut second = Run::new(&mut cluster, usize::MAX);
        assert_eq!(second.roll(&mk_order('b'), Way::Detached), End::Done, "killed after {writes} writes");
        assert_at_rest(&cluster, 'b', &before);
        if end == End::Done {
            assert_eq!(writes, 10, "image, orphan, release, 3 detached, 3 deleted, finish");
            return;
        }
    }
}

#[test]
fn a_run_killed_at_any_write_may_be_followed_by_one_that_goes_back() {
    let before = Cluster::at_rest('a', 3);
    for writes in 0.. {
        let mut cluster = before.clone();
        let end = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
        let mut second = Run::new(&mut cluster, usize::MAX);
        let reached = second.roll(&mk_order('a'), Way::Detached);
        assert_eq!(reached, End::Done, "killed after {writes} writes: {:?}", second.said);
        cluster.lost = 0;
        assert_at_rest(&cluster, 'a', &before);
        if end == End::Done {
            return;
        }
    }
}

#[test]
fn a_run_killed_at_any_write_may_be_followed_by_another_image_in_every_way() {
    let before = Cluster::at_rest('a', 3);
    for way in [Way::Detached, Way::Rolling] {
        for writes in 0.. {
            let mut cluster = before.clone();
            let end = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
            let mut second = Run::new(&mut cluster, usize::MAX);
            let reached = second.roll(&mk_order('c'), way);
            assert_eq!(reached, End::Done, "{way:?}, killed after {writes} writes: {:?}", second.said);
            cluster.lost = 0;
            assert_at_rest(&cluster, 'c', &before);
            if end == End::Done {
                break;
            }
        }
    }
}

/// Rolls until the first step that is called so.
fn until(cluster: &mut Cluster, step: &str) {
    for writes in 0.. {
        let mut copy = cluster.clone();
        let mut run = Run::new(&mut copy, writes);
        let _ = run.roll(&mk_order('b'), Way::Detached);
        if run.said.contains(&step) {
            *cluster = copy;
            return;
        }
    }
}

fn finish_b(cluster: &mut Cluster) -> (End, Vec<&'static str>) {
    let mut run = Run::new(cluster, usize::MAX);
    run.floor = 0;
    (run.roll(&mk_order('b'), Way::Detached), deeds(&run))
}

#[test]
fn old_pods_come_back_while_the_new_ones_are_not_ready() {
    let before = Cluster::at_rest('a', 3);
    for is_paused in [false, true] {
        let mut cluster = before.clone();
        until(&mut cluster, "delete");
        cluster.broken = Some(mk_image('b'));
        cluster.set_ready('b', false);
        if is_paused {
            cluster.patch(&vec![json!({ "op": "add", "path": "/spec/paused", "value": true })]);
        }
        let (end, did) = finish_b(&mut cluster);
        assert_eq!((end, did.as_slice()), (End::Stuck, ["attach"].as_slice()));
        cluster.settle();
        assert_eq!(cluster.serving(), 3);
        if !is_paused {
            cluster.broken = None;
            assert_eq!(finish_b(&mut cluster).0, End::Done);
            assert_at_rest(&cluster, 'b', &before);
        }
    }
}

#[test]
fn going_back_before_the_old_pods_end_keeps_those_very_pods() {
    let before = Cluster::at_rest('a', 3);
    for moment in ["orphan", "release", "detach", "drain", "delete"] {
        let mut cluster = before.clone();
        until(&mut cluster, moment);
        let look = cluster.look();
        let journal = look.journal().unwrap();
        let away: Vec<Pod> = look.orphans().filter(|pod| is_detached(pod)).cloned().collect();
        for pod in away {
            cluster.patch_pod(pod.metadata.name.as_ref(), &patch::attach(&pod));
        }
        cluster.patch(&patch::undo(&cluster.look(), &journal, Way::Rolling));
        let mut run = Run::new(&mut cluster, usize::MAX);
        assert_eq!(run.roll(&mk_order('a'), Way::Detached), End::Done, "{moment}: {:?}", run.said);
        let names = |cluster: &Cluster| -> std::collections::BTreeSet<Option<String>> {
            cluster.pods.iter().map(|pod| pod.metadata.name.clone()).collect()
        };
        assert_eq!(names(&cluster), names(&before), "{moment}");
        cluster.lost = 0;
        assert_at_rest(&cluster, 'a', &before);
    }
}

#[test]
fn pods_behind_several_services_leave_all_of_them() {
    let mut before = Cluster::at_rest('a', 3);
    before.services.push(mk_service("both", &json!({ "app": "app", "tier": "web" })));
    before.services.push(mk_service("tier", &json!({ "tier": "web" })));
    before.settle();
    let mut cluster = before.clone();
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('b'), Way::Detached), End::Done);
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn no_room_for_all_new_pods_ends_in_a_rolling_update() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    cluster.room = 4;
    let mut run = Run::new(&mut cluster, usize::MAX);
    assert_eq!(run.roll(&mk_order('b'), Way::Detached), End::Done);
    assert_eq!(deeds(&run), ["fall back", "finish", "done"]);
    cluster.lost = 0;
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn replicas_may_change_at_any_moment() {
    let before = Cluster::at_rest('a', 3);
    for replicas in [1, 5] {
        for writes in 1..10 {
            let mut cluster = before.clone();
            let _ = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
            cluster.patch(&vec![json!({ "op": "replace", "path": "/spec/replicas", "value": replicas })]);
            let (end, did) = finish_b(&mut cluster);
            assert_eq!(end, End::Done, "after {writes} writes: {did:?}");
            cluster.lost = 0;
            assert_at_rest(&cluster, 'b', &before);
        }
    }
}

#[test]
fn an_undo_by_hand_is_not_held_back_by_our_settings() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    until(&mut cluster, "wait");
    cluster.undo_by_hand('a');
    assert_eq!(cluster.look().journal().map(|journal| journal.image), Some(mk_image('b')));
    let goal = mk_goal('b');
    let mut run = Run::new(&mut cluster, usize::MAX);
    assert_eq!(run.steps(&goal, &mk_order('b')), End::Superseded);
    assert_eq!(deeds(&run), ["finish", "superseded"]);
    cluster.settle();
    cluster.lost = 0;
    assert_at_rest(&cluster, 'a', &before);
}

#[test]
fn an_undo_by_hand_after_a_kill_is_put_right_by_the_next_run() {
    let before = Cluster::at_rest('a', 3);
    for writes in 1..10 {
        let mut cluster = before.clone();
        let _ = Run::new(&mut cluster, writes).roll(&mk_order('b'), Way::Detached);
        cluster.undo_by_hand('a');
        let mut run = Run::new(&mut cluster, usize::MAX);
        assert_eq!(
            run.roll(&mk_order('a'), Way::Detached),
            End::Done,
            "after {writes} writes: {:?}",
            run.said
        );
        cluster.lost = 0;
        assert_at_rest(&cluster, 'a', &before);
    }
}

#[test]
fn an_old_journal_that_an_undo_brings_back_does_no_harm() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    until(&mut cluster, "wait");
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('c'), Way::Detached), End::Done);
    cluster.undo_by_hand('b');
    assert_eq!(cluster.look().journal().map(|journal| journal.image), Some(mk_image('b')));
    let own = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 2, "maxUnavailable": 1 } });
    cluster.patch(&vec![json!({ "op": "replace", "path": "/spec/strategy", "value": own })]);
    cluster.settle();
    let mut journal = patch::journal(&cluster.look(), &mk_order('c'), Way::Detached);
    assert_eq!((journal.previous, journal.strategy), (mk_image('b'), own.clone()));
    assert_eq!(finish_b(&mut cluster).0, End::Done);
    journal = patch::journal(&cluster.look(), &mk_order('c'), Way::Detached);
    assert_eq!(journal.strategy, own);
}

#[test]
fn a_rollout_of_somebody_else_keeps_its_settings() {
    let mut cluster = Cluster::at_rest('a', 3);
    until(&mut cluster, "wait");
    let look = cluster.look();
    cluster.patch(&patch::write(&look, &mk_order('c'), Way::Detached, "now"));
    let step = next(&mk_goal('b'), &cluster.look(), Clocks::default(), SECOND);
    assert_eq!(word(&step), "superseded");
}

#[test]
fn a_hold_whose_surge_was_taken_back_is_released() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    until(&mut cluster, "wait");
    let strategy = cluster.settings()[0].clone();
    assert_ne!(strategy, before.settings()[0]);
    let own = before.settings()[0].clone();
    cluster.patch(&vec![json!({ "op": "replace", "path": "/spec/strategy", "value": own })]);
    cluster.set_ready('b', false);
    let (end, did) = finish_b(&mut cluster);
    assert_eq!((end, did.as_slice()), (End::Done, ["release", "finish", "done"].as_slice()));
    cluster.lost = 0;
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn new_pods_settle_for_as_long_as_the_deployment_asks() {
    let mut cluster = Cluster::at_rest('a', 3);
    cluster.patch(&vec![json!({ "op": "add", "path": "/spec/minReadySeconds", "value": 30 })]);
    until(&mut cluster, "orphan");
    let step = |seconds| {
        let clocks = Clocks { ready: SECOND * seconds, ..Clocks::default() };
        word(&next(&mk_goal('b'), &cluster.look(), clocks, SECOND))
    };
    assert_eq!((step(29), step(30)), ("wait", "orphan"));
}

#[test]
fn pods_are_not_let_go_without_sight_of_their_services() {
    let mut cluster = Cluster::at_rest('a', 3);
    until(&mut cluster, "orphan");
    let look = Snapshot { routing: None, ..cluster.look() };
    let clocks = Clocks { ready: SECOND * 60, ..Clocks::default() };
    assert_eq!(word(&next(&mk_goal('b'), &look, clocks, SECOND)), "fall back");
}

#[test]
fn evicted_pods_of_old_sets_neither_stop_a_rollout_nor_outlive_it_as_orphans() {
    let mut cluster = Cluster::at_rest('a', 3);
    let evicted = mk_evicted(&cluster.pods[0]);
    let name = evicted.metadata.name.clone().map(|name| name + "e");
    cluster.pods.push(with(&evicted, &json!({ "metadata": { "name": name, "uid": "uid-evicted" } })));
    let before = cluster.clone();
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('b'), Way::Rolling), End::Done);
    let mut cluster = before.clone();
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('b'), Way::Detached), End::Done);
    assert_at_rest(&cluster, 'b', &before);
}

#[test]
fn history_without_pods_is_kept() {
    let mut cluster = Cluster::at_rest('a', 3);
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('b'), Way::Rolling), End::Done);
    assert_eq!(Run::new(&mut cluster, usize::MAX).roll(&mk_order('c'), Way::Detached), End::Done);
    let sets: Vec<i32> =
        cluster.sets.iter().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).collect();
    assert_eq!(sets, [0, 3]);
}

#[test]
fn a_deployment_that_is_gone_or_another_is_said() {
    let mut snapshot = mk_snapshot();
    snapshot.deployment.metadata.uid = Some("another".to_owned());
    assert_eq!(word(&next(&mk_goal('a'), &snapshot, Clocks::default(), SECOND)), "gone");
}

/// Returns a Deployment whose pods run `b`, and one old pod that was asked to end.
fn mk_all_but_ended() -> Snapshot {
    let mut cluster = Cluster::at_rest('a', 3);
    let old = cluster.pods[0].clone();
    cluster.patch(&patch::write(&cluster.look(), &mk_order('b'), Way::Rolling, "now"));
    cluster.settle();
    cluster.pods.push(mk_ending(&old));
    cluster.look()
}

#[test]
fn an_old_pod_that_never_ends_does_not_keep_a_rollout_open_that_is_proven() {
    let look = mk_all_but_ended();
    let goal = Goal { generation: look.deployment.metadata.generation.unwrap(), ..mk_goal('b') };
    let step = |look: &Snapshot, overdue| {
        let step = next(&goal, look, Clocks { overdue, ..Clocks::default() }, SECOND);
        word(&step)
    };
    assert_eq!(step(&look, false), "wait");
    assert_eq!(step(&look, true), "finish");
    let closed = Snapshot {
        deployment: with(
            &look.deployment,
            &json!({ "metadata": { "annotations": {
        "rollway.dev/rollout": "finished" } } }),
        ),
        ..look.clone()
    };
    assert_eq!(step(&closed, true), "done");
    let said = crate::rollout::report::lingering(&look).unwrap();
    assert!(
        said.contains(&format!("`{}`", look.ending_pods().next().unwrap().metadata.name.clone().unwrap()))
    );
}

#[test]
fn an_old_pod_that_lives_or_a_new_one_that_is_not_ready_is_waited_for_however_late_it_is() {
    let look = mk_all_but_ended();
    let goal = Goal { generation: look.deployment.metadata.generation.unwrap(), ..mk_goal('b') };
    let clocks = Clocks { overdue: true, ..Clocks::default() };
    let wait = |look: &Snapshot| word(&next(&goal, look, clocks, SECOND));
    let mut alive = look.clone();
    for pod in &mut alive.pods {
        pod.metadata.deletion_timestamp = None;
    }
    assert_eq!(wait(&alive), "wait");
    let mut unready = look;
    unready.pods[0] = mk_unready(&unready.pods[0]);
    assert_eq!(wait(&unready), "wait");
}

#[test]
fn a_pod_that_an_endpoint_still_names_does_not_end_whatever_the_clock_says() {
    let mut cluster = Cluster::at_rest('a', 3);
    until(&mut cluster, "delete");
    let clocks = Clocks { unrouted: SECOND * 60, ..Clocks::default() };
    let mut look = cluster.look();
    assert_eq!(word(&next(&mk_goal('b'), &look, clocks, SECOND)), "delete");
    look.routing.as_mut().unwrap().slices.push(mk_slice("app", &look.pods));
    assert_eq!(word(&next(&mk_goal('b'), &look, clocks, SECOND)), "wait");
}

/// Goes back as the driver does: detached pods return, the image from before is written, and the
/// same steps lead to it.
fn go_back(cluster: &mut Cluster, way: Way, writes: usize) -> (End, Vec<&'static str>) {
    let mut run = Run::new(cluster, writes);
    run.floor = 0;
    let look = run.cluster.look();
    let journal = look.journal().expect("a rollout under way");
    for pod in look.orphans().filter(|pod| is_alive(pod) && is_detached(pod)) {
        if !run.write(Write::Pod(pod.clone(), patch::attach(pod))) {
            return (End::Killed, deeds(&run));
        }
    }
    let sets = if way == Way::Detached {
        patch::sets_to_hold(&run.cluster.look(), &journal.previous)
    } else {
        vec![]
    };
    for set in sets {
        let operations = patch::hold_set(&set);
        if !run.write(Write::Set(set, operations)) {
            return (End::Killed, deeds(&run));
        }
        (0..10).for_each(|_| run.cluster.turn());
        assert!(patch::sets_to_hold(&run.cluster.look(), &journal.previous).is_empty());
    }
    let look = run.cluster.look();
    if !run.write(Write::Deployment(patch::undo(&look, &journal, way))) {
        return (End::Killed, deeds(&run));
    }
    let end = run.roll(&mk_order('a'), way);
    (end, deeds(&run))
}

/// Rolls to an image whose pods are not ready, for a while.
fn fail(way: Way, broken: bool) -> (Cluster, Cluster) {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    cluster.broken = broken.then(|| mk_image('b'));
    let mut run = Run::new(&mut cluster, 1);
    run.floor = 2;
    let _ = run.roll(&mk_order('b'), way);
    for _ in 0..20 {
        cluster.turn();
    }
    (before, cluster)
}

#[test]
fn a_failure_goes_back_in_every_way_and_leaves_nothing_behind() {
    for way in [Way::Detached, Way::Rolling, Way::Plain] {
        let (before, mut cluster) = fail(way, true);
        let (end, did) =
            go_back(&mut cluster, if way == Way::Plain { way } else { Way::Rolling }, usize::MAX);
        assert_eq!(end, End::Done, "{way:?}: {did:?}");
        assert_at_rest(&cluster, 'a', &before);
        let word = cluster.deployment.metadata.annotations.as_ref().unwrap()["rollway.dev/outcome"].clone();
        assert_eq!(word, "failed and rolled back");
    }
}

#[test]
fn new_pods_that_serve_are_drained_on_the_way_back() {
    let (before, mut cluster) = fail(Way::Detached, false);
    assert_eq!(cluster.serving(), 6, "all new pods serve beside the old ones");
    let (end, did) = go_back(&mut cluster, Way::Detached, usize::MAX);
    assert_eq!((end, did), (End::Done, vec!["orphan", "release", "detach", "delete", "finish", "done"]));
    assert_at_rest(&cluster, 'a', &before);
}

#[test]
fn a_way_back_killed_at_any_write_is_finished_or_followed_by_another() {
    for (way, letter) in
        [(Way::Detached, 'a'), (Way::Rolling, 'a'), (Way::Detached, 'c'), (Way::Rolling, 'c')]
    {
        for writes in 0.. {
            let (before, mut cluster) = fail(Way::Detached, way == Way::Rolling);
            let (end, _) = go_back(&mut cluster, way, writes);
            let mut next = Run::new(&mut cluster, usize::MAX);
            next.floor = 0;
            let reached = next.roll(&mk_order(letter), Way::Detached);
            assert_eq!(reached, End::Done, "{way:?} then {letter}, killed after {writes}: {:?}", next.said);
            cluster.lost = 0;
            assert_at_rest(&cluster, letter, &before);
            if end == End::Done {
                break;
            }
        }
    }
}

#[test]
fn after_the_old_pods_have_ended_the_way_back_adds_before_it_removes() {
    let before = Cluster::at_rest('a', 3);
    let mut cluster = before.clone();
    until(&mut cluster, "delete");
    let all: Vec<Option<String>> = cluster.look().orphans().map(|pod| pod.metadata.name.clone()).collect();
    for name in all {
        cluster.end(name.as_ref());
    }
    let floor = cluster.serving();
    let mut run = Run::new(&mut cluster, usize::MAX);
    run.floor = floor;
    let look = run.cluster.look();
    let journal = look.journal().unwrap();
    assert!(run.write(Write::Deployment(patch::undo(&look, &journal, Way::Detached))));
    assert_eq!(run.roll(&mk_order('a'), Way::Detached), End::Done, "{:?}", run.said);
    assert_at_rest(&cluster, 'a', &before);
}

#[test]
fn a_pause_is_no_lack_when_everything_is_there() {
    let mut cluster = Cluster::at_rest('a', 3);
    let pause = vec![json!({ "op": "add", "path": "/spec/paused", "value": true })];
    cluster.patch(&pause);
    cluster.settle();
    assert_eq!(word(&next(&mk_goal('a'), &cluster.look(), Clocks::default(), SECOND)), "done");
    let (_, mut cluster) = fail(Way::Detached, true);
    cluster.patch(&pause);
    cluster.settle();
    assert_eq!(word(&next(&mk_goal('b'), &cluster.look(), Clocks::default(), SECOND)), "wait");
}
