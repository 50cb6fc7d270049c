//! The versioned endpoints: one file per group.

mod erase;
mod images;
mod intake;
mod jobs;
mod lists;
mod process;
mod stats;
mod uploads;

use axum::Router;

use super::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .merge(erase::routes())
        .merge(images::routes())
        .merge(jobs::routes())
        .merge(lists::routes())
        .merge(process::routes())
        .merge(stats::routes())
        .merge(uploads::routes())
}
