//! One set of numbers: a job's JSON, the statistics, the metrics and the log line say the same.

use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, pictures, process::Process, wire::Form};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Members of a job's `timing`, each at least zero, the steps within the total.
fn consistent(job: &Value) {
    let timing = &job["timing"];
    let [queue, read, decode, cpu, total] = ["queue_ms", "read_ms", "decode_ms", "cpu_ms", "total_ms"].map(|name| number(&timing[name]));
    assert!(queue >= 0.0 && read >= 0.0 && decode > 0.0, "{timing}");
    assert!(total >= cpu && cpu >= decode && total >= read + decode, "{timing}");
    let mut steps = 0.0;
    for task in job["tasks"].as_array().expect("tasks") {
        let [transform, encode, store] = ["transform_ms", "encode_ms", "store_ms"].map(|name| number(&task["timing"][name]));
        assert!(transform >= 0.0 && encode > 0.0 && store > 0.0, "{task}");
        steps += transform + encode;
    }
    // Rounded to microseconds one by one.
    assert!(cpu + 0.1 >= decode + steps, "the pool's time holds decode and steps: {job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_times_add_up_and_reach_the_statistics() {
    let server = Server::start().await;
    let (width, height) = (640, 480);
    let upload = server.make(pictures::jpeg(&pictures::photo(width, height, 1), 90), &["a=w:320", "b=w:100/f:webp/gray:1"]).await;
    let image = &upload["images"][0];
    let job = server.get(&format!("/v1/jobs/{}", image["job"].as_str().expect("a job"))).await.json();
    assert_eq!(
        (&job["status"], &job["attempt"], &job["max_attempts"], &job["priority"]),
        (&json!("completed"), &json!(1), &json!(5), &json!("normal"))
    );
    consistent(&job);
    assert_eq!(image["timing"], job["timing"], "the upload's JSON says the same");
    assert!(number(&job["peak_bytes"]) >= f64::from(width * height * 3), "the decoded picture alone is more than {}", job["peak_bytes"]);
    let [queued, started, finished] = ["queued_at", "started_at", "finished_at"].map(|name| job[name].as_str().expect("a time").to_owned());
    assert!(queued <= started && started <= finished && queued.ends_with('Z') && queued.len() == 24, "{job}");
    let a = &job["tasks"][0]["result"];
    assert_eq!((&a["width"], &a["height"], &a["format"], &a["quality"]), (&json!(320), &json!(240), &json!("jpeg"), &json!(80)));
    let delivered = server.get(a["url"].as_str().expect("a url")).await;
    assert_eq!((a["etag"].as_str(), a["bytes"].as_u64()), (Some(delivered.header("etag")), Some(delivered.body.len() as u64)));

    let stats = server.stats().await;
    for (name, wanted) in
        [("total_tasks", 2), ("completed_tasks", 2), ("failed_tasks", 0), ("queued_jobs", 0), ("running_jobs", 0), ("uploads", 1)]
    {
        assert_eq!(stats[name], wanted, "{name}");
    }
    assert_eq!(stats["bytes_received"], image["bytes"]);
    assert_eq!(stats["max_peak_bytes"], job["peak_bytes"]);
    assert!(number(&stats["avg_execution_time_ms"]) > 0.0 && number(&stats["rss_bytes"]) > 1e6, "{stats}");
    for (stage, count) in [("queue", 1), ("read", 1), ("decode", 1), ("transform", 2), ("encode", 2), ("store", 2)] {
        assert_eq!(stats["stages"][stage]["count"], count, "{stage}: {stats}");
    }
    assert_eq!(stats["stages"]["decode"]["avg_ms"], job["timing"]["decode_ms"], "the only decode is the average");

    let window = &stats["window"];
    assert_eq!((&window["asked_s"], &window["completed_tasks"], &window["failed_tasks"]), (&json!(900), &json!(2), &json!(0)));
    for (stage, count) in [("queue", 1), ("read", 1), ("decode", 1), ("transform", 2), ("encode", 2), ("store", 2), ("total", 2)] {
        assert_eq!(window["stages"][stage]["count"], count, "{stage}: {window}");
    }
    let (decode, of_decode) = (number(&job["timing"]["decode_ms"]), &window["stages"]["decode"]);
    for share in ["p50_ms", "p90_ms", "p99_ms"] {
        // Both are rounded to microseconds.
        assert!((number(&of_decode[share]) - decode).abs() <= 0.01 * decode + 0.002, "{share} of the only decode, {decode}: {of_decode}");
    }
    assert_eq!(of_decode["max_ms"], job["timing"]["decode_ms"]);
    for (group, name) in [("formats", "jpeg"), ("formats", "webp"), ("operations", "resize"), ("operations", "filter")] {
        for stage in ["transform", "encode", "store", "total"] {
            assert_eq!(window[group][name][stage]["count"], 1, "{group} {name} {stage}: {window}");
        }
    }
    let of = |priority: &str| &stats["priorities"][priority];
    assert_eq!((&of("normal")["queue"]["count"], &of("high")["queue"]), (&json!(1), &Value::Null), "{stats}");
    assert_eq!(
        (&of("low")["queued_jobs"], &of("low")["oldest_queued_ms"], &of("low")["job_retries"]),
        (&json!(0), &Value::Null, &json!(0))
    );
    assert_eq!(server.get("/v1/stats?window=60m").await.json()["window"]["asked_s"], 3600);
    for bad in ["59s", "61m", "0", "soon", ""] {
        server.get(&format!("/v1/stats?window={bad}")).await.problem(400, "bad_request");
    }

    let metrics = server.get("/metrics").await.text();
    for line in [
        "pixmill_uploads_total 1",
        "pixmill_tasks_total{outcome=\"completed\",format=\"jpeg\",operation=\"resize\"} 1",
        "pixmill_stage_seconds_count{stage=\"decode\"} 1",
        "pixmill_stage_seconds_count{stage=\"encode\"} 2",
        "pixmill_job_peak_bytes_count 1",
        "pixmill_queue_seconds_count{priority=\"normal\"} 1",
        "pixmill_queued_jobs{priority=\"normal\"} 0",
        "pixmill_running_jobs{priority=\"low\"} 0",
        "pixmill_oldest_queued_seconds{priority=\"high\"} 0",
        "# TYPE pixmill_pool_used_cores gauge",
        "# TYPE pixmill_pool_used_bytes gauge",
        "pixmill_tasks_total{outcome=\"completed\",format=\"webp\",operation=\"filter\"} 1",
        "# TYPE pixmill_task_seconds histogram",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is missing in\n{metrics}");
    }
    let id = upload["id"].as_str().expect("an id");
    assert!(!metrics.contains(id), "ids are no labels");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_is_cheap_and_waiting_ends_with_the_work() {
    let server = Server::start().await;
    let upload = server.make(pictures::small_jpeg(2), &["a=w:10"]).await;
    let path = format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"));
    let first = server.get(&path).await;
    let again = server.get_with(&path, &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    server.get(&format!("{path}?wait=61")).await.problem(400, "bad_request");
    server.get(&format!("{path}?wiat=1")).await.problem(400, "bad_option");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_can_never_be_done_is_refused_whole() {
    let server = Server::start().await;
    // One variant is wider than WebP can be (16383): the planner refuses that job whole, at once and in words.
    let form = Form::new()
        .file("file", "a.jpg", &pictures::small_jpeg(3))
        .field("variant", "a=w:10")
        .field("variant", "b=rs:force:16384:1:1/f:webp");
    let answer = server.post_form("/v1/images", form).await;
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
    let detail = answer.json()["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("16383"), "{detail}");
    assert_eq!(server.stats().await["uploads"], 0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_has_one_log_line_with_the_jobs_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Process::start(folder.path(), &[]);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let base = format!("http://{}", service.address);
    let body =
        Form::new().file("file", "a.jpg", &pictures::small_jpeg(4)).field("variant", "good=w:20").field("variant", "also=w:30/f:png").end();
    let post = |body: Vec<u8>| {
        client
            .post(format!("{base}/v1/images"))
            .header("content-type", crate::support::wire::FORM_TYPE)
            .header("prefer", "wait=60")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .timeout(DEADLINE)
            .body(body)
            .send()
    };
    let answer = post(body).await.expect("an answer");
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    let (request, timing) = (header("x-request-id"), header("server-timing"));
    let upload: Value = answer.json().await.expect("JSON");
    assert_eq!(upload["status"], "completed", "{upload}");
    let of_job = &upload["images"][0]["timing"];
    for stage in ["queue", "read", "decode", "cpu", "total"] {
        let dur = timing.split(", ").find_map(|part| part.strip_prefix(&format!("{stage};dur="))).expect("each stage");
        assert_eq!(dur.parse().ok(), of_job[format!("{stage}_ms")].as_f64(), "{stage}: {timing}");
    }
    assert!(timing.starts_with("wait;dur="), "{timing}");
    let bad = Form::new().file("file", "b.png", &pictures::corrupt_png()).field("variant", "bad=w:20").end();
    let failed: Value = post(bad).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(failed["status"], "failed", "{failed}");
    service.terminate();
    assert!(service.ended().success());

    let image = &upload["images"][0];
    let lines: Vec<Value> = service.log().into_iter().filter(|line| line["message"] == "task ended").collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for task in image["variants"].as_array().expect("variants") {
        let line = lines.iter().find(|line| line["variant"] == task["name"]).expect("a line for each task");
        assert_eq!((&line["outcome"], &line["attempt"], &line["format"]), (&json!("completed"), &json!(1), &task["result"]["format"]));
        assert_eq!((&line["image.id"], &line["job.id"], &line["upload.id"]), (&image["id"], &image["job"], &upload["id"]));
        assert!(line["task.id"].is_string() && line["timestamp"].is_string());
        assert_eq!((&line["request.id"], &line["trace.id"]), (&json!(request), &json!("4bf92f3577b34da6a3ce929d0e0e4736")));
        assert_eq!((&line["operation"], &line["priority"]), (&json!("resize"), &json!("normal")));
        for name in ["queue_ms", "read_ms", "decode_ms"] {
            assert_eq!(line[name], image["timing"][name], "{name}");
        }
        for name in ["transform_ms", "encode_ms", "store_ms"] {
            assert_eq!(line[name], task["timing"][name], "{name}");
        }
        assert_eq!((&line["bytes"], &line["source_bytes"]), (&task["result"]["bytes"], &image["bytes"]));
        assert!(number(&line["total_ms"]) > 0.0 && number(&line["peak_bytes"]) > 0.0, "{line}");
    }
    let bad = lines.iter().find(|line| line["variant"] == "bad").expect("a failure has its line, too");
    assert_eq!((&bad["outcome"], &bad["format"]), (&json!("malformed_image"), &json!("none")));
    assert!(bad["detail"].as_str().is_some_and(|text| !text.is_empty()));
    let loud: Vec<Value> =
        service.log().into_iter().filter(|line| ["ERROR", "WARN"].contains(&line["level"].as_str().unwrap_or_default())).collect();
    assert!(loud.is_empty(), "what a client sent is no error of ours: {loud:#?}");
}
