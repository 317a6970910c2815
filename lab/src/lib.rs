//! The lab.

pub mod app;
pub mod image;
pub mod load;
