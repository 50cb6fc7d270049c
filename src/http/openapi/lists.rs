//! Operations on many, and their end: lists and deletion.

use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        path::{HttpMethod, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use crate::{
    domain::{Code, JobState},
    http::view::{ImageList, JobList, PastJob, PastJobList, UploadList},
};

use super::{
    examples,
    operation::{CACHE_STATE, ETAG, HeaderDoc, Op, id, if_none_match, json, parameter, string},
};

const LINK: HeaderDoc = (
    "Link",
    "The next part, when there is one (RFC 8288).",
    "<http://localhost:8080/v1/uploads?limit=50&cursor=AZjA3gAAcACAAAAAAAAA_w>; rel=\"next\"",
);

const CURSOR: &str = "AZjA3gAAcACAAAAAAAAA_w";

pub(super) fn operations() -> Vec<Op> {
    let states: Vec<&str> = JobState::ALL.iter().map(|state| state.as_str()).collect();
    let status = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(states));
    vec![
        list::<UploadList>(
            "/v1/uploads",
            "listUploads",
            "Uploads, newest first",
            json!({ "uploads": [examples::upload(true)], "next_cursor": CURSOR }),
        ),
        list::<ImageList>(
            "/v1/images",
            "listImages",
            "Images, newest first",
            json!({ "images": [examples::image()], "next_cursor": null }),
        ),
        list::<JobList>("/v1/jobs", "listJobs", "Jobs, newest first", json!({ "jobs": [examples::job(true)], "next_cursor": null }))
            .param(parameter(ParameterIn::Query, "status", "Only jobs in this state.", status, None)),
        list::<PastJobList>(
            "/v1/history",
            "listHistory",
            "Jobs whose images are gone, newest first",
            json!({ "jobs": [examples::past_job()], "next_cursor": null }),
        ),
        past_job(),
        delete(
            "/v1/uploads/{id}",
            "deleteUpload",
            "id",
            "upload",
            "Its images, results, jobs, and originals no other upload shares; what waits or runs is cancelled.",
        ),
        delete(
            "/v1/images/{name}",
            "deleteImage",
            "name",
            "image",
            "Its results and job, and the original if no other image shares it; with the last image its upload goes, too.",
        ),
    ]
}

/// A list in parts, newest first.
pub(super) fn list<T: ToSchema>(path: &'static str, operation: &str, summary: &str, example: Value) -> Op {
    let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(200));
    let about = "In parts. A part may hold fewer than `limit` and still have a `next_cursor`: it ends at 2000 variants or so, too, \
                 but holds one item at least. The cursor stays good when things are added or deleted meanwhile.";
    // Sixteen bytes in base64url, without padding: the last letter carries four bits.
    let cursor = string(None, Some("^[A-Za-z0-9_-]{21}[AQgw]$"));
    Op::new(HttpMethod::Get, path, operation, "follow", summary, about)
        .param(parameter(ParameterIn::Query, "limit", "Most items of the part; 50 if nothing is said.", limit, Some(50.into())))
        .param(parameter(ParameterIn::Query, "cursor", "`next_cursor` of the part before, as it is.", cursor, Some(CURSOR.into())))
        .params([if_none_match()])
        .answer(200, "A part.", json::<T>(example), &[ETAG, CACHE_STATE, LINK])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadRequest, Code::BadOption, Code::Internal])
}

fn past_job() -> Op {
    let about = "What is remembered of a job after its image was deleted, or its upload's time was over: what was done, how long it took and how \
                 it ended; no names of files, no texts, no results. It is forgotten a while after the job ended (`--history`).";
    Op::new(HttpMethod::Get, "/v1/history/{id}", "showPastJob", "follow", "A job whose image is gone", about)
        .param(id("id", "job"))
        .params([if_none_match()])
        .answer(200, "The job as it was.", json::<PastJob>(examples::past_job()), &[ETAG, CACHE_STATE])
        .answer(304, "Not changed since.", [], &[ETAG, CACHE_STATE])
        .problems(&[Code::BadOption, Code::NotFound, Code::Internal, Code::Storage])
}

fn delete(path: &'static str, operation: &str, name: &str, what: &str, about: &str) -> Op {
    Op::new(HttpMethod::Delete, path, operation, "follow", &format!("Delete an {what}"), about)
        .param(id(name, what))
        .answer(204, "Gone, and durably so.", [], &[])
        .problems(&[Code::BadOption, Code::Forbidden, Code::NotFound, Code::Gone, Code::Internal, Code::DiskFull])
}
