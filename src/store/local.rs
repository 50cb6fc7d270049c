//! Blobs as files below one folder.

/// Blobs as files below one folder.
#[derive(Debug)]
pub struct LocalStore;
