//! Those around a catalog while a history runs: clients, workers and upkeep, with a clock turned by hand and ids that follow from a seed.
//!
//! Knows no back end. Turns steps into commands by what the model says is there, and keeps what workers and clients would remember.

use std::{collections::BTreeMap, time::Duration};

use proptest::sample::Index;
use uuid::{Builder, Uuid};

use super::{
    super::super::{Cancellation, JobAdded, Retried},
    super::super::{
        Claim, ClaimedJob, Idempotency, JobDone, JobTiming, Lease, NewImage, NewJob, NewTask, NewUpload, Release, StoredVariant, TaskDone,
        TaskTiming, Together,
    },
    commands::{Answer, Command, MADE_UP},
    rows::{Job, Rows},
    steps::{Hold, Outcome, Pick, Step, Work},
};
use crate::{
    clock::{Clock as _, ManualClock},
    domain::{BlobId, ImageId, JobId, LeaseToken, Priority, TaskCode, TaskFailure, TaskId, TaskState, Timestamp, UploadId},
};

pub(super) const OWNERS: [&str; 2] = ["ada", "bob"];

/// Ids that carry the time, and are the same in every run.
#[derive(Debug, Default)]
struct SeededIds(u64);

impl SeededIds {
    fn next(&mut self, now: Timestamp) -> Uuid {
        self.0 += 1;
        // SplitMix64 (Steele, Lea, Flood 2014): ids of one millisecond are in no order, as those of the service.
        let mix = |seed: u64| {
            let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut random = [0; 10];
        random[..8].copy_from_slice(&mix(self.0).to_be_bytes());
        random[8..].copy_from_slice(&mix(!self.0).to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(now.as_millis().unsigned_abs(), &random).into_uuid()
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) rows: Rows,
    pub(super) clock: ManualClock,
    ids: SeededIds,
    /// All there ever were, the deleted ones too.
    pub(super) uploads: Vec<UploadId>,
    pub(super) images: Vec<ImageId>,
    pub(super) jobs: Vec<JobId>,
    pub(super) blobs: Vec<BlobId>,
    leases: Vec<Lease>,
    told: Vec<(Lease, TaskDone)>,
    /// How often each job was to be done, and how often it ended, as those outside were told.
    lives: BTreeMap<JobId, (u32, u32)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            rows: Rows::default(),
            clock: ManualClock::at(Timestamp::from_millis(1_790_000_000_000)),
            ids: SeededIds::default(),
            uploads: Vec::new(),
            images: Vec::new(),
            jobs: Vec::new(),
            blobs: Vec::new(),
            leases: Vec::new(),
            told: Vec::new(),
            lives: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn uuid(&mut self) -> Uuid {
        let now = self.now();
        self.ids.next(now)
    }

    fn blob(&mut self) -> BlobId {
        let blob = BlobId::from_uuid(self.uuid());
        self.blobs.push(blob);
        blob
    }

    /// What a step comes to now.
    pub(super) fn commands(&mut self, step: &Step) -> Vec<Command> {
        let now = self.now();
        match step {
            Step::Wait { ms } => {
                self.clock.advance(i64::from(*ms));
                Vec::new()
            }
            Step::Accept { owner, images, key } => vec![self.accept(*owner, images, *key)],
            Step::Add { image, work } => {
                let of = self.any_of(&self.images.clone(), *image).unwrap_or_else(|| ImageId::from_uuid(self.uuid()));
                vec![Command::Add(of, self.job(work), now)]
            }
            Step::Claim { worker, limit, together, budget_bytes, whole_budget_bytes, lease_s } => {
                let bytes = |bytes: Option<u8>| bytes.map_or(u64::MAX, u64::from);
                let together = Together { cost_bytes: together.0.into(), jobs: together.1 };
                vec![self.claim(*worker, (*limit, together), (bytes(*budget_bytes), bytes(*whole_budget_bytes)), *lease_s)]
            }
            Step::Renew { hold, and, for_s } => {
                let mut leases: Vec<Lease> = [*hold, *and].into_iter().filter_map(|hold| self.lease(hold)).collect();
                leases.dedup();
                vec![Command::Renew(leases, now.after(Duration::from_secs((*for_s).into())))]
            }
            Step::Work { hold, outcomes } => self.lease(*hold).map_or_else(Vec::new, |lease| self.work(lease, outcomes)),
            Step::Together { holds, outcomes } => {
                let leases: Vec<Lease> = holds.iter().filter_map(|hold| self.lease(*hold)).collect();
                let commands = leases.into_iter().flat_map(|lease| self.work(lease, outcomes)).collect::<Vec<_>>();
                let ends = commands.into_iter().filter_map(|command| match command {
                    Command::FinishTask(lease, done) => Some((lease, done)),
                    _ => None,
                });
                vec![Command::FinishTasks(ends.collect())]
            }
            Step::FinishTask { hold, task, outcome, with_job } => {
                let Some(lease) = self.lease(*hold) else { return Vec::new() };
                let tasks = self.rows.jobs.get(&lease.job).map_or(0, |job| job.view.tasks.len());
                let done = self.done(lease.job, if tasks == 0 { 0 } else { task.index(tasks) }, *outcome, *with_job);
                self.told.push((lease, done.clone()));
                vec![Command::FinishTask(lease, done)]
            }
            Step::Repeat { told } => {
                let told = (!self.told.is_empty()).then(|| told.get(&self.told).clone());
                told.map(|(lease, done)| Command::FinishTask(lease, done)).into_iter().collect()
            }
            Step::FinishJob { hold, facts } => {
                self.lease(*hold).map(|lease| Command::FinishJob(lease, self.job_done(*facts))).into_iter().collect()
            }
            Step::Release { hold, failed, delay_s } => {
                let failure = failed.then(|| failure(TaskCode::Storage));
                let release = Release { at: now, due: now.after(Duration::from_secs((*delay_s).into())), failure };
                self.lease(*hold).map(|lease| Command::Release(lease, release)).into_iter().collect()
            }
            Step::Expire { max_crashes } => vec![Command::Expire(now, *max_crashes)],
            Step::Void { max_crashes } => vec![Command::Void(now, *max_crashes)],
            Step::Cancel { job } => vec![Command::Cancel(self.pick(*job, |job| !job.view.state.is_final()), now)],
            Step::Retry { job } => {
                let has_failed = |job: &Job| job.view.state.is_final() && job.view.tasks.iter().any(|task| task.state == TaskState::Failed);
                vec![Command::Retry(self.pick(*job, has_failed), now)]
            }
            Step::DeleteUpload { upload } => {
                let of = self.any_of(&self.uploads.clone(), *upload).unwrap_or_else(|| UploadId::from_uuid(self.uuid()));
                vec![Command::DeleteUpload(of, now)]
            }
            Step::DeleteImage { image } => {
                let of = self.any_of(&self.images.clone(), *image).unwrap_or_else(|| ImageId::from_uuid(self.uuid()));
                vec![Command::DeleteImage(of, now)]
            }
            Step::PurgeTombstones { older_s } => vec![Command::PurgeTombstones(now.before(Duration::from_secs((*older_s).into())))],
            Step::PurgeBlobs { all, some } => {
                // Live ones too: these are to stay.
                let of = if *all { self.blobs.clone() } else { self.any_of(&self.blobs.clone(), *some).into_iter().collect() };
                vec![Command::PurgeBlobs(of)]
            }
            Step::Mark { blobs, missing } => {
                let mut of: Vec<BlobId> = blobs.iter().filter_map(|blob| self.any_of(&self.blobs, *blob)).collect();
                of.dedup();
                vec![if *missing { Command::MarkMissing(of) } else { Command::MarkFound(of) }]
            }
            Step::Replace { blob } => {
                let lost = self.any_of(&self.blobs.clone(), *blob);
                lost.map(|lost| Command::Replace(lost, self.blob())).into_iter().collect()
            }
        }
    }

    /// One of these, or none: one place in the list is beyond its end.
    fn any_of<T: Copy>(&self, all: &[T], index: Index) -> Option<T> {
        all.get(index.index(all.len() + 1)).copied()
    }

    fn pick(&mut self, pick: Pick, allowed: impl Fn(&Job) -> bool) -> JobId {
        let such = |id: &&JobId| pick.any || self.rows.jobs.get(id).is_some_and(&allowed);
        let among: Vec<JobId> = self.jobs.iter().filter(such).copied().collect();
        self.any_of(&among, pick.of).unwrap_or_else(|| JobId::from_uuid(self.uuid()))
    }

    /// The leases that are held.
    pub(super) fn held(&self) -> Vec<Lease> {
        let is_held = |lease: &&Lease| {
            let job = self.rows.jobs.get(&lease.job);
            job.and_then(|job| job.hold.as_ref()).is_some_and(|hold| hold.token == lease.token)
        };
        self.leases.iter().filter(is_held).copied().collect()
    }

    fn lease(&self, hold: Hold) -> Option<Lease> {
        let among = if hold.late { self.leases.clone() } else { self.held() };
        (!among.is_empty()).then(|| *hold.of.get(&among))
    }

    fn accept(&mut self, owner: u8, images: &[(u8, Work)], key: Option<(u8, u8)>) -> Command {
        let mut taken = Vec::new();
        for (content, work) in images {
            let image = ImageId::from_uuid(self.uuid());
            taken.push(NewImage {
                id: image,
                blob: self.blob(),
                sha256: [*content; 32],
                bytes: bytes_of([*content; 32]),
                filename: Some(format!("{content}.jpg")),
                format: "jpeg".into(),
                width_px: 640,
                height_px: 480,
                metadata: Vec::new(),
                job: self.job(work),
            });
            self.images.push(image);
        }
        let id = UploadId::from_uuid(self.uuid());
        self.uploads.push(id);
        Command::Accept(NewUpload {
            id,
            owner: OWNERS[usize::from(owner)].into(),
            received_at: self.now(),
            expires_at: None,
            metadata: vec![("from".into(), "the model".into())],
            rejected: Vec::new(),
            images: taken,
            idempotency: key.map(|(key, fingerprint)| Idempotency { key: format!("key-{key}"), fingerprint: [fingerprint; 32] }),
        })
    }

    fn job(&mut self, work: &Work) -> NewJob {
        let id = JobId::from_uuid(self.uuid());
        self.jobs.push(id);
        let priority = Priority::ALL[usize::from(work.priority)];
        let mut tasks = Vec::new();
        for (name, spec) in &work.tasks {
            tasks.push(NewTask {
                id: TaskId::from_uuid(self.uuid()),
                name: format!("v{name}").parse().expect("a legal name"),
                options: format!("w:{spec}"),
                spec: format!("resize:fit:{spec}:0"),
                spec_digest: [*spec; 32],
                pipeline_version: 1,
                format: "webp".into(),
            });
        }
        let rank = self.now().as_millis() + i64::from(work.rank) * 20_000;
        NewJob { id, priority, rank, cost_bytes: work.cost_bytes.into(), max_attempts: work.max_attempts.into(), origin: None, tasks }
    }

    pub(super) fn claim(
        &mut self,
        worker: u8,
        (limit, together): (u32, Together),
        (budget_bytes, whole_budget_bytes): (u64, u64),
        lease_s: u8,
    ) -> Command {
        let owner = format!("worker-{worker}");
        let holds = self.rows.jobs.values().filter_map(|job| job.hold.as_ref()).filter(|hold| hold.owner == owner).count();
        Command::Claim(Claim {
            owner,
            limit,
            together,
            budget_bytes,
            whole_budget_bytes,
            running: u32::try_from(holds).expect("few"),
            now: self.now(),
            lease: Duration::from_secs(lease_s.into()),
            tokens: (0..limit * together.jobs).map(|_| LeaseToken::from_uuid(self.uuid())).collect(),
        })
    }

    /// All that is left of a job, the job's own end with that of its last task.
    pub(super) fn work(&mut self, lease: Lease, outcomes: &[Outcome]) -> Vec<Command> {
        let unfinished = self.rows.jobs.get(&lease.job).map(|job| job.unfinished()).unwrap_or_default();
        let last = unfinished.last().copied();
        if last.is_none() {
            return vec![Command::FinishJob(lease, self.job_done(true))];
        }
        let mut commands = Vec::new();
        for (place, outcome) in unfinished.into_iter().zip(outcomes.iter().cycle()) {
            let done = self.done(lease.job, place, *outcome, Some(place) == last);
            self.told.push((lease, done.clone()));
            commands.push(Command::FinishTask(lease, done));
        }
        commands
    }

    fn done(&mut self, job: JobId, place: usize, outcome: Outcome, with_job: bool) -> TaskDone {
        let job = self.rows.jobs.get(&job);
        let of = job.map(|job| (job.view.image, job.view.tasks[place].id, job.made[place].0));
        // A job that is gone: whatever is told of it.
        let task = of.map_or_else(|| TaskId::from_uuid(self.uuid()), |(_, task, _)| task);
        let original = of.map_or([0; 32], |(image, ..)| self.rows.blobs[&self.rows.images[&image].view.blob].sha256);
        let spec = of.map_or(0, |(_, _, digest)| digest[0]);
        let outcome = match outcome {
            Outcome::Made => Ok(self.stored([100 + (original[0] % 16) * 4 + spec; 32])),
            Outcome::Other(content) => Ok(self.stored([content; 32])),
            Outcome::Failed => Err(failure(TaskCode::MalformedImage)),
            Outcome::Cancelled => Err(failure(TaskCode::Cancelled)),
        };
        let timing = TaskTiming {
            transform: Duration::from_nanos(1_900_123),
            encode: Duration::from_micros(4_200),
            store: Duration::from_micros(400),
        };
        TaskDone { task, at: self.now(), outcome, timing, job: with_job.then(|| self.job_done(false)) }
    }

    fn stored(&mut self, sha256: [u8; 32]) -> StoredVariant {
        StoredVariant {
            blob: self.blob(),
            bytes: bytes_of(sha256),
            sha256,
            width_px: 320,
            height_px: 240,
            format: "webp".into(),
            quality: Some(80),
            frames: 1,
        }
    }

    fn job_done(&self, facts: bool) -> JobDone {
        let at = self.now();
        let timing = JobTiming { queue: Duration::from_nanos(3_100_001), total: Duration::from_micros(34_400), ..JobTiming::default() };
        JobDone { at, timing, peak_bytes: 15_728_640, facts: facts.then(|| format!("found at {}", at.as_millis())) }
    }

    /// Takes note of what those outside were told.
    ///
    /// # Errors
    /// When a job ended more often than it was to be done.
    pub(super) fn note(&mut self, command: &Command, answer: &Answer) -> Result<(), String> {
        match (command, answer) {
            (_, Answer::Accepted(accepted)) if !accepted.replayed => {
                accepted.upload.images.iter().for_each(|(_, job)| self.begins(job.id, job.state.is_final()));
            }
            (_, Answer::Added(JobAdded::Added { job: Some((job, finished)), .. })) => self.begins(*job, finished.job.is_final()),
            (_, Answer::Claimed(claimed)) => self.leases.extend(claimed.jobs.iter().map(|job: &ClaimedJob| job.lease)),
            (Command::FinishTask(lease, _), Answer::TaskFinished(finished)) if finished.job.is_some() => self.ends(lease.job),
            (Command::FinishTasks(of), Answer::TasksFinished(finished)) => {
                let ended = of.iter().zip(finished).filter(|(_, finished)| finished.as_ref().is_ok_and(|finished| finished.job.is_some()));
                ended.for_each(|((lease, _), _)| self.ends(lease.job));
            }
            (Command::FinishJob(lease, _), Answer::JobFinished(_)) | (Command::Release(lease, _), Answer::Released(Some(_))) => {
                self.ends(lease.job);
            }
            (_, Answer::Voided(voided)) => voided.failed.iter().for_each(|job| self.ends(*job)),
            (Command::Cancel(job, _), Answer::Cancelled(Cancellation::Done { .. })) => self.ends(*job),
            (Command::Retry(job, _), Answer::Retried(Retried::Queued { .. })) => self.begins(*job, false),
            _ => {}
        }
        match self.lives.iter().find(|(_, (begun, ended))| ended > begun) {
            Some((job, (begun, ended))) => Err(format!("job {job} ended {ended} times and was to be done {begun} times")),
            None => Ok(()),
        }
    }

    fn begins(&mut self, job: JobId, ended: bool) {
        let lives = self.lives.entry(job).or_default();
        lives.0 += 1;
        lives.1 += u32::from(ended);
    }

    fn ends(&mut self, job: JobId) {
        self.lives.entry(job).or_default().1 += 1;
    }

    /// Jobs that did not end as often as they were to be done, of those that were not deleted.
    pub(super) fn lost(&self) -> Vec<JobId> {
        self.lives.iter().filter(|(job, (begun, ended))| begun != ended && self.rows.jobs.contains_key(job)).map(|(job, _)| *job).collect()
    }
}

/// The same bytes are as many.
fn bytes_of(sha256: [u8; 32]) -> u64 {
    1_000 + u64::from(sha256[0])
}

fn failure(code: TaskCode) -> TaskFailure {
    TaskFailure { code, detail: format!("{MADE_UP}: {code}") }
}
