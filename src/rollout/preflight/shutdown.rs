//! Rules about how old pods end (D).

use super::facts::{Facts, Findings, Rule};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[];

/// Lets each rule look.
pub(super) fn inspect(_facts: &Facts<'_>, _findings: &mut Findings) {}

#[cfg(test)]
pub(super) mod tests;
