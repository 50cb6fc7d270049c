//! A live client: sends every file of a folder, and draws a bar for each until its variants are there.
//!
//! `cargo run --release --example upload_folder -- FOLDER [--server URL] [--variant NAME=OPTIONS]... [--at-once N]`
//!
//! What it shows of the service: bodies that are streamed (the bar moves as bytes leave), `Idempotency-Key` (a lost answer may be asked for
//! again), waiting as told by `Retry-After`, one stream of server-sent events for all uploads (`GET /v1/events`), taken up again with
//! `Last-Event-ID` where it broke, and `reset`, after which an upload's own JSON says how things are.
//!
//! Exit code 1 if a file was refused or a variant failed; each is named.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;
use futures_util::StreamExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reqwest::{Body, Client, Response, StatusCode, header};
use serde_json::Value;
use tokio::{
    fs::File,
    sync::{Notify, Semaphore, mpsc},
};
use tokio_util::io::ReaderStream;

/// Pieces of a file on their way; the bar moves by these.
const PIECE_BYTES: usize = 64 << 10;
/// A request that failed for a passing reason is sent so often, in all.
const TRIES: u32 = 6;

#[derive(Parser)]
struct Cli {
    /// Every file in it is sent; folders inside are not entered.
    folder: PathBuf,
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    server: String,
    /// What to make of each: `NAME=OPTIONS`. May be given more than once; the server's default preset if it is not.
    #[arg(long)]
    variant: Vec<String>,
    /// Files on their way at one time.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
}

/// What is known of the uploads that are not at their end, and their bars.
#[derive(Default)]
struct Board {
    under_way: Mutex<HashMap<String, Row>>,
    failures: AtomicUsize,
    ended: Notify,
}

struct Row {
    bar: ProgressBar,
    name: String,
    /// Image and name of each variant that is there: told by an event, by the upload's state, or by both.
    made: HashSet<(String, String)>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&cli.folder)
        .with_context(|| format!("cannot read the folder {}", cli.folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()).filter(|path| path.is_file()))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("no files in {}", cli.folder.display());
    }
    let (client, board, bars) = (Client::new(), Arc::new(Board::default()), MultiProgress::new());
    // Listening begins before the first file leaves, so that nothing is missed.
    let (listening, mut is_listening) = mpsc::channel(1);
    let follower = tokio::spawn(follow(client.clone(), cli.server.clone(), Arc::clone(&board), listening));
    is_listening.recv().await.context("cannot follow events; does the server run?")?;
    let (permits, cli) = (Arc::new(Semaphore::new(cli.at_once.max(1))), Arc::new(cli));
    let sends = files.into_iter().map(|path| {
        let (client, cli, board, permits, bars) =
            (client.clone(), Arc::clone(&cli), Arc::clone(&board), Arc::clone(&permits), bars.clone());
        tokio::spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bar = bars.add(ProgressBar::new(0).with_style(sending()).with_prefix(name.clone()));
            if let Err(why) = send(&client, &cli, &path, &name, &bar, &board).await {
                board.failures.fetch_add(1, Ordering::Relaxed);
                bar.abandon_with_message(format!("{why:#}"));
            }
        })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await?;
    }
    board.all_ended().await;
    follower.abort();
    match board.failures.load(Ordering::Relaxed) {
        0 => Ok(()),
        failures => bail!("{failures} refused or failed"),
    }
}

fn sending() -> ProgressStyle {
    // Both templates are constants of this file: they are read, or nothing of this works.
    ProgressStyle::with_template("{prefix:30!} {bar:30.cyan} {bytes:>10}/{total_bytes:10} {msg}").expect("a template").progress_chars("━╸ ")
}

fn making() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:30!} {bar:30.green} {pos:>5}/{len:<5} variants  {msg}").expect("a template").progress_chars("━╸ ")
}

/// Sends one file, and again where that may help; then puts it on the board.
async fn send(client: &Client, cli: &Cli, path: &Path, name: &str, bar: &ProgressBar, board: &Board) -> anyhow::Result<()> {
    // The same key for every try: an upload whose answer was lost is not made twice.
    let key = uuid::Uuid::now_v7().to_string();
    let mut pause = Duration::from_millis(500);
    for attempt in 1.. {
        let answer = match put(client, cli, path, name, &key, bar).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                return accept(client, cli, board, name, bar, &answer.json().await?).await;
            }
            Ok(answer) if passes(answer.status()) && attempt < TRIES => {
                let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                pause = after.map_or(pause, Duration::from_secs);
                format!("{}", answer.status())
            }
            Ok(answer) => {
                let problem: Value = answer.json().await.unwrap_or_default();
                bail!("refused: {} ({})", problem["detail"].as_str().unwrap_or("no reason given"), problem["code"].as_str().unwrap_or("?"));
            }
            Err(error) if attempt < TRIES => format!("{error:#}"),
            Err(error) => return Err(error),
        };
        bar.set_message(format!("again in {pause:?}: {answer}"));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
    unreachable!("the last try returns")
}

/// Whether the same request may be taken later.
fn passes(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE | StatusCode::BAD_GATEWAY
    )
}

async fn put(client: &Client, cli: &Cli, path: &Path, name: &str, key: &str, bar: &ProgressBar) -> anyhow::Result<Response> {
    let file = File::open(path).await.with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file.metadata().await?.len();
    bar.set_length(bytes);
    bar.set_position(0);
    let moving = bar.clone();
    let pieces = ReaderStream::with_capacity(file, PIECE_BYTES).inspect(move |piece| {
        if let Ok(piece) = piece {
            moving.inc(piece.len() as u64);
        }
    });
    let mut url = reqwest::Url::parse(&cli.server).context("--server is no URL")?;
    // A segment of its own: a name with a slash or a question mark stays a name.
    url.path_segments_mut().ok().context("--server is no URL of a server")?.pop_if_empty().extend(["v1", "images", name]);
    url.query_pairs_mut().extend_pairs(cli.variant.iter().map(|variant| ("variant", variant)));
    let request = client.put(url).header("idempotency-key", key).header(header::CONTENT_LENGTH, bytes);
    Ok(request.body(Body::wrap_stream(pieces)).send().await?)
}

/// The 202: from here on the bar counts variants.
async fn accept(client: &Client, cli: &Cli, board: &Board, name: &str, bar: &ProgressBar, upload: &Value) -> anyhow::Result<()> {
    let id = upload["id"].as_str().context("an upload without an id")?.to_owned();
    bar.set_style(making());
    bar.set_length(variants(upload).count() as u64);
    bar.set_position(0);
    bar.set_message("");
    let row = Row { bar: bar.clone(), name: name.to_owned(), made: HashSet::new() };
    board.lock().insert(id.clone(), row);
    // What happened between the commit and this line was told to nobody here: the news may be faster than the answer.
    catch_up(client, &cli.server, board, &id).await;
    Ok(())
}

/// Image, name and state of each variant of an upload.
fn variants(upload: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    upload["images"].as_array().into_iter().flatten().flat_map(|image| {
        let of = image["id"].as_str().unwrap_or_default();
        let all = image["variants"].as_array().into_iter().flatten();
        all.map(move |variant| (of, variant["name"].as_str().unwrap_or_default(), variant["status"].as_str().unwrap_or_default()))
    })
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        // Whoever panicked with it left whole rows.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_event(&self, event: &str, data: &Value) {
        let Some(id) = data["upload"].as_str() else { return };
        let mut under_way = self.lock();
        // Of others, or not answered yet: `accept` looks by itself.
        let Some(row) = under_way.get_mut(id) else { return };
        let text = |name: &str| data[name].as_str().unwrap_or("?").to_owned();
        match event {
            "task.completed" => {
                row.made.insert((text("image"), text("variant")));
                row.bar.set_position(row.made.len() as u64);
                row.bar.set_message(format!("{}: {} ms", text("variant"), data["timing"]["encode_ms"]));
            }
            "task.failed" => row.say(&format!("{} failed: {}", text("variant"), data["error"])),
            "job.retrying" => row.bar.set_message("tried again later"),
            "upload.completed" | "upload.deleted" => {
                let status = data["status"].as_str().unwrap_or("deleted");
                self.end(&mut under_way, id, status);
            }
            _ => {}
        }
    }

    /// How an upload is, told by the upload itself.
    fn on_state(&self, id: &str, upload: &Value) {
        let mut under_way = self.lock();
        let Some(row) = under_way.get_mut(id) else { return };
        let made = variants(upload).filter(|(_, _, status)| *status == "completed");
        row.made.extend(made.map(|(image, name, _)| (image.to_owned(), name.to_owned())));
        row.bar.set_position(row.made.len() as u64);
        match upload["status"].as_str() {
            Some("processing") => {}
            Some(status) => self.end(&mut under_way, id, status),
            // Its place is empty: gone, 404 or 410.
            None => self.end(&mut under_way, id, "deleted"),
        }
    }

    fn end(&self, under_way: &mut HashMap<String, Row>, id: &str, status: &str) {
        let Some(row) = under_way.remove(id) else { return };
        row.say(&format!("{status}, {} variants", row.made.len()));
        if status == "completed" {
            row.bar.finish_with_message("completed");
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            row.bar.abandon_with_message(status.to_owned());
        }
        self.ended.notify_waiters();
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end between the two is not missed.
            ended.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl Row {
    /// A line where there are no bars: output that is no terminal.
    fn say(&self, what: &str) {
        if self.bar.is_hidden() {
            println!("{}: {what}", self.name);
        }
    }
}

/// Follows all events for ever; comes back with the last id wherever the stream breaks.
async fn follow(client: Client, server: String, board: Arc<Board>, listening: mpsc::Sender<()>) {
    let mut last_id: Option<String> = None;
    loop {
        let mut request = client.get(format!("{}/v1/events", server.trim_end_matches('/')));
        if let Some(id) = &last_id {
            request = request.header("last-event-id", id);
        }
        if let Ok(answer) = request.send().await
            && answer.status().is_success()
        {
            let (mut body, mut text) = (answer.bytes_stream(), Vec::new());
            while let Some(Ok(piece)) = body.next().await {
                text.extend_from_slice(&piece);
                // Messages end with an empty line; what is left is the beginning of the next.
                while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                    let block = String::from_utf8_lossy(&text[..end]).into_owned();
                    text.drain(..end + 2);
                    let (id, event, data) = message(&block);
                    last_id = id.or(last_id);
                    match event.as_str() {
                        "reset" => {
                            let ids: Vec<String> = board.lock().keys().cloned().collect();
                            for id in ids {
                                catch_up(&client, &server, &board, &id).await;
                            }
                        }
                        event => board.on_event(event, &data),
                    }
                    let _ = listening.try_send(());
                }
            }
        } else if last_id.is_none() && !listening.is_closed() && listening.capacity() == 1 {
            // Never heard anything: there is no server. Dropping the sender says so.
            return;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// One message: id, name and data, as far as it has them.
fn message(block: &str) -> (Option<String>, String, Value) {
    let (mut id, mut event, mut data) = (None, String::new(), Value::Null);
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", text)) => id = Some(text.to_owned()),
            Some(("event", text)) => text.clone_into(&mut event),
            Some(("data", text)) => data = serde_json::from_str(text).unwrap_or_default(),
            _ => {}
        }
    }
    (id, event, data)
}

/// Asks an upload how it is.
async fn catch_up(client: &Client, server: &str, board: &Board, id: &str) {
    let url = format!("{}/v1/uploads/{id}", server.trim_end_matches('/'));
    // Where this fails the stream has broken as well; `reset` leads here again.
    if let Ok(answer) = client.get(url).send().await
        && let Ok(upload) = answer.json::<Value>().await
    {
        board.on_state(id, &upload);
    }
}
