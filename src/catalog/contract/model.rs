//! The contract as a model: whatever happens to a catalog, in whatever order, it answers and looks as plain maps in memory do.
//!
//! A history is random (`steps.rs`): uploads with duplicates and idempotency keys, claims within budgets, renewals, ends of tasks and jobs, what
//! is given back, expired leases, restarts, cancellations, retries, deletions, late workers with old tokens, things told twice, lost files, and
//! the death of the process with commands under way. After every turn all that can be seen is compared with the model (`rows.rs`, with its
//! rules in `asking.rs` and `working.rs`), which is written from the words of [`Catalog`] and knows no back end. In the end all work is done, and
//! every job that was not deleted has ended exactly as often as it was to be done.
//!
//! Nothing here sleeps or asks a clock, and ids follow from a seed, so proptest makes a failing history small. `PROPTEST_CASES` says how many
//! histories. That it can fail was tried by breaking a back end by hand: record 0061 says how, and what it caught.

mod asking;
mod commands;
mod rows;
mod steps;
mod working;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::Future,
    pin::pin,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::join_all};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::super::{Catalog, CatalogError, Page, Subject, Together};
use crate::domain::{BlobId, JobState};
use commands::{Command, ask, plain_job, plain_upload};
use rows::Rows;
use steps::{Outcome, Turn};
use world::{OWNERS, World};

/// Histories in an ordinary run.
const CASES: u32 = 64;
/// Turns of a history, at most.
const TURNS: usize = 48;

/// Where the rows of one history are.
#[async_trait(?Send)]
pub(crate) trait Place {
    /// The back end.
    type Back: Catalog;

    /// The catalog, empty.
    async fn open(&mut self) -> Self::Back;

    /// The catalog as a process finds it that comes after one that was killed at this very moment.
    async fn killed(&mut self, running: Self::Back) -> Self::Back;

    /// What is wrong with the rows though no view shows it.
    async fn hidden_faults(&mut self, catalog: &Self::Back) -> Vec<String>;
}

/// Holds a back end to the model, with a fresh place for each history.
///
/// # Panics
/// When it does anything that the model does not; the message has the shortest history found that shows it.
pub(crate) fn check<P: Place>(place: impl Fn() -> P) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(CASES),
    };
    // A history that failed once becomes a test of its own, with a name.
    let mut runner = TestRunner::new(Config { failure_persistence: None, max_shrink_iters: 20_000, ..config });
    let history = |turns: Vec<Turn>| runtime.block_on(run(place(), &turns)).map_err(TestCaseError::fail);
    if let Err(failed) = runner.run(&steps::turns(TURNS), history) {
        panic!("{failed}");
    }
}

async fn run<P: Place>(mut place: P, turns: &[Turn]) -> Result<(), String> {
    let mut catalog = place.open().await;
    let mut world = World::new();
    for (number, turn) in turns.iter().enumerate() {
        let commands: Vec<Command> = turn.steps.iter().flat_map(|step| world.commands(step)).collect();
        let said = match turn.dies_after {
            None => together(&catalog, &mut world, &commands).await,
            Some(looks) => {
                let torn: Vec<_> = commands.iter().map(|command| ask(&catalog, command.clone())).collect();
                begin(join_all(torn), looks).await;
                catalog = place.killed(catalog).await;
                after_death(&catalog, &mut world, &commands).await
            }
        };
        said.map_err(|fault| format!("in turn {number}: {fault}"))?;
    }
    drain(&catalog, &mut world).await.map_err(|fault| format!("when the rest was done: {fault}"))?;
    let faults = place.hidden_faults(&catalog).await;
    if faults.is_empty() { Ok(()) } else { Err(format!("no view shows it: {faults:?}")) }
}

/// Asks all at one moment; they count in this order.
async fn together(catalog: &impl Catalog, world: &mut World, commands: &[Command]) -> Result<(), String> {
    let answers = join_all(commands.iter().map(|command| ask(catalog, command.clone()))).await;
    for (command, answer) in commands.iter().zip(answers) {
        let answer = answer?.plain();
        let wanted = world.rows.answer(command).plain();
        same(&answer, &wanted).map_err(|fault| format!("{command:?} was answered wrongly: {fault}"))?;
        world.note(command, &answer)?;
    }
    compare(&seen(catalog, world).await?, &model_seen(&world.rows))
}

/// Goes on with something for a while, then lets go of it.
async fn begin(work: impl Future, looks: u8) {
    let mut work = pin!(work);
    for _ in 0..looks {
        if work.as_mut().now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Nobody was answered: the first of the commands, none or all, were done, and nothing else was. Then the service starts.
async fn after_death(catalog: &impl Catalog, world: &mut World, commands: &[Command]) -> Result<(), String> {
    let seen = seen(catalog, world).await?;
    let mut fault = compare(&seen, &model_seen(&world.rows));
    let mut rows = world.rows.clone();
    let mut done = 0;
    while fault.is_err() {
        let Some(command) = commands.get(done) else {
            return fault.map_err(|fault| format!("what is there after a death is no beginning of {commands:?}: {fault}"));
        };
        rows.answer(command);
        done += 1;
        fault = compare(&seen, &model_seen(&rows));
    }
    for command in &commands[..done] {
        let answer = world.rows.answer(command).plain();
        world.note(command, &answer)?;
    }
    let start = Command::Void(world.now(), 2);
    together(catalog, world, &[start]).await
}

/// Does all that is left to do, then looks at everything once more, one by one.
async fn drain(catalog: &impl Catalog, world: &mut World) -> Result<(), String> {
    // All is due by then, and whoever holds something is late.
    world.clock.advance(3_600_000);
    let expire = Command::Expire(world.now(), 2);
    together(catalog, world, &[expire]).await?;
    let mut claims: BTreeMap<_, u32> = BTreeMap::new();
    loop {
        let claim = world.claim(0, (3, Together::NONE), (u64::MAX, u64::MAX), 60);
        let before = world.rows.jobs.values().filter(|job| job.view.state == JobState::Running).count();
        if before > 0 {
            return Err(format!("{before} jobs are running that nobody holds"));
        }
        together(catalog, world, &[claim]).await?;
        let held: Vec<_> = world.held();
        if held.is_empty() {
            break;
        }
        for lease in held {
            let times = claims.entry(lease.job).or_default();
            *times += 1;
            if *times > 1 {
                return Err(format!("job {} was given out {times} times though it ended", lease.job));
            }
            let ends = world.work(lease, &[Outcome::Made]);
            together(catalog, world, &ends).await?;
        }
    }
    let (totals, lost) = (world.rows.totals(), world.lost());
    if (totals.queued_jobs, totals.running_jobs, totals.pending_tasks) != (0, 0, 0) || !lost.is_empty() {
        return Err(format!("work is left: {totals:?}, did not end as often as they were to be done: {lost:?}"));
    }
    one_by_one(catalog, world).await
}

/// All that can be seen in lists. A blob that is pointed at and dead is an error of its own.
async fn seen(catalog: &impl Catalog, world: &World) -> Result<Vec<String>, String> {
    let failed = |error: CatalogError| format!("{error}: {error:?}");
    let mut lines = vec![format!("{:?} {:?}", catalog.totals().await.map_err(failed)?, catalog.next_due().await.map_err(failed)?)];
    let mut pointed_at = BTreeSet::new();
    for owner in OWNERS {
        let all = catalog.uploads(Page { owner: owner.into(), before: None, limit: 200 }).await.map_err(failed)?;
        for upload in all.items {
            for (image, job) in &upload.images {
                pointed_at.insert(image.blob);
                pointed_at.extend(job.tasks.iter().filter_map(|task| task.result.as_ref()).map(|stored| stored.blob));
            }
            lines.push(format!("{:?}", plain_upload(upload)));
        }
    }
    let dead = catalog.dead_blobs(None, 1_000).await.map_err(failed)?;
    if let Some(both) = dead.iter().find(|blob| pointed_at.contains(blob)) {
        return Err(format!("blob {both} is pointed at and dead"));
    }
    lines.push(format!("dead {dead:?}"));
    lines.extend(catalog.blobs_after(None, 1_000).await.map_err(failed)?.iter().map(|blob| format!("{blob:?}")));
    let mut facts = catalog.facts(&world.blobs).await.map_err(failed)?;
    facts.sort();
    lines.push(format!("facts {facts:?}"));
    Ok(lines)
}

/// The same of the model.
fn model_seen(rows: &Rows) -> Vec<String> {
    let mut lines = vec![format!("{:?} {:?}", rows.totals(), rows.next_due())];
    for owner in OWNERS {
        let newest_first = rows.uploads.values().rev().filter(|upload| upload.owner == owner);
        lines.extend(newest_first.filter_map(|upload| rows.upload(upload.id)).map(|upload| format!("{:?}", plain_upload(upload))));
    }
    lines.push(format!("dead {:?}", rows.dead()));
    lines.extend(rows.live().iter().map(|blob| format!("{blob:?}")));
    lines.push(format!("facts {:?}", rows.facts.iter().map(|(blob, facts)| (*blob, facts.clone())).collect::<Vec<_>>()));
    lines
}

/// Everything that ever was, asked for by its id.
async fn one_by_one(catalog: &impl Catalog, world: &World) -> Result<(), String> {
    let failed = |error: CatalogError| format!("{error}: {error:?}");
    let rows = &world.rows;
    for id in &world.uploads {
        same(&catalog.upload(*id).await.map_err(failed)?.map(plain_upload), &rows.upload(*id).map(plain_upload))?;
        same(&catalog.was_deleted(Subject::Upload(*id)).await.map_err(failed)?, &rows.was_deleted("upload", id.uuid()))?;
    }
    for id in &world.images {
        same(&catalog.image(*id).await.map_err(failed)?, &rows.images.get(id).map(|image| image.view.clone()))?;
        same(&catalog.was_deleted(Subject::Image(*id)).await.map_err(failed)?, &rows.was_deleted("image", id.uuid()))?;
        for name in ["v0", "v3"].map(|name| name.parse().expect("a legal name")) {
            let plain = |mut of: super::super::VariantView| {
                of.job = plain_job(of.job);
                of.task = of.job.tasks.iter().find(|task| task.id == of.task.id).cloned().unwrap_or(of.task);
                of
            };
            let told = catalog.variant(*id, &name).await.map_err(failed)?.map(plain);
            same(&told, &rows.variant(*id, &name).map(plain))?;
        }
    }
    for id in &world.jobs {
        same(&catalog.job(*id).await.map_err(failed)?.map(plain_job), &rows.job(*id).map(plain_job))?;
        same(&catalog.was_deleted(Subject::Job(*id)).await.map_err(failed)?, &rows.was_deleted("job", id.uuid()))?;
    }
    for state in JobState::ALL {
        let page = Page { owner: OWNERS[0].into(), before: None, limit: 200 };
        let told: Vec<_> = catalog.jobs(page, Some(*state)).await.map_err(failed)?.items.into_iter().map(|job| job.id).collect();
        let of = |job: &&rows::Job| job.view.state == *state && rows.uploads[&job.view.upload].owner == OWNERS[0];
        same(&told, &rows.jobs.values().rev().filter(of).map(|job| job.view.id).collect::<Vec<_>>())?;
    }
    let mut live = catalog.live_blobs(&world.blobs).await.map_err(failed)?;
    live.sort();
    same(&live, &rows.live().iter().map(|blob| blob.id).collect::<Vec<BlobId>>())
}

fn same<T: Debug>(told: &T, wanted: &T) -> Result<(), String> {
    compare(&[format!("{told:?}")], &[format!("{wanted:?}")])
}

/// Shows the first line that differs, from shortly before the difference on.
fn compare(told: &[String], wanted: &[String]) -> Result<(), String> {
    if told == wanted {
        return Ok(());
    }
    let none = String::new();
    let at = told.iter().zip(wanted).take_while(|(told, wanted)| told == wanted).count();
    let (told, wanted) = (told.get(at).unwrap_or(&none), wanted.get(at).unwrap_or(&none));
    let common = told.chars().zip(wanted.chars()).take_while(|(told, wanted)| told == wanted).count();
    let part = |line: &String| line.chars().skip(common.saturating_sub(160)).take(480).collect::<String>();
    Err(format!("\n  the catalog: …{}\n  the model:   …{}\n", part(told), part(wanted)))
}
