//! The option grammar in the document, all of it read from the pipeline's own table: text, query parameters, form fields.

use std::fmt::Write;

use image_pipeline::{Arg, ArgKind, OPTIONS, OptionRow};
use serde_json::Value;
use utoipa::openapi::{
    Ref, RefOr,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{ArrayBuilder, Object, ObjectBuilder, Type},
};

use crate::domain::Priority;

use super::operation::{Shape, binary, parameter, string};

/// The grammar as Markdown, with a line for each option.
pub(super) fn grammar() -> String {
    let mut text = String::from(
        "Options follow imgproxy's grammar: `name:argument:argument/name:argument`, long or short names, in any order. The order of work is \
         fixed: orient, trim, crop, resize, filters, border and padding, background, watermarks, encode; `/-/` begins it again on the result, for up \
         to eight passes. An argument left empty keeps its default. In a query or a form each \
         option may also stand alone (`w=320`); such bare options make one variant named `result`. What is unknown is refused with the \
         nearest name, what is out of range with the range: nothing is ignored in silence.\n\n\
         | option | also | values | default | example | what |\n|---|---|---|---|---|---|\n",
    );
    for row in OPTIONS {
        let others: Vec<String> = row.spellings().skip(1).map(|name| format!("`{name}`")).collect();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | `{}:{}` | {} |",
            row.name,
            others.join(" "),
            row.range_text(),
            row.default,
            row.short,
            example(row),
            row.what
        );
    }
    text
}

/// Arguments that the option takes, as text.
pub(super) fn example(row: &OptionRow) -> String {
    let mut arguments: Vec<String> = row.args.iter().map(argument).collect();
    // A focus point goes with `fp` only.
    if let Some(gravity) = row.args.iter().position(|arg| arg.name == "gravity") {
        arguments.truncate(gravity + 1);
    }
    arguments.join(":")
}

fn argument(arg: &Arg) -> String {
    match (&arg.kind, arg.name) {
        (ArgKind::Integer { .. }, "width" | "height") | (ArgKind::Length, _) => "320".to_owned(),
        (ArgKind::Integer { .. }, "bytes") => "50000".to_owned(),
        (ArgKind::Integer { max, .. }, _) => (max / 4).clamp(1, 80).to_string(),
        (ArgKind::Multiple { of, .. }, _) => of.to_string(),
        (ArgKind::Decimal { max, .. }, _) => if *max > 1.0 { "1.5" } else { "0.5" }.to_owned(),
        (ArgKind::Switch, _) => "1".to_owned(),
        (ArgKind::Word(words) | ArgKind::Words(words), _) => words.first().copied().unwrap_or_default().to_owned(),
        (ArgKind::Colour | ArgKind::Hex, _) => "ff8800".to_owned(),
        (ArgKind::Offset, _) => "10".to_owned(),
        (ArgKind::Name, _) => "logo".to_owned(),
        // "Hello".
        (ArgKind::Text, _) => "SGVsbG8".to_owned(),
        (ArgKind::Preset, _) => "thumbnail".to_owned(),
    }
}

/// Options whose schema can say all that they take: one argument. Those with more are texts with colons.
fn schema(row: &OptionRow) -> ObjectBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let several = || text().pattern(Some(r"^[A-Za-z0-9._:%=-]*$"));
    match row.args {
        [Arg { kind, .. }] => match kind {
            ArgKind::Integer { min, max, .. } => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(*min)).maximum(Some(*max)),
            ArgKind::Multiple { of, min, max } => {
                let turns: Vec<i64> = (*min..=*max).filter(|degrees| degrees % of == 0).collect();
                ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(turns))
            }
            ArgKind::Decimal { min, max } => {
                // Written with a point, never with an exponent.
                ObjectBuilder::new().schema_type(Type::Number).minimum(Some(as_written(*min))).maximum(Some(as_written(*max)))
            }
            // Left empty, an argument keeps its default, and a switch is on.
            ArgKind::Switch => text().enum_values(Some(["1", "t", "true", "0", "f", "false", ""])),
            ArgKind::Word(words) => text().enum_values(Some(words.iter().copied().chain([""]))),
            ArgKind::Words(words) => {
                let any = words.join("|");
                text().pattern(Some(format!("^(({any})(,({any}))*)?$")))
            }
            ArgKind::Colour => text().pattern(Some("^([0-9a-fA-F]{6}|[0-9a-fA-F]{3})?$")),
            ArgKind::Length | ArgKind::Preset | ArgKind::Hex | ArgKind::Offset | ArgKind::Name | ArgKind::Text => several(),
        },
        _ => several(),
    }
}

/// 0.1 and not 0.10000000149011612, which is the nearest `f32`.
fn as_written(bound: f32) -> f64 {
    bound.to_string().parse().unwrap_or_else(|_| f64::from(bound))
}

fn described(row: &OptionRow) -> ObjectBuilder {
    let what = format!("{} ({}). Default: {}.", row.what, row.range_text(), row.default);
    schema(row).description(Some(what))
}

/// Rows that stand in a query or form under their own name; `preset` there is a field of its own.
fn bare() -> impl Iterator<Item = &'static OptionRow> {
    OPTIONS.iter().filter(|row| row.name != "preset")
}

fn variants() -> ArrayBuilder {
    // Spaces around the name are dropped.
    let one = string(None, Some("^[a-z0-9_-]{1,64}=.*$")).examples([Value::from("thumb=rs:fill:320:320/f:webp")]);
    ArrayBuilder::new().items(one).max_items(Some(32)).description(Some("A variant, `name=options`; repeat it for more. Names differ."))
}

fn presets() -> ArrayBuilder {
    let description = "A variant made by a preset and named after it (`default` makes `thumb`); repeat it, or separate names with commas. \
                       `GET /v1/presets` lists them.";
    ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String)).max_items(Some(32)).description(Some(description))
}

fn priority() -> ObjectBuilder {
    let words: Vec<&str> = Priority::ALL.iter().map(|priority| priority.as_str()).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).description(Some("How urgent; normal if nothing is said."))
}

const TTL: &str = "How long the upload is kept: seconds, or a length of time such as `90m`, `12h` or `7d`; 1 s to 3650 days, and no longer than \
                   `--upload-ttl` where that is set. Then it is deleted by itself. Nothing said: as long as `--upload-ttl` says.";

fn ttl() -> ObjectBuilder {
    string(None, Some("^([1-9][0-9]{0,7}s?|[1-9][0-9]{0,2}[mhd])$")).description(Some(TTL)).examples([Value::from("7d")])
}

fn unknown_fields() -> ObjectBuilder {
    let description = "`metadata` keeps unknown fields with the upload instead of refusing them.";
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["refuse", "metadata"])).description(Some(description))
}

/// References to [`query_components`], for the operations.
pub(super) fn query() -> Vec<RefOr<Parameter>> {
    let names = query_components().into_iter().map(|parameter| parameter.name);
    names.map(|name| RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")))).collect()
}

/// What may be asked for in the query, each the same as a form field.
pub(super) fn query_components() -> Vec<Parameter> {
    let query = |name: &str, what: &str, schema: Shape| parameter(ParameterIn::Query, name, what, schema, None);
    let repeated = |name: &str, schema: ArrayBuilder| {
        let array = schema.build();
        let what = array.description.clone().unwrap_or_default();
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .description(Some(what))
            .schema(Some(array))
            .explode(Some(true))
            .build()
    };
    let mut all = vec![
        repeated("variant", variants()),
        repeated("preset", presets()),
        query("priority", "How urgent; normal if nothing is said.", priority().into()),
        query("ttl", TTL, ttl().into()),
        query("unknown_fields", "`metadata` keeps unknown fields with the upload instead of refusing them.", unknown_fields().into()),
    ];
    all.extend(
        bare().map(|row| query(row.name, &format!("{} ({}). Default: {}.", row.what, row.range_text(), row.default), schema(row).into())),
    );
    all
}

/// A form with files and options, in any order; `single` for the endpoints that take one file.
pub(super) fn form(single: bool) -> Object {
    let files = ArrayBuilder::new().items(binary()).min_items(Some(1)).description(Some(
        "The files: any part with a filename, or one of these field names: `file`, `files`, `files[]`, `image`, `images`, `images[]`. \
         What they are is told by their bytes.",
    ));
    let mut form = ObjectBuilder::new().schema_type(Type::Object);
    form = if single { form.property("file", binary()) } else { form.property("file", files) };
    form = form
        .required("file")
        .property("variant", variants())
        .property("preset", presets())
        .property("priority", priority())
        .property("ttl", ttl())
        .property("unknown_fields", unknown_fields())
        .property(
            "metadata[key]",
            ObjectBuilder::new().schema_type(Type::String).description(Some(
                "Kept with the upload under `key`, which may be any word. At most 64 pairs, and 16 KiB of keys and values together.",
            )),
        );
    for row in bare() {
        form = form.property(row.name, described(row));
    }
    let names: Vec<&str> = bare().map(|row| row.name).collect();
    let names = format!(r"^(file|variant|preset|priority|ttl|unknown_fields|{}|metadata\[[a-z]+\])$", names.join("|"));
    form.property_names(Some(string(None, Some(&names))))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
