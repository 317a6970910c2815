//! What to do: which way the old pods leave, what is written, and the one next step. Pure.

pub mod canary;
pub mod drain;
pub mod labels;
pub mod pace;
pub mod patch;
pub mod settle;
pub mod step;
pub mod stuck;
