//! Work that somebody waits for and nobody keeps: the same pool and pipeline, no row, no lease.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use image_pipeline::{Encoded, Operation, Spec};

use crate::{
    compute::{ComputeError, Refused},
    domain::{TaskCode, TaskFailure},
    store::Staged,
    telemetry::TaskSample,
};

use super::{Queue, making, work};

/// A result and how long its steps took.
#[derive(Debug)]
pub struct Once {
    /// The variant.
    pub encoded: Encoded,
    /// Waiting for the pool.
    pub queue: Duration,
    /// Reading the staged file.
    pub read: Duration,
    /// The decode.
    pub decode: Duration,
    /// Between decode and encode.
    pub transform: Duration,
    /// Writing the format.
    pub encode: Duration,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The waiting line is full.
    #[error("{waiting} requests wait for the pool already")]
    Busy {
        /// How many.
        waiting: u32,
    },
    /// It could never fit.
    #[error("the work needs {cost_bytes} bytes of memory, the whole budget is {budget_bytes}")]
    TooCostly {
        /// What it needs.
        cost_bytes: u64,
        /// What there is.
        budget_bytes: u64,
    },
    /// The pipeline failed.
    #[error("{}: {}", .0.code, .0.detail)]
    Failed(TaskFailure),
    /// The staged file could not be read.
    #[error("the staged file could not be read")]
    Read(#[source] std::io::Error),
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

impl Queue {
    /// Makes one variant of a staged file, which is removed afterwards. Waits in the pool's bounded line.
    ///
    /// # Errors
    /// When the line is full, or the work fails.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the line and cancels the work.
    pub async fn run_once(&self, staged: Staged, spec: Spec, cost_bytes: u64) -> Result<Once, OnceError> {
        let parts = &self.inner.parts;
        let begun = Instant::now();
        let (core, bytes) = parts.compute.admit(cost_bytes).await.map_err(|refused| match refused {
            Refused::Full { waiting } => OnceError::Busy { waiting },
            Refused::TooCostly { cost_bytes, budget_bytes } => OnceError::TooCostly { cost_bytes, budget_bytes },
        })?;
        let queue = begun.elapsed();
        let operation = Operation::of_canonical(&spec.canonical()).as_str();
        let source = staged.read().await.map_err(OnceError::Read)?;
        let read = begun.elapsed() - queue;
        let limits = self.inner.options.limits;
        let watermarks = Arc::clone(&self.inner.options.watermarks);
        let cancel = Arc::new(AtomicBool::new(false));
        let on_pool = parts.compute.run(core, self.inner.options.job_deadline, cancel, move |stop| {
            let mut outcome = None;
            let asked = making::Asked { specs: &[spec], limits: &limits, watermarks: &watermarks, facts: false };
            let report = making::make_variants(&source, asked, stop, &mut |o| outcome = Some(o));
            // Held by the work, not by its caller, who may leave before the memory is free.
            drop((source, bytes));
            (report, outcome)
        });
        let (report, outcome) = on_pool.await.map_err(|error| match error {
            ComputeError::Panicked(text) => {
                tracing::error!("image work panicked: {text}");
                OnceError::Failed(TaskFailure {
                    code: TaskCode::Internal,
                    detail: "the image made the decoder fail unexpectedly".to_owned(),
                })
            }
            ComputeError::Stopped => OnceError::Stopping,
        })?;
        let failed = |error: &image_pipeline::Error| match work::passing_or_final(error) {
            Ok(failure) | Err(failure) => OnceError::Failed(failure),
        };
        let report = report.map_err(|error| failed(&error))?;
        let outcome = outcome
            .ok_or_else(|| OnceError::Failed(TaskFailure { code: TaskCode::Internal, detail: "the pipeline gave no result".to_owned() }))?;
        let encoded = outcome.result.map_err(|error| failed(&error))?;
        let (transform, encode) = (outcome.transform, outcome.encode);
        for (stage, time) in [("queue", queue), ("read", read), ("decode", report.decode)] {
            parts.metrics.stage(stage, time);
        }
        parts.metrics.job_peak(report.peak_bytes);
        let format = encoded.format.as_str();
        let (store, total) = (Duration::ZERO, begun.elapsed());
        parts.metrics.task_ended(&TaskSample { outcome: "completed", operation, format, transform, encode, store, total });
        Ok(Once { encoded, queue, read, decode: report.decode, transform, encode })
    }
}
