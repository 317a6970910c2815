//! Pushes images to a registry: blobs that are missing, then the manifest.
//! Plain http or TLS with a private CA, anonymous or basic authentication; no tokens, the lab has none.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::{Blob, Image};

/// A user of the registry.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The lab makes it up for each run and shows it itself.
    pub password: String,
}

/// A registry that images are pushed to.
pub struct Registry {
    base: Url,
    client: Client,
    credentials: Option<Credentials>,
}

impl Registry {
    /// A registry at `base`, such as `http://127.0.0.1:5000`; `ca` is the PEM file that its certificate is checked with.
    ///
    /// # Errors
    /// An address that is no URL, or a CA file that cannot be read.
    pub fn new(base: &str, ca: Option<&Path>, credentials: Option<Credentials>) -> anyhow::Result<Self> {
        // Only the first caller of the process installs it; any later one finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = Url::parse(base).with_context(|| format!("the registry `{base}` is not a URL"))?;
        let mut builder = Client::builder().no_proxy().timeout(Duration::from_secs(60));
        if let Some(path) = ca {
            let pem =
                std::fs::read(path).with_context(|| format!("failed to read the CA `{}`", path.display()))?;
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Self { base, client: builder.build()?, credentials })
    }

    /// Pushes an image and lets `tag` point at it; returns its digest.
    ///
    /// # Errors
    /// The registry's answer, where it is not the one that the distribution specification asks for.
    pub async fn push(&self, image: &Image, repository: &str, tag: &str) -> anyhow::Result<String> {
        for blob in image.content() {
            self.put_blob(repository, blob).await?;
        }
        if image.index.is_some() {
            self.put_manifest(repository, image.manifest_digest(), &image.manifest).await?;
        }
        self.put_manifest(repository, tag, image.top()).await?;
        Ok(image.digest().to_owned())
    }

    async fn put_blob(&self, repository: &str, blob: &Blob) -> anyhow::Result<()> {
        let known = self.client.head(self.url(&format!("{repository}/blobs/{}", blob.digest))?);
        if self.send(known).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let opened = self.send(self.client.post(self.url(&format!("{repository}/blobs/uploads/"))?)).await?;
        let opened = expect(opened, StatusCode::ACCEPTED).await?;
        let location = opened.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.context("the registry opened an upload without a Location")?;
        let mut upload = opened.url().join(location)?;
        upload.query_pairs_mut().append_pair("digest", &blob.digest);
        let request =
            self.client.put(upload).header(CONTENT_TYPE, "application/octet-stream").body(blob.bytes.clone());
        expect(self.send(request).await?, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn put_manifest(&self, repository: &str, reference: &str, blob: &Blob) -> anyhow::Result<()> {
        let url = self.url(&format!("{repository}/manifests/{reference}"))?;
        let request = self.client.put(url).header(CONTENT_TYPE, blob.media_type).body(blob.bytes.clone());
        expect(self.send(request).await?, StatusCode::CREATED).await?;
        Ok(())
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        self.base.join(&format!("/v2/{path}")).with_context(|| format!("`{path}` is not a repository's path"))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.credentials {
            Some(Credentials { username, password }) => request.basic_auth(username, Some(password)),
            None => request,
        };
        Ok(request.send().await?)
    }
}

async fn expect(response: Response, status: StatusCode) -> anyhow::Result<Response> {
    if response.status() != status {
        let (got, path) = (response.status(), response.url().path().to_owned());
        bail!(
            "the registry answered {got} at `{path}`: {}",
            response.text().await.unwrap_or_default().trim()
        );
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
