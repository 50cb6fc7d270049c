//! What may happen to a catalog, as random values that shrink: first by leaving out whole turns, then steps, then by smaller numbers.
//!
//! Knows neither a back end nor the model. A step names nothing by id, only by a place in a list; which ids those are is settled when it is taken
//! (`world.rs`), so a history stays a history whatever is left out of it.

use std::collections::BTreeMap;

use proptest::{collection, prelude::*, sample::Index};

/// Steps that are asked for at one moment: a back end may put them into one commit.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) steps: Vec<Step>,
    /// The process dies while they are under way, after so many looks at them.
    pub(super) dies_after: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Time goes by.
    Wait {
        ms: u32,
    },
    Accept {
        owner: u8,
        images: Vec<(u8, Work)>,
        key: Option<(u8, u8)>,
    },
    Add {
        image: Index,
        work: Work,
    },
    Claim {
        worker: u8,
        limit: u32,
        /// What small jobs cost at most, and how many share a place.
        together: (u8, u32),
        budget_bytes: Option<u8>,
        whole_budget_bytes: Option<u8>,
        lease_s: u8,
    },
    Renew {
        hold: Hold,
        and: Hold,
        for_s: u8,
    },
    /// All tasks of a job and the job itself, as a worker does it that nothing happens to.
    Work {
        hold: Hold,
        outcomes: Vec<Outcome>,
    },
    /// The same of some jobs, told in one.
    Together {
        holds: Vec<Hold>,
        outcomes: Vec<Outcome>,
    },
    FinishTask {
        hold: Hold,
        task: Index,
        outcome: Outcome,
        with_job: bool,
    },
    /// What was told before is told again.
    Repeat {
        told: Index,
    },
    FinishJob {
        hold: Hold,
        facts: bool,
    },
    Release {
        hold: Hold,
        failed: bool,
        delay_s: u8,
    },
    Expire {
        max_crashes: u32,
    },
    Void {
        max_crashes: u32,
    },
    Cancel {
        job: Pick,
    },
    Retry {
        job: Pick,
    },
    DeleteUpload {
        upload: Index,
    },
    DeleteImage {
        image: Index,
    },
    PurgeTombstones {
        older_s: u8,
    },
    PurgeBlobs {
        all: bool,
        some: Index,
    },
    Mark {
        blobs: Vec<Index>,
        missing: bool,
    },
    Replace {
        blob: Index,
    },
}

/// The work wanted of an image: names, each with one of a few specs.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) tasks: BTreeMap<u8, u8>,
    pub(super) priority: u8,
    pub(super) rank: u8,
    pub(super) cost_bytes: u8,
    pub(super) max_attempts: u8,
}

/// Any job there ever was, or, as is more telling, one that it is allowed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) of: Index,
    pub(super) any: bool,
}

/// One of the leases that are held, or, for a worker that comes too late, of all there ever were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) of: Index,
    pub(super) late: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// The bytes that this spec always makes of this original.
    Made,
    /// Other bytes, of few: as other specs make them too, and as originals are.
    Other(u8),
    Failed,
    Cancelled,
}

pub(super) fn turns(most: usize) -> impl Strategy<Value = Vec<Turn>> {
    let steps = prop_oneof![4 => collection::vec(step(), 1), 1 => collection::vec(step(), 2..5)];
    let dies_after = prop_oneof![24 => Just(None), 1 => (0_u8..12).prop_map(Some)];
    collection::vec((steps, dies_after).prop_map(|(steps, dies_after)| Turn { steps, dies_after }), 1..most)
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => (0_u32..100_000).prop_map(|ms| Step::Wait { ms }),
        8 => accept(),
        3 => (index(), work()).prop_map(|(image, work)| Step::Add { image, work }),
        12 => claim(),
        2 => (hold(), hold(), 0_u8..120).prop_map(|(hold, and, for_s)| Step::Renew { hold, and, for_s }),
        6 => (hold(), collection::vec(outcome(), 3)).prop_map(|(hold, outcomes)| Step::Work { hold, outcomes }),
        8 => (collection::vec(hold(), 1..6), collection::vec(outcome(), 3)).prop_map(|(holds, outcomes)| Step::Together { holds, outcomes }),
        10 => (hold(), index(), outcome(), any::<bool>())
            .prop_map(|(hold, task, outcome, with_job)| Step::FinishTask { hold, task, outcome, with_job }),
        2 => index().prop_map(|told| Step::Repeat { told }),
        4 => (hold(), any::<bool>()).prop_map(|(hold, facts)| Step::FinishJob { hold, facts }),
        3 => (hold(), any::<bool>(), 0_u8..100).prop_map(|(hold, failed, delay_s)| Step::Release { hold, failed, delay_s }),
        3 => (0_u32..3).prop_map(|max_crashes| Step::Expire { max_crashes }),
        2 => (0_u32..3).prop_map(|max_crashes| Step::Void { max_crashes }),
        3 => pick().prop_map(|job| Step::Cancel { job }),
        5 => pick().prop_map(|job| Step::Retry { job }),
        2 => index().prop_map(|upload| Step::DeleteUpload { upload }),
        2 => index().prop_map(|image| Step::DeleteImage { image }),
        1 => (0_u8..100).prop_map(|older_s| Step::PurgeTombstones { older_s }),
        1 => (any::<bool>(), index()).prop_map(|(all, some)| Step::PurgeBlobs { all, some }),
        3 => (collection::vec(index(), 1..3), prop::bool::weighted(0.7)).prop_map(|(blobs, missing)| Step::Mark { blobs, missing }),
        1 => index().prop_map(|blob| Step::Replace { blob }),
    ]
}

fn accept() -> impl Strategy<Value = Step> {
    let images = collection::vec((0_u8..6, work()), 1..4);
    let key = prop_oneof![3 => Just(None), 1 => (0_u8..2, 0_u8..2).prop_map(Some)];
    (prop_oneof![5 => Just(0_u8), 1 => Just(1)], images, key).prop_map(|(owner, images, key)| Step::Accept { owner, images, key })
}

fn claim() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![3 => Just(None), 1 => (0_u8..12).prop_map(Some)];
    let together = (0_u8..12, 1_u32..4);
    (0_u8..2, 0_u32..4, together, bytes(), bytes(), 1_u8..90).prop_map(
        |(worker, limit, together, budget_bytes, whole_budget_bytes, lease_s)| Step::Claim {
            worker,
            limit,
            together,
            budget_bytes,
            whole_budget_bytes,
            lease_s,
        },
    )
}

fn work() -> impl Strategy<Value = Work> {
    // A name has its usual spec, mostly.
    let spec = prop_oneof![3 => Just(None), 1 => (0_u8..4).prop_map(Some)];
    let tasks = collection::btree_map(0_u8..4, spec, 1..4)
        .prop_map(|tasks| tasks.into_iter().map(|(name, spec)| (name, spec.unwrap_or(name))).collect());
    (tasks, 0_u8..3, 0_u8..8, 0_u8..6, 1_u8..4).prop_map(|(tasks, priority, rank, cost_bytes, max_attempts)| Work {
        tasks,
        priority,
        rank,
        cost_bytes,
        max_attempts,
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    (any::<Index>(), prop::bool::weighted(0.15)).prop_map(|(of, late)| Hold { of, late })
}

fn pick() -> impl Strategy<Value = Pick> {
    (any::<Index>(), prop::bool::weighted(0.25)).prop_map(|(of, any)| Pick { of, any })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Made),
        2 => (0_u8..9).prop_map(Outcome::Other),
        2 => Just(Outcome::Failed),
        1 => Just(Outcome::Cancelled),
    ]
}
