//! `GET /v1/uploads/{id}/events` and `GET /v1/events`: what happens, as server-sent events (the HTML standard, 9.2).
//!
//! Who follows one upload is told at once. Who follows everything rests after each chunk, the longer the more there are of them, and all get the same bytes:
//! what a listener costs is its wake-ups and its writes, not the events.
//!
//! Invariants: a listener holds its place in the ring and one chunk, never a queue; whoever tells never waits for it. One that has fallen out of the ring
//! gets `reset` with what is there now, as does one that comes back with an id the ring does not know.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    catalog::{Catalog, CatalogError, Page, Subject},
    domain::{Code, UploadId},
    follow::{Follow, MAX_LISTENERS, Shared, Since, Subscription, Told},
    http::{App, Site, absent::absent, base_url::BaseUrl, path::Segments, problem::Problem, query::NoQuery, view},
    telemetry::error_chain,
};

use super::lists;

/// A comment is sent after so long without an event, so that proxies do not take the connection for dead and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What comes within this time goes out together, to who follows everything.
const BREATH: Duration = Duration::from_millis(20);
/// After a chunk, who follows everything rests this long for each listener there is, a breath at least: from fifty of them on there are no more than 2500
/// chunks a second in all, five in two seconds to each of a thousand (`scripts/measure/listeners`).
const REST_EACH: Duration = Duration::from_micros(400);
/// But no longer than this.
const MAX_REST: Duration = Duration::from_millis(500);
/// Most events of one chunk.
const CHUNK_EVENTS: usize = 64;
/// How soon a browser comes back, and the first bytes of every answer.
const GREETING: &str = "retry: 2000\n\n";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/uploads/{id}/events", get(of_upload)).route("/v1/events", get(of_all))
}

async fn of_upload(
    State(site): State<App>,
    base: BaseUrl,
    Segments(id): Segments<String>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id.parse::<UploadId>().map_err(|_| Problem::not_found("upload"))?;
    // Before its state is read, so that nothing is missed; something may be told twice.
    let subscription = site.follow.subscribe(id);
    let now = site.follow.next_place();
    let Some(upload) = site.catalog.upload(id).await? else { return Err(absent(&site, Subject::Upload(id)).await) };
    let resumed = resumed(&site, &headers);
    let is_final = upload.state.is_final();
    if let (Some(place), true) = (resumed, is_final)
        && matches!(site.follow.since(place, Some(id), 1), Since::Events { events, .. } if events.is_empty())
    {
        // Tells a browser not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = resumed.is_none().then(|| reset(&site.follow, now, &view::upload(&upload, &base.0)));
    let ear = Ear::Upload(id, subscription);
    answer(Listener { is_ending: is_final, ..Listener::new(&site, base.0, ear, resumed.unwrap_or(now), first)? })
}

async fn of_all(State(site): State<App>, base: BaseUrl, _: NoQuery, headers: HeaderMap) -> Result<Response, Problem> {
    let (ear, now) = (Ear::All(site.follow.news()), site.follow.next_place());
    let resumed = resumed(&site, &headers);
    let first = match resumed {
        Some(_) => None,
        // Whoever was here before has missed something.
        None if headers.contains_key(LAST_EVENT_ID) => Some(reset_all(&site.follow, &*site.catalog, now, &base.0).await?),
        // An id without data: known to the client, and no event.
        None => Some(format!("id: {}\n\n", site.follow.id_before(now)).into()),
    };
    answer(Listener::new(&site, base.0, ear, resumed.unwrap_or(now), first)?)
}

/// The place in the ring that a client comes back to.
fn resumed(site: &App, headers: &HeaderMap) -> Option<u64> {
    site.follow.place_after(headers.get(LAST_EVENT_ID)?.to_str().ok()?)
}

fn answer(listener: Listener) -> Result<Response, Problem> {
    let body = Body::from_stream(stream::unfold(listener, |mut listener| async {
        let chunk = listener.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), listener))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Asks nginx not to gather what is small.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// A message that says: what you know is old, this is how it is.
fn reset(follow: &Follow, place: u64, snapshot: &impl Serialize) -> Bytes {
    // Strings, numbers and lists of them: nothing that JSON cannot say.
    let json = serde_json::to_string(snapshot).unwrap_or_default();
    format!("id: {}\nevent: reset\ndata: {json}\n\n", follow.id_before(place)).into()
}

/// For who follows everything: the newest uploads, as the first part of their list.
async fn reset_all(follow: &Follow, catalog: &dyn Catalog, place: u64, base: &str) -> Result<Bytes, CatalogError> {
    let page = Page { owner: String::new(), before: None, limit: lists::DEFAULT_LIMIT };
    Ok(reset(follow, place, &lists::upload_list(&catalog.uploads(page).await?, base)))
}

fn message(follow: &Follow, told: &Told) -> Bytes {
    told.text(|told| {
        let json = serde_json::to_string(&view::event(&told.event)).unwrap_or_default();
        format!("id: {}\nevent: {}\ndata: {json}\n\n", follow.id_before(told.seq + 1), told.event.name()).into()
    })
}

fn chunk(follow: &Follow, events: &[Arc<Told>]) -> Bytes {
    let mut chunk = BytesMut::new();
    events.iter().for_each(|told| chunk.extend_from_slice(&message(follow, told)));
    chunk.freeze()
}

/// How long one of so many rests after a chunk.
fn rest(listeners: usize) -> Duration {
    (REST_EACH * u32::try_from(listeners).unwrap_or(u32::MAX)).clamp(BREATH, MAX_REST)
}

/// What wakes a listener.
enum Ear {
    Upload(UploadId, Subscription),
    All(watch::Receiver<u64>),
}

impl Ear {
    const fn upload(&self) -> Option<UploadId> {
        match self {
            Self::Upload(id, _) => Some(*id),
            Self::All(_) => None,
        }
    }

    async fn woken(&mut self) {
        match self {
            Self::Upload(_, subscription) => subscription.change().await,
            Self::All(news) => {
                // The ring lives as long as the service.
                if news.changed().await.is_ok() {
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
}

/// One client that listens.
struct Listener {
    follow: Follow,
    catalog: Arc<dyn Catalog>,
    base: String,
    ear: Ear,
    /// The place in the ring it has come to.
    place: u64,
    /// What is sent before anything else.
    first: Option<Bytes>,
    /// A chunk was sent just now.
    is_to_rest: bool,
    /// Its upload is final: what is in the ring is all there will be.
    is_ending: bool,
    stopping: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Listener {
    fn new(site: &Site, base: String, ear: Ear, place: u64, first: Option<Bytes>) -> Result<Self, Problem> {
        let seat = site
            .follow
            .seat()
            .ok_or_else(|| Problem::new(Code::QueueFull, format!("{} clients follow events, which is the limit", MAX_LISTENERS)))?;
        let first = [GREETING.as_bytes(), &first.unwrap_or_default()].concat();
        let stopping = site.stopping.clone();
        let (follow, catalog) = (site.follow.clone(), Arc::clone(&site.catalog));
        Ok(Self {
            follow,
            catalog,
            base,
            ear,
            place,
            first: Some(first.into()),
            is_to_rest: false,
            is_ending: false,
            stopping,
            _seat: seat,
        })
    }

    /// What is to be sent next; `None`: there will be no more.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if std::mem::take(&mut self.is_to_rest) {
            tokio::select! {
                () = tokio::time::sleep(rest(self.follow.listeners())) => {}
                _ = self.stopping.wait_for(|stopping| *stopping) => {}
            }
        }
        loop {
            let found = if self.ear.upload().is_some() { self.of_its_upload() } else { self.of_all() };
            match found {
                Shared::Lost => return self.start_again().await,
                Shared::Piece { bytes, next } => {
                    // Who is behind goes on until it is not.
                    self.is_to_rest = self.ear.upload().is_none() && next < self.place + CHUNK_EVENTS as u64;
                    self.place = next;
                    return Some(bytes);
                }
                Shared::Nothing => {}
            }
            if self.is_ending {
                return None;
            }
            tokio::select! {
                () = self.ear.woken() => {}
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": still here\n\n")),
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }

    fn of_all(&self) -> Shared {
        let fresh = rest(self.follow.listeners());
        self.follow
            .shared_since(self.place, CHUNK_EVENTS, (tokio::time::Instant::now().into_std(), fresh), |events| chunk(&self.follow, events))
    }

    fn of_its_upload(&mut self) -> Shared {
        match self.follow.since(self.place, self.ear.upload(), CHUNK_EVENTS) {
            Since::Lost => Shared::Lost,
            Since::Events { events, next } => {
                self.place = next;
                // More may follow where somebody wanted more of it meanwhile.
                let Some(last) = events.last() else { return Shared::Nothing };
                self.is_ending = last.event.is_last();
                Shared::Piece { bytes: chunk(&self.follow, &events), next }
            }
        }
    }

    /// It was too slow, and what it missed is gone: told how things are now. Should that not be possible the connection ends, and it comes back.
    async fn start_again(&mut self) -> Option<Bytes> {
        self.place = self.follow.next_place();
        let reset = match self.ear.upload() {
            None => reset_all(&self.follow, &*self.catalog, self.place, &self.base).await,
            Some(id) => match self.catalog.upload(id).await {
                Ok(Some(upload)) => {
                    self.is_ending = upload.state.is_final();
                    Ok(reset(&self.follow, self.place, &view::upload(&upload, &self.base)))
                }
                // Deleted, which is among what it missed.
                Ok(None) => return None,
                Err(error) => Err(error),
            },
        };
        match reset {
            Ok(reset) => Some(reset),
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "could not tell a listener how things are");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::sqlite::SqliteCatalog,
        domain::Timestamp,
        follow::{Event, KEPT_EVENTS, What},
    };
    use uuid::Uuid;

    fn tell(follow: &Follow, of: u128) {
        let upload = UploadId::from_uuid(Uuid::from_u128(of));
        follow.tell(Event { upload: Some(upload), at: Timestamp::from_millis(1_790_000_000_000), what: What::UploadReceived(1) });
    }

    struct Stage {
        follow: Follow,
        catalog: Arc<dyn Catalog>,
        stop: watch::Sender<bool>,
        _folder: tempfile::TempDir,
    }

    impl Stage {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("temp folder");
            let catalog = Arc::new(SqliteCatalog::open(&folder.path().join("catalog.db")).await.expect("opens"));
            Self { follow: Follow::new(7), catalog, stop: watch::channel(false).0, _folder: folder }
        }

        fn listener(&self, ear: Ear) -> Listener {
            let place = self.follow.next_place();
            let (follow, catalog, stopping) = (self.follow.clone(), Arc::clone(&self.catalog), self.stop.subscribe());
            let seat = self.follow.seat().expect("a seat");
            Listener {
                follow,
                catalog,
                base: "http://x".into(),
                ear,
                place,
                first: None,
                is_to_rest: false,
                is_ending: false,
                stopping,
                _seat: seat,
            }
        }
    }

    async fn next(listener: &mut Listener) -> Option<String> {
        listener.next().await.map(|chunk| String::from_utf8(chunk.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn one_that_does_not_read_holds_nobody_up_and_is_told_to_begin_again() {
        let stage = Stage::new().await;
        let mut slow = stage.listener(Ear::All(stage.follow.news()));
        tell(&stage.follow, 1);
        assert!(next(&mut slow).await.expect("a chunk").starts_with("id: 7-1\nevent: upload.received\ndata: {"));
        // It reads no more meanwhile; nothing gathers for it but in the ring, and whoever tells goes on.
        for n in 0..3 * KEPT_EVENTS {
            tell(&stage.follow, n as u128);
        }
        let last = 3 * KEPT_EVENTS + 1;
        let told = next(&mut slow).await.expect("a chunk");
        assert_eq!(told, format!("id: 7-{last}\nevent: reset\ndata: {{\"uploads\":[],\"next_cursor\":null}}\n\n"));
        tell(&stage.follow, 9);
        assert!(next(&mut slow).await.expect("a chunk").starts_with(&format!("id: 7-{}\nevent: upload.received", last + 1)), "and goes on");
    }

    #[tokio::test]
    async fn chunks_are_bounded_and_what_is_of_others_is_passed_over() {
        let stage = Stage::new().await;
        let id = UploadId::from_uuid(Uuid::from_u128(1));
        let (mut all, mut one) =
            (stage.listener(Ear::All(stage.follow.news())), stage.listener(Ear::Upload(id, stage.follow.subscribe(id))));
        for n in 0..3 * CHUNK_EVENTS {
            tell(&stage.follow, (n % 2) as u128);
        }
        let events = |chunk: String| chunk.matches("\nevent: ").count();
        for _ in 0..3 {
            assert_eq!(next(&mut all).await.map(events), Some(CHUNK_EVENTS));
        }
        let of_one = [next(&mut one).await.expect("a chunk"), next(&mut one).await.expect("the rest")].concat();
        assert_eq!((of_one.matches(&id.to_string()).count(), of_one.matches("\nevent: ").count()), (96, 96));
        // The last of it ends the stream of its upload, not of all.
        let ended = What::UploadDeleted;
        stage.follow.tell(Event { upload: Some(id), at: Timestamp::from_millis(1), what: ended });
        assert!(next(&mut one).await.expect("a chunk").contains("event: upload.deleted"));
        assert_eq!(next(&mut one).await, None);
        assert!(next(&mut all).await.expect("a chunk").contains("event: upload.deleted"));
        stage.stop.send_replace(true);
        assert_eq!(next(&mut all).await, None, "the service stops");
    }

    /// Few are told within a breath; of many each gets few chunks, all of them the same ones, and nothing is left out.
    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_more_goes_out_together() {
        let stage = Stage::new().await;
        let begun = tokio::time::Instant::now();
        let mut alone = stage.listener(Ear::All(stage.follow.news()));
        tell(&stage.follow, 1);
        let first = next(&mut alone).await.expect("a chunk");
        assert!(first.starts_with("id: 7-1\n") && begun.elapsed() <= BREATH, "{:?}", begun.elapsed());
        tell(&stage.follow, 2);
        assert!(next(&mut alone).await.is_some() && begun.elapsed() <= 2 * BREATH, "{:?}", begun.elapsed());

        const LISTENERS: usize = 1000;
        let mut listeners: Vec<Listener> = (1..LISTENERS).map(|_| stage.listener(Ear::All(stage.follow.news()))).collect();
        listeners.push(alone);
        assert_eq!(stage.follow.listeners(), LISTENERS);
        let teller = stage.follow.clone();
        // A hundred a second for two seconds.
        let telling = tokio::spawn(async move {
            for n in 0..200 {
                tell(&teller, n);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let heard: Vec<_> = listeners
            .into_iter()
            .map(|mut listener| {
                tokio::spawn(async move {
                    let (mut chunks, mut text) = (Vec::new(), String::new());
                    while !text.contains("id: 7-202\n") {
                        let chunk = listener.next().await.expect("a chunk");
                        text.push_str(std::str::from_utf8(&chunk).expect("text"));
                        // Kept, so that no two that differ lie in the same place.
                        chunks.push(chunk);
                    }
                    (chunks, text)
                })
            })
            .collect();
        let heard: Vec<(Vec<Bytes>, String)> =
            futures_util::future::join_all(heard).await.into_iter().map(|done| done.expect("ends")).collect();
        telling.await.expect("ends");
        let rests = Duration::from_secs(2).div_duration_f64(rest(LISTENERS)) as usize;
        assert_eq!(rests, 5);
        let wanted: Vec<String> = (3..=202).map(|n| format!("7-{n}")).collect();
        for (chunks, text) in &heard {
            let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
            assert_eq!(ids, wanted, "each once, in order");
            // One after the first breath, then one in each rest.
            assert!((rests..=rests + 3).contains(&chunks.len()), "{} chunks", chunks.len());
        }
        let apart: std::collections::BTreeSet<usize> =
            heard.iter().flat_map(|(chunks, _)| chunks.iter().map(|chunk| chunk.as_ptr() as usize)).collect();
        assert!(apart.len() <= 2 * (rests + 3), "{} chunks were made for {} that were sent", apart.len(), rests * LISTENERS);
    }

    /// With many about, who follows one upload is told at once still.
    #[tokio::test(start_paused = true)]
    async fn who_follows_an_upload_does_not_rest() {
        let stage = Stage::new().await;
        let id = UploadId::from_uuid(Uuid::from_u128(1));
        let mut one = stage.listener(Ear::Upload(id, stage.follow.subscribe(id)));
        let _others: Vec<_> = std::iter::from_fn(|| stage.follow.seat()).collect();
        for n in 1..=5 {
            tell(&stage.follow, 1);
            let begun = tokio::time::Instant::now();
            assert!(next(&mut one).await.expect("a chunk").starts_with(&format!("id: 7-{n}\n")));
            assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments() {
        let stage = Stage::new().await;
        let mut all = stage.listener(Ear::All(stage.follow.news()));
        for _ in 0..3 {
            let before = tokio::time::Instant::now();
            assert_eq!(next(&mut all).await.expect("a comment"), ": still here\n\n");
            assert_eq!(before.elapsed().as_secs(), KEEP_ALIVE.as_secs());
        }
    }

    #[tokio::test]
    async fn seats_are_counted_and_given_back() {
        let stage = Stage::new().await;
        let mut seats: Vec<_> = std::iter::from_fn(|| stage.follow.seat()).collect();
        assert_eq!(seats.len(), MAX_LISTENERS);
        seats.pop();
        assert!(stage.follow.seat().is_some());
    }
}
