//! What only this back end promises: one file that outlives the process, commits that are shared, a claim that does not
//! sort, and clear words where a file is not what it should be.

use std::{collections::HashSet, sync::Arc};

use sqlx::Row as _;
use uuid::Uuid;

use super::super::{NewImage, NewJob, NewTask, Together, contract};
use super::*;
use crate::{
    clock::{IdSource as _, RandomIds},
    domain::{LeaseToken, Priority, TaskId},
    order::{Client, Order},
};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn uuid() -> Uuid {
    RandomIds.new_id(NOW)
}

fn upload(rank: i64) -> NewUpload {
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(uuid().as_bytes());
    let task = NewTask {
        id: TaskId::from_uuid(uuid()),
        name: "thumb".parse().expect("a name"),
        options: "w:320".into(),
        spec: "resize:fit:320:0".into(),
        spec_digest: [7; 32],
        pipeline_version: 1,
        format: "webp".into(),
    };
    let job = NewJob {
        id: JobId::from_uuid(uuid()),
        priority: Priority::Normal,
        rank,
        cost_bytes: 1,
        max_attempts: 3,
        origin: None,
        tasks: vec![task],
    };
    let image = NewImage {
        id: ImageId::from_uuid(uuid()),
        blob: BlobId::from_uuid(uuid()),
        sha256,
        bytes: 10,
        filename: None,
        format: "png".into(),
        width_px: 1,
        height_px: 1,
        metadata: Vec::new(),
        job,
    };
    NewUpload {
        id: UploadId::from_uuid(uuid()),
        owner: String::new(),
        received_at: NOW,
        expires_at: None,
        metadata: Vec::new(),
        rejected: Vec::new(),
        images: vec![image],
        idempotency: None,
    }
}

fn claim() -> Claim {
    Claim {
        owner: "worker".into(),
        limit: 1,
        together: Together::NONE,
        budget_bytes: u64::MAX,
        whole_budget_bytes: u64::MAX,
        running: 0,
        now: NOW,
        lease: Duration::from_secs(60),
        tokens: vec![LeaseToken::from_uuid(uuid())],
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temp folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("catalog.db")
    }

    async fn open(&self) -> SqliteCatalog {
        SqliteCatalog::open(&self.path()).await.expect("opens")
    }

    /// A connection beside the catalog's own.
    async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).busy_timeout(BUSY).connect().await.expect("connects")
    }
}

/// The texts of an error and all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    contract::check(&catalog).await;

    // No view shows references; they must be what points there all the same.
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM blobs b WHERE b.state = 'live' AND b.refs <> \
         (SELECT count(*) FROM images WHERE blob = b.id) + (SELECT count(*) FROM variants WHERE result = b.id)",
    )
    .fetch_one(&catalog.readers)
    .await
    .expect("counts");
    assert_eq!(wrong, 0, "blobs whose references are miscounted");
    let blobs: i64 = sqlx::query_scalar("SELECT count(*) FROM blobs").fetch_one(&catalog.readers).await.expect("counts");
    assert!(blobs > 20, "the suite leaves blobs to count");
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&catalog.readers).await.expect("checks");
    assert!(broken.is_empty());
}

#[tokio::test]
async fn a_single_thread_is_enough() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    contract::check(&catalog).await;
    catalog.close().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let folder = Folder::new();
    let uploads = [upload(1), upload(2)];
    let catalog = folder.open().await;
    catalog.accept_upload(uploads[0].clone()).await.expect("accepts");
    let held = catalog.claim_jobs(claim()).await.expect("claims").jobs.remove(0);
    // Without a word, as when a process dies.
    drop(catalog);
    let catalog = folder.open().await;
    catalog.accept_upload(uploads[1].clone()).await.expect("accepts");
    catalog.close().await;
    assert!(!folder.path().with_extension("db-wal").exists(), "a closed catalog is one file");
    let catalog = folder.open().await;
    for upload in &uploads {
        assert!(catalog.upload(upload.id).await.expect("reads").is_some());
    }
    let voided = catalog.void_leases(NOW, 3).await.expect("voids");
    assert_eq!(voided.requeued, [held.lease.job]);
    let totals = catalog.totals().await.expect("reads");
    assert_eq!((totals.uploads, totals.queued_jobs, totals.running_jobs), (2, 2, 0));
}

#[tokio::test]
async fn a_closed_catalog_says_so() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    catalog.close().await;
    catalog.close().await;
    let refused = catalog.accept_upload(upload(1)).await.expect_err("is refused");
    assert!(chain(&refused).contains("closed"), "{}", chain(&refused));
    assert!(catalog.ping().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_together_is_committed_together() {
    const CALLERS: u64 = 64;
    let folder = Folder::new();
    let catalog = Arc::new(folder.open().await);
    let callers: Vec<_> = (0..CALLERS)
        .map(|rank| {
            let catalog = Arc::clone(&catalog);
            tokio::spawn(async move { catalog.accept_upload(upload(rank.cast_signed())).await })
        })
        .collect();
    for caller in callers {
        caller.await.expect("runs").expect("accepts");
    }
    let commits = catalog.commits();
    assert!((1..CALLERS / 2).contains(&commits), "{commits} commits for {CALLERS} commands");
    assert_eq!(catalog.totals().await.expect("reads").uploads, CALLERS);
}

#[tokio::test]
async fn a_command_that_fails_takes_back_only_its_own_work() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    // Two tasks of one name: refused by the last of the statements, when the other rows are in and the first image was counted.
    let mut broken = upload(2);
    broken.images.extend(upload(2).images);
    let mut twin = broken.images[1].job.tasks[0].clone();
    twin.id = TaskId::from_uuid(uuid());
    broken.images[1].job.tasks.push(twin);
    let (first, last) = (upload(1), upload(3));
    let (a, b, c) =
        tokio::join!(catalog.accept_upload(first.clone()), catalog.accept_upload(broken.clone()), catalog.accept_upload(last.clone()));
    assert!(a.is_ok() && c.is_ok());
    assert!(matches!(b, Err(CatalogError::Backend(_))), "{b:?}");
    assert_eq!(catalog.commits(), 1, "all three went into one transaction");
    assert!(catalog.upload(broken.id).await.expect("reads").is_none());
    assert!(catalog.live_blobs(&[broken.images[0].blob]).await.expect("reads").is_empty());
    let totals = catalog.totals().await.expect("reads");
    assert_eq!((totals.uploads, totals.queued_jobs, totals.pending_tasks), (2, 2, 2));
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    let first = upload(1);
    catalog.accept_upload(first.clone()).await.expect("accepts");
    // SQLite's own limit stands in for the disk's.
    let limit = |pages: u32| {
        catalog.writer.run(move |session| {
            Box::pin(async move {
                sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(&mut session.conn).await?;
                Ok(())
            })
        })
    };
    limit(1).await.expect("limits");
    let mut large = upload(2);
    large.metadata = vec![("k".into(), "x".repeat(1 << 20))];
    let (refused, small) = tokio::join!(catalog.accept_upload(large.clone()), catalog.claim_jobs(claim()));
    assert!(matches!(refused, Err(CatalogError::Full(_))), "{refused:?}");
    assert!(catalog.upload(large.id).await.expect("reads").is_none());
    // SQLite gave up the whole transaction; what came after got one of its own.
    assert_eq!(small.expect("claims").jobs.len(), 1);
    assert_eq!(catalog.totals().await.expect("reads").running_jobs, 1);
    // What came before shares its fate, and is told so.
    let (before, refused) = tokio::join!(catalog.accept_upload(upload(3)), catalog.accept_upload(large.clone()));
    assert!(matches!(refused, Err(CatalogError::Full(_))), "{refused:?}");
    assert!(matches!(before, Err(CatalogError::Full(_))), "{before:?}");
    assert_eq!(catalog.totals().await.expect("reads").uploads, 1);
    limit(1 << 30).await.expect("lifts the limit");
    catalog.accept_upload(large).await.expect("accepts");
    assert_eq!(catalog.totals().await.expect("reads").uploads, 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    let uploads: Vec<_> = (0..50).map(upload).collect();
    for (polls, upload) in uploads.iter().enumerate() {
        let mut accepting = Box::pin(catalog.accept_upload(upload.clone()));
        for _ in 0..polls {
            if futures_util::poll!(accepting.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    catalog.ping().await.expect("the writer lives");
    let mut there = 0;
    for upload in &uploads {
        if let Some(view) = catalog.upload(upload.id).await.expect("reads") {
            assert_eq!(view.images[0].1.tasks.len(), 1, "whole");
            there += 1;
        }
    }
    let totals = catalog.totals().await.expect("reads");
    assert_eq!((totals.uploads, totals.queued_jobs), (there, there));
}

#[tokio::test]
async fn the_claim_walks_its_index_and_does_not_sort() {
    let folder = Folder::new();
    drop(folder.open().await);
    let mut raw = folder.raw().await;
    let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", work::CLAIM)))
        .bind(0)
        .bind(1)
        .fetch_all(&mut raw)
        .await
        .expect("explains")
        .iter()
        .map(|row| row.get::<String, _>("detail"))
        .collect();
    assert!(plan.iter().any(|step| step.contains("jobs USING INDEX jobs_queued_rank")), "{plan:#?}");
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
    assert!(!plan.iter().any(|step| step.starts_with("SCAN") && !step.contains("jobs_queued_rank") && step != "SCAN j"), "{plan:#?}");
}

#[tokio::test]
async fn lists_and_sweeps_walk_indexes_and_do_not_sort() {
    let folder = Folder::new();
    drop(folder.open().await);
    let mut raw = folder.raw().await;
    let cases = [
        (lists::WALK_UPLOADS, "uploads_owner (owner=? AND id<?)"),
        (lists::WALK_UPLOADS, "COVERING INDEX tasks_image_name (image=?)"),
        (lists::WALK_IMAGES, "images_owner (owner=? AND id<?)"),
        (lists::WALK_JOBS, "jobs_owner (owner=? AND id<?)"),
        (lists::WALK_JOBS_IN_STATE, "jobs_owner_state (owner=? AND state=? AND id<?)"),
        (lists::UPLOADS, "uploads_owner (owner=? AND id>? AND id<?)"),
        (lists::IMAGES, "images_owner (owner=? AND id>? AND id<?)"),
        (lists::JOBS, "jobs_owner (owner=? AND id>? AND id<?)"),
        (lists::JOBS_IN_STATE, "jobs_owner_state (owner=? AND state=? AND id>? AND id<?)"),
        (&format!("SELECT * FROM batches WHERE {}", batches::LIST), "batches_owner (owner=? AND id<?)"),
        (batches::OPEN, "INDEX batches_open"),
        (batches::OPEN_JOBS, "jobs_batch_open (batch=?)"),
        ("SELECT max(id) FROM images WHERE owner = ?", "COVERING INDEX images_owner (owner=?)"),
        (blobs::DEAD, "blobs_dead (id>?)"),
        (blobs::AFTER, "PRIMARY KEY (id>?)"),
        (erase::PURGE_TOMBSTONES, "tombstones_deleted_at (deleted_at<?)"),
        (history::EXPIRED, "COVERING INDEX uploads_expires_at (expires_at>? AND expires_at<?)"),
        (history::WAITING, "COVERING INDEX jobs_queued_priority"),
        (history::RUNNING, "jobs_running"),
        (history::PAST_JOBS, "past_jobs_owner (owner=? AND id<?)"),
        (history::PAST_JOBS, "t USING PRIMARY KEY (job=?)"),
        (history::PAST_TASKS, "past_jobs_owner (owner=? AND id>? AND id<?)"),
        (copy::UPLOADS_OF, "images_blob (blob=?)"),
        (copy::UPLOADS_OF, "variants_result (result=?)"),
        (batches::OVER, "batches_finished_at (finished_at<?)"),
        (batches::PART, "jobs_batch (batch=?)"),
        ("SELECT id FROM jobs WHERE batch = ?", "jobs_batch (batch=?)"),
        (history::PURGE_PAST_JOBS, "past_jobs_finished_at (finished_at<?)"),
        ("DELETE FROM jobs WHERE image = ?", "jobs_image (image=?)"),
        ("DELETE FROM tasks WHERE image = ?", "tasks_image_name (image=?)"),
        ("SELECT id, blob FROM images WHERE upload = ?", "images_upload (upload=?)"),
        ("SELECT 1 FROM images WHERE blob = ?", "images_blob (blob=?)"),
        ("UPDATE variants SET result = ?1 WHERE result = ?2", "variants_result (result=?)"),
        ("DELETE FROM idempotency WHERE upload = ?", "idempotency_upload (upload=?)"),
    ];
    for (sql, wanted) in cases {
        let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&mut raw)
            .await
            .expect("explains")
            .iter()
            .map(|row| row.get::<String, _>("detail"))
            .collect();
        assert!(plan.iter().any(|step| step.contains(wanted)), "{sql}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {plan:#?}");
        let of_few = ["blobs_dead", "batches_open", "jobs_queued_priority", "jobs_running"];
        assert!(!plan.iter().any(|step| step.starts_with("SCAN") && !of_few.iter().any(|few| step.contains(few))), "{sql}: {plan:#?}");
    }
}

#[tokio::test]
async fn a_catalog_of_the_first_release_is_brought_up_to_date() {
    let folder = Folder::new();
    let mut raw = SqliteConnectOptions::new().filename(folder.path()).create_if_missing(true).connect().await.expect("connects");
    let first = Migration::new(1, "rows".into(), MigrationType::Simple, MIGRATIONS[0].2.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&mut raw).await.expect("migrates");
    for sql in [
        "INSERT INTO uploads VALUES (randomblob(16), 'ada', 1, '[]', '[]')",
        "INSERT INTO blobs VALUES (randomblob(16), randomblob(32), 10, 1, 'live')",
        "INSERT INTO images SELECT randomblob(16), u.id, 0, 'ada', b.id, NULL, 'png', 1, 1, 0, 1, '[]' FROM uploads u, blobs b",
        "INSERT INTO jobs (id, upload, image, state, priority, rank, cost_bytes, max_attempts, queued_at) \
         SELECT randomblob(16), upload, id, 'queued', 'normal', 1, 1, 3, 1 FROM images",
        "INSERT INTO tasks (job, position, id, image, name, options, spec, spec_digest, pipeline_version, format, state) \
         SELECT id, 0, randomblob(16), image, 'thumb', 'w:1', 'w:1', randomblob(32), 1, 'png', 'pending' FROM jobs",
        "UPDATE totals SET uploads = 1, queued_jobs = 1, pending_tasks = 1",
    ] {
        sqlx::query(sql).execute(&mut raw).await.expect("inserts");
    }
    raw.close().await.expect("closes");
    let catalog = folder.open().await;
    let listed = catalog.jobs(Page { owner: "ada".into(), before: None, limit: 5 }, Some(JobState::Queued)).await.expect("lists");
    assert_eq!(listed.items.len(), 1);
    let uploads = catalog.uploads(Page { owner: "ada".into(), before: None, limit: 5 }).await.expect("lists").items;
    assert!(matches!(catalog.delete_upload(uploads[0].id, NOW).await.expect("deletes"), Deletion::Done(_)));
    let totals = catalog.totals().await.expect("reads");
    assert_eq!((totals.queued_jobs, totals.pending_tasks, totals.cancelled_tasks, totals.uploads), (0, 0, 1, 1));
}

#[tokio::test]
async fn a_newer_catalog_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder.open().await.close().await;
    let mut raw = folder.raw().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 0)",
    )
    .execute(&mut raw)
    .await
    .expect("inserts");
    raw.close().await.expect("closes");
    let before = std::fs::read(folder.path()).expect("reads");
    let refused = SqliteCatalog::open(&folder.path()).await.expect_err("is refused");
    let said = format!("newer release (schema 999, this release knows up to {})", MIGRATIONS.len());
    assert!(chain(&refused).contains(&said), "{}", chain(&refused));
    let refused = SqliteCatalog::open_to_read(&folder.path()).await.expect_err("is refused");
    assert!(chain(&refused).contains("newer release"), "{}", chain(&refused));
    assert_eq!(std::fs::read(folder.path()).expect("reads"), before);
}

#[tokio::test]
async fn a_copy_is_of_one_moment_and_whole() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    for rank in 0..20 {
        catalog.accept_upload(upload(rank)).await.expect("accepts");
    }
    let beside = SqliteCatalog::open_to_read(&folder.path()).await.expect("opens");
    let copy = folder.0.path().join("copy.db");
    let ((), ()) = tokio::join!(
        async {
            for rank in 20..60 {
                catalog.accept_upload(upload(rank)).await.expect("accepts beside the copy");
            }
        },
        async { beside.copy_to(&copy).await.expect("copies") }
    );
    let copied = SqliteCatalog::open(&copy).await.expect("opens");
    let totals = copied.totals().await.expect("reads");
    let listed = copied.uploads(Page { owner: String::new(), before: None, limit: 200 }).await.expect("lists").items;
    assert!((20..=60).contains(&totals.uploads) && listed.len() as u64 == totals.uploads, "{} listed of {totals:?}", listed.len());
    let blob = copied.blobs_after(None, 1).await.expect("reads")[0].id;
    assert_eq!(copied.uploads_of(blob).await.expect("reads").len(), 1);
    let refused = beside.copy_to(&copy).await.expect_err("is there already");
    assert!(chain(&refused).contains("exists"), "{}", chain(&refused));
}

#[tokio::test]
async fn what_is_no_catalog_is_refused_in_clear_words() {
    let folder = Folder::new();
    std::fs::write(folder.path(), b"this was a shopping list once, and is longer than a header of a hundred bytes has to be to look real")
        .expect("writes");
    let refused = SqliteCatalog::open(&folder.path()).await.expect_err("is refused");
    assert!(chain(&refused).contains("no catalog of this program or is damaged"), "{}", chain(&refused));
    // In a folder that is not there.
    let refused = SqliteCatalog::open(&folder.0.path().join("no/catalog.db")).await.expect_err("is refused");
    assert!(chain(&refused).contains("cannot be made"), "{}", chain(&refused));
}

#[tokio::test]
async fn a_torn_catalog_errs_and_never_panics() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    for rank in 0..200 {
        catalog.accept_upload(upload(rank)).await.expect("accepts");
    }
    catalog.close().await;
    let whole = std::fs::read(folder.path()).expect("reads");
    let mut erred = 0;
    for cut in [whole.len() / 2, 4096, 100, 17] {
        std::fs::write(folder.path(), &whole[..cut]).expect("writes");
        for suffix in ["db-wal", "db-shm"] {
            drop(std::fs::remove_file(folder.path().with_extension(suffix)));
        }
        match SqliteCatalog::open(&folder.path()).await {
            Err(_) => erred += 1,
            Ok(catalog) => {
                let claimed = catalog.claim_jobs(Claim { limit: 200, tokens: vec![LeaseToken::from_uuid(uuid()); 200], ..claim() }).await;
                erred += u32::from(claimed.is_err());
                catalog.close().await;
            }
        }
    }
    assert_eq!(erred, 4, "every cut is noticed");
}

#[tokio::test]
async fn a_torn_log_loses_only_its_end() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    let uploads: Vec<_> = (0..20).map(upload).collect();
    for upload in &uploads {
        catalog.accept_upload(upload.clone()).await.expect("accepts");
    }
    // What a crash leaves: the file and its log, the log torn in its last bytes.
    let torn = Folder::new();
    std::fs::copy(folder.path(), torn.path()).expect("copies");
    let mut log = std::fs::read(folder.path().with_extension("db-wal")).expect("reads");
    let end = log.len();
    log[end - 300..].fill(0xa5);
    std::fs::write(torn.path().with_extension("db-wal"), log).expect("writes");
    let catalog = torn.open().await;
    let mut there = HashSet::new();
    for (i, upload) in uploads.iter().enumerate() {
        if catalog.upload(upload.id).await.expect("reads").is_some() {
            there.insert(i);
        }
    }
    assert_eq!(there, (0..19).collect(), "all but the last commit");
    assert_eq!(catalog.totals().await.expect("reads").uploads, 19);
}

#[tokio::test]
async fn any_garbage_at_the_end_of_the_log_costs_the_last_commit_at_most() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    let uploads: Vec<_> = (0..5).map(upload).collect();
    for upload in &uploads {
        catalog.accept_upload(upload.clone()).await.expect("accepts");
    }
    let (file, log) = (folder.path(), folder.path().with_extension("db-wal"));
    let (file, log) = (std::fs::read(file).expect("reads"), std::fs::read(log).expect("reads"));
    let (mut cases, mut lost) = (0, 0);
    for bytes in [1, 2, 3, 7, 8, 24, 25, 100, 255, 256, 300, 511, 512] {
        // Overwritten with noise, zeroed, cut off, and noise written behind the end.
        for damage in 0..4 {
            let mut torn_log = log.clone();
            let end = torn_log.len();
            match damage {
                0 => torn_log[end - bytes..].iter_mut().enumerate().for_each(|(i, byte)| *byte ^= 0xa5 ^ (i % 80) as u8),
                1 => torn_log[end - bytes..].fill(0),
                2 => torn_log.truncate(end - bytes),
                _ => torn_log.extend((0..bytes).map(|i| 0x5a ^ i as u8)),
            }
            let torn = Folder::new();
            std::fs::write(torn.path(), &file).expect("writes");
            std::fs::write(torn.path().with_extension("db-wal"), torn_log).expect("writes");
            let catalog = torn.open().await;
            let mut there = Vec::new();
            for upload in &uploads {
                there.push(catalog.upload(upload.id).await.expect("reads").is_some());
            }
            assert!(there[..4].iter().all(|there| *there), "{bytes} bytes, damage {damage}: {there:?}");
            assert_eq!(catalog.totals().await.expect("reads").uploads, there.iter().filter(|there| **there).count() as u64);
            catalog.accept_upload(upload(9)).await.expect("goes on");
            cases += 1;
            lost += u32::from(!there[4]);
        }
    }
    assert_eq!(cases, 52);
    assert!(lost >= 26, "noise and cuts tear the last commit: {lost} of {cases}");
}

#[tokio::test]
async fn one_clients_thousand_jobs_do_not_hold_up_another_and_low_is_served() {
    let folder = Folder::new();
    let catalog = folder.open().await;
    let order = Order::new(2);
    let rank = |client: &str, priority, now| order.rank(&Client::Owner(client.into()), priority, Duration::from_millis(50), now);
    let at = |ms| NOW.after(Duration::from_millis(ms));
    let low = upload(rank("c", Priority::Low, NOW));
    catalog.accept_upload(low.clone()).await.expect("accepts");
    for n in 0..1000 {
        catalog.accept_upload(upload(rank("a", Priority::Normal, at(n / 10)))).await.expect("accepts");
    }
    let other = upload(rank("b", Priority::Normal, at(120)));
    catalog.accept_upload(other.clone()).await.expect("accepts");
    let jobs = |claimed: Claimed| claimed.jobs.into_iter().map(|job| job.lease.job).collect::<Vec<_>>();
    // Each of the thousand has room for 100 ms, so that two of them are due when the other comes.
    for _ in 0..2 {
        assert!(!jobs(catalog.claim_jobs(claim()).await.expect("claims")).contains(&other.images[0].job.id));
    }
    let next = jobs(catalog.claim_jobs(claim()).await.expect("claims"));
    assert_eq!(next, [other.images[0].job.id], "it is before what is left of the thousand");
    // A quarter of an hour later, whatever came since, and however urgent.
    for n in 0..50 {
        let late = upload(rank("d", Priority::High, at(15 * 60_000 + 1 + n)));
        catalog.accept_upload(late).await.expect("accepts");
    }
    let mut before = 0;
    while !jobs(catalog.claim_jobs(claim()).await.expect("claims")).contains(&low.images[0].job.id) {
        before += 1;
    }
    assert_eq!(before, 998, "what was left of the thousand, and none of those that came later");
}
