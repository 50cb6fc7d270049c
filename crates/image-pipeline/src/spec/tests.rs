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
        ("rs:cover:1:1", r#"resize mode is "cover", allowed is fit, fill, fill-down, force, auto"#),
        ("rs:fit:1:1:0:1", "resize has 5 arguments, at most 4 are allowed"),
        ("rs:fit:1:1:yes", r#"resize enlarge is "yes", allowed is 1, t, true or 0, f, false"#),
        ("bl:NaN", r#"blur is "NaN", allowed is 0 to 100"#),
        ("bl:inf", r#"blur is "inf", allowed is 0 to 100"#),
        ("bl:1e9", r#"blur is "1e9", allowed is 0 to 100"#),
        ("bl:-1", "blur is -1, allowed is 0 to 100"),
        ("rot:45", "rotate is 45, allowed is a multiple of 90 from -360 to 360"),
        ("g:sm", r#"gravity is "sm", allowed is ce, no, so, ea, we, noea, nowe, soea, sowe, fp"#),
        ("g:fp:2:0", "gravity x is 2, allowed is 0 to 1"),
        ("g:no:1", "gravity argument 2 is 1, allowed is none unless gravity is fp"),
        ("c:1.5:1", "crop width is 1.5, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("c:1.0:1", "crop width is 1.0, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("c:-1:1", "crop width is -1, allowed is 0 (all), a share 0.0001 to 0.9999, or 1 to 65535 px"),
        ("f:avif", r#"format is "avif", allowed is keep, jpg, jpeg, png, webp"#),
        ("bg:12345", "background is 12345, allowed is rrggbb, rgb or r:g:b with 0 to 255 each"),
        ("bg:256:0:0", r#"background is "256:0:0", allowed is rrggbb, rgb or r:g:b with 0 to 255 each"#),
        ("w", "width has no value, allowed is 0 to 65535 px"),
        ("wm:1", "option wm is not supported by this version"),
        ("w:3/-/h:3", "option /-/ (a second pass) is not supported by this version"),
        ("fit:contain", "option fit=contain (it pads; use inside or cover) is not supported by this version"),
        ("pr:nope", r#"unknown preset "nope", there are default, filter, thumbnail"#),
        ("w:\u{0}\u{1b}[31m", r#"width is "\0\u{1b}[31m", allowed is 0 to 65535 px"#),
    ] {
        assert_eq!(parse(text).map(|spec| spec.canonical()), Err(wanted.to_owned()), "{text:?}");
    }
    assert!(pairs(&[("a", "top-top")]).is_err());
    assert!(pairs(&[("a", "attention")]).is_err());
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
            ArgKind::Decimal { max, .. } => vec![(max + 0.01).to_string(), "-0.01".to_owned()],
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
    assert_eq!(keep.output_format(Format::WebP, true), OutputFormat::WebP);
    assert_eq!(keep.output_format(Format::Gif, true), OutputFormat::Png);
    assert_eq!(keep.output_format(Format::Gif, false), OutputFormat::Jpeg);
    assert_eq!(parse("bg:fff").expect("parses").output_format(Format::Gif, true), OutputFormat::Jpeg);
    assert_eq!(parse("f:png").expect("parses").output_format(Format::Jpeg, false), OutputFormat::Png);
}

fn gravities() -> impl Strategy<Value = Gravity> {
    prop_oneof![
        Just(Gravity::Centre),
        Just(Gravity::North),
        Just(Gravity::South),
        Just(Gravity::East),
        Just(Gravity::West),
        Just(Gravity::NorthEast),
        Just(Gravity::NorthWest),
        Just(Gravity::SouthEast),
        Just(Gravity::SouthWest),
        (any::<f32>(), 0.0_f32..=1.0).prop_map(|(x, y)| Gravity::FocusPoint { x, y }),
        (0.0_f32..=1.0, 0.0_f32..=1.0).prop_map(|(x, y)| Gravity::FocusPoint { x, y }),
    ]
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

prop_compose! {
    fn filters()(
        blur_sigma in decimals(100.0), sharpen_sigma in decimals(100.0), pixelate_px in any::<u32>(), brightness in any::<i16>(),
        contrast in proptest::option::of(decimals(10.0)), saturation in proptest::option::of(decimals(10.0)),
        grayscale in any::<bool>(), sepia in any::<bool>(), invert in any::<bool>(),
    ) -> Filters {
        Filters { blur_sigma, sharpen_sigma, pixelate_px, brightness, contrast, saturation, grayscale, sepia, invert }
    }
}

prop_compose! {
    /// Any spec a program can build, sensible or not.
    pub(super) fn specs()(
        turn in (any::<bool>(), 0_i64..4, any::<bool>(), any::<bool>()),
        crop in proptest::option::of((lengths(), lengths(), proptest::option::of(gravities()))),
        mode in 0_usize..5, width_px in 0_u32..70_000, height_px in 0_u32..70_000, enlarge in any::<bool>(),
        gravity in gravities(), filters in filters(), background in proptest::option::of(any::<[u8; 3]>()),
        format in 0_usize..4, quality in proptest::option::of(any::<u8>()),
    ) -> Spec {
        let mode = [ResizeMode::Fit, ResizeMode::Fill, ResizeMode::FillDown, ResizeMode::Force, ResizeMode::Auto][mode];
        let format = [
            FormatChoice::Keep, FormatChoice::Fixed(OutputFormat::Jpeg), FormatChoice::Fixed(OutputFormat::Png),
            FormatChoice::Fixed(OutputFormat::WebP),
        ][format];
        Spec {
            auto_rotate: turn.0,
            rotate: Rotation::from_degrees(turn.1 * 90),
            flip_horizontal: turn.2,
            flip_vertical: turn.3,
            crop: crop.map(|(width, height, gravity)| Crop { width, height, gravity }),
            resize: Resize { mode, width_px, height_px, enlarge },
            gravity,
            filters,
            background: background.map(Rgb),
            output: Output { format, quality },
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
        let text = spec.canonical();
        let pairs: Vec<(&str, &str)> = text.split('/').filter_map(|option| option.split_once(':')).collect();
        let from_pairs = Spec::from_pairs(pairs, &Presets::builtin()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(from_pairs.canonical(), text);
    }
}
