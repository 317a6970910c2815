//! The fault matrix: what can go wrong with a rollout, what is said of it, and how soon. The table in
//! `resource/rollout/faults.md` is what this measured; `UPDATE_FAULTS=1` writes it anew, and `ROLLWAY_FAULT=words`
//! plays only the faults that have these words in their name.

use std::io::Write as _;
use std::pin::Pin;

use futures::stream::{self, StreamExt};

use self::roll::Seen;
use crate::world::World;

mod admission;
mod capacity;
mod crash;
mod node;
mod others;
mod pull;
mod roll;
mod start;

/// How many faults are played at once.
const AT_ONCE: usize = 3;
/// What a busy machine may take longer than the time that is promised.
const MARGIN: f64 = 45.0;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/resource/rollout/faults.md");

type Play = fn(World) -> Pin<Box<dyn Future<Output = Seen> + Send>>;

/// One row of the matrix.
#[derive(Clone, Copy)]
struct Fault {
    /// What goes wrong.
    name: &'static str,
    /// How the rollout ends.
    outcome: &'static str,
    /// The rule that says so, or those one of which does; empty where nothing failed.
    rule: &'static str,
    /// Within how many seconds of the write the verdict is promised; 0 where there is none to give.
    within: u32,
    play: Play,
}

/// Names a fault, how it ends, and who plays it.
macro_rules! fault {
    ($name:literal, $outcome:expr, $rule:literal, $within:literal, $play:path) => {
        Fault {
            name: $name,
            outcome: $outcome,
            rule: $rule,
            within: $within,
            play: |world| Box::pin($play(world)),
        }
    };
}

const BACK: &str = "failed and rolled back";

/// Every fault, in the order of the table.
fn faults() -> Vec<Fault> {
    vec![
        fault!("digest is not in the registry", "blocked", "I101", 0, pull::absent_is_blocked),
        fault!("the same with `allow: [I101]`", BACK, "F101", 5, pull::absent),
        fault!("registry is down, then back", "rolled", "", 0, pull::down_then_back),
        fault!("registry answers 401", BACK, "F102", 5, pull::denied),
        fault!("image is for another processor", "blocked", "I103", 0, pull::platform_is_blocked),
        fault!("the same with `allow: [I103]`", BACK, "F103", 5, pull::platform),
        fault!("one pull fails, the next does not", "rolled", "", 0, pull::one_fails),
        fault!("command is not in the image", BACK, "F205", 5, start::command),
        fault!("`runAsNonRoot`, and the image's user is root", "blocked", "I107", 0, start::root_is_blocked),
        fault!("the same with `allow: [I107]`", BACK, "F202", 5, start::root),
        fault!("key of a config map is missing", BACK, "F201", 15, start::config_key),
        fault!("secret of a volume is missing", BACK, "F401", 15, start::secret_volume),
        fault!("crashes at the start", BACK, "F301", 5, crash::at_once),
        fault!("is ready, and crashes after 5 s", BACK, "F301, F307, F308", 15, crash::after_a_while),
        fault!("needs more memory than its limit", BACK, "F302", 5, crash::memory),
        fault!("init container crashes", BACK, "F304", 5, crash::init),
        fault!("never gets ready", BACK, "F802", 65, crash::never_ready),
        fault!("takes 12 s to start", "rolled", "", 0, crash::slow),
        fault!("quota is full", "blocked", "C606", 0, capacity::quota_is_blocked),
        fault!("the same with `allow: [C605, C606]`", BACK, "F501", 20, capacity::quota),
        fault!("no node takes the pod", BACK, "F503", 65, capacity::no_node),
        fault!("anti-affinity, and one node", "blocked", "C601", 0, capacity::anti_affinity_is_blocked),
        fault!("the same with `allow: [C601]`", BACK, "F502", 20, capacity::anti_affinity),
        fault!("admission policy denies the pod", "blocked", "C606", 0, admission::denied_is_blocked),
        fault!("the same with `allow: [C606]`", BACK, "F603", 5, admission::denied),
        fault!("pod security forbids the pod, `allow: [C606]`", BACK, "F602", 5, admission::pod_security),
        fault!("webhook cannot be called, then can", "rolled", "", 0, admission::webhook_down_then_up),
        fault!("somebody pauses it", "paused", "F704", 0, others::paused),
        fault!("a newer image is put", "superseded", "F701", 0, others::superseded),
        fault!("its owner puts the old image back", "reverted", "F702", 0, others::reverted),
        fault!("is deleted and made again", "superseded", "F703", 0, others::made_again),
        fault!("autoscaler changes the replicas", "rolled", "", 0, others::scaled),
        fault!("API server restarts", "rolled", "", 0, node::api_restarts),
        fault!("node is not ready for a while", "rolled", "", 0, node::hangs),
    ]
}

/// What everything on the cluster feels is played alone.
fn is_felt_by_all(fault: &Fault) -> bool {
    fault.name.starts_with("API server") || fault.name.starts_with("node is not")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the lab"]
async fn every_fault_has_its_verdict_in_its_time() {
    let world = World::connect().await;
    let chosen = std::env::var("ROLLWAY_FAULT").unwrap_or_default();
    let chosen_faults = || faults().into_iter().enumerate().filter(|(_, fault)| fault.name.contains(&chosen));
    let (alone, mut together): (Vec<_>, Vec<_>) =
        chosen_faults().partition(|(_, fault)| is_felt_by_all(fault));
    // The long ones first: the matrix then takes little longer than the longest of them.
    together.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.within));
    let mut played: Vec<Played> = stream::iter(together.into_iter().map(|fault| play(&world, fault)))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for fault in alone {
        played.push(play(&world, fault).await);
    }
    // A verdict that is right and late shares the machine with two other faults: it is played once more, alone.
    // One by another rule, or of another kind, is wrong however busy the machine is.
    for late in played.iter_mut().filter(|played| played.is_only_late()) {
        *late = play(&world, (late.place, late.fault)).await;
    }
    played.sort_by_key(|played| played.place);
    let rows: String = played.iter().map(Played::row).collect();
    let wrong: Vec<String> = played.iter().filter_map(Played::complaint).collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n\n{}", wrong.len(), played.len(), wrong.join("\n\n"));
    if chosen.is_empty() {
        hold(&page(&rows));
    }
}

/// A fault and what was seen of it.
struct Played {
    place: usize,
    fault: Fault,
    /// Or why the play could not be ended.
    seen: Result<Seen, String>,
}

async fn play(world: &World, (place, fault): (usize, Fault)) -> Played {
    let started = std::time::Instant::now();
    let seen = tokio::spawn((fault.play)(world.clone())).await.map_err(|panic| panic.to_string());
    let played = Played { place, fault, seen };
    // Somebody who plays a single one wants to see it; the test's own output is held back.
    let _ = write!(std::io::stderr(), "{:>5.1} s  {}", started.elapsed().as_secs_f64(), played.row());
    played
}

impl Fault {
    fn is_right(&self, seen: &Seen) -> bool {
        let has_time = self.within == 0 || seen.seconds.is_some();
        seen.outcome == self.outcome && is_one_of(&seen.rule, self.rule) && has_time
    }

    fn is_late(&self, seen: &Seen) -> bool {
        let most = f64::from(self.within) + MARGIN;
        self.within > 0 && seen.seconds.is_some_and(|seconds| seconds > most)
    }
}

impl Played {
    /// Returns what is not as it should be.
    fn complaint(&self) -> Option<String> {
        let Fault { name, outcome, rule, within, .. } = &self.fault;
        let seen = match &self.seen {
            Ok(seen) => seen,
            Err(panic) => return Some(format!("{name}: {panic}")),
        };
        let is_right = self.fault.is_right(seen) && !self.fault.is_late(seen);
        let Seen { outcome: have, rule: which, seconds, log, .. } = seen;
        (!is_right).then(|| {
            format!("{name}: wanted {outcome} {rule} within {within} s, have {have} {which} after {seconds:?} s\n{log}")
        })
    }

    fn is_only_late(&self) -> bool {
        self.seen.as_ref().is_ok_and(|seen| self.fault.is_right(seen) && self.fault.is_late(seen))
    }

    fn row(&self) -> String {
        let Fault { name, within, .. } = &self.fault;
        let (outcome, rule, seconds, kubectl) = match &self.seen {
            Ok(Seen { outcome, rule, seconds, kubectl, .. }) => {
                let rule = if is_one_of(rule, self.fault.rule) { self.fault.rule } else { rule };
                (outcome.as_str(), rule, seconds.filter(|_| *within > 0), kubectl.as_str())
            }
            Err(_) => ("?", "", None, ""),
        };
        let seconds = seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"));
        let rule = if rule.is_empty() { "–".to_owned() } else { format!("`{rule}`") };
        let kubectl = if kubectl.is_empty() { "–".to_owned() } else { format!("`{kubectl}`") };
        format!("| {name} | {outcome} | {rule} | {seconds} | {kubectl} |\n")
    }
}

fn is_one_of(seen: &str, wanted: &str) -> bool {
    wanted.split(", ").any(|rule| rule == seen)
}

fn page(rows: &str) -> String {
    format!(
        "# What goes wrong, and what is said of it\n\n\
         Played on a real cluster with real pods by `tests/cluster/faults.rs`, which also writes this page (`UPDATE_FAULTS=1`).\n\
         *Verdict after* counts from the written image; where there is none, nothing had failed or nothing was written.\n\
         The last column is the last line of `kubectl rollout status` at the moment of the verdict.\n\n\
         | fault | outcome | rule | verdict after | meanwhile `kubectl rollout status` |\n\
         |---|---|---|---|---|\n{rows}"
    )
}

/// Compares the page with the one in the documents, without what is measured, or writes it.
fn hold(page: &str) {
    if std::env::var_os("UPDATE_FAULTS").is_some() {
        std::fs::write(TABLE, page).unwrap();
    }
    let written = std::fs::read_to_string(TABLE).unwrap_or_default();
    assert_eq!(fixed(&written), fixed(page), "write it anew with UPDATE_FAULTS=1");
}

/// Keeps the columns that say what is promised.
fn fixed(page: &str) -> Vec<String> {
    let promised = |line: &str| line.split(" | ").take(3).collect::<Vec<_>>().join(" | ");
    page.lines().map(|line| if line.starts_with("| ") { promised(line) } else { line.to_owned() }).collect()
}
