//! The versioned endpoints: one file per group.

mod images;
mod intake;
mod jobs;
mod process;
mod stats;
mod uploads;

use axum::Router;

use super::App;

pub(super) fn routes() -> Router<App> {
    Router::new().merge(images::routes()).merge(jobs::routes()).merge(process::routes()).merge(stats::routes()).merge(uploads::routes())
}
