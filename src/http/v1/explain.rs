//! `GET /v1/explain`: what the options of the query come to, and what would be done with a stored image, without doing it.
//!
//! Reads at most the header of the image where that is enough; no pixel is decoded.

use axum::{Json, Router, extract::State, routing::get};
use http::Uri;
use image_pipeline::{Plan, Spec, plan_with};

use crate::{
    catalog::Subject,
    domain::{Code, ImageId},
    http::{App, absent::absent, form, problem::Problem, view},
    ingest::refusal_of,
};

use super::intake::query_pairs;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/explain", get(explain))
}

async fn explain(State(site): State<App>, uri: Uri) -> Result<Json<view::Explained>, Problem> {
    let (about, fields): (Vec<_>, Vec<_>) = query_pairs(&uri)?.into_iter().partition(|(name, _)| name == "image");
    let wanted = form::read(&fields, site.named(), None)?;
    let image = match about.as_slice() {
        [] => None,
        [(_, id)] => Some(id.parse::<ImageId>().map_err(|_| Problem::not_found("image"))?),
        _ => return Err(Problem::new(Code::BadOption, "image is given twice")),
    };
    let specs: Vec<Spec> = wanted.variants.iter().map(|variant| variant.spec.clone()).collect();
    let planned = match image {
        None => None,
        Some(id) => {
            let Some(image) = site.catalog.image(id).await? else { return Err(absent(&site, Subject::Image(id)).await) };
            let probe = site.further.probe(&image).await?;
            let plan =
                plan_with(&probe, &specs, &site.limits.image, &site.watermarks).map_err(|error| Problem::from(refusal_of(&error)))?;
            Some((image, plan))
        }
    };
    let variants = wanted.variants.iter().enumerate().map(|(index, variant)| view::ExplainedVariant {
        name: variant.name.to_string(),
        options: variant.options.clone(),
        canonical: variant.spec.canonical(),
        result: planned.as_ref().map(|(_, plan)| result(plan, index)),
    });
    let variants = variants.collect();
    let plan = planned.map(|(image, plan)| view::ExplainedPlan {
        image: image.id.to_string(),
        memory_bytes: plan.memory_bytes(image.bytes),
        stages: plan.explained(image.bytes).into_iter().map(stage).collect(),
    });
    Ok(Json(view::Explained { variants, plan }))
}

fn result(plan: &Plan, index: usize) -> view::ExplainedResult {
    let (width, height) = plan.result_size(index);
    view::ExplainedResult { width, height, format: plan.output_format(index).map(|format| format.as_str().to_owned()) }
}

fn stage(stage: image_pipeline::PlanStage) -> view::ExplainedStage {
    view::ExplainedStage {
        what: stage.text.trim_start().to_owned(),
        rough_ms: stage.cost.map(|cost| (cost.time_ns as f64 / 1e5).round() / 10.0),
        held_bytes: stage.cost.map(|cost| cost.held_bytes),
    }
}
