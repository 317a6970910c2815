//! A duration as a pipeline writes it: `90s`, `15m`, `24h`, `7d`, or several of them, `1h30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Reads a duration; `null` and the empty text are none.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => parse(text).map(Some).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a duration: write it like `90s`, `15m`, `24h` or `7d`"
            ))
        }),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let factor = match unit.chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = &unit[1..];
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, seconds) in
            [("90s", Some(90)), ("1h30m", Some(5_400)), ("7d", Some(604_800)), ("0s", Some(0))]
        {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), seconds, "{text}");
        }
        for text in
            ["1", "h", "1w", "-1h", "1.5h", "1h 2m", "99999999999999999999d", "18446744073709551615d", "ü"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
