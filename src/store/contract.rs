//! The contract of a blob store: what every back end must keep, as tests any of them can run.
