//! However rows come, the result is the same; and a resizer may be used again.

use crate::twin::*;
use proptest::prelude::*;
use row_resize::{Job, Pixel, Resizer};

/// Rows in pieces of the heights given, in turns, each row followed by `gap` bytes that mean nothing.
fn in_pieces(resizer: &mut Resizer, job: &Job, source: &[u8], heights: &[usize], gap: usize) -> Vec<u8> {
    let row_bytes = job.source_px.0 as usize * job.pixel.channels();
    let mut target = vec![0xaa; resizer.target_bytes()];
    let (mut first, mut done) = (0, 0);
    for height in heights.iter().cycle() {
        let rows: Vec<&[u8]> = source.chunks(row_bytes).skip(first).take(*height).collect();
        if rows.is_empty() {
            break;
        }
        let mut piece: Vec<u8> = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0xee, gap))).collect();
        piece.truncate(piece.len() - gap);
        let complete = resizer.push(first as u32, &piece, row_bytes + gap, &mut target);
        assert!(complete >= done);
        (first, done) = (first + rows.len(), complete);
    }
    assert!(resizer.is_done() && done == job.target_px.1 as usize);
    target
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pieces_make_no_difference((job, seed) in jobs(70), heights in prop::collection::vec(1_usize..40, 1..6), gap in 0_usize..5, opaque in 0_usize..90) {
        let mut source = noise(source_bytes(&job), seed);
        if job.pixel == Pixel::Rgba8 {
            // The first rows are opaque.
            source.chunks_mut(4).take(opaque * job.source_px.0 as usize).for_each(|pixel| pixel[3] = 255);
        }
        let whole = result(&job, &source);
        let mut resizer = Resizer::new(&job).unwrap();
        prop_assert!(in_pieces(&mut resizer, &job, &source, &heights, gap) == whole);
        resizer.reset();
        prop_assert!(!resizer.is_done());
        prop_assert!(in_pieces(&mut resizer, &job, &source, &[1], 0) == whole);
    }
}

#[test]
fn rows_are_complete_as_soon_as_they_can_be() {
    let job = job((10, 100), (10, 10), Pixel::Grey8);
    let source = noise(source_bytes(&job), 1);
    let mut resizer = Resizer::new(&job).unwrap();
    assert_eq!(resizer.source_rows(), 0..100);
    let mut target = vec![0; resizer.target_bytes()];
    // Rows are made by twos; the second lies over row 15 and reaches 30 rows down.
    assert_eq!(resizer.push(0, &source[..440], 10, &mut target), 0);
    assert_eq!(resizer.push(44, &source[440..460], 10, &mut target), 2);
    assert_eq!(resizer.push(46, &source[460..], 10, &mut target), 10);
    // What came before is passed over.
    assert_eq!(resizer.push(0, &source, 10, &mut target), 10);
}

#[test]
fn a_resizer_that_was_reset_has_forgotten() {
    let job = job((30, 40), (9, 11), Pixel::Rgba8);
    let mut resizer = Resizer::new(&job).unwrap();
    let clear = noise(source_bytes(&job), 1);
    let mut opaque = noise(source_bytes(&job), 2);
    opaque.chunks_mut(4).for_each(|pixel| pixel[3] = 255);
    for source in [&clear, &opaque, &clear] {
        assert!(in_pieces(&mut resizer, &job, source, &[7], 3) == result(&job, source));
        resizer.reset();
    }
}

#[test]
#[should_panic(expected = "row 20 was due")]
fn a_gap_is_a_fault_of_the_caller() {
    let job = job((10, 100), (10, 10), Pixel::Grey8);
    let mut resizer = Resizer::new(&job).unwrap();
    let mut target = vec![0; resizer.target_bytes()];
    resizer.push(0, &[0; 200], 10, &mut target);
    resizer.push(21, &[0; 200], 10, &mut target);
}
