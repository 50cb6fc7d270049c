//! Operations for people and tools that keep the service, and the pages.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::{
    PartialSchema,
    openapi::{
        ContentBuilder,
        path::{HttpMethod, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use crate::{
    domain::Code,
    http::view::{Health, Readiness, Stats},
};

use super::{
    examples,
    operation::{CACHE_STATE, ETAG, HeaderDoc, Op, json, parameter, string, text},
};

const POLICY: HeaderDoc = ("Content-Security-Policy", "Nothing from elsewhere.", "default-src 'none'; …");

pub(super) fn operations() -> Vec<Op> {
    let presets = ContentBuilder::new()
        .schema(Some(BTreeMap::<String, String>::schema()))
        .example(Some(json!({ "default": "rs:fit:320:320", "thumbnail": "rs:fit:320:320" })))
        .build();
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(60));
    let form = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["svg", "folded"]));
    let get = |path, id, summary, about| Op::new(HttpMethod::Get, path, id, "operate", summary, about);
    let page = |path, id, summary, about| Op::new(HttpMethod::Get, path, id, "pages", summary, about);
    vec![
        get("/v1/presets", "listPresets", "Named sets of options", "Built in, and those of the configuration.")
            .answer(200, "Name to options.", [("application/json", presets)], &[])
            .problems(&[Code::BadOption]),
        get(
            "/v1/stats",
            "showStats",
            "Totals, averages and percentiles",
            "Totals since the data folder was made, averages since the service started, percentiles of what ended within the window, and what waits \
             and runs now.",
        )
        .param(parameter(
            ParameterIn::Query,
            "window",
            "How far back percentiles go, 1m to 60m; 15m if nothing is said.",
            string(None, Some("^([1-9]|[1-5][0-9]|60)m$")),
            Some("15m".into()),
        ))
        .answer(200, "The figures.", json::<Stats>(examples::stats()), &[])
        .problems(&[Code::BadOption, Code::BadRequest, Code::Internal]),
        get("/healthz", "health", "The process answers", "For liveness checks: it looks at nothing.").answer(
            200,
            "It does.",
            json::<Health>(json!({ "status": "ok" })),
            &[],
        ),
        get("/readyz", "readiness", "Work can be taken", "For readiness checks: pool, disk, queue, catalog.")
            .answer(200, "Ready.", json::<Readiness>(examples::readiness(true)), &[])
            .answer(503, "Not ready: the check that is false says why.", json::<Readiness>(examples::readiness(false)), &[]),
        get("/metrics", "metrics", "The same figures for Prometheus", "Prometheus' text format, version 0.0.4.").answer(
            200,
            "The figures.",
            text("text/plain"),
            &[],
        ),
        get(
            "/debug/profile",
            "profile",
            "Where the CPU's time goes",
            "Looks at all threads for some seconds; a flame graph, or folded stacks for tools. Answered on the machine itself only, and not through a proxy.",
        )
        .param(parameter(ParameterIn::Query, "seconds", "How long to look.", seconds, Some(10.into())))
        .param(parameter(ParameterIn::Query, "format", "A picture, or one line a stack.", form, Some("svg".into())))
        .answer(200, "What was seen.", [text("image/svg+xml"), text("text/plain")].concat(), &[POLICY])
        .problems(&[Code::BadRequest, Code::BadOption, Code::Forbidden, Code::NotFound, Code::QueueFull, Code::ShuttingDown, Code::Internal]),
        page("/", "page", "The page", "Drop a picture, see what becomes of it.").answer(200, "HTML.", text("text/html"), &[POLICY]),
        page("/docs", "docs", "This description, to read", "Rendered from `/openapi.json`; works offline.")
            .answer(200, "HTML.", text("text/html"), &[POLICY, ETAG])
            .answer(304, "Not changed since.", [], &[ETAG]),
        page("/openapi.json", "openapi", "This description", "OpenAPI 3.1; `pixmill openapi` prints the same.")
            .answer(
                200,
                "The document.",
                [("application/json", ContentBuilder::new().schema(Some(object())).build())],
                &[ETAG, CACHE_STATE],
            )
            .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE]),
    ]
}

fn object() -> utoipa::openapi::schema::Object {
    utoipa::openapi::schema::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Object).build()
}
