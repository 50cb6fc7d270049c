//! Group commit: one task owns the only connection that writes.
//!
//! Knows nothing of what commands do. Whatever waits when the writer is free goes into one transaction, each command
//! behind its own savepoint, so that one that fails takes back only its own work. The invariant: no command is answered
//! before the commit that holds it, and none is answered well when that commit failed.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{CatalogError, Totals},
    mark::Mark,
    totals::{self, Delta},
};

/// Most commands in one commit: bounds how long the first of them waits.
const BATCH: usize = 256;
/// Most commands that wait; beyond this callers wait to be let in.
const WAITING: usize = 1024;

/// What a command works on.
#[derive(Debug)]
pub(super) struct Session {
    /// The write connection, inside the open transaction.
    pub(super) conn: SqliteConnection,
    /// What the transaction changes in the totals; written once, before the commit.
    pub(super) delta: Delta,
    /// How far the catalog has come, where that is noted.
    mark: Option<Mark>,
}

/// The way to the writer task.
#[derive(Debug)]
pub(super) struct Writer {
    commands: mpsc::Sender<Box<dyn Command>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<SqliteConnection>>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the writer task. It ends when this is dropped or stopped.
    pub(super) fn start(conn: SqliteConnection) -> Self {
        let (commands, waiting) = mpsc::channel(WAITING);
        let (stop, commits) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let session = Session { conn, delta: Delta::default(), mark: None };
        let task = tokio::spawn(write_all(session, waiting, stop.clone(), Arc::clone(&commits)));
        Self { commands, stop, task: Mutex::new(Some(task)), commits }
    }

    /// Runs `work` inside the next commit and returns what it made, once that is durable.
    ///
    /// # Cancel safety
    /// When dropped, `work` either never runs or is committed all the same.
    pub(super) async fn run<R, W>(&self, work: W) -> Result<R, CatalogError>
    where
        R: Send + 'static,
        W: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, Result<R, CatalogError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(Waiting { work: Some(work), made: None, reply });
        self.commands.send(command).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Notes from now on how far the catalog has come, with what `begin` makes for the totals as they stand.
    pub(super) async fn keep_mark(
        &self,
        begin: impl FnOnce(&Totals) -> std::io::Result<Mark> + Send + 'static,
    ) -> Result<(), CatalogError> {
        self.run(move |session| {
            Box::pin(async move {
                let totals = totals::read(&mut session.conn).await?;
                // What this transaction holds beside is counted when it is committed.
                session.mark = Some(begin(&totals).map_err(|error| CatalogError::Disk(error.into()))?);
                Ok(())
            })
        })
        .await
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Lets what waits be written, then ends the task; gives its connection back the first time.
    pub(super) async fn stop(&self) -> Option<SqliteConnection> {
        self.stop.cancel();
        let task = self.task.lock().await.take()?;
        task.await.inspect_err(|e| tracing::error!(error = %e, "the catalog's writer died")).ok()
    }
}

fn closed() -> CatalogError {
    CatalogError::Backend("the catalog is closed".into())
}

/// A command, whatever it makes.
trait Command: Send {
    /// Nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Not run yet.
    fn is_fresh(&self) -> bool;
    /// Does the work; an error says that it failed and is to be taken back.
    fn run<'s>(&'s mut self, session: &'s mut Session) -> BoxFuture<'s, Result<(), Failed>>;
    /// Answers, with what was made, or with why it was not committed.
    fn answer(self: Box<Self>, lost: Option<&Failed>);
}

impl std::fmt::Debug for dyn Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

struct Waiting<R, W> {
    work: Option<W>,
    made: Option<Result<R, CatalogError>>,
    reply: oneshot::Sender<Result<R, CatalogError>>,
}

impl<R, W> Command for Waiting<R, W>
where
    R: Send + 'static,
    W: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, Result<R, CatalogError>> + Send + 'static,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn is_fresh(&self) -> bool {
        self.work.is_some()
    }

    fn run<'s>(&'s mut self, session: &'s mut Session) -> BoxFuture<'s, Result<(), Failed>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Ok(()) };
            let made = work(session).await;
            let failed = made.as_ref().err().map(Failed::of);
            self.made = Some(made);
            failed.map_or(Ok(()), Err)
        })
    }

    fn answer(self: Box<Self>, lost: Option<&Failed>) {
        let answer = match (lost, self.made) {
            // Its own failure is what caused the loss, or as true with it as without.
            (Some(_), Some(Err(own @ (CatalogError::Full(_) | CatalogError::Disk(_) | CatalogError::Backend(_))))) => Err(own),
            (Some(lost), _) => Err(lost.error()),
            (None, Some(made)) => made,
            (None, None) => Err(closed()),
        };
        // A caller that went away wants no answer.
        drop(self.reply.send(answer));
    }
}

/// Why a command or a whole commit failed, for those that share its fate.
#[derive(Clone, Debug)]
struct Failed {
    kind: FailedKind,
    text: String,
}

/// The kinds of [`CatalogError`] a commit can fail with.
#[derive(Clone, Copy, Debug)]
enum FailedKind {
    Full,
    Disk,
    Backend,
}

impl Failed {
    fn of(error: &CatalogError) -> Self {
        match error {
            CatalogError::Full(source) => Self { kind: FailedKind::Full, text: source.to_string() },
            CatalogError::Disk(source) => Self { kind: FailedKind::Disk, text: source.to_string() },
            CatalogError::Backend(source) => Self { kind: FailedKind::Backend, text: source.to_string() },
            other => Self { kind: FailedKind::Backend, text: other.to_string() },
        }
    }

    fn error(&self) -> CatalogError {
        let source = format!("the commit was lost: {}", self.text).into();
        match self.kind {
            FailedKind::Full => CatalogError::Full(source),
            FailedKind::Disk => CatalogError::Disk(source),
            FailedKind::Backend => CatalogError::Backend(source),
        }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::of(&error.into())
    }
}

async fn write_all(
    mut session: Session,
    mut waiting: mpsc::Receiver<Box<dyn Command>>,
    stop: CancellationToken,
    commits: Arc<AtomicU64>,
) -> SqliteConnection {
    let mut batch: Vec<Box<dyn Command>> = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut batch, BATCH) => if taken == 0 { return session.conn },
            () = stop.cancelled(), if !waiting.is_closed() => {
                // No new ones; those that wait are still written.
                waiting.close();
                continue;
            }
        }
        batch.retain(|command| !command.is_abandoned());
        while !batch.is_empty() {
            let lost = match session.write(&mut batch).await {
                Ok(()) => {
                    commits.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Err(lost) => {
                    // SQLite may have rolled back by itself (no room, I/O error); then this says so and is right.
                    drop(session.execute("ROLLBACK").await);
                    Some(lost)
                }
            };
            // Those after the one that broke the transaction have a transaction of their own coming, unless none can be had.
            let none_ran = batch.iter().all(|command| command.is_fresh());
            for command in batch.extract_if(.., |command| none_ran || !command.is_fresh()) {
                command.answer(lost.as_ref());
            }
        }
    }
}

impl Session {
    async fn write(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failed> {
        self.delta = Delta::default();
        let mut open = "BEGIN IMMEDIATE; SAVEPOINT command";
        for command in batch {
            // Every statement is a trip to SQLite's own thread: the end of one command and the start of the next share one.
            self.execute(open).await?;
            open = "RELEASE command; SAVEPOINT command";
            let before = self.delta;
            if let Err(failed) = command.run(self).await {
                self.delta = before;
                // Fails if SQLite rolled back the whole transaction, and with it the commands before this one.
                self.execute("ROLLBACK TO command").await.map_err(|_| failed)?;
            }
        }
        // Fails, as it must, when there is no transaction any more.
        let delta = mem::take(&mut self.delta);
        if delta == Delta::default() {
            self.execute("COMMIT").await?;
        } else {
            delta.write_and_commit(&mut self.conn).await?;
            if let Some(mark) = &mut self.mark {
                mark.add(&delta);
            }
        }
        Ok(())
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut self.conn).await.map(drop)
    }
}
