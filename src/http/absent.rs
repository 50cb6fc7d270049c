//! What an id that is not there is answered with: 410 if it was deleted, 404 if there never was such a thing.

use crate::{catalog::Subject, domain::Code};

use super::{App, problem::Problem};

/// The problem of a subject that is not there.
pub(crate) async fn absent(site: &App, subject: Subject) -> Problem {
    let what = match subject {
        Subject::Upload(_) => "upload",
        Subject::Image(_) => "image",
        Subject::Job(_) => "job",
    };
    match site.catalog.was_deleted(subject).await {
        Ok(true) => gone(what),
        Ok(false) => Problem::not_found(what),
        Err(error) => error.into(),
    }
}

/// It was here once.
pub(crate) fn gone(what: &str) -> Problem {
    Problem::new(Code::Gone, format!("the {what} was deleted"))
}
