//! Our side of `scripts/compare/variants`, `all` and `jpeg-quality --encoded`, and of `scripts/measure/latency-one`: orders on standard
//! input, one a line, an answer to each. With the argument `image` it is the plain `image` crate's side instead.
//!
//! Fields of a line are parted by tabs. Files are read once and kept, so what is timed is bytes in memory to bytes in memory, by this
//! program's own clock. Of the pipeline it uses what the service uses, and nothing of its insides. Another first argument is taken as the
//! only order (fields parted by commas), for counting instructions.
//!
//! | order | what is done and timed |
//! |---|---|
//! | `make PATH HOW OUT TASK...` | results of one picture; HOW is `once` (one decode for all) or `each` (every one from the file) |
//! | `options PATH OPTIONS...` | variants by their options |
//! | `facts PATH OPTIONS...` | the same, and what the image is, as the first job of an image makes them |
//! | `lent THREADS PATH OPTIONS...` | the same with so many threads, and memory, lent to it |
//! | `write PATH OUT OPTIONS` | a variant by its options, written to the file OUT |
//! | `plan PATH TASK...` | nothing; the plan's text, in one line |
//!
//! A task is [`Task`]'s text. OUT is a folder for the results, `0.jpg` and so on, or `-`. Answers: to `make` `ok NANOSECONDS` and
//! `WIDTHxHEIGHT:BYTES` of each result; to `write` `ok NANOSECONDS BYTES`; to `options`, `facts` and `lent` `ok NANOSECONDS DECODE_NS PEAK_BYTES` and `TRANSFORM_NS:ENCODE_NS` of each; or `error TEXT`.
#![allow(clippy::disallowed_methods, reason = "a program may read files")]

mod plain;
#[path = "../side/mod.rs"]
mod side;
mod task;

use image_pipeline::{Context, Encoded, Limits, Plan, Presets, Spare, Spec, plan, probe, run};
use side::{Files, answer_all};
use std::{
    error::Error,
    fs,
    io::Cursor,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use task::Task;

/// One finished file.
struct Made {
    bytes: Vec<u8>,
    width_px: u32,
    height_px: u32,
}

impl From<Encoded> for Made {
    fn from(encoded: Encoded) -> Self {
        Self { bytes: encoded.bytes, width_px: encoded.width_px, height_px: encoded.height_px }
    }
}

/// What a run took, part by part.
#[derive(Default)]
struct Parts {
    decode: Duration,
    peak_bytes: u64,
    /// To transform and to encode, of each variant.
    variants: Vec<(Duration, Duration)>,
}

/// So many threads beside the calling one, and as much memory as may be.
#[derive(Debug)]
struct Lent(usize);

impl Spare for Lent {
    fn share(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let all = || {
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count) {
                work(index);
            }
        };
        std::thread::scope(|scope| {
            (0..self.0.min(count)).for_each(|_| drop(scope.spawn(all)));
            all();
        });
    }

    fn lend_bytes(&self, _: u64) -> bool {
        true
    }
}

/// Whose work it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    Pipeline,
    ImageCrate,
}

struct Side {
    worker: Worker,
    files: Files,
}

impl Side {
    fn timed(&mut self, path: &str, texts: &[&str], facts: bool, spare: Option<&dyn Spare>) -> Result<String, Box<dyn Error>> {
        let source = self.files.read(path)?;
        let started = Instant::now();
        let (_, parts) = made(&source, planned(&source, texts)?, facts, spare)?;
        let took = started.elapsed().as_nanos();
        let each = parts.variants.iter().map(|(transform, encode)| format!("\t{}:{}", transform.as_nanos(), encode.as_nanos()));
        Ok(format!("{took}\t{}\t{}{}", parts.decode.as_nanos(), parts.peak_bytes, each.collect::<String>()))
    }

    fn answer(&mut self, order: &[&str]) -> Result<String, Box<dyn Error>> {
        match (order, self.worker) {
            (["make", path, how, out, tasks @ ..], worker) => {
                let source = self.files.read(path)?;
                let tasks = tasks.iter().map(|text| text.parse()).collect::<Result<Vec<Task>, _>>()?;
                let started = Instant::now();
                let made = match (worker, *how) {
                    (Worker::Pipeline, "once") => made(&source, planned(&source, &options(&tasks))?, false, None)?.0,
                    (Worker::Pipeline, "each") => {
                        let each = options(&tasks)
                            .into_iter()
                            .map(|one| planned(&source, &[one]).and_then(|plan| made(&source, plan, false, None)).map(|(made, _)| made));
                        each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
                    }
                    (Worker::ImageCrate, "once") => plain::once(&source, &tasks)?,
                    (Worker::ImageCrate, "each") => plain::each(&source, &tasks)?,
                    _ => return Err("a picture is decoded once, or for each".into()),
                };
                let mut answer = started.elapsed().as_nanos().to_string();
                for (index, (made, task)) in made.iter().zip(&tasks).enumerate() {
                    answer += &format!("\t{}x{}:{}", made.width_px, made.height_px, made.bytes.len());
                    if *out != "-" {
                        fs::write(Path::new(out).join(format!("{index}.{}", task.format)), &made.bytes)?;
                    }
                }
                Ok(answer)
            }
            (["write", path, out, text], Worker::Pipeline) => {
                let source = self.files.read(path)?;
                let started = Instant::now();
                let (made, _) = made(&source, planned(&source, &[text])?, false, None)?;
                let took = started.elapsed().as_nanos();
                let [made] = &made[..] else { return Err("one variant was asked for".into()) };
                fs::write(out, &made.bytes)?;
                Ok(format!("{took}\t{}", made.bytes.len()))
            }
            (["options", path, texts @ ..], Worker::Pipeline) => self.timed(path, texts, false, None),
            (["facts", path, texts @ ..], Worker::Pipeline) => self.timed(path, texts, true, None),
            (["lent", threads, path, texts @ ..], Worker::Pipeline) => self.timed(path, texts, false, Some(&Lent(threads.parse()?))),
            (["plan", path, tasks @ ..], Worker::Pipeline) => {
                let source = self.files.read(path)?;
                let tasks = tasks.iter().map(|text| text.parse()).collect::<Result<Vec<Task>, _>>()?;
                Ok(format!("0\t{}", planned(&source, &options(&tasks))?.to_string().replace('\n', " | ")))
            }
            (["version"], Worker::ImageCrate) => Ok("0\timage 0.25".to_owned()),
            _ => Err("no such order".into()),
        }
    }
}

fn options(tasks: &[Task]) -> Vec<String> {
    tasks.iter().map(Task::options).collect()
}

fn planned(source: &[u8], texts: &[impl AsRef<str>]) -> Result<Plan, Box<dyn Error>> {
    let presets = Presets::builtin();
    let specs = texts.iter().map(|text| Spec::parse(text.as_ref(), &presets)).collect::<Result<Vec<_>, _>>()?;
    let limits = Limits::default();
    Ok(plan(&probe(&mut Cursor::new(source), &limits)?, &specs, &limits)?)
}

/// All variants of a plan, with everything the service does for an image but storing it; in the order of its specs.
fn made(source: &[u8], plan: Plan, facts: bool, spare: Option<&dyn Spare>) -> Result<(Vec<Made>, Parts), Box<dyn Error>> {
    let plan = if facts { plan.with_facts()? } else { plan };
    let cancel = AtomicBool::new(false);
    let context = Context { deadline: None, cancel: &cancel, spare };
    let mut parts = Parts { variants: vec![Default::default(); plan.variant_count()], ..Parts::default() };
    let mut results: Vec<_> = (0..plan.variant_count()).map(|_| None).collect();
    let report = run(&plan, source, &context, &mut |outcome| {
        parts.variants[outcome.index] = (outcome.transform, outcome.encode);
        results[outcome.index] = Some(outcome.result);
    })?;
    (parts.decode, parts.peak_bytes) = (report.decode, report.peak_bytes);
    let mut made = Vec::with_capacity(results.len());
    for result in results {
        made.push(result.ok_or("a variant is missing")??.into());
    }
    Ok((made, parts))
}

fn main() -> Result<(), Box<dyn Error>> {
    let only = std::env::args().nth(1);
    let is_plain = only.as_deref() == Some("image");
    let mut side = Side { worker: if is_plain { Worker::ImageCrate } else { Worker::Pipeline }, files: Files::default() };
    answer_all(only.filter(|_| !is_plain), |order| side.answer(order))
}
