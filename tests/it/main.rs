//! The service from outside: one binary, a module per promise, the real server on a free port.

mod config;
mod crash;
mod deliver;
mod edge_policy;
mod edges;
mod erase;
mod framing;
mod http1;
mod jobs;
mod listeners;
mod lists;
mod memory;
mod multipart_cases;
mod openapi;
mod prefixes;
mod process;
mod refusals;
mod repair;
mod results;
mod slow;
mod support;
mod tidy;
mod upload;
mod wire_formats;
