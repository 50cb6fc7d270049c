//! What the process heap may keep of memory that was freed: bounds for glibc's allocator, set once before the first thread
//! ([`bound`]), and given back when there is nothing to do ([`trim`]).
//!
//! Knows no other room. Invariant: what freed blocks leave resident is bounded by a few mebibytes an arena, whatever sizes
//! were asked for before and on which threads. `docs/decisions/0023-heap.md` has the figures behind each number.

/// Blocks of at least this size are mapped for themselves and go back to the system the moment they are freed: the pixels of
/// photos. Smaller ones, among them the rows and planes of small images, are used again; to map those too costs a fifth
/// more CPU for each.
///
/// To set it also stops glibc from raising it by itself, up to 32 MiB, after each large block that was freed.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: libc::c_int = 8 << 20;

/// Free bytes at the top of an arena that are kept for the next block: a few buffers, so that an upload grows and shrinks
/// no arena.
#[cfg(target_env = "gnu")]
const KEPT_AT_TOP_BYTES: libc::c_int = 4 << 20;

/// Arenas. Threads share them; small blocks come from a cache of each thread and take no arena's lock. The default, eight
/// for each core, lets every blocking thread that ever was leave its own holes behind.
#[cfg(target_env = "gnu")]
const MOST_ARENAS: libc::c_int = 4;

/// Bounds the heap. To be called before any other thread starts; the C libraries (SQLite, libwebp) use the same heap.
///
/// Returns false if the allocator took a bound for nonsense, or has none of them to set (another C library than glibc).
#[must_use]
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn bound() -> bool {
    [(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_AT_TOP_BYTES), (libc::M_ARENA_MAX, MOST_ARENAS)]
        .into_iter()
        // SAFETY: mallopt takes two integers, and locks the heap it changes.
        .all(|(what, value)| unsafe { libc::mallopt(what, value) } == 1)
}

/// See above.
#[must_use]
#[cfg(not(target_env = "gnu"))]
pub fn bound() -> bool {
    false
}

/// Gives the pages of freed blocks back to the system: the tops of all arenas and the holes in them. Takes some milliseconds, during
/// which each arena in turn is locked; pages that are used again are made anew. Only for when there is nothing to do, and not on a thread
/// that others wait for.
///
/// Returns false if there was nothing to give back, or another C library than glibc.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn trim() -> bool {
    // SAFETY: malloc_trim takes an integer, and locks the heap it changes.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// See above.
#[cfg(not(target_env = "gnu"))]
pub fn trim() -> bool {
    false
}
