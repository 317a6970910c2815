//! Where colour is shown: Concourse's page shows it although stderr is no terminal there; a pipe
//! anywhere else gets none; `NO_COLOR` always wins.

use std::io::Write;

use anstream::stream::{AsLockedWrite, IsTerminal, RawStream};
use anstream::{AutoStream, ColorChoice};

use crate::concourse::metadata::{Variables, is_concourse};

/// Returns `raw` behind a filter that passes colour only where it is shown.
pub fn stream<S>(raw: S, vars: &Variables) -> impl Write + Send + 'static
where
    S: RawStream + AsLockedWrite + IsTerminal + Write + Send + 'static,
{
    let choice = if is_shown(vars, raw.is_terminal()) { ColorChoice::Always } else { ColorChoice::Never };
    AutoStream::new(raw, choice)
}

/// Returns whether colour is shown, given the environment and whether the stream is a terminal.
#[must_use]
pub fn is_shown(vars: &Variables, is_terminal: bool) -> bool {
    let is_set = |name: &str| vars.get(name).is_some_and(|value| !value.is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && vars.get("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let is_dumb = vars.get("TERM").is_some_and(|term| term == "dumb");
    is_concourse(vars) || (is_terminal && !is_dumb)
}

/// Returns whether a display may be drawn in place: only on a terminal, and not where plain text was
/// asked for.
#[must_use]
pub fn is_live(vars: &Variables, is_terminal: bool) -> bool {
    is_terminal && !is_concourse(vars) && is_shown(vars, is_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_shown_in_concourse_and_on_terminals_unless_refused() {
        for (vars, is_terminal, shown) in [
            (&[][..], false, false),
            (&[][..], true, true),
            (&[("TERM", "dumb")][..], true, false),
            (&[("ATC_EXTERNAL_URL", "https://ci")][..], false, true),
            (&[("BUILD_NAME", "3"), ("NO_COLOR", "1")][..], false, false),
            (&[("NO_COLOR", "1")][..], true, false),
            (&[("NO_COLOR", "")][..], true, true),
            (&[("CLICOLOR_FORCE", "1")][..], false, true),
        ] {
            let map = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(is_shown(&map, is_terminal), shown, "{vars:?} {is_terminal}");
        }
    }

    #[test]
    fn display_is_drawn_in_place_only_on_a_terminal_that_may_be_coloured() {
        let vars = |name: &str| [(name.to_owned(), "1".to_owned())].into();
        assert!(is_live(&Variables::default(), true));
        assert!(!is_live(&Variables::default(), false));
        assert!(!is_live(&vars("NO_COLOR"), true));
        assert!(!is_live(&vars("CLICOLOR_FORCE"), false));
        assert!(!is_live(&vars("BUILD_NAME"), true));
    }
}
