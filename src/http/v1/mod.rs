//! The versioned endpoints: one file per group.

mod batches;
mod bulk;
mod erase;
mod events;
mod explain;
mod history;
mod images;
mod intake;
mod jobs;
mod lists;
mod process;
mod stats;
mod uploads;
mod variants;

use axum::Router;

use super::App;

pub(crate) use intake::query_pairs;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .merge(batches::routes())
        .merge(bulk::routes())
        .merge(erase::routes())
        .merge(events::routes())
        .merge(explain::routes())
        .merge(history::routes())
        .merge(images::routes())
        .merge(jobs::routes())
        .merge(lists::routes())
        .merge(process::routes())
        .merge(stats::routes())
        .merge(uploads::routes())
        .merge(variants::routes())
}
