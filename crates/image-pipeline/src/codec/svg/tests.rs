//! Drawings that are drawn, and those that are not.

use crate::{
    Context, ErrorKind, Limits, Presets, Spec,
    codec::{self, Reading, tests::corpus},
    error::Error,
    pixels::Pixels,
    plan::plan,
    probe::{Format, probe},
    run::run,
};
use std::{io::Cursor, sync::atomic::AtomicBool};

const ALLOWED: Limits = Limits {
    max_bytes: 1 << 30,
    max_pixels: 16_000_000,
    max_frames: 1,
    max_animation_pixels: u64::MAX,
    max_memory_bytes: 2 << 30,
    max_side_px: 8000,
    allow_svg: true,
};

fn read_with(text: &str, reading: Reading) -> Result<Pixels, Error> {
    let found = probe(&mut Cursor::new(text), &ALLOWED)?;
    let mut opened = codec::open(&found, text.as_bytes(), &ALLOWED, reading)?;
    let (width_px, height_px) = reading.drawn_px.unwrap_or((found.width_px, found.height_px));
    let mut bytes = Vec::new();
    while opened.strip(crate::watch::Watch::NEVER, &mut |_, rows| bytes.extend_from_slice(rows.bytes))? {}
    Ok(Pixels::new(width_px, height_px, codec::decoded_layout(&found), bytes).expect("as many bytes"))
}

fn read(text: &str) -> Result<Pixels, Error> {
    read_with(text, Reading::WHOLE)
}

fn svg(attributes: &str, body: &str) -> String {
    format!("<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' {attributes}>{body}</svg>")
}

fn pixel(pixels: &Pixels, x: usize, y: usize) -> [u8; 4] {
    *pixels.bytes[(y * pixels.width_px as usize + x) * 4..].first_chunk().expect("within")
}

#[test]
fn off_unless_it_is_allowed() {
    let text = svg("width='20' height='10'", "<rect width='10' height='10' fill='#f00'/>");
    let error = probe(&mut Cursor::new(&text), &Limits::default()).unwrap_err();
    assert_eq!((error.kind(), error.format()), (ErrorKind::Unsupported, Some(Format::Svg)));
    assert!(error.to_string().contains("--allow-svg"), "{error}");
    let found = read(&text).unwrap();
    assert_eq!((found.width_px, found.height_px), (20, 10));
    assert_eq!((pixel(&found, 3, 3), pixel(&found, 15, 3)), ([255, 0, 0, 255], [0; 4]));
}

#[test]
fn drawn_at_the_size_that_is_wanted() {
    let text = svg("viewBox='0 0 10 5'", "<rect x='5' width='5' height='5' fill='#00f' fill-opacity='0.5'/>");
    let found = read_with(&text, Reading { drawn_px: Some((1000, 500)), ..Reading::WHOLE }).unwrap();
    assert_eq!((pixel(&found, 499, 100)[3], pixel(&found, 500, 100)[2]), (0, 255));
    assert!(pixel(&found, 700, 300)[3].abs_diff(128) <= 1);
    // Through the plan: a small drawing is not enlarged from its own pixels.
    let found = probe(&mut Cursor::new(&text), &ALLOWED).unwrap();
    for (options, sides) in
        [("w:1200/f:png", (1200, 600)), ("f:png", (10, 5)), ("rs:fill:300:300/f:png", (300, 300)), ("w:4/f:png", (4, 2))]
    {
        let spec = Spec::parse(options, &Presets::builtin()).unwrap();
        let planned = plan(&found, &[spec], &ALLOWED).unwrap();
        assert_eq!(planned.result_size(0), sides, "{options}");
        let cancel = AtomicBool::new(false);
        let mut made = None;
        run(&planned, text.as_bytes(), &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| made = Some(outcome))
            .unwrap();
        let picture = image::load_from_memory(&made.unwrap().result.unwrap().bytes).unwrap().into_rgba8();
        assert_eq!(picture.dimensions(), sides);
        if options.starts_with("w:1200") {
            // Sharp: nothing to see one pixel off the edge, all of it on the other side.
            assert_eq!((picture.get_pixel(599, 300)[3], picture.get_pixel(600, 300)[2]), (0, 255));
        }
    }
}

#[test]
fn text_is_drawn_with_the_bundled_font() {
    let with = |family: &str| read(&svg("width='60' height='20'", &format!("<text y='15' font-family='{family}'>Wm</text>"))).unwrap();
    let found = with("No Such Family");
    assert!(found.bytes.iter().skip(3).step_by(4).any(|&alpha| alpha > 200));
    assert_eq!(found.bytes, with("Ubuntu").bytes);
}

#[test]
fn nothing_comes_from_outside() {
    let black = "<rect width='9' height='9'/>";
    for body in [
        "<image href='/etc/hostname' width='9' height='9'/>",
        "<image href='http://127.0.0.1:9/x.png' width='9' height='9'/>",
        "<image href='data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSI5IiBoZWlnaHQ9IjkiPjxyZWN0IHdpZHRoPSI5IiBoZWlnaHQ9IjkiLz48L3N2Zz4=' width='9' height='9'/>",
        "<use href='file:///etc/passwd#x'/>",
        "<script>document.documentElement.innerHTML = '<rect width=\"9\" height=\"9\"/>'</script>",
        "<foreignObject width='9' height='9'><body xmlns='http://www.w3.org/1999/xhtml'>x</body></foreignObject>",
    ] {
        let found = read(&svg("width='9' height='9'", body)).unwrap();
        assert!(found.bytes.iter().all(|&byte| byte == 0), "{body}");
    }
    assert!(read(&svg("width='9' height='9'", black)).unwrap().bytes.iter().any(|&byte| byte != 0));
    let entity =
        format!("<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>{}", svg("width='9' height='9'", "<text y='8'>&x;</text>"));
    assert!(read(&entity).is_err());
}

#[test]
fn bombs_are_refused_before_they_unfold() {
    let doubled: String = (1..30).map(|at| format!("<g id='a{at}'><use href='#a{0}'/><use href='#a{0}'/></g>", at - 1)).collect();
    let cases = [
        svg("width='9' height='9'", &format!("<defs><rect id='a0' width='1' height='1'/>{doubled}</defs><use href='#a29'/>")),
        svg("width='9' height='9'", "<g id='a'><use href='#b'/></g><g id='b'><use href='#a'/></g>"),
        svg("width='9' height='9'", &format!("{}{}", "<g>".repeat(5000), "</g>".repeat(5000))),
        svg("width='9' height='9'", &"<rect/>".repeat(150_000)),
        svg(
            "width='9' height='9'",
            &format!("{}<rect width='9' height='9'/>{}", "<g opacity='0.5'><rect width='9' height='9'/>".repeat(40), "</g>".repeat(40)),
        ),
        svg(
            "width='9' height='9'",
            "<pattern id='p' width='90000' height='90000' patternUnits='userSpaceOnUse'><rect width='9' height='9'/></pattern><rect width='9' height='9' fill='url(#p)'/>",
        ),
        format!(
            "<!DOCTYPE svg [<!ENTITY a 'xxxxxxxxxx'>{}]>{}",
            ('b'..='l')
                .map(|name| format!("<!ENTITY {name} '{}'>", format!("&{};", (name as u8 - 1) as char).repeat(10)))
                .collect::<String>(),
            svg("width='9' height='9'", "<text y='8'>&l;</text>")
        ),
    ];
    for (at, text) in cases.iter().enumerate() {
        let error = read(text).err().unwrap_or_else(|| panic!("case {at} was drawn"));
        assert!(matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Malformed), "case {at}: {:?} {error}", error.kind());
    }
    let huge = svg("width='200000' height='200000'", "");
    assert_eq!(probe(&mut Cursor::new(huge), &ALLOWED).unwrap_err().kind(), ErrorKind::TooManyPixels);
}

#[test]
fn cut_text_is_an_error() {
    let text = svg("width='20' height='10'", "<g><rect width='10' height='10' fill='#f00'/><path d='M0 0L5 5'/></g>");
    for end in 16..text.len() {
        let error = read(&text[..end]).err().unwrap_or_else(|| panic!("cut at {end}"));
        assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Malformed | ErrorKind::Unsupported), "{end}: {error}");
    }
}

#[test]
fn corpus_of_drawings() {
    let Some(files) = corpus("img-svg") else { return };
    let (mut drawn, mut refused) = (0, 0);
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        match read(text) {
            Ok(_) => drawn += 1,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Internal, "{name}: {error}");
                println!("img-svg/{name}: {:?}: {error}", error.kind());
                refused += 1;
            }
        }
    }
    println!("img-svg: {drawn} drawn, {refused} refused");
    assert!(drawn + refused >= 90, "{drawn} {refused}");
}
