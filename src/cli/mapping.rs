//! An option whose value is what a key of the resource takes, in the resource's own words: a word, or a
//! YAML mapping, whose outer braces a command line may leave out.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::concourse::request;
use crate::exit::Code;
use crate::failure::Explain;
use crate::yaml;

/// A value that cannot be used. It is not repeated: an address in it may have a password.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It is no YAML.
    #[error("`{option}` is not YAML")]
    Yaml {
        /// The option.
        option: &'static str,
        /// Where and why.
        source: yaml::Error,
    },
    /// It is not what the key takes.
    #[error(transparent)]
    Value(#[from] request::Error),
}

impl Explain for Wrong {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Yaml { .. } => Some("write a mapping: `key: value, key: [value, value]`".to_owned()),
            Self::Value(error) => error.hint(),
        }
    }

    fn code(&self) -> Code {
        Code::Usage
    }
}

/// Reads the value of `option`.
///
/// # Errors
///
/// When it is no YAML, or a key of it is unknown, missing or of a wrong type.
pub fn read<T: DeserializeOwned>(option: &'static str, text: &str) -> Result<T, Wrong> {
    let text = text.trim();
    let is_bare = text.contains(": ") && !text.starts_with('{');
    let document = if is_bare { format!("{{{text}}}") } else { text.to_owned() };
    let value: Value = yaml::read(&document).map_err(|source| Wrong::Yaml { option, source })?;
    Ok(request::typed(option, &value)?)
}

/// Returns `text` as a shell takes it for one word.
#[must_use]
pub fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:%=,@".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns an option as it is typed after other words.
#[must_use]
pub fn typed(option: &str, value: impl std::fmt::Display) -> String {
    format!(" --{option} {}", quoted(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::order::canary::{Check, Metric};
    use crate::rollout::order::{Freeze, Window};

    fn refusal<T: DeserializeOwned>(text: &str) -> (String, Option<String>) {
        let wrong = read::<T>("--option", text).err().unwrap();
        assert_eq!(wrong.code(), Code::Usage);
        let hint = wrong.hint();
        (crate::failure::Failure::from(wrong).to_string(), hint)
    }

    #[test]
    fn a_mapping_is_the_same_with_and_without_its_braces() {
        for text in [
            "days: [mon, tue], start: 09:00, stop: 17:00, location: Europe/Zurich",
            " {days: [mon, tue], start: '09:00', stop: '17:00', location: Europe/Zurich}",
            r#"{"days": ["mon", "tue"], "start": "9AM", "stop": "5PM", "location": "Europe/Zurich"}"#,
        ] {
            let window: Window = read("--window", text).unwrap();
            assert_eq!(window.to_string(), "mon, tue 09:00–17:00 Europe/Zurich", "{text}");
        }
        let freeze: Freeze = read("--freeze", "prometheus: http://p:9090, alerts: ^Slo|Down$").unwrap();
        assert_eq!((freeze.prometheus.as_str(), freeze.alerts.as_str()), ("http://p:9090", "^Slo|Down$"));
    }

    #[test]
    fn a_check_is_a_word_or_a_query() {
        assert_eq!(read::<Check>("--canary-check", "restarts").unwrap(), Check::Restarts);
        let metric = Metric {
            url: "http://p:9090".to_owned(),
            query: r#"sum(rate(errors{app="a"}[1m]))"#.to_owned(),
            max: Some(0.01),
            min: None,
        };
        let text = r#"prometheus: {url: http://p:9090, query: 'sum(rate(errors{app="a"}[1m]))', max: 0.01}"#;
        assert_eq!(read::<Check>("--canary-check", text).unwrap(), Check::Prometheus(metric));
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_the_key_and_shows_no_address() {
        let (words, hint) = refusal::<Window>("day: [mon]");
        assert_eq!(words, "`--option.day`: unknown key; did you mean `days`?");
        assert_eq!(hint, None);
        assert_eq!(
            refusal::<Window>("days: [frday]").0,
            "`--option.days[0]`: `frday` is not a day of the week (`mon` or `Monday`, …)"
        );
        assert_eq!(refusal::<Freeze>("prometheus: http://p").0, "`--option.alerts` is missing");
        assert!(refusal::<Window>("days: [mon").0.starts_with("`--option` is not YAML: line 1, "));
        for text in [
            "http://bob:canary@p",
            "prometheus: http://bob:canary@p, alerts: (",
            "prometheus: [http://bob:canary@p]",
            "url: http://bob:canary@p",
        ] {
            let (words, hint) = refusal::<Freeze>(text);
            assert!(!format!("{words}{hint:?}").contains("canary"), "{text}: {words}");
        }
        let (words, _) = refusal::<Check>("prometheus: http://bob:canary@p");
        assert!(!words.contains("canary@"), "{words}");
    }

    #[test]
    fn a_word_for_a_shell_is_quoted_only_where_it_must_be() {
        assert_eq!(quoted("registry/app:1.0"), "registry/app:1.0");
        assert_eq!(quoted("https://shop/?a=1"), "'https://shop/?a=1'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
