//! Small words that several rules share, and who wrote a field last.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

/// Returns how long ago something was, in the unit that a person would take.
#[must_use]
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.as_second() - then.as_second() {
        seconds if seconds < 120 => format!("{} s ago", seconds.max(0)),
        seconds if seconds < 7_200 => format!("{} min ago", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// Returns the manager that last wrote the field at `path` (`f:spec`, `f:paused`), and when.
#[must_use]
pub(super) fn writer<'a>(metadata: &'a ObjectMeta, path: &[&str]) -> Option<(&'a str, Option<Timestamp>)> {
    let entries = metadata.managed_fields.iter().flatten().filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        path.iter().try_fold(fields, |fields, key| Some(fields?.get(key))).flatten().is_some()
    });
    let last = entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some((last.manager.as_deref()?, last.time.as_ref().map(|time| time.0)))
}

/// Returns ` by MANAGER 5 min ago`, or nothing where nobody is known.
#[must_use]
pub(super) fn by(metadata: &ObjectMeta, path: &[&str], now: Timestamp) -> String {
    let when = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!(" {}", ago(time, now)));
    writer(metadata, path).map_or_else(String::new, |(who, time)| format!(" by `{who}`{}", when(time)))
}

/// Returns `1 pod` or `3 pods`.
#[must_use]
pub(in crate::rollout) fn pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_is_told_in_the_unit_a_person_would_take() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, words) in
            [(-5, "0 s ago"), (90, "90 s ago"), (600, "10 min ago"), (7_200, "2 h ago"), (200_000, "2 d ago")]
        {
            assert_eq!(ago(Timestamp::from_second(1_000_000 - seconds).unwrap(), now), words);
        }
    }
}
