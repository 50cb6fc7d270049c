//! Queries of routes that take none: what would be ignored in silence is refused.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::domain::Code;

use super::problem::Problem;

/// The request has no query, or an empty one.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query().filter(|query| !query.is_empty()) {
            None => Ok(Self),
            Some(query) => {
                // At most 64 characters of a client's text go into an error message.
                let name: String = query.split(['=', '&']).next().unwrap_or(query).chars().take(64).collect();
                Err(Problem::new(Code::BadOption, format!("unknown query parameter {name:?}, this path takes none")))
            }
        }
    }
}
