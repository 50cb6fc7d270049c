//! Health and readiness.

use serde::Serialize;
use utoipa::ToSchema;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(examples("ok"))]
    pub(crate) status: &'static str,
}

/// Whether work is taken, and what stands in its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready` or `not ready`.
    #[schema(examples("ready"))]
    pub(crate) status: &'static str,
    pub(crate) checks: Checks,
}

/// One by one; the service is ready when all are true.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Checks {
    /// It is not stopping.
    pub(crate) serving: bool,
    /// The pool has a free core, or ended work lately.
    pub(crate) pool: bool,
    /// The disk has more than its reserve.
    pub(crate) disk: bool,
    /// The queue is below its limit.
    pub(crate) queue: bool,
    /// The catalog can be written.
    pub(crate) catalog: bool,
}

impl Checks {
    /// Whether all of them are well.
    pub(crate) const fn all(self) -> bool {
        self.serving && self.pool && self.disk && self.queue && self.catalog
    }
}
