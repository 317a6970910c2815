//! The options that say how a rollout goes, the same for `roll`, which does it, and for `plan`, which
//! only says what it would do.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Parser, ValueEnum, value_parser};

use self::start::StartArgs;
use self::watch::WatchArgs;
use super::access::resolve;
use super::mapping::typed;
use crate::concourse::Build;
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::log::Log;
use crate::registry;
use crate::rollout::order::{Canary, Probe, Wrong};
use crate::rollout::{Drain, OnFailure, Order, Policy, order};

pub mod start;
pub mod watch;

/// How a rollout goes.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Rollout")]
pub struct OrderArgs {
    /// The container to change, when the pod has several; may be given more than once
    #[arg(short, long, value_name = "NAME")]
    pub container: Vec<String>,
    /// The image of another container of the pod, which is rolled with it; may be repeated
    #[arg(long, value_name = "CONTAINER=IMAGE", requires = "container")]
    container_image: Vec<Other>,
    /// How many seconds the new pods may take to be ready, 180 where it is not given, and sooner then for pods that run and are never ready; 0 does not wait
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=order::LONGEST_WAIT))]
    wait: Option<u64>,
    /// How the old pods leave their Services
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    drain: Way,
    /// How many seconds an old pod lives on after its last endpoint is gone
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=order::LONGEST_DRAIN_WAIT))]
    drain_wait: u64,
    /// What happens to the new image when its pods do not come up
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_failure: Fallback,
    /// How many seconds the finished rollout must hold still: no restart, no pod that loses readiness
    #[arg(long, default_value_t = order::SETTLE.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=order::LONGEST_SETTLE))]
    settle: u64,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// What was asked for but the image, read and found to make sense.
pub struct Terms<'a> {
    args: &'a OrderArgs,
    policy: Policy,
    canary: Option<Canary>,
    probe: Option<Probe>,
}

/// The drains of the resource, as the command line spells them.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Way {
    /// The safest that pods, credentials and capacity allow
    #[default]
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

/// What becomes of a rollout that failed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Fallback {
    /// The image from before comes back
    #[default]
    Rollback,
    /// It stays, for somebody to look at
    Leave,
}

impl From<Fallback> for OnFailure {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Rollback => Self::Rollback,
            Fallback::Leave => Self::Leave,
        }
    }
}

impl Terms<'_> {
    /// Returns the order for `image`, and for the images of the other containers, whose digests the
    /// registry is asked for where they are not in the argument.
    ///
    /// # Errors
    ///
    /// When there is no such image.
    pub async fn order(self, image: &str, access: &registry::Access, log: &Log) -> anyhow::Result<Order> {
        let (pinned, tag) = resolve(image, access, log).await?;
        let mut images = BTreeMap::new();
        for Other { container, image } in &self.args.container_image {
            images.insert(container.clone(), resolve(image, access, log).await?.0);
        }
        Ok(Order {
            image: pinned,
            images,
            tag,
            wait: self.args.patience(),
            said_wait: self.args.wait.map(Duration::from_secs),
            drain: self.args.drain.into(),
            drain_wait: Duration::from_secs(self.args.drain_wait),
            build: Build::default(),
            policy: self.policy,
            on_failure: self.args.on_failure.into(),
            settle: Duration::from_secs(self.args.settle),
            canary: self.canary,
            probe: self.probe,
        })
    }
}

impl OrderArgs {
    /// Reads the options, before anybody is asked anything.
    ///
    /// # Errors
    ///
    /// When one of them says something that there is not, or they do not go together.
    pub fn terms(&self) -> Result<Terms<'_>, Failure> {
        let (policy, canary, probe) = (self.start.policy()?, self.watch.canary()?, self.watch.probe());
        order::inspect(self.patience(), canary.as_ref(), probe.as_ref())
            .map_err(|wrong| Impossible(wrong.renamed(watch::option)))?;
        Ok(Terms { args: self, policy, canary, probe })
    }

    /// Returns how long the new pods may take, where anybody waits for them.
    fn patience(&self) -> Option<Duration> {
        Some(self.wait.map_or(order::WAIT, Duration::from_secs)).filter(|wait| !wait.is_zero())
    }

    /// Returns the containers to change, those with an image of their own last.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let mut containers = self.container.clone();
        for Other { container, .. } in &self.container_image {
            if !containers.contains(container) {
                containers.push(container.clone());
            }
        }
        containers
    }

    /// Returns what was asked for beyond the defaults, as somebody would type it again.
    #[must_use]
    pub fn options(&self, order: &Order) -> String {
        let mut options = String::new();
        let mut add = |option: &str, value: &dyn std::fmt::Display| {
            options.push_str(&typed(option, value));
        };
        self.container.iter().for_each(|container| add("container", container));
        for (container, image) in &order.images {
            add("container-image", &format!("{container}={image}"));
        }
        if let Some(wait) = self.wait {
            add("wait", &wait);
        }
        let usual = Usual::parse_from([""]).order;
        for (option, value, usual) in
            [("drain-wait", self.drain_wait, usual.drain_wait), ("settle", self.settle, usual.settle)]
        {
            if value != usual {
                add(option, &value);
            }
        }
        let named = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        if !matches!(self.drain, Way::Auto) {
            add("drain", &named(self.drain.to_possible_value()));
        }
        if !matches!(self.on_failure, Fallback::Rollback) {
            add("on-failure", &named(self.on_failure.to_possible_value()));
        }
        options.push_str(&self.watch.options(&usual.watch));
        options.push_str(&self.start.options());
        options
    }
}

/// The options alone, to know their defaults.
#[derive(clap::Parser)]
struct Usual {
    #[command(flatten)]
    order: OrderArgs,
}

/// The image of another container.
#[derive(Clone, Debug)]
struct Other {
    container: String,
    image: String,
}

impl std::str::FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((container, image)) if !container.is_empty() && !image.is_empty() => {
                Ok(Self { container: container.to_owned(), image: image.to_owned() })
            }
            _ => Err("write it as `CONTAINER=IMAGE`".to_owned()),
        }
    }
}

/// Options that do not go together.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Impossible(Wrong);

impl Explain for Impossible {
    fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    fn code(&self) -> Code {
        Code::Usage
    }
}

#[cfg(test)]
mod tests;
