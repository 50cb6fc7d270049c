//! The JPEG decoder on any bytes: no panic, nothing written past what it promises, limits that hold, and the same rows however they
//! are asked for, in whatever pieces the file comes, and in however many parts it is decoded.
//!
//! An input is two bytes of choices and the file. Bits of the first: 0-1 scale, 2 refinement, 3-4 rows a call, 5 chroma, 6 what follows; of
//! the second: 0-2 pixels (and 0 corners, 1 how small chroma is), 3-4 memory, 5-6 work, 7 scans. Where bit 6 is set the rest is no file, but a count, as many places and
//! values to damage a file with, and what that file is written from; with bit 7 a file of some 200 KB, long enough for its blocks to
//! be looked for ahead, which whole pictures are not: so at another scale it must end where it ends at full size. Both leniencies are tried each time. Work is bounded by the
//! limits alone, which are small: the runner's time limit shows where it is not.
#![no_main]

#[path = "../src/written.rs"]
mod written;

use jpeg_shrink::{Chroma, Coding, Corners, Decoder, Error, ErrorKind, Limits, Options, PushDecoder, Refinement, Scale, probe};
use libfuzzer_sys::fuzz_target;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts live bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the decoder may hold beside what it counts against `max_memory_bytes`: tables, a window of input, one row a component, the
/// header's list of segments (twice, and a vector may have twice the room it needs) and the list of scans.
const UNCOUNTED_BYTES: usize = 2 << 20;

/// No pixel of these pictures is likely to be this.
const UNTOUCHED: u8 = 0xa5;

struct Told {
    rows: usize,
    pixels: Vec<u8>,
    fault: Option<Error>,
}

/// All rows by one call.
fn whole(bytes: &[u8], options: Options) -> Result<Told, Error> {
    let mut decoder = Decoder::new(bytes, options)?;
    let header = probe(bytes).expect("a decoder begins with the same header");
    assert_eq!(&header, decoder.header());
    let (row_bytes, all_bytes) = (decoder.row_bytes(), decoder.output_bytes());
    assert_eq!(decoder.width_px(), options.scale.of(header.width_px));
    assert_eq!(decoder.height_px(), options.scale.of(header.height_px));
    assert_eq!(row_bytes, decoder.width_px() as usize * decoder.layout().channels());
    assert_eq!(all_bytes, row_bytes * decoder.height_px() as usize);
    assert!(u64::from(header.width_px) * u64::from(header.height_px) <= options.limits.max_pixels);
    assert_eq!(decoder.read_rows(&mut vec![0; row_bytes - 1]).map_err(|error| error.kind()), Err(ErrorKind::BufferTooSmall));
    let mut pixels = vec![UNTOUCHED; all_bytes + row_bytes];
    let outcome = decoder.decode_into(&mut pixels);
    assert!(pixels[all_bytes..].iter().all(|&byte| byte == UNTOUCHED), "written past output_bytes");
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            assert!(!options.lenient, "a lenient decoder that has begun ends without an error");
            assert_eq!(decoder.decode_into(&mut pixels), Err(error.clone()), "a strict decoder that failed stays so");
            return Err(error);
        }
    };
    assert!(outcome.rows <= decoder.height_px());
    assert_eq!(outcome.fault.as_ref(), decoder.fault());
    assert!(options.lenient || outcome.fault.is_none());
    assert!(outcome.fault.is_some() || outcome.rows == decoder.height_px(), "rows are missing and nothing is said");
    assert!(pixels[outcome.rows as usize * row_bytes..].iter().all(|&byte| byte == UNTOUCHED), "written past the last row");
    assert_eq!(decoder.read_rows(&mut pixels), Ok(0));
    pixels.truncate(outcome.rows as usize * row_bytes);
    Ok(Told { rows: outcome.rows as usize, pixels, fault: outcome.fault })
}

/// All rows by calls for 1 to `most` rows, with a little room to spare.
fn in_pieces(bytes: &[u8], options: Options, most: usize) -> Result<Told, Error> {
    let mut decoder = Decoder::new(bytes, options)?;
    let row_bytes = decoder.row_bytes();
    let (mut pixels, mut rows) = (Vec::new(), 0);
    for call in 0.. {
        let room = row_bytes * (1 + call % most) + call % row_bytes;
        let mut buffer = vec![UNTOUCHED; room];
        let count = decoder.read_rows(&mut buffer)?;
        assert!(buffer[count * row_bytes..].iter().all(|&byte| byte == UNTOUCHED), "written past the rows told");
        if count == 0 {
            break;
        }
        pixels.extend_from_slice(&buffer[..count * row_bytes]);
        rows += count;
    }
    Ok(Told { rows, pixels, fault: decoder.fault().cloned() })
}

/// All rows of a file that comes in pieces.
fn pushed(bytes: &[u8], options: Options, most: usize) -> Result<Told, Error> {
    let mut decoder = PushDecoder::new(options);
    let (mut told, mut rest, mut pieces) = (Told { rows: 0, pixels: Vec::new(), fault: None }, bytes, 0);
    loop {
        let piece = (1 + 97 * pieces * most % 1013).min(rest.len());
        decoder.push(&rest[..piece])?;
        (rest, pieces) = (&rest[piece..], pieces + 1);
        if rest.is_empty() {
            decoder.finish()?;
        }
        let row_bytes = decoder.row_bytes();
        let mut rows = vec![0; most * row_bytes];
        loop {
            // Without a header there is no row.
            let count = if row_bytes > 0 { decoder.read_rows(&mut rows)? } else { 0 };
            told.rows += count;
            told.pixels.extend_from_slice(&rows[..count * row_bytes]);
            if count == 0 {
                break;
            }
        }
        if rest.is_empty() {
            assert!(decoder.is_done());
            told.fault = decoder.fault().cloned();
            return Ok(told);
        }
    }
}

/// All rows of a file decoded in parts; only for files that are whole.
fn in_parts(bytes: &[u8], options: Options, parts: usize) -> Vec<u8> {
    let mut pixels = Vec::new();
    for mut part in Decoder::new(bytes, options).expect("it was decoded before").split(parts) {
        let mut rows = vec![UNTOUCHED; part.output_bytes()];
        part.decode_into(&mut rows).expect("it was decoded before");
        pixels.append(&mut rows);
    }
    pixels
}

/// A written file with some of its bytes changed.
fn damaged(input: &[u8], large: bool) -> Option<Vec<u8>> {
    let (&count, rest) = input.split_first()?;
    let (damages, rest) = rest.split_at_checked(3 * usize::from(count & 15))?;
    let written::Written { picture, manner } = written::written(rest, large);
    let mut file = written::jpeg(&picture, &manner);
    for damage in damages.chunks_exact(3) {
        let at = (usize::from(damage[0]) << 8 | usize::from(damage[1])) * if large { 5 } else { 1 };
        let at = at % file.len();
        file[at] = damage[2];
    }
    if count & 16 != 0 {
        file.truncate(file.len() * usize::from(count >> 5) / 8);
    }
    Some(file)
}

/// A sequential picture is read to its end at any scale: it is as whole, or ends at as many rows, as at full size.
fn agrees_with_full_size(bytes: &[u8], options: Options, told: &Result<Told, Error>) {
    let Ok(header) = probe(bytes) else { return };
    let full = whole(bytes, Options { scale: Scale::Full, ..options });
    let kind = |told: &Result<Told, Error>| match told {
        Ok(told) => told.fault.as_ref().map(Error::kind),
        Err(error) => Some(error.kind()),
    };
    let (here, there) = (kind(told), kind(&full));
    if header.coding == Coding::Progressive || [here, there].contains(&Some(ErrorKind::LimitExceeded)) {
        return;
    }
    assert_eq!(here, there, "what is whole depends on the scale");
    if let (Ok(told), Ok(full)) = (told, &full) {
        assert_eq!(told.rows, (full.rows * options.scale.eighths() as usize).div_ceil(8), "where it ends depends on the scale");
    }
}

fuzz_target!(|input: &[u8]| {
    let [choices, limits, rest @ ..] = input else { return };
    let file;
    let bytes = if choices & 64 == 0 {
        rest
    } else {
        let Some(damaged) = damaged(rest, choices & 128 != 0) else { return };
        file = damaged;
        &file
    };
    let scale = [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full][usize::from(choices & 3)];
    let refinement = match (choices & 4, limits & 4) {
        (0, _) => Refinement::Read,
        (_, 0) => Refinement::LeaveOut,
        _ => Refinement::LeaveOutLowest,
    };
    let most_rows = [1, 3, 17, 1000][usize::from(choices >> 3 & 3)];
    let chroma = match (choices & 32, limits & 2) {
        (0, _) => Chroma::Large,
        (_, 0) => Chroma::Small,
        _ => Chroma::Native,
    };
    let corners = if limits & 1 == 0 { Corners::Read } else { Corners::LeaveOut };
    let limits = Limits {
        max_pixels: 1 << (10 + 2 * (limits & 7)),
        max_memory_bytes: (640 << 10) << (2 * (limits >> 3 & 3)),
        max_work: 1 << (14 + 3 * (limits >> 5 & 3)),
        max_scans: if limits >> 7 == 0 { 4 } else { 100 },
    };
    let mut strict = None;
    for lenient in [false, true] {
        let options = Options { scale, limits, refinement, chroma, corners, lenient };
        let live = LIVE.load(Relaxed);
        PEAK.store(live, Relaxed);
        let output_bytes = Decoder::new(bytes, options).map_or(0, |decoder| decoder.output_bytes() + decoder.row_bytes());
        let told = whole(bytes, options);
        let used = PEAK.load(Relaxed) - live - output_bytes.min(PEAK.load(Relaxed) - live);
        let allowed = limits.max_memory_bytes as usize + UNCOUNTED_BYTES;
        assert!(used <= allowed, "{used} bytes were held, {allowed} are allowed");
        let pieces = in_pieces(bytes, options, most_rows);
        match (&told, &pieces) {
            (Ok(told), Ok(pieces)) => {
                assert_eq!((told.rows, &told.fault), (pieces.rows, &pieces.fault));
                assert!(told.pixels == pieces.pixels, "rows depend on how they are asked for");
            }
            (Err(told), Err(pieces)) => {
                assert_eq!(told, pieces);
                assert!(told.position() <= bytes.len() && !told.to_string().is_empty());
            }
            _ => panic!("success depends on how rows are asked for"),
        }
        match (&told, pushed(bytes, options, most_rows)) {
            (Ok(told), Ok(pushed)) => {
                // Where in the file it stands is told to a byte or two.
                let (told_kind, pushed_kind) = (told.fault.as_ref().map(Error::kind), pushed.fault.as_ref().map(Error::kind));
                assert_eq!((told.rows, told_kind), (pushed.rows, pushed_kind), "{:?}; pushed: {:?}", told.fault, pushed.fault);
                assert!(told.pixels == pushed.pixels, "rows depend on the pieces that the file comes in");
            }
            (Err(told), Err(pushed)) => {
                // What is too long is refused sooner where its end is not known.
                assert!(
                    told.kind() == pushed.kind() || pushed.kind() == ErrorKind::LimitExceeded || told.kind() == ErrorKind::Truncated,
                    "{told}; pushed: {pushed}"
                );
            }
            (Ok(_), Err(pushed)) => assert_eq!(pushed.kind(), ErrorKind::LimitExceeded),
            (Err(told), Ok(_)) => panic!("refused whole ({told}), not in pieces"),
        }
        if let (Ok(told), false) = (&told, lenient) {
            assert!(told.pixels == in_parts(bytes, options, most_rows), "rows depend on the parts that decode them");
        }
        if scale != Scale::Full && limits.max_pixels <= 1 << 20 {
            agrees_with_full_size(bytes, options, &told);
        }
        match (lenient, told.ok()) {
            (false, told) => strict = told,
            (true, told) => {
                // Leniency changes nothing where nothing is wrong, and hides nothing where something is.
                let faultless = told.filter(|told| told.fault.is_none());
                assert_eq!(strict.is_some(), faultless.is_some(), "strict and lenient do not agree on what is whole");
                if let (Some(strict), Some(lenient)) = (&strict, &faultless) {
                    assert!(strict.pixels == lenient.pixels);
                }
            }
        }
    }
});
