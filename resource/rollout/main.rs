//! The `rollway` binary.
fn main() {}
