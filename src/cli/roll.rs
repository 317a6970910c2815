//! `rollway roll`: what the rollout resource's put does, for a person at a terminal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;

use super::Surroundings;
use crate::cluster;
use crate::concourse::Build;
use crate::exit::Code;
use crate::failure::Failure;
use crate::image::Pinned;
use crate::log::Log;
use crate::registry;
use crate::rollout::driver::lines::Lines;
use crate::rollout::driver::{self, Site};
use crate::rollout::report::{Progress, Reporter};
use crate::rollout::{Drain, Order, Target};

/// Roll a Deployment to an image and prove that every pod runs it
#[derive(clap::Args)]
pub struct Args {
    /// The Deployment's name
    deployment: String,
    /// The image: `repository@sha256:…`, or `repository:tag` to use what the tag points at now
    image: String,
    /// The Deployment's namespace [default: the context's]
    #[arg(short, long)]
    namespace: Option<String>,
    /// The container to change, when the pod has several; may be given more than once
    #[arg(short, long)]
    container: Vec<String>,
    /// The kubeconfig [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long)]
    context: Option<String>,
    /// How many seconds the new pods may take to be ready; 0 does not wait
    #[arg(long, default_value_t = 180)]
    wait: u64,
    /// How the old pods leave their Services
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    drain: Way,
    /// How many seconds an old pod lives on after its last endpoint is gone
    #[arg(long, default_value_t = 10)]
    drain_wait: u64,
    /// The registry's user; the password is $ROLLWAY_REGISTRY_PASSWORD
    #[arg(long)]
    registry_username: Option<String>,
}

/// The drains of the resource, as the command line spells them.
#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// The safest that pods, credentials and capacity allow
    Auto,
    /// Out of the Services first, end later; needs room for all pods twice
    Detached,
    /// A rolling update that adds before it removes
    Rolling,
    /// The Deployment's own strategy
    None,
}

impl From<Way> for Drain {
    fn from(way: Way) -> Self {
        match way {
            Way::Auto => Self::Auto,
            Way::Detached => Self::Detached,
            Way::Rolling => Self::Rolling,
            Way::None => Self::None,
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// When the rollout did not end with every pod on the image.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let access = registry_access(&args, surroundings);
    let (image, tag) = resolve(&args.image, &access, &surroundings.log).await?;
    let cluster = cluster::connect(&cluster_access(&args, surroundings)?).await.map_err(Failure::from)?;
    let target = Target {
        namespace: cluster.namespace.clone(),
        deployment: args.deployment,
        containers: args.container,
    };
    let order = Order {
        image,
        images: std::collections::BTreeMap::new(),
        tag,
        wait: (args.wait > 0).then(|| Duration::from_secs(args.wait)),
        drain: args.drain.into(),
        drain_wait: Duration::from_secs(args.drain_wait),
        build: Build::default(),
        policy: crate::rollout::Policy::default(),
        on_failure: crate::rollout::OnFailure::default(),
        settle: crate::rollout::order::SETTLE,
    };
    let reporter = reporter(surroundings);
    let site = Site {
        cluster: &cluster,
        registry: &access,
        log: &surroundings.log,
        reporter: reporter.as_ref(),
        interrupted: surroundings.interrupted.clone(),
    };
    let outcome = driver::roll(&site, &target, &order).await.into_result().map_err(Failure::from)?;
    drop(reporter);
    for field in outcome.fields {
        surroundings.print(format_args!("{:<11} {}", field.name, field.value))?;
    }
    Ok(Code::Done)
}

fn cluster_access(args: &Args, surroundings: &Surroundings) -> anyhow::Result<cluster::Access> {
    Ok(cluster::Access {
        kubeconfig: kubeconfig(args, surroundings)?,
        context: args.context.clone(),
        namespace: args.namespace.clone(),
        ..cluster::Access::default()
    })
}

fn registry_access(args: &Args, surroundings: &Surroundings) -> registry::Access {
    let password = surroundings.vars.get("ROLLWAY_REGISTRY_PASSWORD").cloned().unwrap_or_default();
    registry::Access {
        username: args.registry_username.clone().unwrap_or_default(),
        password: SecretString::from(password),
        ..registry::Access::default()
    }
}

/// Finds the digest: it is in the argument, or the registry is asked what the tag points at.
async fn resolve(
    image: &str,
    access: &registry::Access,
    log: &Log,
) -> anyhow::Result<(Pinned, Option<String>)> {
    if let Some((repository, digest)) = image.split_once('@') {
        let digest = digest.parse().with_context(|| format!("failed to read the image `{image}`"))?;
        return Ok((Pinned { repository: repository.to_owned(), digest }, None));
    }
    let (repository, tag) = registry::split(image);
    let tag = tag.unwrap_or("latest");
    let client = registry::Client::connect(repository, access, log).map_err(Failure::from)?;
    let digest = client.head(tag).await.map_err(Failure::from)?;
    let digest = digest.with_context(|| format!("tag `{tag}` is not in `{repository}`"))?;
    Ok((Pinned { repository: repository.to_owned(), digest }, Some(tag.to_owned())))
}

/// Reads the kubeconfig that a person would expect; without one, the pod's own credentials count.
fn kubeconfig(args: &Args, surroundings: &Surroundings) -> anyhow::Result<Option<SecretString>> {
    let vars = &surroundings.vars;
    let named = args.kubeconfig.clone().or_else(|| vars.get("KUBECONFIG").map(PathBuf::from));
    let usual = vars.get("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let Some(path) = named.or_else(|| usual.filter(|path| path.exists())) else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("failed to read the kubeconfig `{}`", path.display()))?;
    Ok(Some(SecretString::from(text)))
}

fn reporter(surroundings: &Surroundings) -> Box<dyn Reporter> {
    if surroundings.stderr_is_terminal {
        Box::new(Live::start())
    } else {
        Box::new(Lines::to(surroundings.log.clone()))
    }
}

/// A last line that moves, under lines that stay.
struct Live {
    bar: ProgressBar,
}

impl Live {
    fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }
}

impl Reporter for Live {
    fn line(&self, text: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.println(format!("{seconds:>5.1}s  {text}"));
    }

    fn look(&self, progress: &Progress) {
        self.bar.set_message(progress.to_string());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
