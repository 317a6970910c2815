//! Rules about room, volumes and references (C) and autoscalers (A).

use super::facts::{Facts, Findings, Rule};

pub mod nodes;
pub mod quantity;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[];

/// Lets each rule look.
pub(super) fn inspect(_facts: &Facts<'_>, _findings: &mut Findings) {}

#[cfg(test)]
pub(super) mod tests;
