//! A collector sees whole traces: the client's, the request in it, the job of the request, its tasks and their steps; and nobody waits for one that is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::Method;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::support::{
    Server, pictures, until,
    wire::{FORM_TYPE, Form},
};

type Seen = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

async fn take(State(seen): State<Seen>, body: Bytes) {
    seen.lock().expect("no panic").push(ExportTraceServiceRequest::decode(body).expect("what OTLP says"));
}

/// A collector; its address, and what it was sent.
async fn collector() -> (String, Seen) {
    let seen = Seen::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}"), seen)
}

fn spans(seen: &Seen) -> Vec<Span> {
    let seen = seen.lock().expect("no panic");
    let scopes = seen.iter().flat_map(|request| &request.resource_spans).flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

fn value<'v>(facts: &'v [KeyValue], key: &str) -> Option<&'v Any> {
    facts.iter().find(|fact| fact.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'v>(span: &'v Span, key: &str) -> &'v str {
    let Some(Any::StringValue(text)) = value(&span.attributes, key) else { panic!("no {key} in {span:?}") };
    text
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_the_client_to_every_step_of_its_work() {
    let (url, seen) = collector().await;
    let server = Server::with(|settings| settings.otlp_endpoint = Some(url)).await;
    let mut cut = pictures::small_jpeg(2);
    cut.truncate(cut.len() / 2);
    let form = Form::new()
        .file("file", "whole.jpg", &pictures::small_jpeg(1))
        .file("file", "cut.jpg", &cut)
        .field("variant", "small=w:10")
        .field("variant", "blurred=bl:2/f:png");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = server.send(Method::POST, "/v1/images", &[("content-type", FORM_TYPE), ("traceparent", parent)], form.end()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let request = answer.header("x-request-id").to_owned();
    let upload = server.finished(&answer.json()).await;
    // Tried again, it is the same job, but another piece of work.
    let cut = upload["images"].as_array().expect("a list").iter().find(|image| image["filename"] == "cut.jpg").expect("is there");
    let again = server.send(Method::POST, &format!("/v1/jobs/{}/retry", cut["job"].as_str().expect("an id")), &[], Bytes::new()).await;
    assert_eq!(again.status, 202, "{}", again.text());
    server.finished(&answer.json()).await;
    // One without a trace begins its own.
    let alone = server.get("/v1/images").await;
    assert_eq!(alone.status, 200);
    server.get("/healthz").await;
    // What waits is sent when the service stops.
    server.finish().await;

    let all = spans(&seen);
    {
        let seen = seen.lock().expect("no panic");
        let resource = seen[0].resource_spans[0].resource.as_ref().expect("who we are");
        assert_eq!(value(&resource.attributes, "service.name"), Some(&Any::StringValue("pixmill".to_owned())), "{resource:?}");
    }
    assert!(!all.iter().any(|span| span.name.contains("healthz")), "probes are left out");
    let by_id: HashMap<&[u8], &Span> = all.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), all.len(), "ids differ");

    let lists = named(&all, "GET /v1/images");
    assert!(lists.len() == 1 && lists[0].parent_span_id.is_empty(), "{lists:?}");
    assert_eq!(hex(&lists[0].trace_id), alone.header("x-request-id").replace('-', ""), "found by the id in the answer");

    let trace: Vec<Span> = all.iter().filter(|span| hex(&span.trace_id) == "4bf92f3577b34da6a3ce929d0e0e4736").cloned().collect();
    let posts = named(&trace, "POST /v1/images");
    let [post] = posts[..] else { panic!("{posts:?}") };
    assert_eq!((hex(&post.parent_span_id).as_str(), post.kind), ("00f067aa0ba902b7", SpanKind::Server as i32));
    assert_eq!(text(post, "pixmill.request.id"), request);
    assert_eq!(value(&post.attributes, "http.response.status_code"), Some(&Any::IntValue(202)));
    let jobs = named(&trace, "job");
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    for (job, image) in jobs.iter().map(|job| (job, text(job, "pixmill.job.id"))) {
        assert_eq!((&job.parent_span_id, job.kind), (&post.span_id, SpanKind::Consumer as i32));
        let image = upload["images"].as_array().expect("a list").iter().find(|found| found["job"] == image).expect("its image");
        let is_cut = image["filename"] == "cut.jpg";
        let status = job.status.as_ref().expect("a status");
        assert_eq!(status.code == StatusCode::Error as i32, is_cut, "{status:?}");
        assert_eq!(status.message.starts_with("truncated_image: "), is_cut, "{status:?}");
        let within = |of: &Span| trace.iter().filter(|span| span.parent_span_id == of.span_id).collect::<Vec<_>>();
        let mut names: Vec<&str> = within(job).iter().map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        // What broke off in decoding has no time of it.
        let decode: &[&str] = if is_cut { &[] } else { &["decode"] };
        assert_eq!(names, [decode, &["queue", "read", "task filter", "task resize"]].concat(), "{job:?}");
        for task in within(job).iter().filter(|span| span.name.starts_with("task ")) {
            let steps: Vec<&str> = within(task).iter().map(|span| span.name.as_str()).collect();
            assert_eq!(steps, if is_cut { &[][..] } else { &["transform", "encode", "store"] }, "{task:?}");
            assert_eq!(text(task, "pixmill.outcome"), if is_cut { "truncated_image" } else { "completed" });
        }
    }
    for span in &trace {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let Some(parent) = by_id.get(span.parent_span_id.as_slice()).filter(|parent| parent.name != "POST /v1/images") else { continue };
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{span:?} begins before {parent:?}");
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{span:?} ends after {parent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_collector_that_is_gone_and_what_it_misses_is_counted() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let server = Server::with(|settings| settings.otlp_endpoint = Some(format!("http://{gone}"))).await;
    let upload = server.make(pictures::small_jpeg(1), &["small=w:10"]).await;
    assert_eq!(upload["status"], "completed", "{upload}");
    until("lost spans are counted", async || server.get("/metrics").await.text().contains("pixmill_trace_spans_total{outcome=\"lost\"}"))
        .await;
    server.finish().await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
