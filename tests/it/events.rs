//! What happens is told as it happens, in order, and who comes back is told what it missed or how things are now.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{DEADLINE, Server, pictures, until, wire::Form};

/// One message of a stream.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    id: String,
    name: String,
    data: Value,
}

/// A client that follows.
struct Listening {
    body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    text: String,
    /// The id it would come back with.
    last_id: String,
}

impl Listening {
    async fn open(server: &Server, path: &str, last_id: Option<&str>) -> Self {
        let mut request = server.http.get(format!("{}{path}", server.base()));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = timeout(DEADLINE, request.send()).await.expect("an answer in time").expect("an answer");
        let header = |name: &str| response.headers()[name].to_str().expect("ASCII").to_owned();
        assert_eq!((response.status().as_u16(), header("content-type").as_str()), (200, "text/event-stream"));
        assert_eq!((header("cache-control").as_str(), header("x-accel-buffering").as_str()), ("no-store", "no"));
        Self { body: Box::pin(response.bytes_stream()), text: String::new(), last_id: String::new() }
    }

    /// The next message; `None` when the stream has ended. Blocks without data say an id, at most.
    async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut message = Message { id: String::new(), name: "message".into(), data: Value::Null };
                for line in block.lines() {
                    match line.split_once(": ").expect("a field or a comment") {
                        ("id", id) => self.last_id = id.to_owned(),
                        ("event", name) => message.name = name.to_owned(),
                        ("data", data) => message.data = serde_json::from_str(data).expect("JSON"),
                        ("" | "retry", _) => {}
                        other => panic!("{other:?}"),
                    }
                }
                message.id.clone_from(&self.last_id);
                self.text = rest.to_owned();
                if !message.data.is_null() {
                    return Some(message);
                }
            }
            let piece = timeout(DEADLINE, self.body.next()).await.expect("something comes in time")?;
            self.text.push_str(std::str::from_utf8(&piece.expect("comes")).expect("UTF-8"));
        }
    }

    /// Waits until it is known that it listens.
    async fn greeted(&mut self) {
        while !self.text.contains("id: ") {
            let piece = timeout(DEADLINE, self.body.next()).await.expect("comes in time").expect("goes on").expect("comes");
            self.text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
        self.last_id = self.text.rsplit_once("id: ").expect("an id").1.trim().to_owned();
    }

    /// Messages up to and with the first of this name.
    async fn up_to(&mut self, name: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("{name} did not come: {messages:#?}"));
            let is_it = message.name == name;
            messages.push(message);
            if is_it {
                return messages;
            }
        }
    }

    async fn rest(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
        }
        messages
    }
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.name.as_str()).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

async fn delete(server: &Server, path: &str) {
    assert_eq!(server.send(Method::DELETE, path, &[], Bytes::new()).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_order_with_the_jobs_numbers() {
    let server = Server::start().await;
    let mut all = Listening::open(&server, "/v1/events", None).await;
    all.greeted().await;
    let before = all.last_id.clone();
    let upload = server.make(pictures::small_jpeg(1), &["a=w:20/f:png", "b=w:10/f:png"]).await;
    let told = all.up_to("upload.completed").await;
    let wanted = ["upload.received", "job.started", "task.completed", "task.completed", "job.completed", "upload.completed"];
    assert_eq!(names(&told), wanted);
    let image = &upload["images"][0];
    for message in &told {
        assert_eq!(message.data["upload"], upload["id"], "{message:?}");
        assert!(text(&message.data, "at").ends_with('Z'));
        if message.name.starts_with("task") || message.name.starts_with("job") {
            assert_eq!((&message.data["image"], &message.data["job"]), (&image["id"], &image["job"]), "{message:?}");
        }
    }
    assert_eq!((&told[0].data["images"], &told[1].data["attempt"], &told[5].data["status"]), (&json!(1), &json!(1), &json!("completed")));
    for message in &told[2..4] {
        let variants = image["variants"].as_array().expect("variants");
        let variant = variants.iter().find(|variant| variant["name"] == message.data["variant"]).expect("one of them");
        assert_eq!(message.data["timing"], variant["timing"]);
        for member in ["bytes", "width", "height", "format"] {
            assert_eq!(message.data["result"][member], variant["result"][member], "{member}");
        }
    }
    let job = server.get(&format!("/v1/jobs/{}", text(image, "job"))).await.json();
    assert_eq!((&told[4].data["timing"], &told[4].data["peak_bytes"]), (&job["timing"], &job["peak_bytes"]));
    // Who follows the upload is told the same under the same ids, and the stream ends with it.
    let path = format!("/v1/uploads/{}/events", text(&upload, "id"));
    assert_eq!(upload["events_url"], format!("{}{path}", server.base()));
    let mut one = Listening::open(&server, &path, Some(&before)).await;
    assert_eq!(one.rest().await, told);
    // From the middle on.
    let mut later = Listening::open(&server, &path, Some(&told[2].id)).await;
    assert_eq!(later.rest().await, told[3..]);
    let mut later = Listening::open(&server, "/v1/events", Some(&told[3].id)).await;
    assert_eq!(later.up_to("upload.completed").await, told[4..]);
    let nothing_new = server.get_with(&path, &[("last-event-id", &told[5].id)]).await;
    assert_eq!((nothing_new.status, nothing_new.body.len()), (204, 0));
    drop((all, later));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_an_id_or_with_a_strange_one_is_told_how_things_are() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(2), &["a=w:20"]).await;
    let path = format!("/v1/uploads/{}/events", text(&upload, "id"));
    for id in [None, Some("0-1"), Some("nonsense"), Some("99999999999999-5")] {
        let mut one = Listening::open(&server, &path, id).await;
        let told = one.rest().await;
        assert_eq!(names(&told), ["reset"], "{id:?}");
        assert_eq!(told[0].data, server.get(&format!("/v1/uploads/{}", text(&upload, "id"))).await.json());
        let again = server.get_with(&path, &[("last-event-id", &told[0].id)]).await;
        assert_eq!(again.status, 204, "nothing has happened since");
        if id.is_none() {
            continue;
        }
        let mut all = Listening::open(&server, "/v1/events", id).await;
        let told = all.next().await.expect("a message");
        assert_eq!((told.name.as_str(), &told.data["uploads"][0]["id"]), ("reset", &upload["id"]));
    }
    server.get("/v1/uploads/0198c0de-0000-7000-8000-00000000abcd/events").await.problem(404, "not_found");
    server.get("/v1/uploads/x/events").await.problem(404, "not_found");
    server.get("/v1/events?since=1").await.problem(400, "bad_option");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_retries_cancellations_and_deletions_are_told() {
    let server = Server::start().await;
    let mut all = Listening::open(&server, "/v1/events", None).await;
    all.greeted().await;
    let failed = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    let told = all.up_to("upload.completed").await;
    assert_eq!(names(&told), ["upload.received", "job.started", "task.failed", "job.failed", "upload.completed"]);
    assert!(told[2].data["error"]["code"].is_string() && told[2].data["variant"] == "a", "{told:#?}");
    assert_eq!(told[4].data["status"], "failed");
    let job = text(&failed["images"][0], "job");
    assert_eq!(server.send(Method::POST, &format!("/v1/jobs/{job}/retry"), &[], Bytes::new()).await.status, 202);
    let told = all.up_to("upload.completed").await;
    assert_eq!(names(&told), ["job.retrying", "job.started", "task.failed", "job.failed", "upload.completed"]);
    assert_eq!((&told[0].data["attempt"], &told[0].data["status"]), (&json!(0), &json!("queued")));
    delete(&server, &format!("/v1/uploads/{}", text(&failed, "id"))).await;
    assert_eq!(names(&all.up_to("upload.deleted").await), ["upload.deleted"]);

    let form = Form::new()
        .file("file", "a.jpg", &pictures::jpeg(&pictures::photo(3000, 2000, 5), 85))
        .field("variant", "slow=rs:force:4000:3000:1/median:99/f:png")
        .field("variant", "also=rs:force:4001:3000:1/median:99/f:png");
    let slow = server.post_form("/v1/images", form).await.json();
    let mut one = Listening::open(&server, &format!("/v1/uploads/{}/events", text(&slow, "id")), None).await;
    let first = one.next().await.expect("a message");
    assert_eq!((first.name.as_str(), &first.data["status"]), ("reset", &json!("processing")));
    delete(&server, &format!("/v1/jobs/{}", text(&slow["images"][0], "job"))).await;
    let told = one.rest().await;
    assert_eq!(names(&told[told.len() - 2..]), ["job.cancelled", "upload.completed"], "{told:#?}");
    assert_eq!(told[told.len() - 1].data["status"], "cancelled");
    drop((all, one));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_end_by_a_deletion_are_told_of_as_cancelled_ones_are() {
    let server = Server::start().await;
    let slow =
        |file: u64| Form::new().file("file", "a.jpg", &pictures::small_jpeg(file)).field("variant", &format!("slow={}", pictures::SLOW));
    // One runs; the other has the last core before anybody could claim it.
    let running = server.post_form("/v1/images", slow(1)).await.json();
    until("a job runs", async || server.stats().await["running_jobs"] == 1).await;
    let begun = server.post_form("/v1/images", slow(2)).await.json();
    until("the cores are busy", async || server.stats().await["pool"]["free_cores"] == 0).await;
    let waiting = server.post_form("/v1/images", slow(3).file("file", "b.jpg", &pictures::small_jpeg(4))).await.json();
    let mut all = Listening::open(&server, "/v1/events", None).await;
    all.greeted().await;
    // One of two that wait: the upload goes on.
    delete(&server, &format!("/v1/images/{}", text(&waiting["images"][0], "id"))).await;
    let told = all.next().await.expect("a message");
    assert_eq!((told.name.as_str(), &told.data["job"]), ("job.cancelled", &waiting["images"][0]["job"]));
    for upload in [&waiting, &begun, &running] {
        delete(&server, &format!("/v1/uploads/{}", text(upload, "id"))).await;
        let told = all.up_to("upload.deleted").await;
        assert_eq!(names(&told), ["job.cancelled", "upload.deleted"], "{told:#?}");
        let last = upload["images"].as_array().expect("images").last().expect("one");
        let of = (&told[0].data["job"], &told[0].data["image"], &told[0].data["upload"], &told[0].data["status"]);
        assert_eq!(of, (&last["job"], &last["id"], &upload["id"], &json!("cancelled")));
    }
    until("the cores are free", async || server.stats().await["pool"]["free_cores"] == 2).await;
    // The last of an upload that has not ended: what is left of it has.
    server.make(pictures::small_jpeg(7), &["a=w:10"]).await;
    all.up_to("upload.completed").await;
    let form = slow(8).file("file", "c.jpg", &pictures::small_jpeg(7)).field("variant", "a=w:10");
    let two = server.post_form("/v1/images", form).await.json();
    let quick = text(&two["images"][1], "job").to_owned();
    delete(&server, &format!("/v1/jobs/{quick}")).await;
    all.up_to("job.cancelled").await;
    delete(&server, &format!("/v1/images/{}", text(&two["images"][0], "id"))).await;
    let told = all.up_to("upload.completed").await;
    assert_eq!(names(&told[told.len() - 2..]), ["job.cancelled", "upload.completed"], "{told:#?}");
    let last = told.last().expect("one");
    assert_eq!((&last.data["upload"], &last.data["status"]), (&two["id"], &json!("partial")));
    drop(all);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_steered_together_and_batches_are_told_of() {
    let server = Server::with(|settings| settings.workers = Some(1)).await;
    let failed = server.make(pictures::corrupt_png(), &["a=w:10"]).await;
    server.make(pictures::small_jpeg(1), &["a=w:10"]).await;
    let mut all = Listening::open(&server, "/v1/events", None).await;
    all.greeted().await;
    let post =
        async |path: &str, asked: Value| server.send(Method::POST, path, &[("content-type", "application/json")], asked.to_string()).await;
    assert_eq!(post("/v1/jobs/retry", json!({ "error": "malformed_image" })).await.json()["done"], 1);
    let told = all.up_to("upload.completed").await;
    assert_eq!(names(&told), ["job.retrying", "job.started", "task.failed", "job.failed", "upload.completed"]);
    assert_eq!(told[0].data["job"], failed["images"][0]["job"]);
    let batch = post("/v1/batches", json!({ "variants": { "b": "w:12" }, "filter": { "format": "jpeg" } })).await.json();
    let told = all.up_to("batch.completed").await;
    let last = told.last().expect("one");
    assert_eq!(
        (&last.data["batch"], &last.data["status"], &last.data["counts"]["completed"]),
        (&batch["id"], &json!("completed"), &json!(1))
    );
    assert!(last.data.get("upload").is_none(), "{last:?}");
    assert!(names(&told).contains(&"job.completed") && names(&told).contains(&"upload.completed"), "{told:#?}");
    // One that takes longer tells how far it is, and its jobs are told of one by one when it is cancelled.
    let slow = json!({ "variants": { "slow": pictures::SLOW }, "filter": { "format": "jpeg" } });
    let batch = post("/v1/batches", slow).await.json();
    let told = all.up_to("batch.progress").await;
    let progress = told.last().expect("one");
    assert_eq!(
        (&progress.data["batch"], &progress.data["status"], &progress.data["counts"]["open"]),
        (&batch["id"], &json!("running"), &json!(1))
    );
    delete(&server, &format!("/v1/batches/{}", text(&batch, "id"))).await;
    let told = all.up_to("batch.completed").await;
    assert_eq!(names(&told[told.len() - 3..]), ["job.cancelled", "upload.completed", "batch.completed"], "{told:#?}");
    assert_eq!(told.last().expect("one").data["status"], "cancelled");
    drop(all);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_listen_and_the_service_stops_without_waiting_for_them() {
    let server = Server::start().await;
    let mut listeners = Vec::new();
    for _ in 0..100 {
        let mut all = Listening::open(&server, "/v1/events", None).await;
        all.greeted().await;
        listeners.push(all);
    }
    server.make(pictures::small_jpeg(4), &["a=w:20"]).await;
    let mut first = None;
    for all in &mut listeners {
        let told = all.up_to("upload.completed").await;
        assert_eq!(first.get_or_insert_with(|| told.clone()), &told);
    }
    until("all work has ended", async || server.stats().await["pending_tasks"] == 0).await;
    // Twenty seconds of grace would be more than this takes; what still listens is told that it is over.
    let stopping = tokio::spawn(server.stopped());
    for all in &mut listeners {
        assert_eq!(all.rest().await, []);
    }
    timeout(DEADLINE, stopping).await.expect("stops").expect("does not panic");
}
