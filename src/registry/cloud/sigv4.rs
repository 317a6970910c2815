//! Amazon's Signature Version 4, as far as these calls need it: what is signed is all there. Pure.

use std::fmt::Write;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// An access key.
#[derive(Clone, Debug)]
pub(in crate::registry) struct AccessKey {
    pub(super) id: String,
    pub(super) secret: SecretString,
    /// The session token of a temporary one.
    pub(super) token: Option<SecretString>,
}

/// What is signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// The query, sorted and escaped.
    pub(super) query: &'a str,
    /// Names in lower case; `host` and `x-amz-date` have to be among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a str,
}

/// Which service of which region it is for.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Returns the `Authorization` of a request to the root of a service at `time`, which is written
/// `20150830T123600Z`.
pub(super) fn authorization(
    request: &Request<'_>,
    key: &AccessKey,
    target: Target<'_>,
    time: &str,
) -> String {
    let date = time.get(..8).unwrap_or(time);
    let mut headers = request.headers.to_vec();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let body = hex(&Sha256::digest(request.body));
    let canonical = format!("{}\n/\n{}\n{lines}\n{names}\n{body}", request.method, request.query);
    let scope = format!("{date}/{}/{}/aws4_request", target.region, target.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signature = hex(mac(&signing_key(key, target, date), &text).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", key.id)
}

fn signing_key(key: &AccessKey, target: Target<'_>, date: &str) -> Vec<u8> {
    let start = format!("AWS4{}", key.secret.expose_secret()).into_bytes();
    let parts = [date, target.region, target.service, "aws4_request"];
    parts.iter().fold(start, |key, part| mac(&key, part).as_ref().to_vec())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "20150830T123600Z";
    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn key() -> AccessKey {
        let secret = SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        AccessKey { id: "AKIDEXAMPLE".to_owned(), secret, token: None }
    }

    fn signature(method: &str, query: &str, headers: &[(&str, &str)], body: &str, service: &str) -> String {
        let request = Request { method, query, headers, body };
        let target = Target { region: "us-east-1", service };
        let text = authorization(&request, &key(), target, TIME);
        assert!(text.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"), "{text}");
        text.rsplit('=').next().unwrap().to_owned()
    }

    #[test]
    fn key_is_derived_as_in_amazons_example() {
        let derived = signing_key(&key(), Target { region: "us-east-1", service: "iam" }, "20150830");
        assert_eq!(hex(&derived), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn requests_are_signed_as_in_amazons_test_suite() {
        let host = [("host", "example.amazonaws.com"), ("x-amz-date", TIME)];
        let form = [("content-type", "application/x-www-form-urlencoded"), host[0], host[1]];
        let token = [host[0], host[1], ("x-amz-security-token", TOKEN)];
        for (method, headers, body, wanted) in [
            ("GET", &host[..], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", &host, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "POST",
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            ("POST", &token, "", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
        ] {
            assert_eq!(signature(method, "", headers, body, "service"), wanted, "{method} {headers:?}");
        }
    }

    #[test]
    fn request_is_signed_as_in_amazons_documentation() {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", TIME),
        ];
        assert_eq!(
            signature("GET", "Action=ListUsers&Version=2010-05-08", &headers, "", "iam"),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
