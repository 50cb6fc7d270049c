//! The leases this process holds: renewed while their jobs run, given up the moment a job ends, however it ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tracing::warn;

use crate::{
    catalog::{Catalog, Lease},
    clock::Clock,
    domain::JobId,
    telemetry::error_chain,
};

/// What is held, and the flag that cancels each job's work.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<HashMap<Lease, Arc<AtomicBool>>>,
    /// Jobs whose work was to stop while nobody held them: they may have been claimed, and be about to be held.
    unwanted: Mutex<HashSet<JobId>>,
    ended: Notify,
}

/// One held lease. Dropping it, also by a panic, ends its renewal, so that the job is found again when the lease ends.
#[derive(Debug)]
pub(super) struct Held {
    leases: Arc<Leases>,
    lease: Lease,
    pub(super) cancel: Arc<AtomicBool>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.lease);
        self.leases.ended.notify_one();
    }
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, Arc<AtomicBool>>> {
        // The map is whole between any two statements.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwanted(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.unwanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `cancel` is the flag that the work under this lease looks at.
    pub(super) fn hold(self: &Arc<Self>, lease: Lease, cancel: Arc<AtomicBool>) -> Held {
        let mut held = self.lock();
        held.insert(lease, Arc::clone(&cancel));
        if self.unwanted().remove(&lease.job) {
            cancel.store(true, Ordering::Relaxed);
        }
        drop(held);
        Held { leases: Arc::clone(self), lease, cancel }
    }

    /// How many are held.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.lock().len()).unwrap_or(u32::MAX)
    }

    /// Resolves when none is held. For one caller at a time.
    pub(super) async fn none_held(&self) {
        while self.count() > 0 {
            self.ended.notified().await;
        }
    }

    /// Asks the work under every lease to stop.
    pub(super) fn cancel_all(&self) {
        for cancel in self.lock().values() {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Asks the work at these jobs to stop, now or as soon as it is held.
    pub(super) fn cancel(&self, jobs: &[JobId]) {
        let held = self.lock();
        let mut unwanted = self.unwanted();
        unwanted.extend(jobs);
        for (lease, cancel) in held.iter().filter(|(lease, _)| jobs.contains(&lease.job)) {
            cancel.store(true, Ordering::Relaxed);
            unwanted.remove(&lease.job);
        }
    }

    /// Nothing is claimed and not yet held: whoever was unwanted and is not held never will be.
    pub(super) fn all_held(&self) {
        self.unwanted().clear();
    }

    /// Renews all; work whose lease is lost is asked to stop.
    pub(super) async fn renew(&self, catalog: &dyn Catalog, clock: &dyn Clock, length: Duration) {
        let leases: Vec<Lease> = self.lock().keys().copied().collect();
        if leases.is_empty() {
            return;
        }
        match catalog.renew_leases(&leases, clock.now().after(length)).await {
            Ok(still) => {
                let still: HashSet<Lease> = still.into_iter().collect();
                let held = self.lock();
                for lease in leases.iter().filter(|lease| !still.contains(lease)) {
                    // May also have just ended; then the flag is nobody's.
                    if let Some(cancel) = held.get(lease) {
                        cancel.store(true, Ordering::Relaxed);
                    }
                }
            }
            Err(error) => warn!(error = %error_chain(&error), "could not renew leases"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LeaseToken;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_lease_goes_with_its_holder_even_by_a_panic() {
        let leases = Arc::new(Leases::default());
        let lease = |n| Lease { job: JobId::from_uuid(Uuid::from_u128(n)), token: LeaseToken::from_uuid(Uuid::from_u128(n)) };
        let (a, b) = (leases.hold(lease(1), Arc::default()), leases.hold(lease(2), Arc::default()));
        leases.cancel(&[lease(2).job, lease(3).job]);
        assert_eq!((a.cancel.load(Ordering::Relaxed), b.cancel.load(Ordering::Relaxed)), (false, true), "only the jobs that are named");
        let late = leases.hold(lease(3), Arc::default());
        assert!(late.cancel.load(Ordering::Relaxed), "asked to stop between its claim and its start");
        leases.cancel(&[lease(4).job]);
        leases.all_held();
        let next = leases.hold(lease(4), Arc::default());
        assert!(!next.cancel.load(Ordering::Relaxed), "what was not about to be held is forgotten");
        drop((late, next));
        leases.cancel_all();
        assert!(a.cancel.load(Ordering::Relaxed));
        drop(a);
        assert_eq!(leases.count(), 1);
        let panicked = tokio::spawn(async move {
            let _held = b;
            panic!("on purpose");
        });
        leases.none_held().await;
        assert!(panicked.await.is_err());
    }
}
