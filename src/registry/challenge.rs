//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 §11.6.1). Pure.

use std::collections::BTreeMap;

/// One challenge of a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password on every request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// Where tokens come from.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
        /// What it has to allow; several are separated by spaces.
        scope: Option<String>,
    },
}

/// Reads all challenges of one header value; schemes that no registry uses are left out.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = token(rest);
        if word.is_empty() {
            break;
        }
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, tail) = parameter_value(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = tail;
        } else {
            found.push((word.to_ascii_lowercase(), BTreeMap::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, parameters)).collect()
}

fn challenge(scheme: &str, mut parameters: BTreeMap<String, String>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope"),
        }),
        _ => None,
    }
}

fn token(text: &str) -> (&str, &str) {
    let end =
        text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | ',' | '"')).unwrap_or(text.len());
    text.split_at(end)
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Random;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn docker_hub_is_understood() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let wanted = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        assert_eq!(parse(header), [wanted]);
    }

    #[test]
    fn several_challenges_share_a_header() {
        let header = r#"Negotiate, BASIC realm="a \"b\", c", bearer Realm=https://t/x , service = s"#;
        assert_eq!(parse(header), [Challenge::Basic, bearer("https://t/x", Some("s"), None)]);
    }

    #[test]
    fn garbage_is_no_challenge_and_no_panic() {
        for header in
            ["", ",,", "=", "\"", "Bearer", "Bearer realm", "Bearer realm=\"x", "é=ü", "Basic =", "a b=\"\\"]
        {
            let challenges = parse(header);
            assert!(challenges.len() <= 1, "{header}: {challenges:?}");
        }
    }

    fn numbers() -> impl FnMut(usize) -> usize {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        move |below| random.below(below)
    }

    #[test]
    fn no_header_stops_the_parser() {
        let pieces = [
            "Bearer",
            "basic",
            "Negotiate",
            "realm",
            "scope",
            "service",
            "=",
            ",",
            " ",
            "\t",
            "\"",
            "\\",
            "\\\"",
            "é",
            "\u{0}",
            "\u{7f}",
            "\u{1f600}",
            "https://t/x?a=b",
            "abc==",
            ";",
            "'",
            "\r\n",
            "=\"",
            "\",",
        ];
        let mut number = numbers();
        for _ in 0..50_000 {
            let length = number(24);
            let header: String = (0..length).map(|_| pieces[number(pieces.len())]).collect();
            // Each challenge needs a scheme of its own in the header.
            assert!(parse(&header).len() <= header.to_lowercase().matches('b').count(), "{header:?}");
        }
    }

    #[test]
    fn what_a_registry_writes_comes_back() {
        let characters: Vec<char> = "ab \"\\,=:/?é".chars().collect();
        let mut number = numbers();
        for _ in 0..5_000 {
            let mut text = || -> String {
                let length = number(12);
                (0..length).map(|_| characters[number(characters.len())]).collect()
            };
            let (realm, service, scope) = (text(), text(), text());
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let header = format!(
                "Negotiate, Bearer realm={},service={} , scope = {}, Basic realm=\"x\"",
                quoted(&realm),
                quoted(&service),
                quoted(&scope)
            );
            assert_eq!(
                parse(&header),
                [bearer(&realm, Some(&service), Some(&scope)), Challenge::Basic],
                "{header}"
            );
        }
    }
}
