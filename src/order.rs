//! The order of work: when a job was enqueued, how urgent it is and what its client has waiting already, all in one number.
//!
//! Knows no rows and no clocks: times come in, ranks go out, and the catalog claims by the smallest. Invariants: a rank never changes, so what waits is
//! first in the end, whoever comes; what a client has in the queue holds up its own later jobs and nobody else's. Why it is done so is told in
//! `docs/decisions/0051-fair-ranks.md`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::domain::{Priority, Timestamp};

/// So many times more room than its work takes of the pool is between two jobs of one client. It is what the estimate of the work may be wrong by
/// before others wait for a client's backlog, and beside others a client with a backlog is left a fifth of the pool at least.
const ROOM: i64 = 4;
/// What a job counts for at least and at most: rows and files cost something, too, and estimates are rough.
const LEAST_WORK: Duration = Duration::from_millis(4);
const MOST_WORK: Duration = Duration::from_secs(300);
/// From so many clients on those who owe nothing any more are looked for and forgotten.
const CLIENTS_KEPT: usize = 1024;

/// Whose job it is, as far as fairness goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Client {
    /// Nobody told: all of these count as one.
    #[default]
    Local,
    /// By address, or network.
    Address(IpAddr),
    /// By key.
    Owner(String),
}

/// What a client was given room for and the pool may not have worked off yet.
#[derive(Clone, Copy, Debug)]
struct Backlog {
    /// When this was so.
    at: Timestamp,
    /// Milliseconds of rank, for each priority: of that and the more urgent ones.
    owed_ms: [i64; 3],
}

impl Backlog {
    fn at(self, now: Timestamp) -> Self {
        // The pool works off no more than this, should it work for nobody else.
        let worked_off = now.as_millis().saturating_sub(self.at.as_millis()).max(0).saturating_mul(ROOM);
        Self { at: now, owed_ms: self.owed_ms.map(|owed| owed.saturating_sub(worked_off).max(0)) }
    }
}

/// Gives each job its place in the order of work.
#[derive(Debug)]
pub struct Order {
    workers: i64,
    clients: Mutex<HashMap<Client, Backlog>>,
}

impl Order {
    /// An order for a pool of so many cores.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: i64::try_from(workers).unwrap_or(i64::MAX).max(1), clients: Mutex::default() }
    }

    /// The rank of a job enqueued now, whose work takes one core about so long. Milliseconds on the scale of [`Timestamp`]; smaller is sooner.
    pub fn rank(&self, client: &Client, priority: Priority, work: Duration, now: Timestamp) -> i64 {
        let work_ms = i64::try_from(work.clamp(LEAST_WORK, MOST_WORK).as_millis()).unwrap_or(i64::MAX);
        let room_ms = (work_ms * ROOM / self.workers).max(1);
        let urgency = match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_KEPT && !clients.contains_key(client) {
            clients.retain(|_, backlog| backlog.at(now).owed_ms.iter().any(|owed| *owed > 0));
        }
        let nothing = Backlog { at: now, owed_ms: [0; 3] };
        let mut backlog = clients.get(client).map_or(nothing, |backlog| backlog.at(now));
        let delay_ms = backlog.owed_ms[urgency];
        // Of its own jobs the less urgent ones make way, too.
        for owed in &mut backlog.owed_ms[urgency..] {
            *owed = owed.saturating_add(room_ms);
        }
        clients.insert(client.clone(), backlog);
        now.as_millis().saturating_add(priority.rank_delay_ms()).saturating_add(delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(START.as_millis() + ms)
    }

    fn client(n: u8) -> Client {
        Client::Address(IpAddr::from([192, 0, 2, n]))
    }

    /// A pool that takes the job of the smallest rank, each for `work_ms`. Returns who was served when; jobs are (when it comes, whose, priority).
    fn served(workers: usize, work_ms: u64, told_ms: u64, mut jobs: Vec<(i64, u8, Priority)>) -> Vec<(i64, u8, Priority)> {
        jobs.sort_by_key(|job| job.0);
        let order = Order::new(workers);
        let (mut coming, mut waiting, mut served) = (jobs.into_iter().peekable(), Vec::new(), Vec::new());
        let mut free_at = vec![0_i64; workers];
        loop {
            let core = free_at.iter_mut().min().expect("a core");
            if waiting.is_empty() {
                let Some(next) = coming.peek() else { return served };
                *core = (*core).max(next.0);
            }
            while let Some((came, whose, priority)) = coming.next_if(|job| job.0 <= *core) {
                let rank = order.rank(&client(whose), priority, Duration::from_millis(told_ms), at(came));
                waiting.push((rank, served.len() + waiting.len(), whose, priority));
            }
            let first = (0..waiting.len()).min_by_key(|n| (waiting[*n].0, waiting[*n].1)).expect("one waits");
            let (_, _, whose, priority) = waiting.swap_remove(first);
            served.push((*core, whose, priority));
            *core += i64::try_from(work_ms).expect("small");
        }
    }

    #[test]
    fn a_thousand_jobs_of_one_client_do_not_hold_up_another_whenever_it_comes() {
        for workers in [1, 2, 8] {
            // The estimate may be right, or wrong by three either way.
            for told_ms in [34, 100, 300] {
                for comes in [1, 700, 5_000, 11_000] {
                    let thousand = (0..1000).map(|_| (0, 1, Priority::Normal));
                    let served = served(workers, 100, told_ms, thousand.chain([(comes, 2, Priority::Normal)]).collect());
                    let (when, ..) = served.iter().find(|(_, whose, _)| *whose == 2).expect("is served");
                    assert!(*when < comes + 100 + 1, "{workers} cores, {told_ms} ms told: came at {comes}, served at {when}");
                }
            }
        }
    }

    #[test]
    fn two_backlogs_share_the_pool() {
        let jobs = (0..500).flat_map(|_| [(0, 1, Priority::Normal), (3, 2, Priority::Normal)]).collect();
        let served = served(1, 10, 10, jobs);
        for part in served.chunks(100).skip(1) {
            let of_one = part.iter().filter(|(_, whose, _)| *whose == 1).count();
            assert!((45..=55).contains(&of_one), "{of_one} of 100");
        }
    }

    #[test]
    fn a_backlog_is_not_starved_by_who_keeps_the_pool_busy() {
        // The second client brings as much as the pool can do, for ten times as long as the first one's backlog takes.
        let stream = (0..2000).map(|n| (n * 100, 2, Priority::Normal));
        let served = served(1, 100, 100, (0..200).map(|_| (0, 1, Priority::Normal)).chain(stream).collect());
        let last = served.iter().filter(|(_, whose, _)| *whose == 1).map(|job| job.0).max().expect("is served");
        assert!(last <= 200 * 100 * (ROOM + 1) + 1_000, "{last}: a fifth of the pool at least");
    }

    #[test]
    fn low_never_starves() {
        // More than the pool can do, all more urgent, each from a client of its own.
        let flood = (0..12_000).map(|n| (n * 90, u8::try_from(10 + n % 200).expect("small"), Priority::High));
        let served = served(1, 100, 100, flood.chain([(5, 1, Priority::Low)]).collect());
        let place = served.iter().position(|job| job.2 == Priority::Low).expect("is served");
        // Everything that came in a quarter of an hour is before it, and what came later is not.
        assert!((9_900..=10_100).contains(&place), "{place}");
    }

    #[test]
    fn what_is_urgent_passes_its_own_clients_backlog() {
        let lows = (0..3_000).map(|_| (0, 1, Priority::Low));
        let served = served(1, 10, 10, lows.chain([(500, 1, Priority::High), (500, 1, Priority::Normal)]).collect());
        for priority in [Priority::High, Priority::Normal] {
            let when = served.iter().find(|job| job.2 == priority).expect("is served").0;
            // The low ones that are first came a quarter of an hour ago as far as ranks go.
            assert!(when <= 530, "{priority} at {when}");
        }
    }

    #[test]
    fn who_sends_no_faster_than_the_pool_works_owes_nothing() {
        let order = Order::new(1);
        for n in 0..100_000 {
            let now = at(n * 100);
            let rank = order.rank(&client(1), Priority::Normal, Duration::from_millis(100), now);
            assert_eq!(rank, now.as_millis() + Priority::Normal.rank_delay_ms(), "{n}");
        }
    }

    #[test]
    fn clients_that_owe_nothing_are_forgotten() {
        let order = Order::new(1);
        for n in 0..10_000_u32 {
            let of = Client::Address(IpAddr::from(n.to_be_bytes()));
            order.rank(&of, Priority::Normal, Duration::from_millis(100), at(i64::from(n) * 1_000));
        }
        assert!(order.clients.lock().expect("no panic").len() <= CLIENTS_KEPT + 1);
    }
}
