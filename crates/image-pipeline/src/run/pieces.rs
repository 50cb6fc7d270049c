//! The finishes of a plan as pieces that several threads take: cheap ones from one end by the thread that runs the plan, dear ones from the
//! other by those that were lent to it.
//!
//! Starts no thread and knows none but its own. Invariants: every piece is published once; what is held at one time never passes what the
//! plan was estimated at and what was lent, nor does it keep the running thread from going on alone in the plan's order; bytes are the same
//! as without.

use super::{Blocks, Charge, Context, Picture, Spare, VariantOutcome, Writing, missing, transform};
use crate::{
    pixels::Pixels,
    plan::{Plan, finish_bytes, finish_ns},
};
use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Instant,
};

/// Work beside the dearest piece that is worth a second thread: some times what it takes to start one.
const WORTH_A_THREAD_NS: u64 = 300_000;

/// Outputs of one finish.
#[derive(Clone, Debug)]
struct Piece {
    finish: usize,
    outputs: Range<usize>,
}

/// All pieces in the plan's order. Outputs that are written from a base as it is do not wait for each other.
fn pieces(plan: &Plan) -> Vec<Piece> {
    let of_finish = |&finish: &usize| {
        let all = plan.finishes[finish].outputs.len();
        let each = if plan.finishes[finish].steps.is_empty() { 1 } else { all };
        (0..all).step_by(each.max(1)).map(move |first| Piece { finish, outputs: first..first + each })
    };
    plan.order.iter().flat_map(of_finish).collect()
}

/// Whether a second thread could shorten the whole.
pub(super) fn is_worth_sharing(plan: &Plan) -> bool {
    let each = || plan.finishes.iter().map(|finish| finish_ns(finish, plan.bases[finish.base].shape()));
    let together: u64 = each().sum();
    let is_split = plan.finishes.iter().any(|finish| finish.steps.is_empty() && finish.outputs.len() > 1);
    together - each().max().unwrap_or(0) >= WORTH_A_THREAD_NS || (is_split && together >= 2 * WORTH_A_THREAD_NS)
}

/// A base until the last piece that needs it has ended.
struct Shared {
    pixels: Option<Arc<Pixels>>,
    uses: usize,
}

struct State {
    left: Vec<Piece>,
    bases: Vec<Shared>,
    live_bytes: u64,
    peak_bytes: u64,
    /// As planned, and what was lent.
    most_bytes: u64,
    running: usize,
}

/// A piece that was begun.
struct Begun {
    piece: Piece,
    pixels: Option<Arc<Pixels>>,
    /// Held for it beside the bases.
    held_bytes: u64,
    uses_up: bool,
}

/// What the threads have in common.
struct Board<'a> {
    plan: &'a Plan,
    context: &'a Context<'a>,
    blocks: &'a Blocks<'a>,
    spare: &'a dyn Spare,
    owner: ThreadId,
    state: Mutex<State>,
    ended: Condvar,
    publish: Mutex<&'a mut (dyn FnMut(VariantOutcome) + Send)>,
}

#[allow(clippy::too_many_arguments, reason = "what a run has, part by part")]
/// Works on all finishes, whose bases are all made, with the help of `spare`.
pub(super) fn run(
    plan: &Plan,
    context: &Context<'_>,
    blocks: &Blocks<'_>,
    charge: &mut Charge<'_>,
    pictures: Vec<Picture>,
    most_bytes: u64,
    spare: &dyn Spare,
    publish: &mut (dyn FnMut(VariantOutcome) + Send),
) {
    let left = pieces(plan);
    let mut bases: Vec<Shared> =
        pictures.into_iter().map(|Picture { pixels, uses }| Shared { pixels: pixels.map(Arc::new), uses }).collect();
    for piece in left.iter().filter(|piece| piece.outputs.start > 0) {
        bases[plan.finishes[piece.finish].base].uses += 1;
    }
    let count = left.len();
    let state = State { left, bases, live_bytes: charge.live_bytes, peak_bytes: charge.peak_bytes, most_bytes, running: 0 };
    let board = Board {
        plan,
        context,
        blocks,
        spare,
        owner: thread::current().id(),
        state: Mutex::new(state),
        ended: Condvar::new(),
        publish: Mutex::new(publish),
    };
    spare.share(count, &|_| board.work_on_one());
    // What found no room beside others.
    while let Some(begun) = board.next_cheap() {
        board.work_on(begun);
    }
    let state = board.state();
    (charge.live_bytes, charge.peak_bytes) = (state.live_bytes, state.peak_bytes);
}

impl Board<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_on_one(&self) {
        let next = if thread::current().id() == self.owner { self.next_cheap() } else { self.state().begin_dear(self) };
        if let Some(begun) = next {
            self.work_on(begun);
        }
    }

    /// The cheapest piece that there is room for; waits for room. `None`: nothing is left.
    fn next_cheap(&self) -> Option<Begun> {
        let mut state = self.state();
        loop {
            if state.left.is_empty() {
                return None;
            }
            if state.running > 0 {
                state.make_room(self, 0);
            }
            // Alone there is room for the first: that was seen before.
            let at = (0..state.left.len()).find(|&at| state.fits(self, at)).or((state.running == 0).then_some(0));
            if let Some(at) = at {
                return Some(state.begin(self, at));
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work_on(&self, begun: Begun) {
        /// Gives back what a piece held, also if it panics: the owner may wait for it.
        struct Ending<'b, 'a>(&'b Board<'a>, usize, u64, bool);
        impl Drop for Ending<'_, '_> {
            fn drop(&mut self) {
                let Self(board, base, held_bytes, uses_up) = *self;
                board.state().end(base, held_bytes, uses_up);
                board.ended.notify_all();
            }
        }
        let Begun { piece, pixels, held_bytes, uses_up } = begun;
        let finish = &self.plan.finishes[piece.finish];
        let _ending = Ending(self, finish.base, held_bytes, uses_up);
        let started = Instant::now();
        // What it may hold was charged when it began; this is its own account.
        let mut charge = Charge { limits: &self.plan.limits, live_bytes: 0, peak_bytes: 0 };
        let mut kept = None;
        let owned = pixels.map(|pixels| if uses_up { Arc::try_unwrap(pixels) } else { Err(pixels) });
        let pixels = match owned {
            Some(Ok(pixels)) => Ok(Cow::Owned(pixels)),
            Some(Err(shared)) => Ok(Cow::Borrowed(&**kept.insert(shared))),
            None => Err(missing()),
        };
        let transformed = pixels.and_then(|pixels| transform(&mut charge, self.context, &finish.steps, pixels));
        let outputs = &finish.outputs[piece.outputs];
        let writing = Writing { plan: self.plan, context: self.context, blocks: self.blocks };
        writing.publish(&mut charge, &transformed, outputs, started.elapsed(), &mut |outcome| {
            (self.publish.lock().unwrap_or_else(PoisonError::into_inner))(outcome);
        });
        debug_assert!(charge.peak_bytes <= held_bytes, "{} of {held_bytes} bytes", charge.peak_bytes);
    }
}

impl State {
    /// The dearest piece, if there is room for it or room is lent; else the dearest that there is room for now.
    fn begin_dear(&mut self, board: &Board<'_>) -> Option<Begun> {
        let dearest = self.left.len().checked_sub(1)?;
        self.make_room(board, dearest);
        let at = (0..=dearest).rev().find(|&at| self.fits(board, at))?;
        Some(self.begin(board, at))
    }

    /// Asks for what a piece needs more than there is.
    fn make_room(&mut self, board: &Board<'_>, at: usize) {
        let bytes = self.bytes_with(board, at);
        let charge = Charge { limits: &board.plan.limits, live_bytes: 0, peak_bytes: 0 };
        if bytes > self.most_bytes && charge.lends(board.spare, bytes, bytes - self.most_bytes) {
            self.most_bytes = bytes;
        }
    }

    /// What a piece would hold beside the bases, and how many bytes of those it would use up.
    fn needs(&self, board: &Board<'_>, at: usize) -> (u64, u64) {
        let Piece { finish, ref outputs } = self.left[at];
        let base = &self.bases[board.plan.finishes[finish].base];
        let uses_up = base.uses == 1;
        let own_bytes = base.pixels.as_ref().filter(|_| uses_up).map_or(0, |pixels| pixels.bytes.len() as u64);
        (finish_bytes(board.plan, finish, outputs.clone(), uses_up), own_bytes)
    }

    /// What would be held with a piece.
    fn bytes_with(&self, board: &Board<'_>, at: usize) -> u64 {
        let (needs_bytes, own_bytes) = self.needs(board, at);
        self.live_bytes - own_bytes + needs_bytes
    }

    fn fits(&self, board: &Board<'_>, at: usize) -> bool {
        self.bytes_with(board, at) <= self.most_bytes
    }

    fn begin(&mut self, board: &Board<'_>, at: usize) -> Begun {
        let (held_bytes, own_bytes) = self.needs(board, at);
        let piece = self.left.remove(at);
        let base = &mut self.bases[board.plan.finishes[piece.finish].base];
        let uses_up = base.uses == 1;
        let pixels = if uses_up { base.pixels.take() } else { base.pixels.clone() };
        self.live_bytes = self.live_bytes - own_bytes + held_bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        self.running += 1;
        Begun { piece, pixels, held_bytes, uses_up }
    }

    fn end(&mut self, base: usize, held_bytes: u64, used_up: bool) {
        self.running -= 1;
        self.live_bytes -= held_bytes;
        let base = &mut self.bases[base];
        base.uses -= 1;
        if base.uses == 0
            && !used_up
            && let Some(pixels) = base.pixels.take()
        {
            self.live_bytes -= pixels.bytes.len() as u64;
        }
    }
}
