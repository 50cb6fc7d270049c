//! The way of a picture: checks, head, scans, end; and what memory it takes.
//!
//! Knows the stages and nothing of their insides. Invariant: once checks have passed nothing fails but by the caller's wish, and a picture
//! that is refused or given up leaves the output as it was.

use crate::{
    error::Error,
    frame::Frame,
    marker,
    picture::{MAX_SIDE_PX, Options, Picture, Sampling},
    progressive,
    quantise::Quantiser,
    strip::Strip,
    token::{self, AC, BLOCK_TOKENS, DC, PIECE_TOKENS, Sink, Token},
    walk::{Take, Walk},
};

/// Tokens a block that are kept, of the picture as a whole: scaled photos have 5 to 17 at quality 80. Blocks beyond that are transformed twice.
const KEPT_TOKENS: usize = 12;

/// Tokens that are kept of any picture.
const LEAST_TOKENS: usize = 1 << 17;

/// Tables, counts, and what making codes takes.
const FIXED_BYTES: u64 = 64 << 10;

/// Writes `picture` behind what `out` holds: a whole JFIF file, the same bytes for the same arguments.
///
/// # Errors
/// [`Error`] says what is wrong with the picture or the options; `out` is then as it was.
pub fn encode(picture: &Picture<'_>, options: &Options<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_while(picture, options, out, &|| true)
}

/// The same as long as `keep_going` says so: it is asked once a row of MCUs, and as often in what follows: every few milliseconds of a
/// large picture. What it says does not change the bytes.
///
/// # Errors
/// As [`encode`], and [`Error::Interrupted`]; `out` is then as it was.
pub fn encode_while(picture: &Picture<'_>, options: &Options<'_>, out: &mut Vec<u8>, keep_going: &dyn Fn() -> bool) -> Result<(), Error> {
    options.check()?;
    let sampling = picture.check(options.sampling)?;
    let (width_px, height_px) = picture.sides_px();
    let frame = Frame::new(width_px, height_px, sampling);
    let quantisers = Quantiser::pair(options.quality);
    let before = out.len();
    marker::head(out, &frame, &quantisers, options);
    let mut sink = Sink::new(room(&frame), out, keep_going);
    let walk = Walk { picture, frame: &frame, quantisers: &quantisers, keep_going };
    let done = if options.progressive { progressive::write(&walk, &mut sink) } else { baseline(&walk, &mut sink) };
    drop(sink);
    match done {
        Ok(()) => marker::end(out),
        Err(_) => out.truncate(before),
    }
    done
}

/// Upper bound of the memory [`encode`] holds beside picture and output, in bytes: two and a quarter a pixel for 4:2:0, two more for each
/// of its samples where it is progressive. `sampling` is `None` for grey. Sides beyond 65535 count as 65535: they are refused.
#[must_use]
pub fn working_bytes(width_px: u32, height_px: u32, sampling: Option<Sampling>, progressive: bool) -> u64 {
    let side = |side: u32| side.clamp(1, MAX_SIDE_PX);
    let frame = Frame::new(side(width_px), side(height_px), sampling);
    let kept = if progressive { progressive::working_bytes(&frame) } else { 0 };
    (room(&frame) * PIECE_TOKENS * size_of::<Token>() + kept + Strip::working_bytes(&frame)) as u64 + FIXED_BYTES
}

/// Pieces of tokens that are kept at most.
fn room(frame: &Frame) -> usize {
    let blocks = frame.blocks();
    let tokens = (KEPT_TOKENS * blocks).max(LEAST_TOKENS).min(BLOCK_TOKENS * (blocks + 8));
    // What a piece leaves free at its end is less than a hundredth.
    (tokens + tokens / 64).div_ceil(PIECE_TOKENS)
}

/// One scan of everything (T.81, F.1).
fn baseline(walk: &Walk<'_>, sink: &mut Sink<'_>) -> Result<(), Error> {
    let frame = walk.frame;
    walk.run(&mut Baseline { before: [0; 3], sink })?;
    let codes = sink.codes([DC[0], AC[0], DC[1], AC[1]]);
    let numbers = [marker::DC_TABLE, marker::AC_TABLE, marker::DC_TABLE | 1, marker::AC_TABLE | 1];
    let tables = if frame.sampling.is_some() { 4 } else { 2 };
    for (code, number) in codes.iter().zip(numbers).take(tables) {
        marker::table(sink.out, number, code);
    }
    let components: Vec<_> = frame.components().iter().map(|component| component.class).enumerate().collect();
    marker::scan(sink.out, &components, [0, 63], 0);
    if sink.wants_again() {
        walk.run(&mut Baseline { before: [0; 3], sink })?;
    }
    sink.finish()
}

struct Baseline<'a, 'o> {
    /// DC of each component's block before.
    before: [i32; 3],
    sink: &'a mut Sink<'o>,
}

impl Take for Baseline<'_, '_> {
    #[inline(always)]
    fn block(&mut self, component: usize, _column: usize, _row: usize, values: &[i16; 64], mask: u64) {
        let mean = i32::from(values[0]);
        let difference = mean - self.before[component];
        self.before[component] = mean;
        let tokens = token::block(values, mask, difference, usize::from(component > 0), self.sink.slot());
        self.sink.fill(tokens);
    }

    /// As the block before and flat: that takes the fewest bits.
    #[inline(always)]
    fn padding(&mut self, component: usize) {
        let tokens = token::block(&[0; 64], 0, 0, usize::from(component > 0), self.sink.slot());
        self.sink.fill(tokens);
    }
}
