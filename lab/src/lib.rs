//! The lab.

pub mod app;
pub mod cluster;
pub mod image;
pub mod load;
