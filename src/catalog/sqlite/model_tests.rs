//! This back end held to the model of the contract (`../contract/model.rs`): where its rows are during a history, how its process
//! dies, and what its tables must say that no view shows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use async_trait::async_trait;

use super::{super::contract::model, SqliteCatalog};

/// Rows whose count must be zero, each with what they are.
const FAULTS: &[(&str, &str)] = &[
    (
        "live blobs whose references are miscounted",
        "SELECT count(*) FROM blobs b WHERE b.state = 'live' AND b.refs <> \
         (SELECT count(*) FROM images WHERE blob = b.id) + (SELECT count(*) FROM variants WHERE result = b.id)",
    ),
    (
        "dead blobs that something points to",
        "SELECT count(*) FROM blobs b WHERE b.state = 'dead' AND (EXISTS (SELECT 1 FROM images WHERE blob = b.id) \
         OR EXISTS (SELECT 1 FROM variants WHERE blob = b.id OR result = b.id))",
    ),
    ("variants of what is no image's original", "SELECT count(*) FROM variants WHERE blob NOT IN (SELECT blob FROM images)"),
    ("references to rows that are not there", "SELECT count(*) FROM pragma_foreign_key_check()"),
    ("damaged pages", "SELECT count(*) FROM pragma_integrity_check() WHERE integrity_check <> 'ok'"),
];

/// A folder for each life of the process. In memory where there is such a file system: what syncs are good for is not asked here.
struct Folders(Vec<tempfile::TempDir>);

impl Folders {
    fn add(&mut self) -> PathBuf {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        self.0.push(folder.expect("temp folder"));
        self.path()
    }

    fn path(&self) -> PathBuf {
        self.0.last().expect("was opened").path().join("catalog.db")
    }
}

/// The file of an empty catalog: made once, as bringing a schema up takes longer than most histories.
async fn empty() -> &'static [u8] {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = EMPTY.get() {
        return bytes;
    }
    let mut folders = Folders(Vec::new());
    let path = folders.add();
    SqliteCatalog::open(&path).await.expect("opens").close().await;
    EMPTY.get_or_init(|| fs::read(&path).expect("reads"))
}

#[async_trait(?Send)]
impl model::Place for Folders {
    type Back = SqliteCatalog;

    async fn open(&mut self) -> SqliteCatalog {
        let path = self.add();
        fs::write(&path, empty().await).expect("writes");
        SqliteCatalog::open(&path).await.expect("opens")
    }

    async fn killed(&mut self, running: SqliteCatalog) -> SqliteCatalog {
        let (from, to) = (self.path(), self.add());
        // What is written outlives its process. The file proper changes when the log is moved into it, which no history is long enough for.
        fs::copy(&from, &to).expect("copies");
        fs::copy(from.with_extension("db-wal"), to.with_extension("db-wal")).expect("copies");
        running.close().await;
        SqliteCatalog::open(&to).await.expect("opens")
    }

    async fn hidden_faults(&mut self, catalog: &SqliteCatalog) -> Vec<String> {
        let mut faults = Vec::new();
        for (what, sql) in FAULTS {
            let rows: i64 = sqlx::query_scalar(*sql).fetch_one(&catalog.readers).await.expect("counts");
            if rows > 0 {
                faults.push(format!("{rows} {what}"));
            }
        }
        catalog.close().await;
        faults
    }
}

#[test]
fn does_what_the_model_does() {
    model::check(|| Folders(Vec::new()));
}
