//! The options that say when a rollout may start, and which rules may not stop it.

use std::collections::BTreeSet;

use super::super::mapping::{read, typed};
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::probe::shown;
use crate::rollout::order::{Freeze, Window};
use crate::rollout::{Policy, preflight};

/// When it may start.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Rollout")]
pub struct StartArgs {
    /// A preflight rule that may not stop it (`D401`); may be repeated
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Let warnings stop it too
    #[arg(long)]
    strict: bool,
    /// A stretch of the week in which it may start: `days: [mon, tue], start: 09:00, stop: 17:00,
    /// location: Europe/Zurich`, any of them; may be repeated
    #[arg(long, value_name = "WINDOW")]
    window: Vec<String>,
    /// Alerts that keep it from starting while they fire: `prometheus: http://prometheus:9090, alerts: ^Slo`
    #[arg(long, value_name = "FREEZE")]
    freeze: Option<String>,
}

impl StartArgs {
    /// Reads what may stop it and when it may start.
    ///
    /// # Errors
    ///
    /// When an option says something that there is not.
    pub fn policy(&self) -> Result<Policy, Failure> {
        Ok(Policy {
            allow: self.allowed()?,
            strict: self.strict,
            windows: self.windows()?,
            freeze: self.freeze()?,
        })
    }

    fn allowed(&self) -> Result<BTreeSet<String>, Failure> {
        preflight::allowed(&self.allow).map_err(|unknown| UnknownRule(unknown).into())
    }

    fn windows(&self) -> Result<Vec<Window>, Failure> {
        let windows = self.window.iter().map(|text| read("--window", text));
        Ok(windows.collect::<Result<_, _>>()?)
    }

    fn freeze(&self) -> Result<Option<Freeze>, Failure> {
        Ok(self.freeze.as_deref().map(|text| read("--freeze", text)).transpose()?)
    }

    /// Returns what was typed, for somebody to type it again. Nobody gets the credentials of an address.
    pub(super) fn options(&self) -> String {
        let mut options = String::new();
        self.allow.iter().for_each(|rule| options.push_str(&typed("allow", rule)));
        if self.strict {
            options.push_str(" --strict");
        }
        self.window.iter().for_each(|text| options.push_str(&typed("window", text.trim())));
        if let Ok(Some(Freeze { prometheus, alerts })) = self.freeze() {
            let freeze = serde_json::json!({ "prometheus": shown(&prometheus), "alerts": alerts.as_str() });
            options.push_str(&typed("freeze", freeze));
        }
        options
    }
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
    fn an_unknown_rule_is_told_with_the_nearest() {
        let error = UnknownRule(preflight::allowed(&["d410".to_owned()]).unwrap_err());
        assert_eq!(error.to_string(), "`--allow`: there is no rule `d410`");
        assert_eq!(error.hint().unwrap(), "the nearest are `D401`, `D402`, `D403`");
        assert_eq!(error.code(), Code::Usage);
    }
}
