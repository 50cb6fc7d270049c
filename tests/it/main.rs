//! The service from outside: one binary, a module per promise, the real server on a free port.

mod config;
mod crash;
mod deliver;
mod edges;
mod framing;
mod jobs;
mod listeners;
mod multipart_cases;
mod prefixes;
mod process;
mod refusals;
mod results;
mod slow;
mod support;
mod tidy;
mod upload;
