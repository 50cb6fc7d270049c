//! Between plain values and columns: ids, words, times and sizes. Knows no table.
//!
//! What cannot be read back is an error that names the column, never a panic and never a guess.

use std::{str::FromStr, time::Duration};

use sqlx::{Decode, Row as _, Sqlite, Type, sqlite::SqliteRow};
use uuid::Uuid;

use super::super::CatalogError;
use crate::domain::{Origin, TaskFailure, Timestamp, TraceId};

/// The result of reading a column.
pub(super) type Read<T> = Result<T, CatalogError>;

/// An id as it is bound.
pub(super) fn id(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// A size as it is bound. Nothing real is above `i64::MAX` bytes.
pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A duration as it is bound: nanoseconds, so that what is read is what was measured.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The error of a row that makes no sense.
pub(super) fn nonsense(text: impl Into<String>) -> CatalogError {
    CatalogError::Backend(text.into().into())
}

/// Reads columns of one row by name.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r>(pub(super) &'r SqliteRow);

impl<'r> Columns<'r> {
    /// A value as SQLite holds it; `Option` where it may be NULL.
    pub(super) fn plain<T: Decode<'r, Sqlite> + Type<Sqlite>>(self, name: &str) -> Read<T> {
        Ok(self.0.try_get(name)?)
    }

    /// An id that may be NULL.
    pub(super) fn maybe_uuid(self, name: &str) -> Read<Option<Uuid>> {
        let bytes: Option<&[u8]> = self.plain(name)?;
        bytes.map(Uuid::from_slice).transpose().map_err(|e| nonsense(format!("column {name}: {e}")))
    }

    /// An id.
    pub(super) fn uuid(self, name: &str) -> Read<Uuid> {
        self.maybe_uuid(name)?.ok_or_else(|| nonsense(format!("column {name} is NULL")))
    }

    /// A SHA-256.
    pub(super) fn digest(self, name: &str) -> Read<[u8; 32]> {
        let bytes: &[u8] = self.plain(name)?;
        bytes.try_into().map_err(|_| nonsense(format!("column {name} has {} bytes, a digest has 32", bytes.len())))
    }

    /// A word of the domain.
    pub(super) fn word<T: FromStr<Err = String>>(self, name: &str) -> Read<T> {
        let text: &str = self.plain(name)?;
        text.parse().map_err(|e| nonsense(format!("column {name}: {e}")))
    }

    /// A word of the domain, or NULL.
    pub(super) fn maybe_word<T: FromStr<Err = String>>(self, name: &str) -> Read<Option<T>> {
        let text: Option<&str> = self.plain(name)?;
        text.map(|text| text.parse().map_err(|e| nonsense(format!("column {name}: {e}")))).transpose()
    }

    /// A number that fits `T`.
    pub(super) fn number<T: TryFrom<i64>>(self, name: &str) -> Read<T> {
        self.maybe_number(name)?.ok_or_else(|| nonsense(format!("column {name} is NULL")))
    }

    /// A number that fits `T`, or NULL.
    pub(super) fn maybe_number<T: TryFrom<i64>>(self, name: &str) -> Read<Option<T>> {
        let value: Option<i64> = self.plain(name)?;
        let fit = |value| T::try_from(value).map_err(|_| nonsense(format!("column {name} holds {value}, which is out of range")));
        value.map(fit).transpose()
    }

    /// A point in time.
    pub(super) fn time(self, name: &str) -> Read<Timestamp> {
        Ok(Timestamp::from_millis(self.plain(name)?))
    }

    /// A point in time, or NULL.
    pub(super) fn maybe_time(self, name: &str) -> Read<Option<Timestamp>> {
        Ok(self.plain::<Option<i64>>(name)?.map(Timestamp::from_millis))
    }

    /// A duration, or NULL.
    pub(super) fn maybe_duration(self, name: &str) -> Read<Option<Duration>> {
        Ok(self.maybe_number(name)?.map(Duration::from_nanos))
    }

    /// Where a job came from, from its two columns, or none.
    pub(super) fn origin(self, request: &str, trace: &str) -> Read<Option<Origin>> {
        let Some(request) = self.maybe_uuid(request)? else { return Ok(None) };
        let trace = self.maybe_uuid(trace)?.and_then(|bytes| TraceId::from_bytes(bytes.into_bytes()));
        Ok(Some(Origin { request, trace }))
    }

    /// A failure from its two columns, or none.
    pub(super) fn failure(self, code: &str, detail: &str) -> Read<Option<TaskFailure>> {
        if self.plain::<Option<&str>>(code)?.is_none() {
            return Ok(None);
        }
        Ok(Some(TaskFailure { code: self.word(code)?, detail: self.plain(detail)? }))
    }
}
