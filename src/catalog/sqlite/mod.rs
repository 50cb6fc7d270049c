//! The embedded catalog: SQLite through sqlx.
