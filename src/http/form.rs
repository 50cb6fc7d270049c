//! From fields and query to what is wanted: variants, presets, priority, time, metadata. Every name is known or refused.

use std::time::Duration;

use image_pipeline::{Presets, Spec, Watermarks};

use crate::{
    domain::{Code, Priority, Refusal, VariantName, parse_span, span_text},
    ingest::{UploadRequest, VariantRequest},
    order::Client,
};

/// Names of fields that are no image options.
const FIELDS: &[&str] = &["variant", "preset", "upload_preset", "process_type", "priority", "ttl", "unknown_fields"];

/// The longest an upload can be told to stay: what is meant to stay longer has no time at all.
const MAX_TTL: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The name of the variant that bare options make.
const BARE_NAME: &str = "result";

/// The name of the variant that the preset `default` makes.
const DEFAULT_NAME: &str = "thumb";

/// Most variants of one request.
const MAX_VARIANTS: usize = 32;

/// Most `metadata[key]` pairs of one request, and most bytes of their keys and values together.
const MAX_METADATA_PAIRS: u64 = 64;
const MAX_METADATA_BYTES: u64 = 16 << 10;

/// Most results of one request: files times variants. Each is a row, and a line of every answer that tells of the upload.
const MAX_TASKS: u64 = 1000;

fn bad(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadOption, detail)
}

/// Reads fields (of the form, then of the query) into a request.
///
/// # Errors
/// `bad_option` for unknown names (with the nearest; of watermarks with those there are), values out of range, names or single values given twice.
pub(crate) fn read(
    fields: &[(String, String)],
    (presets, watermarks): (&Presets, &Watermarks),
    idempotency_key: Option<String>,
) -> Result<UploadRequest, Refusal> {
    let mut request = UploadRequest {
        owner: String::new(),
        client: Client::Local,
        variants: Vec::new(),
        priority: Priority::Normal,
        ttl: None,
        metadata: Vec::new(),
        idempotency_key,
        origin: None,
    };
    let mut bare: Vec<(&str, &str)> = Vec::new();
    let mut priority_seen = false;
    let keep_unknown = keeps_unknown(fields)?;
    for (name, value) in fields {
        match name.as_str() {
            "variant" => add(&mut request, variant(value, presets)?)?,
            "preset" | "upload_preset" | "process_type" => {
                for preset in value.split(',').map(str::trim) {
                    add(&mut request, of_preset(preset, presets)?)?;
                }
            }
            "unknown_fields" => {}
            "priority" if priority_seen => return Err(bad("priority is given twice")),
            "priority" => {
                priority_seen = true;
                request.priority = value.parse().map_err(|e| bad(format!("priority: {e}")))?;
            }
            "ttl" if request.ttl.is_some() => return Err(bad("ttl is given twice")),
            "ttl" => request.ttl = Some(ttl(value)?),
            _ => {
                if let Some(key) = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']')) {
                    request.metadata.push((key.to_owned(), value.clone()));
                } else if Spec::is_supported_option(name) || (!keep_unknown && Spec::is_option_name(name)) {
                    if bare.iter().any(|(seen, _)| seen == name) {
                        return Err(bad(format!("option {name:?} is given twice")));
                    }
                    bare.push((name, value));
                } else if keep_unknown {
                    request.metadata.push((name.clone(), value.clone()));
                } else {
                    return Err(unknown(name));
                }
            }
        }
    }
    if !bare.is_empty() {
        let spec = Spec::from_pairs(bare.iter().copied(), presets).map_err(|e| bad(e.to_string()))?;
        let options = spec.canonical();
        add(&mut request, VariantRequest { name: known_name(BARE_NAME)?, options, spec })?;
    }
    if request.variants.is_empty() {
        add(&mut request, of_preset("default", presets)?)?;
    }
    for VariantRequest { name, spec, .. } in &request.variants {
        watermarks.check(spec).map_err(|e| bad(format!("variant {name}: {e}")))?;
    }
    check_metadata(&request.metadata)?;
    Ok(request)
}

/// # Errors
/// `bad_option` when there are more pairs, or they are larger, than one request may keep.
fn check_metadata(metadata: &[(String, String)]) -> Result<(), Refusal> {
    let pairs = metadata.len() as u64;
    if pairs > MAX_METADATA_PAIRS {
        let detail = format!("{pairs} metadata pairs in one request, limit is {MAX_METADATA_PAIRS}");
        return Err(Refusal::over(Code::BadOption, detail, MAX_METADATA_PAIRS, Some(pairs)));
    }
    let bytes: u64 = metadata.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    if bytes > MAX_METADATA_BYTES {
        let detail = format!("metadata has {bytes} bytes, keys and values of all pairs together; limit is {MAX_METADATA_BYTES}");
        return Err(Refusal::over(Code::BadOption, detail, MAX_METADATA_BYTES, Some(bytes)));
    }
    Ok(())
}

/// Whether so many files may have so many variants.
///
/// # Errors
/// `bad_option` with both numbers when their product is more than one request may ask for.
pub(super) fn check_tasks(files: usize, variants: usize) -> Result<(), Refusal> {
    let tasks = files as u64 * variants as u64;
    if tasks <= MAX_TASKS {
        return Ok(());
    }
    let detail = format!("{files} files with {variants} variants each are {tasks} results in one request, limit is {MAX_TASKS}");
    Err(Refusal::over(Code::BadOption, detail, MAX_TASKS, Some(tasks)))
}

/// How long an upload is to be kept: seconds, or a number with a unit.
fn ttl(text: &str) -> Result<Duration, Refusal> {
    let seconds = text.trim().parse::<u64>().ok().map(Duration::from_secs);
    let ttl = match seconds {
        Some(seconds) => seconds,
        None => parse_span(text.trim())
            .map_err(|_| bad(format!("ttl is {:?}, allowed are seconds or a length of time such as 90m, 12h or 7d", shortened(text))))?,
    };
    // What is over at once would be gone before its answer.
    if ttl < Duration::from_secs(1) {
        return Err(bad(format!("ttl is {}, at least 1s is needed", span_text(ttl))));
    }
    check_ttl(ttl, MAX_TTL)?;
    Ok(ttl)
}

/// Whether an upload may be kept for so long.
///
/// # Errors
/// `bad_option` with both numbers, in seconds.
pub(super) fn check_ttl(ttl: Duration, limit: Duration) -> Result<(), Refusal> {
    if ttl <= limit {
        return Ok(());
    }
    let detail = format!("ttl is {}, limit is {}", span_text(ttl), span_text(limit));
    Err(Refusal::over(Code::BadOption, detail, limit.as_secs(), Some(ttl.as_secs())))
}

/// `unknown_fields=metadata`: a form with fields of its own is taken as it is, and what it says is kept with the upload.
fn keeps_unknown(fields: &[(String, String)]) -> Result<bool, Refusal> {
    let mut keep = false;
    for (_, value) in fields.iter().filter(|(name, _)| name == "unknown_fields") {
        keep = match value.as_str() {
            "metadata" => true,
            "refuse" => false,
            other => return Err(bad(format!("unknown_fields is {:?}, allowed are refuse and metadata", shortened(other)))),
        };
    }
    Ok(keep)
}

fn add(request: &mut UploadRequest, variant: VariantRequest) -> Result<(), Refusal> {
    if request.variants.iter().any(|v| v.name == variant.name) {
        return Err(bad(format!("variant name {:?} is used twice", variant.name.as_str())));
    }
    if request.variants.len() == MAX_VARIANTS {
        let limit = MAX_VARIANTS as u64;
        return Err(Refusal::over(Code::BadOption, format!("more than {MAX_VARIANTS} variants in one request"), limit, None));
    }
    request.variants.push(variant);
    Ok(())
}

/// `name=options`.
fn variant(text: &str, presets: &Presets) -> Result<VariantRequest, Refusal> {
    let (name, options) = text
        .split_once('=')
        .ok_or_else(|| bad(format!("variant is {:?}, expected name=options such as thumb=rs:fit:320:320", shortened(text))))?;
    let name = name.trim().parse::<VariantName>().map_err(|e| bad(shortened(&e).to_owned()))?;
    let spec = Spec::parse(options.trim(), presets).map_err(|e| bad(format!("variant {name}: {e}")))?;
    Ok(VariantRequest { name, options: options.trim().to_owned(), spec })
}

fn of_preset(preset: &str, presets: &Presets) -> Result<VariantRequest, Refusal> {
    let Some(options) = presets.get(preset) else {
        let known: Vec<&str> = presets.iter().map(|(name, _)| name).collect();
        return Err(bad(format!("there is no preset {:?}, known are {}", shortened(preset), known.join(", "))));
    };
    let name = known_name(if preset == "default" { DEFAULT_NAME } else { preset })?;
    let spec = Spec::parse(options, presets).map_err(|e| bad(format!("preset {preset}: {e}")))?;
    Ok(VariantRequest { name, options: options.to_owned(), spec })
}

fn known_name(name: &str) -> Result<VariantName, Refusal> {
    name.parse().map_err(bad)
}

fn unknown(name: &str) -> Refusal {
    let name = shortened(name);
    let near = FIELDS
        .iter()
        .copied()
        .filter(|field| strsim::damerau_levenshtein(field, name) <= 2)
        .min_by_key(|f| strsim::damerau_levenshtein(f, name));
    match near.or_else(|| Spec::nearest_option(name)) {
        Some(near) => bad(format!("unknown field {name:?}, did you mean {near:?}?")),
        None => bad(format!("unknown field {name:?}; known are {}, metadata[…] and the image options", FIELDS.join(", "))),
    }
}

/// At most 64 characters of a client's text, for an error message.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_pairs(pairs: &[(&str, &str)]) -> Result<UploadRequest, Refusal> {
        let fields: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        read(&fields, (&Presets::builtin(), &Watermarks::default()), None)
    }

    #[test]
    fn nothing_asked_for_is_a_thumb() {
        let request = read_pairs(&[]).expect("valid");
        assert_eq!(request.variants.len(), 1);
        assert_eq!((request.variants[0].name.as_str(), request.variants[0].options.as_str()), ("thumb", "rs:fit:320:320"));
    }

    #[test]
    fn variants_presets_and_bare_options_go_together() {
        let request = read_pairs(&[
            ("variant", "a=rs:fill:10:10/f:webp"),
            ("w", "320"),
            ("process_type", "filter"),
            ("gray", "1"),
            ("priority", "high"),
            ("metadata[album]", "2026"),
        ])
        .expect("valid");
        let names: Vec<_> = request.variants.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["a", "filter", "result"]);
        assert_eq!(request.priority, Priority::High);
        assert_eq!(request.metadata, [("album".to_owned(), "2026".to_owned())]);
    }

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (text, seconds) in [("60", 60), (" 90m", 5400), ("7d", 604_800), ("1h30m", 5400)] {
            assert_eq!(read_pairs(&[("ttl", text)]).expect("valid").ttl, Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(read_pairs(&[]).expect("valid").ttl, None);
        let refusal = check_ttl(Duration::from_secs(7200), Duration::from_secs(3600)).expect_err("too long");
        assert_eq!((refusal.limit, refusal.received, refusal.detail.as_str()), (Some(3600), Some(7200), "ttl is 7200s, limit is 3600s"));
        assert!(check_ttl(Duration::from_secs(3600), Duration::from_secs(3600)).is_ok());
    }

    #[test]
    fn metadata_is_bounded_in_pairs_and_bytes() {
        let keep = ("unknown_fields".to_owned(), "metadata".to_owned());
        let read_of = |pairs: Vec<(String, String)>| read(&pairs, (&Presets::builtin(), &Watermarks::default()), None);
        // In both spellings: asked for by name, and kept as unknown.
        for style in [|n: usize| format!("metadata[{n:04}]"), |n: usize| format!("{n:04}")] {
            let pairs = |count: usize, bytes: usize| -> Vec<_> {
                (0..count).map(|n| (style(n), "é".repeat(bytes / 2))).chain([keep.clone()]).collect()
            };
            assert_eq!(read_of(pairs(64, 252)).expect("just fits").metadata.len(), 64);
            let refusal = read_of(pairs(65, 0)).expect_err("too many");
            assert_eq!((refusal.code, refusal.limit, refusal.received), (Code::BadOption, Some(64), Some(65)));
            let refusal = read_of(pairs(64, 254)).expect_err("too large");
            assert_eq!((refusal.code, refusal.limit, refusal.received), (Code::BadOption, Some(16384), Some(16512)));
            assert!(refusal.detail.contains("16384") && refusal.detail.contains("16512"), "{}", refusal.detail);
        }
    }

    #[test]
    fn files_times_variants_is_bounded() {
        for (files, variants) in [(0, 32), (100, 10), (31, 32), (1000, 1)] {
            assert!(check_tasks(files, variants).is_ok(), "{files} x {variants}");
        }
        let refusal = check_tasks(100, 31).expect_err("too many");
        assert_eq!((refusal.code, refusal.limit, refusal.received), (Code::BadOption, Some(1000), Some(3100)));
        assert!(refusal.detail.starts_with("100 files with 31 variants"), "{}", refusal.detail);
    }

    #[test]
    fn unknown_fields_are_kept_on_request_only() {
        // `filename` is an option of delivery: here it is a form's own field.
        let fields = [("title", "cat"), ("filename", "x")];
        assert!(read_pairs(&fields).is_err());
        let request = read_pairs(&[fields[0], fields[1], ("unknown_fields", "metadata"), ("w", "10")]).expect("kept");
        assert_eq!(request.metadata, fields.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(request.variants[0].name.as_str(), "result");
        assert!(read_pairs(&[("unknown_fields", "yes")]).is_err());
    }

    #[test]
    fn what_is_unknown_or_doubled_is_refused_with_a_hint() {
        for (pairs, hint) in [
            (vec![("varaint", "a=w:1")], "variant"),
            (vec![("widht", "1")], "width"),
            (vec![("variant", "nothing")], "name=options"),
            (vec![("variant", "A=w:1")], "a-z"),
            (vec![("variant", "a=w:1"), ("variant", "a=w:2")], "twice"),
            (vec![("w", "1"), ("w", "2")], "twice"),
            (vec![("priority", "urgent")], "high, normal, low"),
            (vec![("ttl", "soon")], "seconds"),
            (vec![("ttl", "0")], "at least 1s"),
            (vec![("ttl", "300ms")], "at least 1s"),
            (vec![("ttl", "60"), ("ttl", "60")], "twice"),
            (vec![("ttl", "3651d")], "limit is 3650d"),
            (vec![("ttl", "18446744073709551615")], "limit is 3650d"),
            (vec![("preset", "thumbnial")], "thumbnail"),
            (vec![("q", "101")], "100"),
            (vec![("zzzzzzzz", "1")], "known are"),
        ] {
            let refusal = read_pairs(&pairs).expect_err("refused");
            assert_eq!(refusal.code, Code::BadOption);
            assert!(refusal.detail.contains(hint), "{pairs:?}: {}", refusal.detail);
        }
    }
}
