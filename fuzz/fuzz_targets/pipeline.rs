//! The whole way of a picture: probe, plan, run. Two bytes choose what is made of it, the rest is the file.
//!
//! Every variant ends once, with a file that says of itself what was promised, or with an error that is nobody's bug; no more memory is
//! charged than was planned, and none but that is taken (the fuzzer watches); the same again comes to the same bytes.
#![no_main]

use image_pipeline::{Context, Encoded, Error, ErrorKind, Limits, Presets, Spec, plan, probe, run};
use libfuzzer_sys::fuzz_target;
use std::{
    io::Cursor,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// Small ones: it is the readers that are to be found wanting.
const OPTIONS: &[&str] = &[
    "w:64",
    "f:auto/w:40",
    "f:png",
    "rs:fill:50:40/g:sowe/f:webp/effort:0",
    "rs:fit:30:300/bl:1.5/f:jpg",
    "c:0.5:0.7:noea/rot:90/fl:1:0/f:png/w:33",
    "sh:1/gray:1/f:jpg/q:95/progressive:1",
    "rs:force:17:90:1/f:webp/q:1/effort:0",
    "bg:f80/pix:3/f:jpg/w:20",
    "br:20/co:1.5/sa:0.3/invert:1/f:png/w:16",
    "ar:0/w:100/el:1/ll:1/f:jpg",
    "sepia:1/rs:auto:80:20/f:auto",
];

fn made(input: &[u8], specs: &[Spec], limits: &Limits) -> Result<Vec<Result<Encoded, Error>>, Error> {
    let found = probe(&mut Cursor::new(input), limits)?;
    let plan = plan(&found, specs, limits)?.with_facts()?;
    let cancel = AtomicBool::new(false);
    let context = Context { deadline: Some(Instant::now() + Duration::from_secs(8)), cancel: &cancel, spare: None };
    let mut outcomes: Vec<Option<Result<Encoded, Error>>> = specs.iter().map(|_| None).collect();
    let report = run(&plan, input, &context, &mut |outcome| {
        assert!(outcomes[outcome.index].is_none(), "told twice");
        if let Ok(encoded) = &outcome.result {
            assert_eq!((encoded.width_px, encoded.height_px), plan.result_size(outcome.index));
            let again = probe(&mut Cursor::new(&encoded.bytes), &Limits::default()).expect("what is written is read");
            assert_eq!((again.width_px, again.height_px, again.format.as_str()), (encoded.width_px, encoded.height_px, encoded.format.as_str()));
        }
        outcomes[outcome.index] = Some(outcome.result);
    })?;
    assert!(report.peak_bytes <= plan.memory_bytes(input.len() as u64), "{report:?}");
    assert!(report.facts.is_some());
    Ok(outcomes.into_iter().map(|outcome| outcome.expect("every variant ends")).collect())
}

fuzz_target!(|input: &[u8]| {
    let Some((&[first, second], file)) = input.split_first_chunk::<2>() else { return };
    let limits = Limits { max_pixels: 300_000, max_frames: 20, max_memory_bytes: 64 << 20, ..Limits::default() };
    let presets = Presets::builtin();
    let texts = [OPTIONS[usize::from(first) % OPTIONS.len()], OPTIONS[usize::from(second & 0x7f) % OPTIONS.len()]];
    let specs = texts.map(|text| Spec::parse(text, &presets).expect("parses"));
    let all = match made(file, &specs, &limits) {
        Ok(all) => all,
        Err(error) => {
            assert!(!matches!(error.kind(), ErrorKind::Internal | ErrorKind::Cancelled | ErrorKind::TimedOut), "{error}");
            return;
        }
    };
    for one in &all {
        assert!(!matches!(one, Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::TimedOut)), "{one:?}");
    }
    if second & 0x80 != 0 {
        let again = made(file, &specs, &limits).expect("as before");
        for (one, other) in all.iter().zip(&again) {
            assert!(matches!((one, other), (Ok(one), Ok(other)) if one == other) || one.is_err() && other.is_err(), "other bytes than before");
        }
    }
});
