//! The service from outside: one binary, a module per promise, the real server on a free port.

mod config;
mod crash;
mod deliver;
mod disk_faults;
mod disk_room;
mod disk_rot;
mod edge_policy;
mod edges;
mod jobs;
mod multipart_cases;
mod openapi;
mod prefixes;
mod process;
mod refusals;
mod results;
mod strace_order;
mod support;
mod tidy;
mod upload;
