//! The lab.

pub mod app;
pub mod cluster;
pub mod demo;
pub mod image;
pub mod load;
