//! The options that say how a rollout goes, the same for `roll`, which does it, and for `plan`, which
//! only says what it would do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::concourse::Build;
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::image::Pinned;
use crate::probe::shown;
use crate::rollout::order::canary::{Share, seconds};
use crate::rollout::order::{Canary, Probe};
use crate::rollout::{Drain, OnFailure, Order, Policy, order, preflight};

/// How a rollout goes.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Rollout")]
pub struct OrderArgs {
    /// The container to change, when the pod has several; may be given more than once
    #[arg(short, long, value_name = "NAME")]
    pub container: Vec<String>,
    /// How many seconds the new pods may take to be ready; 0 does not wait
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    wait: u64,
    /// How the old pods leave their Services
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    drain: Way,
    /// How many seconds an old pod lives on after its last endpoint is gone
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    drain_wait: u64,
    /// A preflight rule that may not stop it (`D401`); may be repeated
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Let warnings stop it too
    #[arg(long)]
    strict: bool,
    /// What happens to the new image when its pods do not come up
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_failure: Fallback,
    /// How many seconds the finished rollout must hold still: no restart, no pod that loses readiness
    #[arg(long, default_value_t = order::SETTLE.as_secs(), value_name = "SECONDS")]
    settle: u64,
    /// How many new pods go first and are watched: a number, or a share like `10%`
    #[arg(long, value_name = "PODS")]
    canary: Option<Share>,
    /// For how long the canary is watched: seconds, or `90s`, `2m`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds, requires = "canary")]
    canary_hold: Duration,
    /// An address to ask all the while; requests that fail fail the rollout
    #[arg(long, value_name = "URL")]
    probe: Option<String>,
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

impl OrderArgs {
    /// Returns the order for `image`.
    ///
    /// # Errors
    ///
    /// When `--allow` names a rule that there is not, or an option says something impossible.
    pub fn order(&self, image: Pinned, tag: Option<String>) -> Result<Order, Failure> {
        let order = Order {
            image,
            images: BTreeMap::new(),
            tag,
            wait: (self.wait > 0).then(|| Duration::from_secs(self.wait)),
            drain: self.drain.into(),
            drain_wait: Duration::from_secs(self.drain_wait),
            build: Build::default(),
            policy: Policy { allow: self.allowed()?, strict: self.strict, ..Policy::default() },
            on_failure: self.on_failure.into(),
            settle: Duration::from_secs(self.settle),
            canary: self.canary.map(|pods| Canary { pods, hold: self.canary_hold, checks: None }),
            probe: self.probe.clone().map(Probe::of),
        };
        order.inspect()?;
        Ok(order)
    }

    /// Returns what was asked for beyond the defaults, as somebody would type it again.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = String::new();
        let mut add = |option: &str, value: &dyn std::fmt::Display| {
            options.push_str(&format!(" --{option} {value}"));
        };
        self.container.iter().for_each(|container| add("container", container));
        let usual = Usual::parse_from([""]).order;
        for (option, value, usual) in [
            ("wait", self.wait, usual.wait),
            ("drain-wait", self.drain_wait, usual.drain_wait),
            ("settle", self.settle, usual.settle),
        ] {
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
        if let Some(pods) = self.canary {
            add("canary", &pods);
            if self.canary_hold != usual.canary_hold {
                add("canary-hold", &self.canary_hold.as_secs());
            }
        }
        // A shell must not read what is in an address, and nobody the credentials in it.
        self.probe.iter().for_each(|url| add("probe", &format!("'{}'", shown(url))));
        self.allow.iter().for_each(|rule| add("allow", rule));
        if self.strict {
            options.push_str(" --strict");
        }
        options
    }

    /// Checks what can be wrong before anybody is asked anything.
    ///
    /// # Errors
    ///
    /// When `--allow` names a rule that there is not.
    pub fn allowed(&self) -> Result<BTreeSet<String>, Failure> {
        preflight::allowed(&self.allow).map_err(|unknown| UnknownRule(unknown).into())
    }
}

/// The options alone, to know their defaults.
#[derive(clap::Parser)]
struct Usual {
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Debug, thiserror::Error)]
#[error("`--allow`: there is no rule `{}`", .0.id)]
struct UnknownRule(preflight::Unknown);

impl Explain for UnknownRule {
    fn hint(&self) -> Option<String> {
        Some(self.0.hint())
    }

    fn code(&self) -> Code {
        Code::Usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_that_were_typed_and_say_the_same_again() {
        let typed = |line: &str| Usual::parse_from(line.split(' ')).order.options();
        assert_eq!(typed("x"), "");
        let all = " --container app --wait 60 --drain-wait 5 --settle 0 --drain rolling --on-failure leave \
                   --allow D401 --strict";
        assert_eq!(typed(&format!("x{all}")), all);
        let watched = typed("x --canary 10% --canary-hold 2m --probe https://bob:canary@shop/?a=1&b=2");
        assert!(watched.starts_with(" --canary 10% --canary-hold 120 --probe 'https://"), "{watched}");
        assert!(!watched.contains("bob:canary"), "{watched}");
    }

    #[test]
    fn an_unknown_rule_is_told_with_the_nearest() {
        let error = UnknownRule(preflight::allowed(&["d410".to_owned()]).unwrap_err());
        assert_eq!(error.to_string(), "`--allow`: there is no rule `d410`");
        assert_eq!(error.hint().unwrap(), "the nearest are `D401`, `D402`, `D403`");
        assert_eq!(error.code(), Code::Usage);
    }
}
