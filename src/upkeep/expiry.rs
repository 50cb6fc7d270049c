//! What is over: uploads whose time has come are deleted as a client would delete them, and jobs and batches that ended long ago are forgotten.
//!
//! Both in small steps, found by index. Nothing is kept in memory between two looks, so a restart changes nothing but when the next look is.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    catalog::Catalog,
    clock::Clock,
    erase::{Eraser, Target},
    telemetry::error_chain,
};

/// How often uploads are looked for: what is over stays so much longer at most, unless many are over at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Uploads found in one read, then deleted one by one, each in a transaction of its own.
const UPLOADS_AT_ONCE: u32 = 100;
/// After a failure.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often the history is looked through.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Rows of past jobs or batches that go in one transaction.
const ROWS_AT_ONCE: u32 = 500;
/// Pause after each step, so that requests come first.
const PAUSE: Duration = Duration::from_millis(10);

/// Ends what is over.
pub struct Expiry {
    /// Rows.
    pub catalog: Arc<dyn Catalog>,
    /// Deletes.
    pub eraser: Eraser,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How long a job is remembered after it ended, once its image is gone, and a batch in any case.
    pub history: Duration,
}

impl Expiry {
    /// Goes on for as long as it is polled.
    ///
    /// # Cancel safety
    /// May be dropped at any time; what is not done is found again.
    pub(super) async fn run(&self) {
        let expiring = async {
            loop {
                let pause = if self.expire().await.is_some() { LOOK_EVERY } else { LOOK_AGAIN_AFTER };
                tokio::time::sleep(pause).await;
            }
        };
        let forgetting = async {
            let mut tick = tokio::time::interval(FORGET_EVERY);
            loop {
                tick.tick().await;
                self.forget().await;
            }
        };
        tokio::join!(expiring, forgetting);
    }

    /// Deletes all uploads whose time is over; returns how many, or none if one could not be.
    pub async fn expire(&self) -> Option<u64> {
        let mut deleted = 0;
        loop {
            let over = match self.catalog.expired_uploads(self.clock.now(), UPLOADS_AT_ONCE).await {
                Ok(over) => over,
                Err(error) => {
                    warn!(error = %error_chain(&error), "could not look for uploads whose time is over");
                    return None;
                }
            };
            for upload in &over {
                // A client may have been first.
                if let Err(error) = self.eraser.erase(Target::Upload(*upload)).await {
                    warn!(upload.id = %upload, error = %error_chain(&error), "could not delete an upload whose time is over, trying again");
                    return None;
                }
                deleted += 1;
            }
            if over.len() < UPLOADS_AT_ONCE as usize {
                return Some(deleted);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Forgets past jobs and batches that ended longer ago than is kept; returns how many rows that were.
    pub async fn forget(&self) -> u64 {
        self.forget_all(Past::Jobs).await + self.forget_all(Past::Batches).await
    }

    /// Steps until one finds less than it might have taken.
    async fn forget_all(&self, past: Past) -> u64 {
        let (before, mut forgotten) = (self.clock.now().before(self.history), 0);
        loop {
            let gone = match past {
                Past::Jobs => self.catalog.purge_past_jobs(before, ROWS_AT_ONCE).await,
                Past::Batches => self.catalog.purge_batches(before, ROWS_AT_ONCE).await,
            };
            match gone {
                Ok(gone) => {
                    forgotten += gone;
                    if gone < u64::from(ROWS_AT_ONCE) {
                        return forgotten;
                    }
                }
                Err(error) => {
                    warn!(error = %error_chain(&error), "could not forget old {past:?}");
                    return forgotten;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What is remembered for a while.
#[derive(Clone, Copy, Debug)]
enum Past {
    Jobs,
    Batches,
}
