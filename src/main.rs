//! pixmill: flags to configuration to service.

fn main() {}
