use crate::rollout::preflight::tests::Case;

pub(in crate::rollout::preflight) const CASES: &[Case] = &[];
