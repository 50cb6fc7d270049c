//! Shrinks a JPEG file to a PNM file: `shrink in.jpg 1|2|4|8 out.pnm [runs]`; with `runs`, tells the best time of as many decodes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program may read files")]

use jpeg_shrink::{Decoder, Layout, Options, Refinement, Scale};
use std::{error::Error, fs, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, divisor, output, rest @ ..] = arguments.as_slice() else {
        return Err("usage: shrink in.jpg 1|2|4|8 out.pnm [runs] [coarse]".into());
    };
    let scale = divisor.parse().ok().and_then(Scale::one_in).ok_or("the divisor is 1, 2, 4 or 8")?;
    let bytes = fs::read(input)?;
    let runs: u32 = rest.first().map_or(Ok(1), |runs| runs.parse())?;
    let mut options = Options::new(scale);
    if rest.get(1).is_some_and(|word| word == "coarse") {
        options.refinement = Refinement::LeaveOut;
    }
    let mut best = f64::INFINITY;
    let mut pixels = Vec::new();
    let mut shape = (0, 0, Layout::Grey8);
    for _ in 0..runs {
        let start = Instant::now();
        let mut decoder = Decoder::new(&bytes, options)?;
        pixels.resize(decoder.output_bytes(), 0);
        decoder.decode_into(&mut pixels)?;
        best = best.min(start.elapsed().as_secs_f64());
        shape = (decoder.width_px(), decoder.height_px(), decoder.layout());
    }
    let (width, height, layout) = shape;
    println!("{width}x{height} {layout:?} {:.2} ms", best * 1e3);
    let head = match layout {
        Layout::Grey8 => format!("P5\n{width} {height}\n255\n"),
        Layout::Rgb8 => format!("P6\n{width} {height}\n255\n"),
        Layout::Cmyk8 => format!("P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n"),
    };
    fs::write(output, [head.as_bytes(), &pixels].concat())?;
    Ok(())
}
