//! States of uploads, jobs and tasks, and which may follow which.

use std::{fmt, str::FromStr};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used in JSON, logs and the catalog.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}
pub(super) use words;

words!(
    /// State of an upload as a whole.
    UploadState {
        /// Some job is still queued or running.
        Processing = "processing",
        /// Every task completed.
        Completed = "completed",
        /// Some tasks completed, some did not.
        Partial = "partial",
        /// No task completed.
        Failed = "failed",
        /// Cancelled before any task completed.
        Cancelled = "cancelled",
    }
);

words!(
    /// State of a job.
    JobState {
        /// Waits for a permit (also between attempts).
        Queued = "queued",
        /// Held by a worker under a lease.
        Running = "running",
        /// Every task completed.
        Completed = "completed",
        /// Some tasks completed, some failed.
        Partial = "partial",
        /// Every task failed.
        Failed = "failed",
        /// Cancelled.
        Cancelled = "cancelled",
    }
);

words!(
    /// State of a task.
    TaskState {
        /// Waits for its job.
        Queued = "queued",
        /// Its job is being worked on.
        Running = "running",
        /// Its variant is stored.
        Completed = "completed",
        /// It ended without a variant.
        Failed = "failed",
        /// Cancelled.
        Cancelled = "cancelled",
    }
);

words!(
    /// How urgent a job is.
    Priority {
        /// Before everything else that was enqueued within the last minute.
        High = "high",
        /// The default.
        Normal = "normal",
        /// May wait; never starves.
        Low = "low",
    }
);

impl Priority {
    /// Milliseconds added to the enqueue time to make a job's rank: a job waits behind more urgent ones
    /// that came up to this much later, and no longer. Ageing and priority in one number.
    #[must_use]
    pub const fn rank_delay_ms(self) -> i64 {
        match self {
            Self::High => 0,
            Self::Normal => 60_000,
            Self::Low => 15 * 60_000,
        }
    }
}

impl JobState {
    /// Whether a job may move from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => matches!(next, Self::Queued | Self::Completed | Self::Partial | Self::Failed | Self::Cancelled),
            // An operator's retry.
            Self::Partial | Self::Failed => matches!(next, Self::Queued),
            Self::Completed | Self::Cancelled => false,
        }
    }

    /// No further work will happen without an operator.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The state of a job whose tasks have all ended.
    #[must_use]
    pub fn of_tasks(tasks: impl IntoIterator<Item = TaskState>) -> Self {
        let (mut completed, mut failed, mut cancelled) = (0u32, 0u32, 0u32);
        for task in tasks {
            match task {
                TaskState::Completed => completed += 1,
                TaskState::Failed => failed += 1,
                TaskState::Cancelled => cancelled += 1,
                TaskState::Queued | TaskState::Running => return Self::Running,
            }
        }
        match (completed, failed, cancelled) {
            (_, 0, 0) => Self::Completed,
            (0, 0, _) => Self::Cancelled,
            (0, _, _) => Self::Failed,
            _ => Self::Partial,
        }
    }
}

impl UploadState {
    /// No further work will happen without an operator.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Processing)
    }

    /// The state of an upload from the states of its jobs.
    #[must_use]
    pub fn of_jobs(jobs: impl IntoIterator<Item = JobState>) -> Self {
        let (mut all, mut completed, mut cancelled, mut partial) = (0u32, 0u32, 0u32, 0u32);
        for job in jobs {
            all += 1;
            match job {
                JobState::Queued | JobState::Running => return Self::Processing,
                JobState::Completed => completed += 1,
                JobState::Cancelled => cancelled += 1,
                JobState::Partial => partial += 1,
                JobState::Failed => {}
            }
        }
        if completed == all {
            Self::Completed
        } else if completed + partial > 0 {
            Self::Partial
        } else if cancelled == all {
            Self::Cancelled
        } else {
            Self::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert!("done".parse::<JobState>().is_err());
    }

    #[test]
    fn final_states_stay_final_but_for_a_retry() {
        for from in JobState::ALL {
            for to in JobState::ALL {
                if from.is_final() && from.may_become(*to) {
                    assert_eq!(*to, JobState::Queued, "{from} -> {to}");
                }
            }
        }
    }

    #[test]
    fn a_job_is_what_its_tasks_are() {
        use TaskState::{Cancelled, Completed, Failed, Running};
        assert_eq!(JobState::of_tasks([Completed, Completed]), JobState::Completed);
        assert_eq!(JobState::of_tasks([Completed, Failed]), JobState::Partial);
        assert_eq!(JobState::of_tasks([Failed, Failed]), JobState::Failed);
        assert_eq!(JobState::of_tasks([Cancelled, Cancelled]), JobState::Cancelled);
        assert_eq!(JobState::of_tasks([Completed, Running]), JobState::Running);
    }

    #[test]
    fn an_upload_is_what_its_jobs_are() {
        assert_eq!(UploadState::of_jobs([JobState::Completed, JobState::Running]), UploadState::Processing);
        assert_eq!(UploadState::of_jobs([JobState::Completed, JobState::Failed]), UploadState::Partial);
        assert_eq!(UploadState::of_jobs([JobState::Failed]), UploadState::Failed);
        assert_eq!(UploadState::of_jobs([JobState::Cancelled]), UploadState::Cancelled);
        assert_eq!(UploadState::of_jobs([JobState::Completed]), UploadState::Completed);
    }
}
