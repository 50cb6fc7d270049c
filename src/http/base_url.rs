//! Where absolute URLs begin: `--public-url`, else under which address the request came, as far as that is believed (`edge.rs`).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::App;

/// Scheme, authority and path prefix, without a slash at the end.
pub(crate) struct BaseUrl(pub(crate) String);

impl FromRequestParts<App> for BaseUrl {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &App) -> Result<Self, Infallible> {
        Ok(Self(site.edge.base_url(parts)))
    }
}
