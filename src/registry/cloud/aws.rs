//! Amazon ECR: whose access key it is, which roles are assumed with it, and the password that ECR
//! gives for it. The sources of a key are asked in the order of Amazon's own SDKs.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Granted;
use super::outside::{Outside, Question, Reach, element};
use super::sigv4::{self, AccessKey, Target};
use crate::registry::access::Ambient;
use crate::registry::identity::is_set;
use crate::registry::transport::{FORM, form};
use crate::registry::{Access, Error};

mod machine;

/// Who this is, in messages.
const PROVIDER: &str = "Amazon ECR";

/// The name of the sessions of assumed roles in Amazon's logs.
const SESSION: &str = "rollway";

/// What to ask Amazon for.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Keys {
    region: String,
    key: Option<AccessKey>,
    roles: Vec<String>,
    account: Option<String>,
}

/// What Amazon gave: the login, and the host of the registry that it is for.
pub(in crate::registry) struct Entry {
    pub(in crate::registry) granted: Granted,
    pub(in crate::registry) host: String,
}

impl Keys {
    /// Returns what the keys ask for; `None` when they do not speak of Amazon.
    pub(in crate::registry) fn of(access: &Access, host: &str) -> Result<Option<Self>, Error> {
        let has_key = !access.aws_access_key_id.is_empty() || is_set(&access.aws_secret_access_key);
        let region = match access.aws_region.as_str() {
            "" if has_key || !access.aws_role_arn.is_empty() || !access.aws_role_arns.is_empty() => {
                region_of(host).unwrap_or_default()
            }
            given => given,
        };
        if region.is_empty() {
            return Ok(None);
        }
        if !is_label(region) {
            return Err(Error::key("aws_region", &format!("is `{region}`, which is no region")));
        }
        if !access.aws_role_arn.is_empty() && !access.aws_role_arns.is_empty() {
            return Err(Error::Exclusive { one: "aws_role_arn", other: "aws_role_arns" });
        }
        let account = Some(access.aws_account_id.clone()).filter(|account| !account.is_empty());
        if let Some(account) = account.as_deref().filter(|account| !is_label(account)) {
            return Err(Error::key("aws_account_id", &format!("is `{account}`, which is no account")));
        }
        let one = Some(access.aws_role_arn.clone()).filter(|role| !role.is_empty());
        let roles = one.into_iter().chain(access.aws_role_arns.iter().cloned()).collect();
        Ok(Some(Self { region: region.to_owned(), key: given_key(access)?, roles, account }))
    }

    /// Returns the host of the registry, where it follows from the keys.
    pub(in crate::registry) fn host(&self) -> Option<String> {
        let account = self.account.as_ref()?;
        Some(format!("{account}.dkr.ecr.{}.{}", self.region, suffix(&self.region)))
    }

    /// Returns the secrets among the keys.
    pub(in crate::registry) fn secrets(&self) -> Vec<SecretString> {
        let key = self.key.iter();
        key.flat_map(|key| [key.secret.clone()].into_iter().chain(key.token.clone())).collect()
    }

    /// Logs in.
    pub(in crate::registry) async fn login(
        &self,
        outside: &Outside,
        ambient: &Ambient,
    ) -> Result<Entry, Error> {
        let desk = Desk { outside, ambient, region: &self.region };
        desk.entry(self).await.map_err(|error| error.at(PROVIDER))
    }
}

/// One call of a service.
struct Call<'a> {
    service: &'a str,
    headers: &'a [(&'static str, &'static str)],
    body: &'a str,
}

/// Where Amazon is asked.
struct Desk<'a> {
    outside: &'a Outside,
    ambient: &'a Ambient,
    region: &'a str,
}

impl Desk<'_> {
    async fn entry(&self, keys: &Keys) -> Result<Entry, Error> {
        let mut key = match &keys.key {
            Some(key) => key.clone(),
            None => self.machines_key().await?,
        };
        for role in &keys.roles {
            key = self.assume(role, &key).await?;
        }
        self.password(&key).await
    }

    /// Exchanges a key for the one of a role.
    async fn assume(&self, role: &str, key: &AccessKey) -> Result<AccessKey, Error> {
        let body = form(&[
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", SESSION),
        ]);
        let question = Question::get(Reach::Far, &self.endpoint("STS", "sts"))?;
        let call = Call { service: "sts", headers: &[("content-type", FORM)], body: &body };
        self.sts(self.signed(question, &call, key)).await
    }

    /// Asks STS for a key.
    async fn sts(&self, question: Question) -> Result<AccessKey, Error> {
        let answer = self.outside.ask(question).await?;
        let xml = String::from_utf8_lossy(&answer);
        let part = |name| element(&xml, name).filter(|text| !text.is_empty());
        match (part("AccessKeyId"), part("SecretAccessKey"), part("SessionToken")) {
            (Some(id), Some(secret), Some(token)) => Ok(AccessKey {
                id: id.to_owned(),
                secret: SecretString::from(secret),
                token: Some(SecretString::from(token)),
            }),
            _ => Err(Error::NoGrant("STS answers without an access key".to_owned())),
        }
    }

    /// Asks ECR for the password of its registry.
    async fn password(&self, key: &AccessKey) -> Result<Entry, Error> {
        let question = Question::get(Reach::Far, &self.endpoint("ECR", "api.ecr"))?;
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
        ];
        let call = Call { service: "ecr", headers: &headers, body: "{}" };
        let question = self.signed(question, &call, key);
        let answer: Authorization = self.outside.json(question).await?;
        entry(answer, SystemTime::now())
    }

    fn signed(&self, question: Question, call: &Call<'_>, key: &AccessKey) -> Question {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = question.host();
        let token = key.token.as_ref().map(|token| ("x-amz-security-token", token.expose_secret()));
        let mut sent: Vec<(&'static str, &str)> = call.headers.to_vec();
        sent.extend([("x-amz-date", time.as_str())].into_iter().chain(token));
        let mut headers = sent.clone();
        headers.push(("host", &host));
        let request = sigv4::Request { method: "POST", query: "", headers: &headers, body: call.body };
        let target = Target { region: self.region, service: call.service };
        let authorization = sigv4::authorization(&request, key, target, &time);
        let question = question.post(call.body.to_owned()).header("authorization", &authorization);
        let question = sent.iter().fold(question, |question, (name, value)| question.header(name, value));
        key.token.iter().chain([&key.secret]).fold(question, Question::secret)
    }

    /// Returns the address of a service, which Amazon's own variables may move.
    fn endpoint(&self, service: &str, host: &str) -> String {
        let moved = self.ambient.get(&format!("AWS_ENDPOINT_URL_{service}"));
        match moved.or_else(|| self.ambient.get("AWS_ENDPOINT_URL")) {
            Some(url) => url.to_owned(),
            None => format!("https://{host}.{}.{}/", self.region, suffix(self.region)),
        }
    }
}

/// What ECR answers.
#[derive(Deserialize)]
struct Authorization {
    #[serde(rename = "authorizationData", default)]
    data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Datum {
    authorization_token: String,
    #[serde(default)]
    expires_at: f64,
    #[serde(default)]
    proxy_endpoint: String,
}

fn entry(answer: Authorization, now: SystemTime) -> Result<Entry, Error> {
    let bad = |problem: &str| Error::NoGrant(format!("ECR answers {problem}"));
    let datum = answer.data.into_iter().next().ok_or_else(|| bad("without a password"))?;
    let text = STANDARD.decode(datum.authorization_token).map_err(|_| bad("with a password that is none"))?;
    let text = String::from_utf8(text).map_err(|_| bad("with a password that is none"))?;
    let (username, password) = text.split_once(':').ok_or_else(|| bad("with a password that is none"))?;
    let end = Duration::try_from_secs_f64(datum.expires_at).ok();
    let end = end.and_then(|end| SystemTime::UNIX_EPOCH.checked_add(end));
    let granted = Granted {
        username: username.to_owned(),
        password: SecretString::from(password.trim()),
        lasts: end.and_then(|end| end.duration_since(now).ok()),
    };
    let host = datum.proxy_endpoint.split_once("://").map_or("", |(_, host)| host).trim_end_matches('/');
    let host = host.to_owned();
    Ok(Entry { granted, host })
}

/// Reads the access key of the source. Half of one is a mistake: the machine's own would be taken
/// in its place, and nobody would know.
fn given_key(access: &Access) -> Result<Option<AccessKey>, Error> {
    // A line break at the end is what variables often have; none of these can.
    let trimmed = |secret: &SecretString| SecretString::from(secret.expose_secret().trim());
    let (id, secret) = (access.aws_access_key_id.trim(), trimmed(&access.aws_secret_access_key));
    let token = Some(trimmed(&access.aws_session_token)).filter(is_set);
    match (!id.is_empty(), is_set(&secret)) {
        (true, true) => Ok(Some(AccessKey { id: id.to_owned(), secret, token })),
        (true, false) => Err(Error::Half { given: "aws_access_key_id", missing: "aws_secret_access_key" }),
        (false, true) => Err(Error::Half { given: "aws_secret_access_key", missing: "aws_access_key_id" }),
        (false, false) if token.is_some() => {
            Err(Error::Half { given: "aws_session_token", missing: "aws_access_key_id" })
        }
        (false, false) => Ok(None),
    }
}

/// Returns the region of a registry's host.
fn region_of(host: &str) -> Option<&str> {
    let (_, rest) = host.split_once(".dkr.ecr.")?;
    rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
}

/// Returns what the hosts of a region end with.
fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

fn is_label(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str, host: &str) -> Result<Option<Keys>, String> {
        let access: Access = serde_json::from_str(json).unwrap();
        Keys::of(&access, host).map_err(|error| error.to_string())
    }

    #[test]
    fn host_follows_from_account_and_region() {
        for (region, wanted) in [
            ("eu-west-1", "1234.dkr.ecr.eu-west-1.amazonaws.com"),
            ("cn-north-1", "1234.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ] {
            let json = format!(r#"{{"aws_region": "{region}", "aws_account_id": "1234"}}"#);
            assert_eq!(keys(&json, "index.docker.io").unwrap().unwrap().host().unwrap(), wanted);
        }
        assert_eq!(keys(r#"{"aws_region": "x"}"#, "x.io").unwrap().unwrap().host(), None);
    }

    #[test]
    fn region_may_stand_in_the_host_alone() {
        let json = r#"{"aws_access_key_id": "a", "aws_secret_access_key": "b"}"#;
        let found = keys(json, "1234.dkr.ecr.eu-west-1.amazonaws.com").unwrap().unwrap();
        assert_eq!(found.region, "eu-west-1");
        assert!(keys(json, "ghcr.io").unwrap().is_none());
    }

    #[test]
    fn half_of_a_key_is_named() {
        for (json, given, missing) in [
            (r#""aws_access_key_id": "a""#, "`aws_access_key_id`", "`aws_secret_access_key`"),
            (r#""aws_secret_access_key": "b""#, "`aws_secret_access_key`", "`aws_access_key_id`"),
            (r#""aws_session_token": "c""#, "`aws_session_token`", "`aws_access_key_id`"),
        ] {
            let error = keys(&format!(r#"{{"aws_region": "x", {json}}}"#), "x.io").unwrap_err();
            assert!(error.starts_with(given) && error.ends_with(missing), "{error}");
        }
    }

    #[test]
    fn region_and_account_cannot_lead_elsewhere() {
        for json in
            [r#"{"aws_region": "evil.io/"}"#, r#"{"aws_region": "eu-west-1", "aws_account_id": "evil.io/x"}"#]
        {
            assert!(keys(json, "x.io").unwrap_err().contains("which is no"), "{json}");
        }
    }

    #[test]
    fn answer_of_ecr_is_a_login() {
        let json = r#"{"authorizationData": [{"authorizationToken": "QVdTOnB3", "expiresAt": 1000.5,
            "proxyEndpoint": "https://1234.dkr.ecr.eu-west-1.amazonaws.com"}]}"#;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(400);
        let found = entry(serde_json::from_str(json).unwrap(), now).unwrap();
        assert_eq!(found.host, "1234.dkr.ecr.eu-west-1.amazonaws.com");
        assert_eq!((found.granted.username.as_str(), found.granted.password.expose_secret()), ("AWS", "pw"));
        assert_eq!(found.granted.lasts, Some(Duration::from_millis(600_500)));
        for json in [
            "{}",
            r#"{"authorizationData": []}"#,
            r#"{"authorizationData": [{"authorizationToken": "!"}]}"#,
            r#"{"authorizationData": [{"authorizationToken": "QVdT"}]}"#,
        ] {
            assert!(entry(serde_json::from_str(json).unwrap(), now).is_err(), "{json}");
        }
    }
}
