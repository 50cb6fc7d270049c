//! A picture for each option, made by the pipeline from sources made up in code, and a page that shows them: `scripts/option-pictures`.
//!
//! The only argument is the folder, which is made. Ends with an error when an option has no picture or one cannot be made: docs/options.md
//! names them all.
#![allow(clippy::disallowed_methods, reason = "a program may write files")]

mod scene;

use image_pipeline::{Context, Encoded, Limits, OPTIONS, Presets, Spec, Watermarks, plan_with, probe, run};
use scene::Source;
use std::{error::Error, fmt::Write as _, fs, io::Cursor, path::Path, sync::atomic::AtomicBool};

/// Each option, what is asked for, and of what.
const PICTURES: &[(&str, &str, Source)] = &[
    ("preset", "pr:filter/w:240", Source::Photo),
    ("auto_rotate", "ar:0/h:240/f:png", Source::Turned),
    ("rotate", "rot:90/w:160/f:png", Source::Photo),
    ("flip", "fl:1:1/w:240/f:png", Source::Photo),
    ("flop", "flop:1/w:240/f:png", Source::Photo),
    ("trim", "t:10/w:240/f:png", Source::Framed),
    ("crop", "c:0.5:160:soea/f:png", Source::Photo),
    ("gravity", "rs:fill:140:140/g:sm/f:png", Source::Photo),
    ("a", "a:top-left/c:160:160/f:png", Source::Photo),
    ("fpx", "rs:fill:80:160/a:focal/fpx:0.75/f:png", Source::Photo),
    ("fpy", "rs:fill:240:60/a:focal/fpy:0.6/f:png", Source::Photo),
    ("resize", "rs:fill:200:100/f:png", Source::Photo),
    ("size", "s:200:200/f:png", Source::Photo),
    ("resizing_type", "rt:force/s:160:160/f:png", Source::Photo),
    ("width", "w:240/f:png", Source::Photo),
    ("height", "h:100/f:png", Source::Photo),
    ("min-width", "h:80/mw:240/f:png", Source::Photo),
    ("min-height", "w:100/mh:160/f:png", Source::Photo),
    ("dpr", "w:120/dpr:2/border:4/f:png", Source::Photo),
    ("zoom", "w:240/z:0.5/f:png", Source::Photo),
    ("enlarge", "c:60:40:ce:120:30/w:240/el:1/f:png", Source::Photo),
    ("extend", "rs:fit:240:240/ex:1:no/bg:336699/f:png", Source::Photo),
    ("resizing_algorithm", "c:60:40:ce:120:30/w:240/el:1/ra:nearest/f:png", Source::Photo),
    ("linear_light", "w:120/ll:1/f:png", Source::Lines),
    ("fit", "fit:contain/w:240/h:240/bg:336699/f:png", Source::Photo),
    ("median", "median:3/f:png", Source::Specked),
    ("normalize", "normalize:1/w:240/f:png", Source::Hazy),
    ("brightness", "br:60/w:240/f:png", Source::Photo),
    ("contrast", "co:1.6/w:240/f:png", Source::Photo),
    ("gamma", "gamma:2/w:240/f:png", Source::Photo),
    ("saturation", "sa:2/w:240/f:png", Source::Photo),
    ("hue", "hue:120/w:240/f:png", Source::Photo),
    ("grayscale", "gray:1/w:240/f:png", Source::Photo),
    ("sepia", "sepia:1/w:240/f:png", Source::Photo),
    ("tint", "tint:3366cc/w:240/f:png", Source::Photo),
    ("duotone", "duotone:1a2a6c:fdbb2d/w:240/f:png", Source::Photo),
    ("invert", "invert:1/w:240/f:png", Source::Photo),
    ("filt", "filt:greyscale,negate/w:240/f:png", Source::Photo),
    ("blur", "bl:4/w:240/f:png", Source::Photo),
    ("sharpen", "sh:2/w:240/f:png", Source::Photo),
    ("pixelate", "pix:12/w:240/f:png", Source::Photo),
    ("border", "border:8:c0392b/w:240/f:png", Source::Photo),
    ("round_corner", "round_corner:40/border:6:c0392b/w:240/f:png", Source::Photo),
    ("padding", "pd:10:20:30:40/bg:336699/w:240/f:png", Source::Photo),
    ("background", "bg:f1c40f/f:png", Source::Logo),
    ("watermark", "wm:0.8:soea:10:10:0.3/w:240/f:png", Source::Photo),
    // "pixmill & friends"
    ("watermark_text", "wmt:cGl4bWlsbCAmIGZyaWVuZHM:24:fff:0.9:so:0:8/w:240/f:png", Source::Photo),
    ("format", "f:webp/w:240", Source::Photo),
    ("quality", "q:5/f:jpg/w:240", Source::Photo),
    ("max_bytes", "mb:3000/f:jpg/w:240", Source::Photo),
    ("progressive", "progressive:1/f:jpg/w:240", Source::Photo),
    ("effort", "effort:6/f:webp/w:240", Source::Photo),
    ("lossless", "lossless:1/f:webp/w:240", Source::Photo),
    ("colors", "colors:8/f:png/w:240", Source::Photo),
    ("dither", "dither:0/colors:8/f:png/w:240", Source::Photo),
    ("max_animation_frames", "maf:4/f:gif", Source::Moving),
    ("strip_metadata", "sm:0/f:jpg/w:240", Source::Turned),
    ("keep_copyright", "kcr:1/f:jpg/w:240", Source::Turned),
    ("strip_color_profile", "scp:0/f:jpg/w:240", Source::Photo),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: option_pictures FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let limits = Limits::default();
    let watermarks = Watermarks::default().with(Watermarks::DEFAULT, &scene::watermark()?, &limits)?;
    let sources = Source::ALL.map(|source| source.file().map(|file| (source, file)));
    let sources = sources.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (source, file) in &sources {
        fs::write(folder.join(source.file_name()), file)?;
    }
    let mut page = PAGE.to_owned();
    for row in OPTIONS {
        let (_, options, source) =
            PICTURES.iter().find(|(name, ..)| *name == row.name).ok_or_else(|| format!("{} has no picture", row.name))?;
        let file = sources.iter().find(|(each, _)| each == source).map(|(_, file)| file.as_slice()).unwrap_or_default();
        let made = make(file, options, &limits, &watermarks).map_err(|error| format!("{}: {options}: {error}", row.name))?;
        let name = format!("{}.{}", row.name, made.format.as_str());
        fs::write(folder.join(&name), &made.bytes)?;
        writeln!(
            page,
            "<tr id=\"{0}\"><td><code>{0}</code><p>{1}</p></td><td><a href=\"{2}\"><img src=\"{2}\" alt=\"before\" width=\"160\"></a></td>\
             <td><img src=\"{name}\" alt=\"after\"></td><td><code>{options}</code><p>{3} × {4}, {5} bytes</p></td></tr>",
            row.name,
            row.what,
            source.file_name(),
            made.width_px,
            made.height_px,
            made.bytes.len()
        )?;
    }
    page.push_str("</table>\n");
    fs::write(folder.join("index.html"), page)?;
    println!("{} pictures, {}", OPTIONS.len(), folder.join("index.html").display());
    Ok(())
}

const PAGE: &str = "<!doctype html>\n<meta charset=\"utf-8\">\n<title>pixmill: a picture for each option</title>\n<style>body { font: 15px/1.4 system-ui; margin: 2em } \
    td { padding: .6em; vertical-align: top; border-top: 1px solid #ccc; max-width: 24em } img { background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0/16px 16px }</style>\n\
    <h1>A picture for each option</h1>\n<table><tr><th>option</th><th>before</th><th>after</th><th>asked for</th></tr>\n";

fn make(file: &[u8], options: &str, limits: &Limits, watermarks: &Watermarks) -> Result<Encoded, Box<dyn Error>> {
    let spec = Spec::parse(options, &Presets::builtin())?;
    let plan = plan_with(&probe(&mut Cursor::new(file), limits)?, &[spec], limits, watermarks)?;
    let cancel = AtomicBool::new(false);
    let mut made = None;
    run(&plan, file, &Context { deadline: None, cancel: &cancel, spare: None }, &mut |outcome| made = Some(outcome.result))?;
    Ok(made.ok_or("nothing was made")??)
}
