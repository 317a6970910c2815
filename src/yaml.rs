//! The one door to YAML. Its errors say where, never with the text around it: variable files hold
//! whole kubeconfigs.

use serde_json::Value;

/// YAML that is none.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Error {
    reason: String,
}

/// Reads one YAML (or JSON) document as fly does: 1.1 booleans, no duplicate keys, merge keys.
///
/// # Errors
///
/// When the text is not one YAML document.
pub fn read(text: &str) -> Result<Value, Error> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|place| format!("line {}, column {}", place.line(), place.column()));
        let place = place.unwrap_or_else(|| "the document".to_owned());
        Error { reason: format!("{place}: {}", words(&error)) }
    })
}

/// Returns what is wrong, without the place and in words for the author of the text: the library's
/// other words are for those who call it.
#[must_use]
pub fn words(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let message = message.lines().next().unwrap_or_default();
    // It may say the place once more.
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_fly_reads_them() {
        let text = "a: 1.15\nb: true\nc:\nd: |\n  x\n  y\ne: '1'\nf: [1, two]\n";
        let expected = json!({"a": 1.15, "b": true, "c": null, "d": "x\ny\n", "e": "1", "f": [1, "two"]});
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn errors_say_where_and_do_not_quote() {
        let error = read("a: 1\npassword: hunter2\nb: [\n").unwrap_err().to_string();
        assert!(error.starts_with("line ") && !error.contains("hunter2"), "{error}");
        let duplicate = read("a: 1\na: 2\n").unwrap_err().to_string();
        assert!(duplicate.contains("duplicate") && !duplicate.contains("Policy"), "{duplicate}");
        let several = read("a: 1\n---\nb: 2\n").unwrap_err().to_string();
        assert!(!several.contains("from_"), "{several}");
    }
}
