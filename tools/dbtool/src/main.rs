//! dbtool.
fn main() {}
