//! Memory stays below what `working_bytes` says: counted in the allocator, for each thread apart.

use crate::fixture::{Kind, rgb};
use jpeg_write::{Options, Picture, Sampling, encode, working_bytes};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

#[expect(unsafe_code, reason = "an allocator is; every call goes to the system's as it is")]
// SAFETY: all is done by the system's allocator, with the arguments its own contract was kept for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
}

#[test]
fn memory_is_bounded_even_for_noise() {
    let mut measured = 0;
    for (width_px, height_px) in [(1, 1), (17, 33), (640, 480), (1, 20000), (20000, 3), (1500, 1100)] {
        for kind in [Kind::Noise, Kind::Flat] {
            let bytes = rgb(kind, width_px, height_px);
            // Of whole blocks' noise.
            let room = 6 * (width_px as usize + 15) * (height_px as usize + 15) + 4096;
            let mut out = Vec::with_capacity(room);
            for (sampling, progressive) in
                [(Sampling::Half, false), (Sampling::Full, false), (Sampling::Half, true), (Sampling::Full, true)]
            {
                out.clear();
                let options = Options { sampling, progressive, ..Options::new(100) };
                let before = HELD.get();
                MOST.set(before);
                encode(&Picture::Rgb { bytes: &bytes, width_px, height_px }, &options, &mut out).unwrap();
                assert_eq!(out.capacity(), room, "output grew, and was counted");
                let most = (MOST.get() - before) as u64;
                let allowed = working_bytes(width_px, height_px, Some(sampling), progressive);
                assert!(most <= allowed, "{width_px}x{height_px} {kind:?} {sampling:?} {progressive}: {most} bytes, said {allowed}");

                measured += 1;
            }
        }
    }
    assert_eq!(measured, 48);
}
