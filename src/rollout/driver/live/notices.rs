//! The events of the namespace from now on, as far as they are about the workload. One watch, no list
//! of what was before: others' events pass by and are not kept.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use super::Place;
use crate::rollout::verdict::diagnosis::Notice;

/// More events than one rollout should make; beyond that the oldest go.
const KEPT: usize = 400;
/// How long to wait before a watch that broke is made again.
const PAUSE: Duration = Duration::from_secs(2);
/// The API server cuts the names from which it makes longer ones here.
const CUT: usize = 57;

/// What the watch tells.
pub(in crate::rollout::driver) enum Told {
    /// An event about the workload.
    Event(String, Notice),
    /// The credentials may not watch events.
    Forbidden,
}

/// The events about the workload.
#[derive(Default)]
pub(in crate::rollout::driver) struct Notices {
    by_name: BTreeMap<String, Notice>,
    /// Whether events are hidden from us.
    pub(in crate::rollout::driver) forbidden: bool,
}

impl Notices {
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Forbidden => self.forbidden = true,
            Told::Event(name, notice) => {
                self.by_name.insert(name, notice);
            }
        }
        if self.by_name.len() > KEPT {
            let oldest = self.by_name.iter().min_by_key(|(_, notice)| notice.last);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_name.remove(&name);
            }
        }
    }

    /// Returns all that are kept.
    pub(in crate::rollout::driver) fn iter(&self) -> impl Iterator<Item = &Notice> {
        self.by_name.values()
    }
}

/// Watches events from now on, for as long as somebody listens.
pub(super) fn watch(place: &Place) -> BoxStream<'static, Told> {
    let (api, name) = (place.api::<Event>(), place.name.clone());
    let versions = stream::unfold((api, None, false), |(api, version, is_over)| async move {
        if is_over {
            return None;
        }
        let (heard, version, is_over) = round(&api, version).await;
        Some((heard, (api, version, is_over)))
    });
    versions.flatten().filter_map(move |event| futures::future::ready(told(event, &name))).boxed()
}

enum Heard {
    Event(Box<Event>),
    Forbidden,
}

/// One watch, to its end; the version to go on from is known only when it has ended, so each round
/// begins at the present. What is missed in between is told again: such events repeat.
async fn round(api: &Api<Event>, first: Option<()>) -> (BoxStream<'static, Heard>, Option<()>, bool) {
    if first.is_some() {
        tokio::time::sleep(PAUSE).await;
    }
    let now = api.list_metadata(&ListParams::default().limit(1)).await;
    let version = match now {
        Ok(list) => list.metadata.resource_version.unwrap_or_default(),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return (stream::iter([Heard::Forbidden]).boxed(), Some(()), true);
        }
        Err(_) => return (stream::empty().boxed(), Some(()), false),
    };
    match api.watch(&WatchParams::default(), &version).await {
        Ok(events) => {
            let events = events.take_while(|event| futures::future::ready(event.is_ok()));
            let heard = events.filter_map(|event| {
                futures::future::ready(match event {
                    Ok(WatchEvent::Added(event) | WatchEvent::Modified(event)) => {
                        Some(Heard::Event(Box::new(event)))
                    }
                    _ => None,
                })
            });
            (heard.boxed(), Some(()), false)
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            (stream::iter([Heard::Forbidden]).boxed(), Some(()), true)
        }
        Err(_) => (stream::empty().boxed(), Some(()), false),
    }
}

fn told(heard: Heard, workload: &str) -> Option<Told> {
    match heard {
        Heard::Forbidden => Some(Told::Forbidden),
        Heard::Event(event) => {
            let object = event.involved_object.name.as_deref().unwrap_or_default();
            is_of(object, workload).then(|| Told::Event(event.name_any(), notice(*event)))
        }
    }
}

/// Returns whether an object's name is the workload's or made from it.
fn is_of(object: &str, workload: &str) -> bool {
    let stem = workload.get(..CUT).unwrap_or(workload);
    let rest = object.strip_prefix(stem);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || stem.len() == CUT)
}

/// Reduces an event to what is read of it.
pub(in crate::rollout::driver) fn notice(event: Event) -> Notice {
    let series = event.series.as_ref();
    let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1);
    let last = series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = last.or_else(|| event.last_timestamp.as_ref().map(|time| time.0));
    let last = last.or_else(|| event.event_time.as_ref().map(|time| time.0));
    Notice {
        uid: event.involved_object.uid.unwrap_or_default(),
        kind: event.involved_object.kind.unwrap_or_default(),
        name: event.involved_object.name.unwrap_or_default(),
        warns: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count,
        last: last.map_or(0, Timestamp::as_millisecond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_neighbours_with_a_longer_name_are_not_ours_unless_names_are_cut() {
        assert!(is_of("app", "app") && is_of("app-6b-x", "app"));
        assert!(!is_of("apple-6b-x", "app") && !is_of("other", "app"));
        let long = "a".repeat(62);
        assert!(is_of(&format!("{}x7x2z", &long[..58]), &long));
    }

    #[test]
    fn more_events_than_are_kept_push_out_the_oldest() {
        let mut notices = Notices::default();
        for second in 0..=KEPT {
            let notice = Notice { last: i64::try_from(second).unwrap(), ..notice(Event::default()) };
            notices.hear(Told::Event(second.to_string(), notice));
        }
        assert_eq!(notices.iter().count(), KEPT);
        assert!(notices.iter().all(|notice| notice.last > 0));
    }
}
