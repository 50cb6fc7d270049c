//! The document is held to the router, to the codes, to itself, and to the options it shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use image_pipeline::{OPTIONS, Presets, Spec};
use serde_json::{Value, json};

use crate::domain::{Code, TaskCode};

use super::{PAGE, compact, openapi_json, options, policy};

const METHODS: [&str; 5] = ["get", "head", "post", "put", "delete"];

fn document() -> Value {
    let document: Value = serde_json::from_str(&openapi_json()).expect("is JSON");
    assert_eq!(serde_json::from_str::<Value>(compact()).expect("is JSON"), document);
    document
}

/// Method and path of every operation.
fn documented(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| Some((((*method).to_owned(), path.clone()), item.get(*method)?.clone())))
    });
    operations.collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Method and path of every `.route("…", get(…).put(…))` below `src/http`.
fn routed() -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")).iter().filter(|file| !file.ends_with("openapi/tests.rs")) {
        let text = std::fs::read_to_string(file).expect("text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [".route_service(", ".nest(", ".nest_service("] {
            assert!(!code.contains(word), "{}: {word} is not read by this test", file.display());
        }
        for call in code.split(".route(").skip(1) {
            let (path, rest) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')).expect("a literal path");
            let mut depth = 1;
            let end = rest.find(|c| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let handlers = &rest[..end.expect("the call ends")];
            let before = routes.len();
            for method in METHODS {
                if handlers
                    .split(method)
                    .skip(1)
                    .zip(handlers.split(method))
                    .any(|(after, before)| after.starts_with('(') && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                {
                    routes.insert((method.to_owned(), path.to_owned()));
                }
            }
            assert!(routes.len() > before, "{}: no method read for {path}", file.display());
        }
    }
    routes
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let documented: BTreeSet<_> = documented(&document).into_keys().collect();
    let routed = routed();
    assert!(routed.len() > 12, "only {} routes were read", routed.len());
    let missing: Vec<_> = routed.difference(&documented).collect();
    assert!(missing.is_empty(), "routes without a description: {missing:?}");
    // A GET answers HEAD by itself.
    let extra: Vec<_> = documented
        .iter()
        .filter(|(method, path)| {
            let method = if method == "head" { "get" } else { method };
            !routed.contains(&(method.to_owned(), path.clone()))
        })
        .collect();
    assert!(extra.is_empty(), "described without a route: {extra:?}");
}

#[test]
fn every_code_is_described_and_given_by_some_operation() {
    let document = document();
    let words = document["components"]["schemas"]["ProblemCode"]["enum"].as_array().expect("words");
    let examples = document["components"]["examples"].as_object().expect("examples");
    let mut given = BTreeSet::new();
    for ((method, path), operation) in documented(&document) {
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path} never ends well");
        for (status, response) in responses {
            for name in response["content"]["application/problem+json"]["examples"].as_object().into_iter().flat_map(|e| e.keys()) {
                given.insert(name.clone());
                let refusal = name.parse::<Code>().ok().map(|code| super::operation::status_of(code).to_string());
                assert!(refusal.as_ref() == Some(status) || name.parse::<TaskCode>().is_ok(), "{method} {path}: {name} with {status}");
            }
        }
    }
    // Given before any operation is chosen, or by doors that are not there yet.
    let elsewhere = [Code::Unauthorized, Code::MethodNotAllowed, Code::NotAcceptable, Code::RateLimited, Code::HeadersTooLarge];
    for code in Code::ALL {
        assert!(words.contains(&json!(code.as_str())), "{code} is no word of ProblemCode");
        assert!(examples.contains_key(code.as_str()), "{code} has no example");
        assert_eq!(given.contains(code.as_str()), !elsewhere.contains(code), "{code}");
    }
    for code in TaskCode::ALL {
        assert!(given.contains(code.as_str()), "{code}");
    }
}

/// Looks at every object of the document.
fn walk<'a>(value: &'a Value, place: &str, look: &mut impl FnMut(&str, &'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            look(place, members);
            for (name, member) in members {
                walk(member, &format!("{place}/{name}"), look);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, look)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere() {
    let document = document();
    let mut seen = 0;
    walk(&document, "", &mut |place, members| {
        if let Some(Value::String(reference)) = members.get("$ref") {
            seen += 1;
            let pointer = reference.strip_prefix('#').expect("a reference into the document");
            assert!(document.pointer(pointer).is_some(), "{place}: {reference}");
        }
    });
    assert!(seen > 100, "only {seen} references were read");
}

#[test]
fn examples_are_valid_against_their_schemas() {
    let document = document();
    let valid = |place: &str, schema: &Value, example: &Value| {
        let mut root = schema.as_object().expect("a schema").clone();
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("components".into(), document["components"].clone());
        let validator = jsonschema::options().should_validate_formats(true).build(&Value::Object(root)).expect("a schema");
        let wrong: Vec<String> = validator.iter_errors(example).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{place}: {wrong:?}\n{example}");
    };
    let mut seen = 0;
    walk(&document, "", &mut |place, members| {
        // What stands in an example is data, whatever its members are called.
        if place.contains("/example") {
            return;
        }
        let whole = Value::Object(members.clone());
        let Some(schema) = members.get("schema").or_else(|| place.contains("/schemas/").then_some(&whole)) else { return };
        let several = members.get("examples").into_iter().flat_map(|examples| match examples {
            Value::Object(named) => named
                .values()
                .map(|e| e.get("$ref").map_or(e, |r| document.pointer(&r.as_str().expect("text")[1..]).expect("leads somewhere")))
                .filter_map(|e| e.get("value"))
                .collect::<Vec<_>>(),
            Value::Array(values) => values.iter().collect(),
            _ => Vec::new(),
        });
        for example in members.get("example").into_iter().chain(several) {
            seen += 1;
            valid(place, schema, example);
        }
    });
    assert!(seen > 150, "only {seen} examples were read");
}

#[test]
fn operations_have_names_of_their_own_and_say_what_they_do() {
    let document = document();
    let operations = documented(&document);
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in &operations {
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path}");
        let tag = &operation["tags"][0];
        assert!(document["tags"].as_array().expect("tags").iter().any(|known| known["name"] == *tag), "{method} {path}: {tag}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter =
                parameter.get("$ref").map_or(parameter, |r| document.pointer(&r.as_str().expect("text")[1..]).expect("is there"));
            assert!(parameter["description"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path}: {parameter}");
        }
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["servers"][0]["url"], ".");
}

#[test]
fn options_are_shown_with_examples_that_parse() {
    let grammar = options::grammar();
    for row in OPTIONS {
        let example = format!("{}:{}", row.short, options::example(row));
        assert!(grammar.contains(&format!("`{example}`")), "{example}");
        Spec::parse(&example, &Presets::builtin()).unwrap_or_else(|e| panic!("{example}: {e}"));
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for word in ["http://", "https://", "src=", "@import", "url(", "style=", "onclick", "innerHTML", "eval("] {
        assert!(!PAGE.contains(word), "{word}");
    }
    let policy = policy();
    assert!(!policy.contains("unsafe") && policy.matches("'sha256-").count() == 2, "{policy}");
}
