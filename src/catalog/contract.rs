//! The contract of a catalog: what every back end must keep, as tests any of them can run.
