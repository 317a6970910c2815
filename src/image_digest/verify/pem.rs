//! One public key in PEM: what stands in front of it, and its bytes. Private keys are not read. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// What is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// A key of any kind, which says what it is.
    PublicKey,
    /// The two numbers of an RSA key.
    RsaPublicKey,
}

/// Reads the key in a text that has one; line breaks may be lost.
pub(super) fn read(text: &str) -> Result<(Label, Vec<u8>), String> {
    let (_, after) =
        text.split_once(BEGIN).ok_or_else(|| "it has no `-----BEGIN PUBLIC KEY-----`".to_owned())?;
    if after.contains(BEGIN) {
        return Err("it is more than one, and each has its own place in the list".to_owned());
    }
    let garbled = || "what is between its lines is not a key".to_owned();
    let (name, after) = after.split_once(DASHES).ok_or_else(garbled)?;
    let label = match name {
        "PUBLIC KEY" => Label::PublicKey,
        "RSA PUBLIC KEY" => Label::RsaPublicKey,
        other => return Err(other_than(other)),
    };
    let (body, _) = after.split_once(DASHES).ok_or_else(garbled)?;
    let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    STANDARD.decode(body).map(|der| (label, der)).map_err(|_| garbled())
}

/// Names what is there instead, unless it is no name but something that went wrong.
fn other_than(name: &str) -> String {
    let is_name = name.len() < 50 && name.chars().all(|it| it.is_ascii_uppercase() || it == ' ');
    if is_name {
        format!("it is a `{name}`, and not a `PUBLIC KEY`")
    } else {
        "it has no `-----BEGIN PUBLIC KEY-----`".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_read_from_text_around_it_and_without_line_breaks() {
        let bytes = vec![1, 2, 3];
        for text in [
            "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n",
            "-----BEGIN PUBLIC KEY-----\r\nAQ\r\nID\r\n-----END PUBLIC KEY-----",
            "the key of the team:\n-----BEGIN PUBLIC KEY----- AQID -----END PUBLIC KEY----- ",
        ] {
            assert_eq!(read(text), Ok((Label::PublicKey, bytes.clone())), "{text}");
        }
        let text = "-----BEGIN RSA PUBLIC KEY-----\nAQID\n-----END RSA PUBLIC KEY-----\n";
        assert_eq!(read(text), Ok((Label::RsaPublicKey, bytes)));
    }

    #[test]
    fn what_is_not_one_public_key_is_refused_by_what_it_is() {
        for (text, reason) in [
            ("", "it has no `-----BEGIN PUBLIC KEY-----`"),
            ("awskms:///alias/sign", "it has no `-----BEGIN PUBLIC KEY-----`"),
            ("-----BEGIN canary-----\n", "it has no `-----BEGIN PUBLIC KEY-----`"),
            ("-----BEGIN PUBLIC KEY-----\nAQID\n", "what is between its lines is not a key"),
            (
                "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----",
                "what is between its lines is not a key",
            ),
            (
                "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ncanary",
                "it is a `ENCRYPTED SIGSTORE PRIVATE KEY`, and not a `PUBLIC KEY`",
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\n",
                "it is more than one, and each has its own place in the list",
            ),
        ] {
            assert_eq!(read(text), Err(reason.to_owned()), "{text}");
        }
    }
}
