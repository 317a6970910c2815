//! Logs of containers, as an API server streams them: with times, followed until the container ends,
//! and cut in mid-stream where a test says so.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::Value;

use super::{Shared, World, refused};

/// Every line is a second later than the one before, unless they share one.
const DAY: &str = "2026-01-02T03";

/// The logs that there are, by pod and container.
#[derive(Default)]
pub(super) struct Logs {
    texts: BTreeMap<(String, String), Vec<String>>,
    /// After how many lines the next connections break.
    cuts: Vec<usize>,
    /// How many lines a container without an end has, all alike.
    endless: BTreeMap<(String, String), u64>,
}

impl super::ApiServer {
    /// Appends lines to the log of a container.
    pub(crate) fn log(&self, pod: &str, container: &str, lines: &[&str]) {
        let mut world = self.world();
        let all = world.logs.texts.entry((pod.to_owned(), container.to_owned())).or_default();
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        // Whoever follows looks again.
        let _ = world.changes.send((String::new(), Value::Null));
    }

    /// Gives a container a log of `lines` lines of 100 bytes.
    pub(crate) fn long_log(&self, pod: &str, container: &str, lines: u64) {
        self.world().logs.endless.insert((pod.to_owned(), container.to_owned()), lines);
    }

    /// Breaks the next connection that reads a log after this many lines.
    pub(crate) fn cut_log_after(&self, lines: usize) {
        self.world().logs.cuts.push(lines);
    }
}

/// Answers a request for `/api/v1/namespaces/NAMESPACE/pods/POD/log`.
pub(super) fn answer(shared: &Shared, path: &str, query: &str) -> Response {
    let pod_path = path.trim_end_matches("/log").to_owned();
    let pod = pod_path.rsplit('/').next().unwrap_or_default().to_owned();
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{key}=")));
    let container = value("container").unwrap_or_default().to_owned();
    let mut world = shared.lock().unwrap();
    let Some(object) = world.objects.get(&pod_path) else { return refused(404, "NotFound", "no such pod") };
    let Some(state) = state(object, &container) else {
        return refused(400, "BadRequest", &format!("container {container} is not valid for pod {pod}"));
    };
    if state == "waiting" {
        let why = format!("container \"{container}\" in pod \"{pod}\" is waiting to start: PodInitializing");
        return refused(400, "BadRequest", &why);
    }
    let key = (pod, container);
    if let Some(lines) = world.logs.endless.get(&key).copied() {
        return endless(lines);
    }
    let cut = (!world.logs.cuts.is_empty()).then(|| world.logs.cuts.remove(0));
    let since = value("sinceTime").map(|time| time.replace("%3A", ":"));
    let has_times = query.contains("timestamps=true");
    let from = since.map_or(0, |since| {
        // A time that is asked for has whole seconds.
        let second = |time: &str| time.get(..19).unwrap_or(time).to_owned();
        let at = |index: &usize| second(&time(*index)) >= second(&since);
        (0..world.logs.texts.get(&key).map_or(0, Vec::len)).find(at).unwrap_or(usize::MAX)
    });
    let tail: Option<usize> = value("tailLines").and_then(|lines| lines.parse().ok());
    let follow = query.contains("follow=true");
    let changes = world.changes.subscribe();
    let said = Said { shared: shared.clone(), key, pod_path, from, has_times, follow, tail };
    drop(world);
    let stream = futures::stream::unfold((said, changes, cut), |(mut said, mut changes, cut)| async move {
        if cut == Some(0) {
            return None;
        }
        loop {
            let (chunk, is_over) = said.next(cut);
            if !chunk.is_empty() {
                // A cut connection ends after its last line; the rest is never sent.
                let cut = cut.map(|_| 0);
                return Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), (said, changes, cut)));
            }
            if is_over {
                return None;
            }
            let _ = changes.recv().await;
        }
    });
    Body::from_stream(stream.boxed()).into_response()
}

/// What one connection has said.
struct Said {
    shared: Shared,
    key: (String, String),
    pod_path: String,
    from: usize,
    has_times: bool,
    follow: bool,
    tail: Option<usize>,
}

impl Said {
    /// Returns what is new, and whether nothing more will come.
    fn next(&mut self, cut: Option<usize>) -> (String, bool) {
        let world = self.shared.lock().unwrap();
        let lines = world.logs.texts.get(&self.key).cloned().unwrap_or_default();
        if let Some(tail) = self.tail.take() {
            self.from = lines.len().saturating_sub(tail);
        }
        let until = cut.map_or(lines.len(), |cut| lines.len().min(self.from.saturating_add(cut)));
        let new = lines.iter().enumerate().take(until).skip(self.from);
        let chunk: String = new
            .map(
                |(index, line)| {
                    if self.has_times { format!("{} {line}\n", time(index)) } else { format!("{line}\n") }
                },
            )
            .collect();
        self.from = self.from.max(until);
        (chunk, !self.follow || is_ended(&world, &self.pod_path, &self.key.1))
    }
}

/// Two lines share a second, and all of them have fractions of their own.
fn time(index: usize) -> String {
    let seconds = index / 2;
    format!("{DAY}:{:02}:{:02}.{:09}Z", seconds / 60 % 60, seconds % 60, index)
}

fn endless(lines: u64) -> Response {
    let chunks = futures::stream::iter((0..lines.div_ceil(1000)).map(move |chunk| {
        let here = (lines - chunk * 1000).min(1000);
        let text: String = (0..here)
            .map(|line| format!("{} {:>70}\n", time(usize::try_from(chunk).unwrap()), chunk * 1000 + line))
            .collect();
        Ok::<_, std::io::Error>(Bytes::from(text))
    }));
    Body::from_stream(chunks).into_response()
}

fn is_ended(world: &World, pod: &str, container: &str) -> bool {
    world.objects.get(pod).is_none_or(|pod| state(pod, container) == Some("terminated"))
}

/// A container that waits to be started again has the log of its last run, as a kubelet has it.
fn state(pod: &Value, container: &str) -> Option<&'static str> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let mut all = lists.iter().flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    let found = all.find(|status| status["name"] == container)?;
    let state =
        ["waiting", "running", "terminated"].into_iter().find(|state| found["state"].get(state).is_some());
    let has_run = found["lastState"].get("terminated").is_some();
    state.map(|state| if state == "waiting" && has_run { "terminated" } else { state })
}
