//! The grammar from outside: what parses, what is refused and in which words, and the round trip of the canonical text.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Spec, String> {
    Spec::parse(text, &Presets::builtin()).map_err(|error| error.to_string())
}

fn pairs(pairs: &[(&str, &str)]) -> Result<String, String> {
    Spec::from_pairs(pairs.iter().copied(), &Presets::builtin()).map(|spec| spec.canonical()).map_err(|error| error.to_string())
}

fn canonical(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).canonical()
}

#[test]
fn canonical_text_uses_short_names_in_one_order() {
    for (text, wanted) in [
        ("", ""),
        ("/", ""),
        ("rs:fit:320:320/f:webp", "rs:fit:320:320/f:webp"),
        ("format:webp/resize:fit:320:320", "rs:fit:320:320/f:webp"),
        ("/w:320//h:200/", "rs:fit:320:200"),
        ("rs:fit::320", "rs:fit:0:320"),
        ("rs::10:20:1", "rs:fit:10:20:1"),
        ("rs:fill:100:100/el:1/rt:force", "rs:force:100:100:1"),
        ("s:10:20:t", "rs:fit:10:20:1"),
        ("rs:fill:0:0:1", ""),
        ("el:1/dpr:2", "el:1/dpr:2"),
        ("mw:100/min-height:50/w:10", "rs:fit:10:0/mw:100/mh:50"),
        ("z:2/dpr:1", "z:2"),
        ("zoom:2:0.5/w:3", "rs:fit:3:0/z:2:0.5"),
        ("ex:1/rs:fit:3:4", "rs:fit:3:4/ex:1"),
        ("ex:1:no:3:0.5/rs:fit:3:4", "rs:fit:3:4/ex:1:no:3:0.5"),
        ("ex:1", ""),
        ("ra:nearest/w:3", "rs:fit:3:0/ra:nearest"),
        ("ra:nearest", ""),
        ("rs:outside:3:4", "rs:outside:3:4"),
        ("t:10", "t:10"),
        ("trim::fff", "t:10:ffffff"),
        ("t:0::1", "t:0::1"),
        ("t:2.5:000::1", "t:2.5:000000:0:1"),
        ("g:no:-10:0.25/c:1:1:soea:4", "c:1:1:soea:4:0/g:no:-10:0.25"),
        ("g:sm", "g:sm"),
        (
            "median:3/normalize/gam:2.2/hue:-30/tint:f00/duotone:000:fff",
            "median:3/normalize:1/gamma:2.2/hue:330/tint:ff0000/duotone:000000:ffffff",
        ),
        ("median:1/hue:360/gamma:1", ""),
        ("border:2/round_corner:9/pd:1:2:3", "border:2:000000/round_corner:9/pd:1:2:3:2"),
        ("pd:5", "pd:5:5:5:5"),
        ("pd:::7", "pd:0:0:7:0"),
        ("border:0:fff/pd:0", ""),
        ("wm:0.5", "wm:0.5:ce:0:0:0"),
        ("wm:1:re:10:0.1:0.25:logo", "wm:1:re:10:0.1:0.25:logo"),
        ("wm:::::0.5:default", "wm:1:ce:0:0:0.5"),
        ("wm:0", ""),
        ("wmt:SGVsbG8", "wmt:SGVsbG8:32:ffffff:1:ce:0:0"),
        ("wmt:%48ello:20:f00:0.5:soea:4:4", "wmt:SGVsbG8:20:ff0000:0.5:soea:4:4"),
        ("mb:0", ""),
        ("mb:20000/q:90", "q:90/mb:20000"),
        ("w:3/-/h:3", "rs:fit:3:0/-/rs:fit:0:3"),
        ("f:png/w:3/-/-/h:3/q:7/-/", "rs:fit:3:0/-/rs:fit:0:3/f:png/q:7"),
        ("/-/h:3", "rs:fit:0:3"),
        ("ar:0/-/bl:1/-/sh:1", "ar:0/bl:1/-/sh:1"),
        ("c:0.5:200:fp:0.25:1/g:nowe", "c:0.5:200:fp:0.25:1/g:nowe"),
        ("c:0:0:no", ""),
        ("g:fp", "g:fp:0.5:0.5"),
        ("ar:0/rot:-90/fl:1", "ar:0/rot:270/fl:1:0"),
        ("rot:360", ""),
        ("fl::1", "fl:0:1"),
        ("gray/sepia:t/invert:false", "gray:1/sepia:1"),
        ("bl:1.50/sh:0/pix:1/br:-0/co:1/sa:1.0", "bl:1.5"),
        ("bl:-0", ""),
        ("bg:FF0080", "bg:ff0080"),
        ("bg:f08", "bg:ff0088"),
        ("bg:255:0:128", "bg:ff0080"),
        ("bg:fff/bg:", ""),
        ("q:80", ""),
        ("f:jpeg/q:1", "f:jpg/q:1"),
        ("f:png/f:keep", ""),
        ("pr:thumbnail", "rs:fit:320:320"),
        ("pr:filter:thumbnail/f:png", "rs:fit:320:320/co:1.2/gray:1/sh:0.8/f:png"),
        ("w:100/pr:default/h:50", "rs:fit:320:50"),
    ] {
        assert_eq!(canonical(text), wanted, "{text}");
    }
}

#[test]
fn query_names_map_to_the_grammar() {
    for (query, wanted) in [
        (&[("w", "300"), ("h", "200")][..], "rs:fit:300:200"),
        (&[("w", "300"), ("h", "200"), ("fit", "cover")], "rs:fill:300:200:1"),
        (&[("fit", "cover"), ("h", "200"), ("w", "300"), ("el", "0")], "rs:fill:300:200"),
        (&[("fit", "inside"), ("w", "300")], "rs:fit:300:0:1"),
        (&[("fit", "fill"), ("w", "300"), ("h", "1")], "rs:force:300:1:1"),
        (&[("rs", "fit:320:320"), ("f", "webp")], "rs:fit:320:320/f:webp"),
        (&[("a", "top")], "g:no"),
        (&[("a", "top-left")], "g:nowe"),
        (&[("a", "right bottom")], "g:soea"),
        (&[("a", "center")], ""),
        (&[("a", "attention"), ("fit", "cover"), ("w", "3"), ("h", "3")], "g:sm/rs:fill:3:3:1"),
        (&[("fit", "contain"), ("w", "300"), ("h", "200")], "rs:fit:300:200:1/ex:1"),
        (&[("fit", "contain"), ("w", "300"), ("h", "200"), ("ex", "0")], "rs:fit:300:200:1"),
        (&[("fit", "outside"), ("w", "300"), ("h", "200"), ("dpr", "2")], "rs:outside:300:200:1/dpr:2"),
        (&[("trim", "12"), ("hue", "90"), ("gam", "2")], "t:12/gamma:2/hue:90"),
        (&[("fpx", "0.25"), ("a", "focal"), ("fpy", "1")], "g:fp:0.25:1"),
        (&[("flip", "")], "fl:0:1"),
        (&[("flip", "true"), ("flop", "")], "fl:1:1"),
        (&[("flip", "1:0")], "fl:1:0"),
        (&[("fl", "1")], "fl:1:0"),
        (&[("ro", "90"), ("blur", "2"), ("sharp", "1"), ("con", "1.5"), ("sat", "0.5")], "rot:90/co:1.5/sa:0.5/bl:2/sh:1"),
        (&[("filt", "greyscale,negate")], "gray:1/invert:1"),
        (&[("output", "png"), ("q", "50"), ("bg", "#fff")], "bg:ffffff/f:png/q:50"),
        (&[("w", ""), ("h", "320")], "rs:fit:0:320"),
        (&[("preset", "thumbnail")], "rs:fit:320:320"),
    ] {
        assert_eq!(pairs(query).as_deref(), Ok(wanted), "{query:?}");
    }
}

#[test]
fn refusals_say_what_was_found_and_what_is_allowed() {
    for (text, wanted) in [
        ("widht:3", r#"unknown option "widht", did you mean "width"?"#),
        ("W:3", r#"unknown option "W", did you mean "w"?"#),
        ("qualty:3", r#"unknown option "qualty", did you mean "quality"?"#),
        ("xyzzy:3", r#"unknown option "xyzzy""#),
        ("q:101", "quality is 101, allowed is 1 to 100"),
        ("q:0", "quality is 0, allowed is 1 to 100"),
        ("w:abc", r#"width is "abc", allowed is 0 to 65535 px"#),
        ("w:65536", "width is 65536, allowed is 0 to 65535 px"),
        ("rs:fit:2147483648", "resize width is 2147483648, allowed is 0 to 65535 px"),
        ("rs:cover:1:1", r#"resize mode is "cover", allowed is fit, fill, fill-down, force, auto, outside"#),
        ("rs:fit:1:1:0:1", "resize has 5 arguments, at most 4 are allowed"),
        ("rs:fit:1:1:yes", r#"resize enlarge is "yes", allowed is 1, t, true or 0, f, false"#),
        ("bl:NaN", r#"blur is "NaN", allowed is 0 to 100"#),
        ("bl:inf", r#"blur is "inf", allowed is 0 to 100"#),
        ("bl:1e9", r#"blur is "1e9", allowed is 0 to 100"#),
        ("bl:-1", "blur is -1, allowed is 0 to 100"),
        ("rot:45", "rotate is 45, allowed is a multiple of 90 from -360 to 360"),
        ("g:fp:2:0", "gravity x is 2, allowed is 0 to 1"),
        ("g:sm:1", "gravity argument 2 is 1, allowed is none after sm"),
        ("g::1", "gravity argument 2 is 1, allowed is none unless gravity is said"),
        ("g:no:70000", "gravity x is 70000, allowed is -65535 to 65535 px, below 1 a share of the side"),
        ("g:up", r#"gravity is "up", allowed is ce, no, so, ea, we, noea, nowe, soea, sowe, fp, sm"#),
        ("ex::no", "extend on has no value, allowed is 1, t, true or 0, f, false"),
        ("ex:1:sm", r#"extend gravity is "sm", allowed is ce, no, so, ea, we, noea, nowe, soea, sowe, fp"#),
        ("dpr:0", "dpr is 0, allowed is 0.1 to 8"),
        ("z:1:0", "zoom factor_y is 0, allowed is 0.01 to 10"),
        ("duotone:fff", "duotone light has no value, allowed is rrggbb or rgb"),
        ("median:100", "median is 100, allowed is 0 to 99 px"),
        ("wm:2", "watermark opacity is 2, allowed is 0 to 1"),
        ("wm:1:fp", r#"watermark position is "fp", allowed is ce, no, so, ea, we, noea, nowe, soea, sowe, re, ch"#),
        ("wm:1:::::Up", r#"watermark name is "Up", allowed is 1 to 64 characters of a-z, 0-9, _ and -"#),
        (
            "wmt:Hello!",
            r#"watermark_text text is "Hello!", allowed is 1 to 120 characters as base64 for URLs, or percent-encoded with at least one %xx"#,
        ),
        (
            "wmt::20",
            "watermark_text text has no value, allowed is 1 to 120 characters as base64 for URLs, or percent-encoded with at least one %xx",
        ),
        ("-/-/-/-/-/-/-/-", "more than 8 passes (/-/), presets included"),
        ("fn:a", "option fn is not supported by this version"),
        ("hue:NaN", r#"hue is "NaN", allowed is -360 to 360"#),
        ("c:1.5:1", "crop width is 1.5, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("c:1.0:1", "crop width is 1.0, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("c:-1:1", "crop width is -1, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("f:jxl", r#"format is "jxl", allowed is auto, keep, jpg, jpeg, png, webp, avif, gif"#),
        ("bg:12345", "background is 12345, allowed is rrggbb, rgb or r:g:b with 0 to 255 each"),
        ("bg:256:0:0", r#"background is "256:0:0", allowed is rrggbb, rgb or r:g:b with 0 to 255 each"#),
        ("w", "width has no value, allowed is 0 to 65535 px"),
        ("pr:nope", r#"unknown preset "nope", there are default, filter, thumbnail"#),
        ("w:\u{0}\u{1b}[31m", r#"width is "\0\u{1b}[31m", allowed is 0 to 65535 px"#),
    ] {
        assert_eq!(parse(text).map(|spec| spec.canonical()), Err(wanted.to_owned()), "{text:?}");
    }
    assert!(pairs(&[("a", "top-top")]).is_err());
    assert!(pairs(&[("a", "entropy")]).is_err());
    assert!(pairs(&[("filt", "duotone")]).is_err());
}

#[test]
fn hostile_text_is_bounded() {
    let long_value = format!("w:{}", "9".repeat(3000));
    let error = parse(&long_value).expect_err("refused");
    assert!(error.len() < 200, "{error}");
    assert_eq!(parse(&"a".repeat(65_536)).expect_err("refused"), "options have 65536 bytes, limit is 4096");
    assert_eq!(parse(&"w:1/".repeat(1000)).expect_err("refused"), "more than 128 options, presets included");
    let many = vec![("w", "1"); 5000];
    assert!(pairs(&many).is_err());
    let name = "x".repeat(4000);
    assert!(parse(&name).expect_err("refused").len() < 200);
    assert_eq!(Spec::nearest_option(&name), None);
    assert!(!Spec::is_option_name(&name));
}

#[test]
fn presets_cannot_run_in_circles_or_explode() {
    let ring = Presets::builtin().with("default", "pr:default").expect_err("a ring").to_string();
    assert!(ring.contains("deep"), "{ring}");
    let presets = Presets::builtin().with("a", "w:1").and_then(|presets| presets.with("b", "pr:a")).expect("no ring yet");
    assert!(presets.clone().with("a", "pr:b").is_err());
    // Each doubles the one before; the number of options is what ends it.
    let mut presets = presets.with("n0", "w:1").expect("parses");
    let mut refused = false;
    for level in 1..8 {
        match presets.clone().with(&format!("n{level}"), &format!("pr:n{0}:n{0}:n{0}:n{0}", level - 1)) {
            Ok(larger) => presets = larger,
            Err(error) => {
                assert!(error.to_string().contains("more than 128 options"), "{error}");
                refused = true;
                break;
            }
        }
    }
    assert!(refused);
    assert!(Presets::builtin().with("Upper", "w:1").is_err());
    assert!(Presets::builtin().with("", "w:1").is_err());
    assert!(Presets::builtin().with("bad", "widht:1").is_err());
}

#[test]
fn table_has_no_spelling_twice_and_every_default_and_name_parses() {
    let spellings: Vec<&str> = OPTIONS.iter().flat_map(OptionRow::spellings).collect();
    let mut unique = spellings.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), spellings.len());
    for row in OPTIONS {
        for name in row.spellings() {
            assert!(Spec::is_option_name(name));
            // An empty argument keeps the default or turns a switch on: never an error.
            parse(&format!("{name}:")).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!row.range_text().is_empty() && !row.what.is_empty());
        }
        // The first argument's range, as the table states it, is the one the parser keeps.
        let over = match row.args[0].kind {
            ArgKind::Integer { min, max, .. } | ArgKind::Multiple { min, max, .. } => vec![(max + 1).to_string(), (min - 1).to_string()],
            ArgKind::Decimal { min, max } => vec![(max + 0.1).to_string(), (min - 0.1).to_string()],
            ArgKind::Offset => vec!["65536".to_owned(), "-65536".to_owned()],
            _ => vec!["\u{7}nonsense".to_owned()],
        };
        for value in over {
            let error = parse(&format!("{}:{value}", row.name)).expect_err(&value);
            let stated = row.args[0].kind.to_string();
            assert!(error.contains(&stated) || error.contains("unknown preset"), "{}: {error}", row.name);
        }
        let edges = match row.args[0].kind {
            ArgKind::Integer { min, max, .. } | ArgKind::Multiple { min, max, .. } => vec![min.to_string(), max.to_string()],
            ArgKind::Decimal { min, max } => vec![min.to_string(), max.to_string()],
            ArgKind::Word(words) | ArgKind::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            _ => vec![],
        };
        for value in edges {
            parse(&format!("{}:{value}", row.name)).unwrap_or_else(|error| panic!("{}:{value}: {error}", row.name));
        }
    }
    assert!(Spec::is_option_name("watermark") && Spec::is_option_name("dpr") && !Spec::is_option_name("file"));
}

#[test]
fn digest_follows_the_canonical_text() {
    let one = parse("w:320/f:webp").expect("parses").digest();
    assert_eq!(one, parse("format:webp/rs:fit:320").expect("parses").digest());
    assert_ne!(one, parse("w:321/f:webp").expect("parses").digest());
}

#[test]
fn keep_follows_the_source_where_it_can() {
    use crate::probe::Format;
    let keep = Spec::default();
    assert_eq!(keep.output_format(Format::WebP, true), Some(OutputFormat::WebP));
    assert_eq!(keep.output_format(Format::Gif, true), Some(OutputFormat::Gif));
    assert_eq!(keep.output_format(Format::Gif, false), Some(OutputFormat::Gif));
    assert_eq!(parse("bg:fff").expect("parses").output_format(Format::Gif, true), Some(OutputFormat::Gif));
    for auto in ["f:auto", "output:auto", "ext:auto"] {
        let auto = parse(auto).expect("parses");
        assert_eq!((auto.output_format(Format::Jpeg, false), auto.canonical().as_str()), (None, "f:auto"));
    }
    assert_eq!(parse("f:png").expect("parses").output_format(Format::Jpeg, false), Some(OutputFormat::Png));
}

fn anchors() -> impl Strategy<Value = Anchor> {
    proptest::sample::select(vec![
        Anchor::Centre,
        Anchor::North,
        Anchor::South,
        Anchor::East,
        Anchor::West,
        Anchor::NorthEast,
        Anchor::NorthWest,
        Anchor::SouthEast,
        Anchor::SouthWest,
        Anchor::FocusPoint,
        Anchor::Smart,
    ])
}

fn offsets() -> impl Strategy<Value = f32> {
    prop_oneof![3 => Just(0.0_f32), 2 => -70_000.0_f32..70_000.0, 2 => -1.0_f32..=1.0, 1 => any::<f32>()]
}

fn gravities() -> impl Strategy<Value = Gravity> {
    (anchors(), offsets(), offsets()).prop_map(|(anchor, x, y)| Gravity { anchor, x, y })
}

fn places() -> impl Strategy<Value = (Place, f32, f32)> {
    let place = prop_oneof![4 => anchors().prop_map(Place::At), 1 => Just(Place::Tiled), 1 => Just(Place::Chequered)];
    (place, offsets(), offsets())
}

fn lengths() -> impl Strategy<Value = Length> {
    prop_oneof![
        Just(Length::Full),
        any::<u32>().prop_map(Length::Px),
        (1_u32..5000).prop_map(Length::Px),
        any::<f32>().prop_map(Length::Share),
        (0.0_f32..1.0).prop_map(Length::Share),
    ]
}

fn decimals(max: f32) -> impl Strategy<Value = f32> {
    prop_oneof![4 => 0.0_f32..=max, 1 => any::<f32>()]
}

fn colours() -> impl Strategy<Value = Rgb> {
    any::<[u8; 3]>().prop_map(Rgb)
}

prop_compose! {
    fn filters()(
        sigmas in (decimals(100.0), decimals(100.0)), sides in (any::<u32>(), 0_u32..120), brightness in any::<i16>(),
        factors in (proptest::option::of(decimals(10.0)), proptest::option::of(decimals(10.0)), proptest::option::of(decimals(10.0))),
        switches in any::<[bool; 4]>(), hue_deg in prop_oneof![-400.0_f32..400.0, any::<f32>()],
        tint in proptest::option::of(colours()), duotone in proptest::option::of((colours(), colours())),
    ) -> Filters {
        Filters {
            blur_sigma: sigmas.0, sharpen_sigma: sigmas.1, pixelate_px: sides.0, median_px: sides.1, brightness, contrast: factors.0,
            saturation: factors.1, gamma: factors.2, grayscale: switches[0], sepia: switches[1], invert: switches[2], normalize: switches[3],
            hue_deg, tint, duotone: duotone.map(|(dark, light)| [dark, light]),
        }
    }
}

prop_compose! {
    fn frames()(
        border in proptest::option::of((0_u32..9000, colours())), round_px in prop_oneof![Just(0_u32), any::<u32>()],
        sides in prop_oneof![Just([0_u32; 4]), any::<[u32; 4]>()],
    ) -> Frame {
        Frame {
            border: border.map(|(px, colour)| Border { px, colour }),
            round_px,
            padding: Padding { top_px: sides[0], right_px: sides[1], bottom_px: sides[2], left_px: sides[3] },
        }
    }
}

prop_compose! {
    fn watermarks()(
        name in proptest::option::of("[a-z0-9_-]{0,5}|[A-Z]|default"), opacity in decimals(1.0), (place, x, y) in places(), scale in decimals(1.0),
    ) -> Watermark {
        Watermark { name, opacity, place, x, y, scale }
    }
}

prop_compose! {
    fn texts()(text in ".{0,12}|[a-z]{100,140}", size_px in 0_u32..1200, colour in colours(), opacity in decimals(1.0), (place, x, y) in places()) -> TextMark {
        TextMark { text, size_px, colour, opacity, place, x, y }
    }
}

prop_compose! {
    fn resizes()(
        mode in 0_usize..6, sides in prop_oneof![Just([0_u32; 2]), (0_u32..70_000, 0_u32..70_000).prop_map(|(w, h)| [w, h])], enlarge in any::<bool>(),
        least in prop_oneof![Just([0_u32; 2]), (0_u32..70_000, 0_u32..70_000).prop_map(|(w, h)| [w, h])],
        zoom in prop_oneof![Just([1.0_f32; 2]), (decimals(10.0), decimals(10.0)).prop_map(|(x, y)| [x, y])],
    ) -> Resize {
        let modes = [ResizeMode::Fit, ResizeMode::Fill, ResizeMode::FillDown, ResizeMode::Force, ResizeMode::Auto, ResizeMode::Outside];
        Resize {
            mode: modes[mode], width_px: sides[0], height_px: sides[1], enlarge, min_width_px: least[0], min_height_px: least[1], zoom,
        }
    }
}

prop_compose! {
    fn passes()(
        turn in (0_i64..4, any::<bool>(), any::<bool>()),
        trim in proptest::option::of((decimals(255.0), proptest::option::of(colours()), any::<bool>(), any::<bool>())),
        crop in proptest::option::of((lengths(), lengths(), proptest::option::of(gravities()))),
        resize in resizes(), dpr in prop_oneof![2 => Just(1.0_f32), 1 => decimals(8.0)], kernel in 0_usize..4, linear_light in any::<bool>(),
        gravity in gravities(), extend in proptest::option::of(gravities()), filters in filters(),
        around in (frames(), proptest::option::of(colours()), proptest::option::of(watermarks()), proptest::option::of(texts())),
    ) -> Pass {
        Pass {
            rotate: Rotation::from_degrees(turn.0 * 90),
            flip_horizontal: turn.1,
            flip_vertical: turn.2,
            trim: trim.map(|(threshold, colour, equal_horizontal, equal_vertical)| Trim { threshold, colour, equal_horizontal, equal_vertical }),
            crop: crop.map(|(width, height, gravity)| Crop { width, height, gravity }),
            resize,
            dpr,
            kernel: [Kernel::Lanczos3, Kernel::Cubic, Kernel::Linear, Kernel::Nearest][kernel],
            linear_light,
            gravity,
            extend,
            filters,
            frame: around.0,
            background: around.1,
            watermark: around.2,
            text: around.3,
        }
    }
}

prop_compose! {
    /// Any spec a program can build, sensible or not.
    pub(super) fn specs()(
        auto_rotate in any::<bool>(), first in passes(),
        then in prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(prop_oneof![1 => Just(Pass::default()), 2 => passes()], 1..4)],
        format in 0_usize..7, quality in proptest::option::of(any::<u8>()), written in (any::<bool>(), proptest::option::of(any::<u8>())),
        max_bytes in proptest::option::of(1_u32..),
        packed in (any::<bool>(), proptest::option::of(any::<u16>()), proptest::option::of(decimals(1.0)), proptest::option::of(any::<u32>())),
        kept in (0_usize..3, any::<bool>()),
    ) -> Spec {
        let format = [
            FormatChoice::Keep, FormatChoice::Auto, FormatChoice::Fixed(OutputFormat::Jpeg), FormatChoice::Fixed(OutputFormat::Png),
            FormatChoice::Fixed(OutputFormat::WebP), FormatChoice::Fixed(OutputFormat::Gif), FormatChoice::Fixed(OutputFormat::Avif),
        ][format];
        Spec {
            auto_rotate,
            first,
            then,
            output: Output {
                format, quality, progressive: written.0, effort: written.1, max_bytes: max_bytes.and_then(std::num::NonZeroU32::new),
                lossless: packed.0, colors: packed.1, dither: packed.2, max_frames: packed.3,
                metadata: [KeptMetadata::None, KeptMetadata::Copyright, KeptMetadata::All][kept.0], keep_profile: kept.1,
            },
        }
    }
}

/// Option-like text: real names and values among noise.
fn option_texts() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        (0..OPTIONS.len()).prop_map(|index| OPTIONS[index].short.to_owned()),
        (0..OPTIONS.len()).prop_map(|index| OPTIONS[index].name.to_owned()),
        "[a-z_]{0,8}",
    ];
    let value = prop_oneof![
        "[0-9.:-]{0,12}",
        "(fit|fill|auto):[0-9]{1,4}:[0-9]{1,4}",
        "[0-9]{1,3}",
        "0\\.[0-9]{1,3}",
        "(t|f|1|0|webp|png|ce|no|fp:0.5:1)",
        ".{0,20}",
    ];
    proptest::collection::vec((name, value), 0..8)
        .prop_map(|options| options.into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join("/"))
}

proptest! {
    #[test]
    fn canonical_text_parses_back(spec in specs()) {
        let text = spec.canonical();
        let parsed = parse(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&parsed, &spec.normalised(), "{}", &text);
        prop_assert_eq!(parsed.canonical(), text);
    }

    #[test]
    fn order_of_options_does_not_matter(spec in specs(), seed in any::<u64>()) {
        // Within a pass.
        let spec = Spec { then: Vec::new(), ..spec };
        let text = spec.canonical();
        let mut options: Vec<&str> = text.split('/').collect();
        let mut state = seed | 1;
        for index in (1..options.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            options.swap(index, (state % (index as u64 + 1)) as usize);
        }
        prop_assert_eq!(parse(&options.join("/")).map_err(TestCaseError::fail)?, parse(&text).map_err(TestCaseError::fail)?);
    }

    #[test]
    fn any_text_parses_or_is_refused_shortly(text in ".*") {
        match parse(&text) {
            Ok(spec) => prop_assert_eq!(parse(&spec.canonical()).map_err(TestCaseError::fail)?, spec),
            Err(error) => prop_assert!(error.len() < 700 && !error.chars().any(char::is_control), "{}", error),
        }
    }

    #[test]
    fn option_like_text_parses_or_is_refused_shortly(text in option_texts()) {
        match parse(&text) {
            Ok(spec) => prop_assert_eq!(parse(&spec.canonical()).map_err(TestCaseError::fail)?, spec),
            Err(error) => prop_assert!(error.len() < 700 && !error.chars().any(char::is_control), "{}", error),
        }
    }

    #[test]
    fn pairs_and_text_agree(spec in specs()) {
        // A query has one pass.
        let spec = Spec { then: Vec::new(), ..spec };
        let text = spec.canonical();
        let pairs: Vec<(&str, &str)> = text.split('/').filter_map(|option| option.split_once(':')).collect();
        let from_pairs = Spec::from_pairs(pairs, &Presets::builtin()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(from_pairs.canonical(), text);
    }
}

#[test]
fn what_is_written_of_an_animation_and_of_colours() {
    for (text, canonical) in [
        ("maf:1/f:gif", "f:gif/maf:1"),
        ("n:-1", ""),
        ("maf:7/maf:0/f:webp", "f:webp"),
        ("max_animation_frames:12/f:png", "f:png"),
        ("l/f:webp", "f:webp/lossless:1"),
        ("lossless:1/f:png", "f:png"),
        ("colours:16/dither:0.5/f:png", "f:png/colors:16/dither:0.5"),
        ("dither:0/f:png", "f:png"),
        ("dither:0/f:gif/colors:256", "f:gif/dither:0"),
        ("colors:256", "colors:256"),
        ("colors:9/f:jpg", "f:jpg"),
    ] {
        assert_eq!(parse(text).expect(text).canonical(), canonical, "{text}");
    }
    assert!(OutputFormat::Gif.can_move() && OutputFormat::WebP.can_move());
    assert!(!OutputFormat::Png.can_move() && !OutputFormat::Jpeg.can_move());
}
