//! AV1 pictures out of an item's bytes, or of a film's samples, over rav1d: a small place with unsafe code, as its interface is dav1d's.
//!
//! Knows nothing of files, colours or alpha. Invariants: one thread; no picture larger than the caller said, and no more of them at a time,
//! because the decoder's pictures come from [`allocate`], which counts; each call into the library is wrapped where it stands.
#![allow(unsafe_code, reason = "rav1d has the interface of a C library")]

use re_rav1d::{
    Dav1dResult,
    include::dav1d::{
        data::Dav1dData,
        dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings},
        headers::{DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I444},
        picture::{DAV1D_PICTURE_ALIGNMENT, Dav1dPicAllocator, Dav1dPicture, Dav1dPictureParameters},
    },
    src::{
        lib::{
            dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open, dav1d_picture_unref,
            dav1d_send_data,
        },
        send_sync_non_null::SendSyncNonNull,
    },
};
use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr::NonNull,
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The bytes break the rules, or there is no whole picture in them.
    Broken,
    /// More pixels, or more pictures at a time, than were said.
    TooLarge,
    /// The library does not do what its interface says.
    Internal,
}

/// What one item may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    /// Bytes of all pictures held at a time.
    pub(super) picture_bytes: u64,
    /// Which of the item's operating points is shown (AV1, 6.4.1), 0 to 31.
    pub(super) operating_point: u8,
}

/// Bytes still allowed for pictures, and whether more were wanted.
#[derive(Debug)]
struct Budget {
    left_bytes: AtomicU64,
    refused_bytes: AtomicU64,
}

/// A decoded picture of its own memory, freed when dropped.
pub(super) struct Picture {
    raw: Dav1dPicture,
    /// Outlives `raw`: its release gives back to it.
    _budget: Arc<Budget>,
}

/// How its colours are to be read, as the bitstream says (AV1, 6.4.2; code points of ITU-T H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signalled {
    pub(super) primaries: u16,
    pub(super) transfer: u16,
    pub(super) matrix: u16,
    pub(super) full_range: bool,
}

/// A decoder, closed when dropped.
struct Decoder(Option<Dav1dContext>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context, if there is one, came from dav1d_open and is closed once, here; the call leaves `None` behind.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) };
    }
}

/// A copy of an item's bytes on their way, freed when dropped; what was sent is empty.
struct Input(Dav1dData);

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: the data are those of dav1d_data_create, or what dav1d_send_data left of them; the call leaves an empty value.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut self.0))) };
    }
}

/// Decodes the first picture that is shown.
///
/// # Errors
/// See [`Failure`].
pub(super) fn decode(item: &[u8], bounds: Bounds) -> Result<Picture, Failure> {
    let budget = Arc::new(Budget { left_bytes: AtomicU64::new(bounds.picture_bytes), refused_bytes: AtomicU64::new(0) });
    let result = first_picture(item, bounds, &budget);
    // Whatever the library made of it, what it was refused is the cause.
    if result.is_err() && budget.refused_bytes.load(Relaxed) > 0 { Err(Failure::TooLarge) } else { result }
}

fn first_picture(item: &[u8], bounds: Bounds, budget: &Arc<Budget>) -> Result<Picture, Failure> {
    // Dropped here, before the caller's `budget`.
    next_picture(&mut Decoder::open(bounds, budget)?, item, budget)
}

/// Samples of a film, each of which shows one picture, given to one decoder.
pub(super) struct Film {
    /// Before the budget: it is dropped first.
    decoder: Decoder,
    budget: Arc<Budget>,
}

impl Film {
    /// `bounds` are those of all samples.
    pub(super) fn open(bounds: Bounds) -> Result<Self, Failure> {
        let budget = Arc::new(Budget { left_bytes: AtomicU64::new(bounds.picture_bytes), refused_bytes: AtomicU64::new(0) });
        Ok(Self { decoder: Decoder::open(bounds, &budget)?, budget })
    }

    /// The picture of the next sample.
    pub(super) fn next(&mut self, sample: &[u8]) -> Result<Picture, Failure> {
        let result = next_picture(&mut self.decoder, sample, &self.budget);
        if result.is_err() && self.budget.refused_bytes.load(Relaxed) > 0 { Err(Failure::TooLarge) } else { result }
    }
}

impl Decoder {
    /// The budget must outlive it: its address is given to the library.
    fn open(bounds: Bounds, budget: &Arc<Budget>) -> Result<Self, Failure> {
        let pixels = u64::from(bounds.width_px) * u64::from(bounds.height_px);
        let mut decoder = Self(None);
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: the pointer is to writable memory of the right type, which the call fills.
        let mut settings = unsafe {
            dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        // Grain is noise put over the picture; it would be a second picture, and is no use to what is made smaller.
        settings.apply_grain = 0;
        settings.all_layers = 0;
        settings.operating_point = c_int::from(bounds.operating_point);
        settings.frame_size_limit = u32::try_from(pixels).unwrap_or(u32::MAX);
        // SAFETY: without a callback nothing is called.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        settings.allocator = Dav1dPicAllocator {
            cookie: Some(SendSyncNonNull::from_ref(&**budget).cast()),
            alloc_picture_callback: Some(allocate),
            release_picture_callback: Some(release),
        };
        // SAFETY: both pointers are to live values of their types, the first to be written, the second to be read; the settings are not used
        // afterwards. The cookie is alive as long as the decoder (dropped before the budget, in `first_picture` and in `Film`) and every picture
        // (each holds a reference of its own).
        check(unsafe { dav1d_open(Some(NonNull::from(&mut decoder.0)), Some(NonNull::from(&mut settings))) })?;
        Ok(decoder)
    }
}

fn next_picture(decoder: &mut Decoder, item: &[u8], budget: &Arc<Budget>) -> Result<Picture, Failure> {
    if item.is_empty() {
        return Err(Failure::Broken);
    }
    let mut input = Input(Dav1dData::default());
    // SAFETY: the pointer is to a live, empty value, which the call overwrites.
    let target = NonNull::new(unsafe { dav1d_data_create(Some(NonNull::from(&mut input.0)), item.len()) }).ok_or(Failure::Internal)?;
    // SAFETY: dav1d_data_create made exactly as many bytes, which nothing else reaches yet.
    unsafe { target.as_ptr().copy_from_nonoverlapping(item.as_ptr(), item.len()) };
    loop {
        if input.0.sz > 0 {
            // SAFETY: the context is open; the data are live, and what is left of them is written back.
            let sent = unsafe { dav1d_send_data(decoder.0, Some(NonNull::from(&mut input.0))) };
            if !is_again(sent) {
                check(sent)?;
            }
        }
        let mut raw = Dav1dPicture::default();
        // SAFETY: the context is open; the picture is a live, empty value to be overwritten.
        let got = unsafe { dav1d_get_picture(decoder.0, Some(NonNull::from(&mut raw))) };
        // Given back in any case: an empty one holds a list, too.
        let picture = Picture { raw, _budget: Arc::clone(budget) };
        if got.0 == 0 {
            return Ok(picture);
        }
        // Nothing shown yet: an error, or all that there is was given.
        if !is_again(got) || input.0.sz == 0 {
            check(got)?;
        }
    }
}

fn is_again(result: Dav1dResult) -> bool {
    result.0 == -libc_again()
}

/// `EAGAIN` as rav1d has it.
const fn libc_again() -> c_int {
    11
}

fn check(result: Dav1dResult) -> Result<(), Failure> {
    /// `ERANGE`: a frame above `frame_size_limit`.
    const OUT_OF_RANGE: c_int = 34;
    match -result.0 {
        0 => Ok(()),
        OUT_OF_RANGE => Err(Failure::TooLarge),
        _ => Err(Failure::Broken),
    }
}

/// Bytes a picture takes in memory: sides rounded up to 128 (dav1d's rule), 16 bits a sample above 8.
pub(super) fn picture_bytes(width_px: u32, height_px: u32, has_chroma: bool, subsampled: (bool, bool), deep: bool) -> u64 {
    let (stride, chroma_stride) = strides(width_px, has_chroma, subsampled.0, deep);
    let rows = u64::from(height_px).next_multiple_of(128);
    stride * rows + 2 * chroma_stride * (rows >> u32::from(subsampled.1)) + DAV1D_PICTURE_ALIGNMENT as u64
}

/// Bytes from row to row, of luma and of chroma.
fn strides(width_px: u32, has_chroma: bool, halved: bool, deep: bool) -> (u64, u64) {
    /// A stride that is a multiple of this puts all rows into the same few places of the cache.
    const ALIASED: u64 = 1024;
    let spread = |stride: u64| if stride > 0 && stride.is_multiple_of(ALIASED) { stride + DAV1D_PICTURE_ALIGNMENT as u64 } else { stride };
    let wide = u64::from(width_px).next_multiple_of(128) << u32::from(deep);
    (spread(wide), if has_chroma { spread(wide >> u32::from(halved)) } else { 0 })
}

/// Whether chroma is there, and whether it has half the width and half the height.
fn sampling(p: &Dav1dPictureParameters) -> (bool, (bool, bool)) {
    let layout = p.layout;
    (layout != DAV1D_PIXEL_LAYOUT_I400, (layout != DAV1D_PIXEL_LAYOUT_I444, layout == DAV1D_PIXEL_LAYOUT_I420))
}

/// Gives the decoder a picture's memory, zeroed, where the budget has room for it.
unsafe extern "C" fn allocate(picture: *mut Dav1dPicture, cookie: Option<SendSyncNonNull<c_void>>) -> Dav1dResult {
    const NO_MEMORY: Dav1dResult = Dav1dResult(-12);
    let Some(cookie) = cookie else { return NO_MEMORY };
    // SAFETY: the cookie was made from a `&Budget` that outlives decoder and pictures (see `Decoder::open`); the picture is the library's,
    // given to this call alone.
    let (budget, picture) = unsafe { (cookie.as_ptr().cast::<Budget>().as_ref(), &mut *picture) };
    match lay_out(picture, budget) {
        Some(()) => Dav1dResult(0),
        None => {
            forget_headers(picture);
            NO_MEMORY
        }
    }
}

/// The library leaves a picture that it could not have to itself, with the headers and the list that it refers to: they are given back here, or
/// nobody would.
fn forget_headers(picture: &mut Dav1dPicture) {
    // SAFETY: the library made each from an `Arc` for the call that is about to fail, and does not look at the picture after it.
    unsafe {
        drop(picture.seq_hdr_ref.take().map(|raw| raw.into_arc()));
        drop(picture.frame_hdr_ref.take().map(|raw| raw.into_arc()));
        drop(picture.itut_t35_ref.take().map(|raw| raw.into_arc()));
    }
}

/// Memory for a picture's planes, where the budget has room for it.
fn lay_out(picture: &mut Dav1dPicture, budget: &Budget) -> Option<()> {
    let (width_px, height_px) = (u32::try_from(picture.p.w).ok()?, u32::try_from(picture.p.h).ok()?);
    let (has_chroma, subsampled) = sampling(&picture.p);
    let deep = picture.p.bpc > 8;
    let bytes = picture_bytes(width_px, height_px, has_chroma, subsampled, deep);
    if budget.left_bytes.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_err() {
        budget.refused_bytes.fetch_add(bytes, Relaxed);
        return None;
    }
    let length = usize::try_from(bytes).ok()?;
    let mut buffer = Box::new(vec![0_u8; length]);
    let (stride, chroma_stride) = strides(width_px, has_chroma, subsampled.0, deep);
    let rows = u64::from(height_px).next_multiple_of(128);
    let luma_bytes = (stride * rows) as usize;
    let chroma_bytes = (chroma_stride * (rows >> u32::from(subsampled.1))) as usize;
    let at = buffer.as_ptr().align_offset(DAV1D_PICTURE_ALIGNMENT);
    let planes = buffer.get_mut(at..at.saturating_add(luma_bytes + 2 * chroma_bytes))?;
    let (luma, chroma) = planes.split_at_mut(luma_bytes);
    let (blue, red) = chroma.split_at_mut(chroma_bytes);
    let address = |plane: &mut [u8]| if plane.is_empty() { None } else { NonNull::new(plane.as_mut_ptr().cast::<c_void>()) };
    picture.data = [address(luma), address(blue), address(red)];
    picture.stride = [stride as isize, chroma_stride as isize];
    picture.allocator_data = Some(SendSyncNonNull::from_box(buffer).cast());
    Some(())
}

/// Takes a picture's memory back.
unsafe extern "C" fn release(picture: *mut Dav1dPicture, cookie: Option<SendSyncNonNull<c_void>>) {
    // SAFETY: the picture is the library's, filled by `allocate`, and given to this call alone.
    let picture = unsafe { &mut *picture };
    let (Some(buffer), Some(cookie)) = (picture.allocator_data.take(), cookie) else { return };
    // SAFETY: `allocate` put this box there, and each picture is released once; for the cookie see `allocate`.
    let (buffer, budget) = unsafe { (buffer.cast::<Vec<u8>>().into_box(), cookie.as_ptr().cast::<Budget>().as_ref()) };
    budget.left_bytes.fetch_add(buffer.len() as u64, Relaxed);
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the picture came from dav1d_get_picture, or is empty, and is given back once, here.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.raw))) };
        // What is left is an empty picture, which holds an empty list that nobody else would free.
        if let Some(list) = self.raw.itut_t35_ref.take() {
            // SAFETY: the library made it from an `Arc` just now, and it is taken once.
            drop(unsafe { list.into_arc() });
        }
    }
}

/// Samples of a row: 8 bits, or the lower ones of 16.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'p> {
    Eight(&'p [u8]),
    Deep(&'p [u16]),
}

/// Two rows of one plane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pair<'p> {
    Eight(&'p [u8], &'p [u8]),
    Deep(&'p [u16], &'p [u16]),
}

impl Picture {
    pub(super) fn width_px(&self) -> u32 {
        self.raw.p.w.unsigned_abs()
    }

    pub(super) fn height_px(&self) -> u32 {
        self.raw.p.h.unsigned_abs()
    }

    /// 8, 10 or 12.
    pub(super) fn bits(&self) -> u32 {
        self.raw.p.bpc.unsigned_abs()
    }

    /// Whether there are planes of chroma, and whether they have half the width and half the height, rounded up.
    pub(super) fn sampling(&self) -> (bool, (bool, bool)) {
        sampling(&self.raw.p)
    }

    pub(super) fn signalled(&self) -> Option<Signalled> {
        // SAFETY: the header belongs to the picture and is only read.
        let header = unsafe { self.raw.seq_hdr?.as_ref() };
        let point = |code: u32| u16::try_from(code).unwrap_or(0);
        Some(Signalled {
            primaries: point(header.pri),
            transfer: point(header.trc),
            matrix: point(header.mtrx),
            full_range: header.color_range != 0,
        })
    }

    /// Row `y` of plane `index`; `None` where there is none.
    pub(super) fn row(&self, index: usize, y: u32) -> Option<Row<'_>> {
        let (has_chroma, subsampled) = self.sampling();
        let halve = |side: u32, halved: bool| if index > 0 && halved { side.div_ceil(2) } else { side };
        let (width, height) = (halve(self.width_px(), subsampled.0) as usize, halve(self.height_px(), subsampled.1));
        if y >= height || index > if has_chroma { 2 } else { 0 } {
            return None;
        }
        let plane = self.raw.data.get(index).copied().flatten()?.cast::<u8>();
        let stride = self.raw.stride[usize::from(index > 0)];
        // SAFETY: the plane was made by `allocate`, with at least `height` rows of `stride` bytes, each of at least `width` samples of the
        // picture's depth, 64-byte aligned as the stride is; the decoder is closed, so that nothing writes to it while `self` is borrowed.
        unsafe {
            let row = plane.as_ptr().offset(stride * y as isize);
            Some(if self.bits() > 8 {
                Row::Deep(slice::from_raw_parts(row.cast(), width))
            } else {
                Row::Eight(slice::from_raw_parts(row, width))
            })
        }
    }

    /// Two rows of plane `index`; `None` where there are none.
    pub(super) fn rows(&self, index: usize, first: u32, second: u32) -> Option<Pair<'_>> {
        match (self.row(index, first)?, self.row(index, second)?) {
            (Row::Eight(first), Row::Eight(second)) => Some(Pair::Eight(first, second)),
            (Row::Deep(first), Row::Deep(second)) => Some(Pair::Deep(first, second)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(width_px: u32, height_px: u32) -> Bounds {
        Bounds { width_px, height_px, picture_bytes: picture_bytes(width_px, height_px, true, (false, false), true), operating_point: 0 }
    }

    #[test]
    fn noise_is_no_picture() {
        for length in [0, 1, 2, 40, 4000] {
            let noise: Vec<u8> = (0..length).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            assert!(matches!(decode(&noise, bounds(64, 64)), Err(Failure::Broken)), "{length}");
        }
    }

    #[test]
    fn memory_is_that_of_sides_rounded_up() {
        assert_eq!(picture_bytes(1, 1, false, (true, true), false), 128 * 128 + 64);
        assert_eq!(picture_bytes(128, 128, true, (true, true), false), 128 * 128 * 3 / 2 + 64);
        // 1024 bytes from row to row would alias.
        assert_eq!(picture_bytes(1024, 128, true, (false, false), false), 3 * 1088 * 128 + 64);
        assert_eq!(picture_bytes(129, 1, true, (true, false), true), (512 + 256 * 2) * 128 + 64);
    }
}
