//! What a resizer holds is no more than was said, and not much less.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use crate::twin::*;
use row_resize::{Job, Light, Resizer, working_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes this thread holds, and the most it has held since the mark was last set.
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: i64) {
    // A thread that ends allocates without its cells.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: everything is the system's allocator's; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_resizer_holds_no_more_than_was_said() {
    // The tables of sRGB belong to the process.
    let warm = Job { light: Light::Linear, ..job((2, 2), (1, 1), PIXELS[0]) };
    result(&warm, &[0; 4]);
    let mut compared = 0;
    for pixel in PIXELS {
        for filter in FILTERS {
            for light in LIGHTS {
                for (source_px, target_px) in [
                    ((640, 480), (100, 75)),
                    ((1000, 30), (3, 2)),
                    ((3, 2000), (2, 9)),
                    ((20, 20), (300, 200)),
                    ((64, 64), (64, 64)),
                    ((900, 700), (890, 690)),
                ] {
                    let job = Job { filter, light, ..job(source_px, target_px, pixel) };
                    let source = noise(source_bytes(&job), 1);
                    let mut target = vec![0; target_px.0 as usize * target_px.1 as usize * pixel.channels()];
                    let before = HELD.get();
                    MOST.set(before);
                    let mut resizer = Resizer::new(&job).unwrap();
                    resizer.push(0, &source, source_px.0 as usize * pixel.channels(), &mut target);
                    let held = (MOST.get() - before) as u64;
                    drop(resizer);
                    assert_eq!(HELD.get(), before);
                    let said = working_bytes(&job);
                    assert!(held <= said, "{job:?}: {held} bytes held, {said} said");
                    assert!(said <= 2 * held + 4096, "{job:?}: {held} bytes held, {said} said");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 4 * 2 * 6);
}

#[test]
fn rows_and_not_pictures_are_held() {
    let bytes = |height| working_bytes(&job((3000, height), (1280, height * 64 / 150), PIXELS[1]));
    assert_eq!(bytes(1500), bytes(15_000));
    assert!(bytes(1500) < 500_000, "{}", bytes(1500));
}
