//! `lab image`: publishes the sample application's images by hand.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use super::{Credentials, Registry, SampleApp, sample_app};

/// Assemble the sample application's images, without a daemon.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Push an image and print `repository@digest`.
    Push(Push),
    /// Write an OCI archive and print its digest.
    Archive(Archive),
}

#[derive(Debug, clap::Args)]
struct Push {
    #[command(flatten)]
    app: App,
    /// The tag that moves to the image.
    #[arg(long, default_value = "latest")]
    tag: String,
    /// The registry: `HOST:PORT`, spoken to in plain http, or an https URL.
    #[arg(long, env = "ROLLWAY_REGISTRY")]
    registry: String,
    /// PEM file with the CA of an https registry.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// `NAME:PASSWORD` for basic authentication.
    #[arg(long)]
    user: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Archive {
    #[command(flatten)]
    app: App,
    /// The name that the image gets where it is imported.
    #[arg(long)]
    reference: String,
    /// The file to write.
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct App {
    /// The application: foo, bar or baz.
    #[arg(long)]
    app: String,
    /// The Java version in the image.
    #[arg(long, default_value = "11.0.5")]
    runtime: String,
    /// The OpenSSL version in the image.
    #[arg(long, default_value = super::sample::OPENSSL)]
    openssl: String,
    /// A switch baked into the image, such as `CRASH_AFTER=2`; repeatable.
    #[arg(long = "switch", value_name = "KEY=VALUE")]
    switches: Vec<String>,
    /// The static sample-app program; found beside this one where omitted.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Runs the subcommand and returns the line to print.
///
/// # Errors
/// What kept the image from being built or published.
pub async fn run(args: Args) -> anyhow::Result<String> {
    match args.command {
        Command::Push(push) => {
            let image = sample_app(&push.app.spec()?)?;
            let (base, host) = if push.registry.contains("://") {
                (
                    push.registry.clone(),
                    push.registry.split_once("://").map_or("", |(_, host)| host).to_owned(),
                )
            } else {
                (format!("http://{}", push.registry), push.registry.clone())
            };
            let credentials = push.user.as_deref().map(credentials).transpose()?;
            let repository = format!("app-{}", push.app.app);
            let registry = Registry::new(&base, push.ca.as_deref(), credentials)?;
            let digest = registry.push(&image, &repository, &push.tag).await?;
            Ok(format!("{}/{repository}@{digest}", host.trim_end_matches('/')))
        }
        Command::Archive(archive) => {
            let image = sample_app(&archive.app.spec()?)?;
            image.oci_archive(&archive.output, &archive.reference)?;
            Ok(image.digest().to_owned())
        }
    }
}

impl App {
    fn spec(&self) -> anyhow::Result<SampleApp> {
        let program = match &self.program {
            Some(path) => path.clone(),
            None => SampleApp::program()?,
        };
        let mut app = SampleApp::new(&self.app, &program).runtime(&self.runtime);
        app.openssl.clone_from(&self.openssl);
        for switch in &self.switches {
            let (key, value) =
                switch.split_once('=').with_context(|| format!("the switch `{switch}` is not KEY=VALUE"))?;
            app = app.switch(key, value);
        }
        Ok(app)
    }
}

fn credentials(text: &str) -> anyhow::Result<Credentials> {
    let (username, password) = text.split_once(':').context("the user is not NAME:PASSWORD")?;
    Ok(Credentials { username: username.to_owned(), password: password.to_owned() })
}
