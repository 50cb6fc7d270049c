//! The rooms' directions, read from the imports: what a room may use is written in one table here, and nowhere remembered.
//!
//! Test code may use anything; it is cut off before reading. Comments and strings do not count as uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Longest source file, in lines.
const MAX_LINES: usize = 600;

/// Each room of the service and the rooms it may use. `app` names them all and is used by `main` alone.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("telemetry", &[]),
    ("heap", &[]),
    ("signals", &[]),
    ("profile", &[]),
    ("facts", &[]),
    ("store", &["domain"]),
    ("catalog", &["domain", "clock"]),
    ("copies", &["domain", "store", "catalog", "telemetry"]),
    ("compute", &[]),
    ("follow", &["domain"]),
    ("order", &["domain"]),
    ("ingest", &["domain", "clock", "store", "catalog", "copies", "order"]),
    ("queue", &["domain", "clock", "store", "catalog", "copies", "compute", "facts", "follow", "telemetry"]),
    ("further", &["domain", "store", "catalog", "compute", "ingest"]),
    ("batch", &["domain", "clock", "store", "catalog", "follow", "further", "ingest", "order", "queue", "telemetry"]),
    ("deliver", &["domain", "store", "catalog", "queue"]),
    ("upkeep", &["domain", "clock", "store", "catalog", "erase", "telemetry"]),
    ("backup", &["catalog", "domain", "store"]),
    ("erase", &["domain", "clock", "store", "catalog", "queue", "deliver", "follow", "telemetry"]),
    // `compute` for readiness only.
    (
        "http",
        &[
            "domain",
            "clock",
            "store",
            "catalog",
            "compute",
            "facts",
            "follow",
            "ingest",
            "order",
            "profile",
            "queue",
            "further",
            "batch",
            "deliver",
            "erase",
            "telemetry",
        ],
    ),
    ("config", &["domain", "http", "ingest"]),
    ("cli", &["config"]),
    (
        "app",
        &[
            "backup",
            "batch",
            "catalog",
            "clock",
            "compute",
            "config",
            "deliver",
            "domain",
            "erase",
            "follow",
            "further",
            "heap",
            "http",
            "ingest",
            "queue",
            "store",
            "telemetry",
            "upkeep",
        ],
    ),
];

/// Modules of the pipeline and what each may use.
const PIPELINE: &[(&str, &[&str])] = &[
    ("error", &["probe"]),
    ("limits", &[]),
    ("watch", &["error"]),
    ("pixels", &[]),
    ("simd", &[]),
    ("spec", &["probe"]),
    ("deep", &["error"]),
    ("codec", &["deep", "error", "limits", "metadata", "pixels", "probe", "simd", "spec", "watch"]),
    ("probe", &["error", "limits", "codec", "metadata"]),
    ("stage", &["deep", "error", "limits", "pixels", "probe", "simd", "spec", "watch"]),
    ("metadata", &["codec", "error", "pixels", "probe", "spec"]),
    ("facts", &["codec", "metadata", "pixels", "probe", "spec", "stage"]),
    ("plan", &["codec", "deep", "error", "facts", "limits", "metadata", "pixels", "probe", "spec", "stage", "watch"]),
    ("run", &["codec", "deep", "error", "facts", "limits", "metadata", "pixels", "plan", "probe", "spec", "stage", "watch"]),
];

/// Words that may appear in some places only: the word, where, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("axum", &["src/http/"], "the framework is known in one room"),
    ("hyper", &["src/http/"], "the framework is known in one room"),
    ("hyper_util", &["src/http/"], "the framework is known in one room"),
    ("tower", &["src/http/"], "the framework is known in one room"),
    ("tower_http", &["src/http/"], "the framework is known in one room"),
    ("StatusCode", &["src/http/"], "status codes do not exist below http"),
    ("sqlx", &["src/catalog/"], "SQL lives in the catalog"),
    ("LocalStore", &["src/store/", "src/app.rs", "src/backup.rs"], "only the composition root names back ends, and what copies them"),
    ("SqliteCatalog", &["src/catalog/", "src/app.rs", "src/backup.rs"], "only the composition root names back ends, and what copies them"),
    ("spawn_blocking", &["src/store/", "src/ingest/", "src/profile.rs"], "blocking work is file work, or a wait for the operator"),
    ("SystemTime", &["src/clock.rs", "src/telemetry/traces.rs"], "time comes from the clock; spans are in the collector's"),
    ("anyhow", &["src/main.rs", "src/app.rs", "src/cli.rs"], "seams have errors of their own"),
];

/// Paths that may appear in some places only.
const PATHS: &[(&str, &[&str], &str)] = &[
    (
        "std::fs",
        &[
            "src/store/",
            "src/ingest/writer.rs",
            "src/config/",
            "src/cli.rs",
            "src/app.rs",
            "src/backup.rs",
            "src/telemetry/",
            "src/catalog/sqlite/",
            // What the process is made of.
            "src/profile/",
            // A socket's file, and certificates.
            "src/http/serve/listen.rs",
            "src/http/serve/tls.rs",
        ],
        "files belong to the store",
    ),
    ("tokio::fs", &[], "tokio's files lose write errors"),
    (
        "std::path",
        &[
            "src/store/",
            "src/config/",
            "src/cli.rs",
            "src/app.rs",
            "src/backup.rs",
            "src/catalog/sqlite/",
            "src/profile/",
            "src/http/serve/listen.rs",
            "src/http/serve/tls.rs",
        ],
        "paths belong to the store",
    ),
    ("thread::spawn", &[], "threads belong to compute, which names its own"),
    ("thread::Builder", &["src/compute.rs", "src/compute/"], "threads belong to compute"),
    ("std::env", &["src/config/", "src/cli.rs", "src/main.rs"], "the environment is configuration"),
    (
        "Instant::now",
        &["src/profile.rs", "src/compute.rs", "src/compute/", "src/queue/", "src/http/", "src/app.rs", "src/telemetry/"],
        "durations are measured where work is",
    ),
    ("image_pipeline::run", &["src/queue/"], "pixels are worked on in the pool"),
];

struct Source {
    /// From the package's root, with slashes.
    name: String,
    text: String,
    /// Without test code, comments and the insides of strings.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &str) -> Vec<Source> {
    let mut sources: Vec<Source> = crate::support::files_below(&root().join(below))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8").replace('\\', "/");
            let text = std::fs::read_to_string(&path).expect("readable");
            let code = code_of(&text);
            Source { name, text, code }
        })
        .collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

/// Sources that are compiled into the product: not the ones a `#[cfg(test)]` names.
fn shipped(below: &str) -> Vec<Source> {
    let all = sources(below);
    let mut test_files = BTreeSet::new();
    for source in &all {
        let mut lines = source.text.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if line != "#[cfg(test)]" {
                continue;
            }
            let path = lines.next_if(|line| line.starts_with("#[path")).and_then(|line| line.split('"').nth(1));
            let module = lines
                .peek()
                .and_then(|line| line.trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod "))
                .and_then(|rest| rest.strip_suffix(';'));
            if let Some(module) = module {
                let folder = Path::new(&source.name).with_extension("");
                let parent = if source.name.ends_with("/mod.rs") || source.name.ends_with("/lib.rs") {
                    Path::new(&source.name).parent()
                } else {
                    Some(folder.as_path())
                };
                let beside = Path::new(&source.name).parent().expect("a folder");
                let file = path.map_or_else(|| parent.expect("a folder").join(format!("{module}.rs")), |path| beside.join(path));
                test_files.insert(file.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    // Contract suites are test code that back ends elsewhere use, too.
    all.into_iter().filter(|source| !test_files.contains(&source.name) && !source.name.ends_with("/contract.rs")).collect()
}

/// The code without inline test modules, comments and the insides of strings.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = &raw[raw.find("\"#").map_or(raw.len(), |end| end + 2)..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\''") {
            rest = &rest[if rest.starts_with("'\"'") { 3 } else { 4 }..];
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
            code.push_str("\"\"");
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// First path segments after `prefix::` in code, groups opened: `crate::{a::b, c::{d}}` gives a and c.
fn uses_of(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let pattern = format!("{prefix}::");
    for (at, _) in code.match_indices(&pattern) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        let rest = &code[at + pattern.len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut expect) = (1, true);
            for (index, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => expect = true,
                    c if expect && depth == 1 && !c.is_whitespace() => {
                        found.insert(word(&group[index..]));
                        expect = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(word(rest));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Whether `word` stands in code as a word of its own.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !code[..at].chars().next_back().is_some_and(part) && !code[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// Whether code names `path`, also through groups: `std::{fs, io}` names `std::fs`.
fn names(code: &str, path: &str) -> bool {
    let (first, second) = path.split_once("::").expect("two segments");
    says(code, path) || uses_of(code, first).contains(second)
}

/// Below `src/` of a package: the room a file belongs to.
fn room(name: &str, src: &str) -> String {
    let rest = name.strip_prefix(src).expect("below src");
    rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs").to_owned()
}

fn directions(src: &str, table: &[(&str, &[&str])], outside: &[&str]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for source in shipped(src) {
        let room = room(&source.name, src);
        if outside.contains(&room.as_str()) {
            continue;
        }
        let Some(allowed) = table.get(room.as_str()) else {
            wrong.push(format!("{}: room {room} is not in the table", source.name));
            continue;
        };
        seen.insert(room.clone());
        for used in uses_of(&source.code, "crate").into_iter().filter(|used| table.contains_key(used.as_str())) {
            if used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {room} uses {used}, it may use {allowed:?}", source.name));
            }
        }
    }
    for room in table.keys().filter(|room| !seen.contains(**room)) {
        wrong.push(format!("{room} is in the table and has no file below {src}"));
    }
    wrong
}

#[test]
fn rooms_use_only_what_the_plan_lets_them() {
    let wrong = directions("src/", ROOMS, &["main", "lib"]);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_pipelines_stages_point_one_way() {
    let wrong = directions("crates/image-pipeline/src/", PIPELINE, &["lib"]);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let foreign = ["tokio", "axum", "sqlx", "http", "pixmill", "tracing"];
    let pipeline = shipped("crates/image-pipeline/src/");
    let strangers: Vec<_> = pipeline
        .iter()
        .flat_map(|s| foreign.iter().filter(|word| !uses_of(&s.code, word).is_empty()).map(|word| format!("{}: {word}", s.name)))
        .collect();
    assert!(strangers.is_empty(), "the pipeline is a library of pixels: {strangers:?}");
}

#[test]
fn words_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in shipped("src/") {
        let at_home = |places: &[&str]| places.iter().any(|place| source.name.starts_with(place));
        for (word, places, why) in WORDS {
            if says(&source.code, word) && !at_home(places) {
                wrong.push(format!("{}: {word}, allowed in {places:?}: {why}", source.name));
            }
        }
        for (path, places, why) in PATHS {
            if names(&source.code, path) && !at_home(places) {
                wrong.push(format!("{}: {path}, allowed in {places:?}: {why}", source.name));
            }
        }
        if room(&source.name, "src/") == "domain" {
            for word in ["serde", "serde_json", "tokio", "tracing", "async", "std::io"] {
                if says(&source.code, word) {
                    wrong.push(format!("{}: {word}: the domain is values and nothing else", source.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    let mut files = 0;
    for below in ["src/", "crates/", "tests/", "benches/"] {
        for source in sources(below).into_iter().filter(|source| !source.name.contains("/target/")) {
            files += 1;
            if !source.text.starts_with("//!") {
                wrong.push(format!("{}: does not open with //!", source.name));
            }
            let lines = source.text.lines().count();
            if lines > MAX_LINES {
                wrong.push(format!("{}: {lines} lines, limit is {MAX_LINES}", source.name));
            }
            for word in ["todo!(", "unimplemented!(", "dbg!("] {
                if source.code.contains(word) && !source.name.ends_with("tidy.rs") {
                    wrong.push(format!("{}: {word}", source.name));
                }
            }
        }
    }
    assert!(files > 90, "only {files} files were read");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_is_part_of_the_build() {
    let mut wrong = Vec::new();
    for src in ["src/", "crates/image-pipeline/src/", "tests/it/"] {
        let all = sources(src);
        for source in &all {
            let path = Path::new(&source.name);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
            let folder = path.parent().expect("a folder");
            if ["main", "lib"].contains(&stem) {
                continue;
            }
            let (module, home) = if stem == "mod" {
                (folder.file_name().and_then(|n| n.to_str()).expect("UTF-8"), folder.parent().expect("a folder"))
            } else {
                (stem, folder)
            };
            let parents = [home.join("mod.rs"), home.join("lib.rs"), home.join("main.rs"), home.with_extension("rs")];
            let named = all
                .iter()
                .filter(|other| parents.iter().any(|parent| Path::new(&other.name) == parent))
                .any(|other| says(&other.text, &format!("mod {module};")))
                || all.iter().any(|other| other.text.contains(&format!("#[path = \"{stem}.rs\"]")));
            if !named {
                wrong.push(format!("{}: no module names it", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_reads_as_it_should() {
    let code = code_of(
        "use crate::{a::x, b::{c, d}, e};\n// crate::f\nlet s = \"crate::g\"; crate::h::i(); $crate::j; let q = '\"'; crate::k!();\n#[cfg(test)]\nmod tests {\n crate::l }",
    );
    let wanted: BTreeSet<String> = ["a", "b", "e", "h", "k"].map(str::to_owned).into();
    assert_eq!(uses_of(&code, "crate"), wanted);
    assert!(
        names("use std::{\n    io,\n    fs::File,\n};", "std::fs")
            && names("std::fs::read(x)", "std::fs")
            && !names("std::io; my_std::fs_x", "std::fs")
    );
    assert!(says("a StatusCode::OK", "StatusCode") && !says("MyStatusCode", "StatusCode"));
}
