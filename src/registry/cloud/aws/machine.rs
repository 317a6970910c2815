//! The access key of the machine that this runs on: from its variables, a service account's token,
//! the container's or the instance's metadata.

use std::fs;

use secrecy::SecretString;
use serde::Deserialize;

use super::{AccessKey, Desk, SESSION};
use crate::registry::Error;
use crate::registry::cloud::outside::{Question, Reach};

/// Where a container finds its credentials, unless the whole address is given.
const CONTAINER: &str = "http://169.254.170.2";

/// Where an instance finds its metadata.
const INSTANCE: &str = "http://169.254.169.254";

/// The hosts that may be asked for credentials without TLS: the machine's own.
const NEAR: [&str; 6] =
    ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// A key as containers and instances tell it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: String,
}

impl From<Told> for AccessKey {
    fn from(told: Told) -> Self {
        let token = Some(told.token).filter(|token| !token.is_empty()).map(SecretString::from);
        Self { id: told.access_key_id, secret: SecretString::from(told.secret_access_key), token }
    }
}

impl Desk<'_> {
    /// Returns the first key that there is.
    pub(super) async fn machines_key(&self) -> Result<AccessKey, Error> {
        if let (Some(id), Some(secret)) =
            (self.ambient.get("AWS_ACCESS_KEY_ID"), self.ambient.get("AWS_SECRET_ACCESS_KEY"))
        {
            let token = self.ambient.get("AWS_SESSION_TOKEN").map(SecretString::from);
            return Ok(AccessKey { id: id.to_owned(), secret: SecretString::from(secret), token });
        }
        if let (Some(role), Some(file)) =
            (self.ambient.get("AWS_ROLE_ARN"), self.ambient.get("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            return self.with_token(role, file).await;
        }
        match self.container()? {
            Some(question) => Ok(self.outside.json::<Told>(question).await?.into()),
            None => self.instance().await,
        }
    }

    /// Exchanges a service account's token for the key of a role.
    async fn with_token(&self, role: &str, file: &str) -> Result<AccessKey, Error> {
        let token = read("AWS_WEB_IDENTITY_TOKEN_FILE", file)?;
        let session = self.ambient.get("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.as_str()),
        ];
        let question = Question::get(Reach::Far, &self.endpoint("STS", "sts"))?
            .post_form(&form)
            .secret(&SecretString::from(token));
        self.sts(question).await
    }

    /// Returns the question for a container's credentials; `None` when this is no such container.
    fn container(&self) -> Result<Option<Question>, Error> {
        let relative = self.ambient.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = match (relative, self.ambient.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) => format!("{CONTAINER}{path}"),
            (None, Some(url)) => url.to_owned(),
            (None, None) => return Ok(None),
        };
        if !is_safe(&url) {
            let reason = "is neither https nor an address of the machine's own";
            return Err(Error::key("AWS_CONTAINER_CREDENTIALS_FULL_URI", reason));
        }
        let question = Question::get(Reach::Machine, &url)?;
        let token = match self.ambient.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)?),
            None => self.ambient.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
        };
        Ok(Some(match token {
            Some(token) => question.header("authorization", &token).secret(&SecretString::from(token)),
            None => question,
        }))
    }

    /// Asks the instance's metadata, in a session as its second version wants it.
    async fn instance(&self) -> Result<AccessKey, Error> {
        let is_off = self.ambient.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value == "true");
        if is_off {
            return Err(none());
        }
        let base = self.ambient.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(INSTANCE);
        let base = base.trim_end_matches('/');
        let session = Question::get(Reach::Machine, &format!("{base}/latest/api/token"))?
            .put()
            .header("x-aws-ec2-metadata-token-ttl-seconds", "300");
        let session = match self.outside.ask(session).await {
            // What is not there cannot come back.
            Err(Error::Unreachable { .. }) => return Err(none()),
            session => String::from_utf8_lossy(&session?).into_owned(),
        };
        let about = |path: &str| -> Result<Question, Error> {
            let url = format!("{base}/latest/meta-data/iam/security-credentials/{path}");
            Ok(Question::get(Reach::Machine, &url)?.header("x-aws-ec2-metadata-token", &session))
        };
        let roles = match self.outside.ask(about("")?).await {
            Err(Error::Answered { status: 404, .. }) => return Err(none()),
            roles => String::from_utf8_lossy(&roles?).into_owned(),
        };
        let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty()).ok_or_else(none)?;
        Ok(self.outside.json::<Told>(about(role)?).await?.into())
    }
}

fn none() -> Error {
    Error::NoGrant(
        "there is no access key in the source, and the machine has no identity of its own".to_owned(),
    )
}

fn read(variable: &'static str, file: &str) -> Result<String, Error> {
    let text = fs::read_to_string(file);
    let text =
        text.map_err(|error| Error::key(variable, &format!("names a file that cannot be read: {error}")))?;
    Ok(text.trim().to_owned())
}

fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    url.scheme() == "https" || url.host_str().is_some_and(|host| NEAR.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_asked_of_the_machine_or_over_tls() {
        for url in
            ["https://x.io/a", "http://127.0.0.1:80/a", "http://169.254.170.23/v1", "http://[fd00:ec2::23]/"]
        {
            assert!(is_safe(url), "{url}");
        }
        for url in ["http://x.io/a", "http://169.254.169.254.evil/a", "x", "http://10.0.0.1/"] {
            assert!(!is_safe(url), "{url}");
        }
    }
}
