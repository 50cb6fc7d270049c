//! What the process does about signals: SIGTERM and SIGINT stop the service, SIGHUP never does.
//!
//! Knows no other room. Invariant: from [`Signals::listen`] on none of them ends the process by itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// To be called before the first line is printed: whoever reads it may signal at once.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Until the service is to stop. `hangup_is_heard` says whether another part takes up new files on SIGHUP; where none does, that is logged.
    ///
    /// # Cancel safety
    /// A signal may be lost that came at the same moment; the next is heard.
    pub async fn until_stop(mut self, hangup_is_heard: bool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => {
                    if !hangup_is_heard {
                        tracing::info!("SIGHUP is ignored: it takes up a new certificate, and TLS does not end here");
                    }
                }
            }
        }
    }
}
