//! The lab.

pub mod app;
pub mod image;
