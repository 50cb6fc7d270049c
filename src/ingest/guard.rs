//! The request body and its driver: pulls bytes, counts them, hands them to the parser, and gives parts and their data out.
//!
//! It must not know: fields' meaning, files, disks. Invariants: at most one item of the body is held, and the next is asked for only when
//! the parser has used all of it; the request's bytes are counted before they are looked at; a body that never waits does not keep its
//! thread from other tasks.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::{
    IngestError,
    parser::{Event, Fault, PartHead, PushParser},
};
use crate::domain::{Code, Refusal};

/// Why a body ended before its end; chosen by who reads the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client went away.
    #[error("client went away")]
    Aborted,
    /// No byte came for too long.
    #[error("no data for too long")]
    TooSlow,
}

/// A request body. Functions here borrow it, so that whatever happens the caller still holds what was not read and can drain it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

pub(super) fn too_large_request(limit: u64, received: u64) -> IngestError {
    Refusal::over(Code::TooLarge, format!("request body is larger than {limit} bytes"), limit, Some(received)).into()
}

fn refusal(fault: Fault) -> IngestError {
    let refusal = Refusal::new(Code::MalformedMultipart, format!("multipart framing is broken: {fault}"));
    Refusal { limit: fault.limit(), ..refusal }.into()
}

/// The parts of a body, one after another.
pub(super) struct Parts<'r> {
    body: &'r mut BodyStream,
    parser: PushParser,
    /// Taken from the body, not yet used.
    input: Bytes,
    max_bytes: u64,
    received_bytes: u64,
    /// A part has begun and not ended: the next events are its data.
    in_part: bool,
    ended: bool,
}

impl<'r> Parts<'r> {
    /// Reads a body of at most `max_bytes`, framing included; what was not asked for stays in the body.
    pub(super) fn new(body: &'r mut BodyStream, boundary: &str, max_bytes: u64) -> Self {
        Self { body, parser: PushParser::new(boundary), input: Bytes::new(), max_bytes, received_bytes: 0, in_part: false, ended: false }
    }

    /// The next part, past whatever is left of the one before; `None` when the form is whole and the body was read to its end.
    ///
    /// # Errors
    /// Broken framing, a failed body, or one over the limit; the request cannot be read on after that.
    ///
    /// # Cancel safety
    /// Nothing is lost; calling again goes on.
    pub(super) async fn next(&mut self) -> Result<Option<PartHead>, IngestError> {
        while let Some(event) = self.event().await? {
            if let Event::Part(head) = event {
                self.in_part = true;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// The next bytes of the part, never empty; `None` at its end and until [`Parts::next`] gives another.
    ///
    /// # Errors
    /// As [`Parts::next`].
    ///
    /// # Cancel safety
    /// Nothing is lost; calling again goes on.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, IngestError> {
        if !self.in_part {
            return Ok(None);
        }
        if let Some(Event::Data(bytes)) = self.event().await? {
            return Ok(Some(bytes));
        }
        // The part's end: behind its head the parser says nothing else, and an unfinished body is an error.
        self.in_part = false;
        Ok(None)
    }

    /// What the body says next; `None` at the end of a whole form.
    async fn event(&mut self) -> Result<Option<Event>, IngestError> {
        loop {
            if let Some(event) = self.parser.next(&mut self.input).map_err(refusal)? {
                // A thousand parts in one item are a thousand turns.
                tokio::task::coop::consume_budget().await;
                return Ok(Some(event));
            }
            if self.ended {
                return self.parser.finish().map(|()| None).map_err(refusal);
            }
            match self.body.next().await {
                None => self.ended = true,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(bytes)) => {
                    self.received_bytes = self.received_bytes.saturating_add(bytes.len() as u64);
                    if self.received_bytes > self.max_bytes {
                        return Err(too_large_request(self.max_bytes, self.received_bytes));
                    }
                    self.input = bytes;
                }
            }
            // An endless row of items, empty ones too, must not hold the thread.
            tokio::task::coop::consume_budget().await;
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
