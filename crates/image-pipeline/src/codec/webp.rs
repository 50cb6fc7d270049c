//! WebP in and out over libwebp: with `simd` and `avif/av1` the only file with unsafe code. Each call into C is wrapped where it stands, its buffers outlive it,
//! and everything C allocates is freed by a guard on every path. One thread throughout.

mod moving;
mod planes;

pub(crate) use moving::Writer;
pub(super) use moving::{frame_bytes, held_bytes};
pub(super) use planes::Strips;

use super::{DECODE, ENCODE, Opened, Output, Plays, Reading, decoded_layout, disagreement, icc::ToSrgb, picture, picture_buffer};
use crate::{
    error::{Error, ErrorKind},
    metadata::Written,
    pixels::{Layout, Pixels, Shape},
    probe::{Format, Probe},
};
use libwebp_sys as sys;
use std::{
    ffi::c_int,
    mem::MaybeUninit,
    num::NonZeroU32,
    ptr::{self, NonNull},
};

/// From this method on libwebp weighs modes by their true cost.
const WEIGHING_METHOD: u8 = 3;
/// Strength of the loop filter below that, 0 to 100: at the default of 60 blocks show more than they need to.
const PLAIN_FILTER_STRENGTH: c_int = 75;

/// Decodes a still picture, or the first frame of an animation on its canvas.
pub(super) fn open(probe: &Probe, source: &[u8], reading: Reading) -> Result<Opened<'static>, Error> {
    let features = features(source).map_err(|status| refused(status, source))?;
    if (features.width, features.height) != (c_side(probe.width_px)?, c_side(probe.height_px)?) {
        return Err(disagreement(Format::WebP));
    }
    let layout = if reading.planes { Layout::Ycc420 } else { decoded_layout(probe) };
    let mut pixels = picture(probe, layout, picture_buffer(probe, layout)?)?;
    if features.has_animation != 0 {
        first_frame(source, features, layout, &mut pixels.bytes)?;
    } else {
        still(source, features, &mut pixels).map_err(|status| refused(status, source))?;
    }
    let to_srgb = if probe.has_icc { profile(source).and_then(ToSrgb::from_profile) } else { None };
    Ok(if layout.planes() > 1 { planes::opened(pixels, to_srgb) } else { Opened::whole(pixels, to_srgb) })
}

fn c_side(side_px: u32) -> Result<c_int, Error> {
    c_int::try_from(side_px).map_err(|_| disagreement(Format::WebP))
}

/// Chunks of a file in order (RFC 9649, section 2.3), as far as they are whole; those of frames are not entered.
pub(crate) fn chunks(source: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = source.get(12..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (bytes, body) = after.split_first_chunk::<4>()?;
        let bytes = u32::from_le_bytes(*bytes) as usize;
        let whole = body.get(..bytes)?;
        rest = body.get(bytes + (bytes & 1)..).unwrap_or_default();
        Some((kind, whole))
    })
}

/// The body of the ICCP chunk, which follows the header (RFC 9649, section 2.7.1.4).
pub(super) fn profile(source: &[u8]) -> Option<&[u8]> {
    chunks(source).take(4).find(|(kind, _)| *kind == b"ICCP").map(|(_, body)| body)
}

/// Whether the RIFF head promises more than there is: then what is broken is most likely cut.
fn ends_early(source: &[u8]) -> bool {
    source.get(4..8).is_none_or(|size| u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]])) + 8 > source.len() as u64)
}

fn refused(status: sys::VP8StatusCode, source: &[u8]) -> Error {
    use sys::VP8StatusCode as Status;
    let (kind, text) = match status {
        Status::VP8_STATUS_OUT_OF_MEMORY => (ErrorKind::LimitExceeded, "webp wants more memory than there is"),
        Status::VP8_STATUS_UNSUPPORTED_FEATURE => (ErrorKind::Unsupported, "webp is of a kind that is not supported"),
        Status::VP8_STATUS_NOT_ENOUGH_DATA | Status::VP8_STATUS_SUSPENDED => (ErrorKind::Truncated, "webp ends before its picture does"),
        _ if ends_early(source) => (ErrorKind::Truncated, "webp ends before its picture does"),
        _ => (ErrorKind::Malformed, "webp is broken"),
    };
    Error::new(kind, DECODE, text).in_format(Format::WebP)
}

#[allow(unsafe_code)]
fn features(source: &[u8]) -> Result<sys::WebPBitstreamFeatures, sys::VP8StatusCode> {
    let mut features = MaybeUninit::<sys::WebPBitstreamFeatures>::zeroed();
    // SAFETY: pointer and length are those of one live slice, only read; `features` is writable memory of the right type, zeroed, and
    // any bits are a value of it (plain integers). The ABI version is the one the bindings were made from.
    let (status, features) = unsafe {
        let status = sys::WebPGetFeatures(source.as_ptr(), source.len(), features.as_mut_ptr());
        (status, features.assume_init())
    };
    if status == sys::VP8StatusCode::VP8_STATUS_OK { Ok(features) } else { Err(status) }
}

/// Decodes into `target`, which has the sides of `features`: colours, or luma and chroma of limited range.
#[allow(unsafe_code)]
fn still(source: &[u8], features: sys::WebPBitstreamFeatures, target: &mut Pixels) -> Result<(), sys::VP8StatusCode> {
    let mut config = sys::WebPDecoderConfig::new().map_err(|()| sys::VP8StatusCode::VP8_STATUS_INVALID_PARAM)?;
    config.input = features;
    config.output.is_external_memory = 1;
    // A side has at most 24 bits and four channels: no stride passes 2^26.
    let stride = target.stride() as c_int;
    if target.layout == Layout::Ycc420 {
        let halves = stride / 2 + stride % 2;
        let (luma, chroma) = target.bytes.split_at_mut(target.width_px as usize * target.height_px as usize);
        let (blue, red) = chroma.split_at_mut(chroma.len() / 2);
        config.output.colorspace = sys::WEBP_CSP_MODE::MODE_YUV;
        config.output.u.YUVA = sys::WebPYUVABuffer {
            y: luma.as_mut_ptr(),
            u: blue.as_mut_ptr(),
            v: red.as_mut_ptr(),
            a: ptr::null_mut(),
            y_stride: stride,
            u_stride: halves,
            v_stride: halves,
            a_stride: 0,
            y_size: luma.len(),
            u_size: blue.len(),
            v_size: red.len(),
            a_size: 0,
        };
    } else {
        config.output.colorspace = match target.layout {
            Layout::Rgba8 => sys::WEBP_CSP_MODE::MODE_RGBA,
            _ => sys::WEBP_CSP_MODE::MODE_RGB,
        };
        config.output.u.RGBA = sys::WebPRGBABuffer { rgba: target.bytes.as_mut_ptr(), stride, size: target.bytes.len() };
    }
    config.options.use_threads = 0;
    // SAFETY: source pointer and length are those of one live slice, only read. The output is declared external with the addresses, strides
    // and sizes of `target` or its planes, which is borrowed mutably for the whole call; libwebp checks strides and sizes against the picture
    // before it writes. `config` was initialised by libwebp. Freeing the output releases what libwebp may have attached beside external
    // memory; `config` is not used afterwards.
    unsafe {
        let status = sys::WebPDecode(source.as_ptr(), source.len(), &mut config);
        sys::WebPFreeDecBuffer(&mut config.output);
        if status == sys::VP8StatusCode::VP8_STATUS_OK { Ok(()) } else { Err(status) }
    }
}

/// An animation decoder, deleted when dropped. It reads `source`, and nobody else has it.
struct Animation<'s> {
    decoder: NonNull<sys::WebPAnimDecoder>,
    info: sys::WebPAnimInfo,
    source: &'s [u8],
}

#[allow(unsafe_code)]
impl Drop for Animation<'_> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from WebPAnimDecoderNew and is deleted once, here.
        unsafe { sys::WebPAnimDecoderDelete(self.decoder.as_ptr()) };
    }
}

#[allow(unsafe_code)]
impl<'s> Animation<'s> {
    fn open(source: &'s [u8], features: sys::WebPBitstreamFeatures) -> Result<Self, Error> {
        let mut options = MaybeUninit::<sys::WebPAnimDecoderOptions>::zeroed();
        let data = sys::WebPData { bytes: source.as_ptr(), size: source.len() };
        // SAFETY: `options` is zeroed memory of the right type, a valid value of it (mode 0 is MODE_RGB), which libwebp fills. `data` is
        // read during the call; the decoder keeps the pointer to `source`, which outlives the guard by its lifetime.
        let decoder = unsafe {
            if sys::WebPAnimDecoderOptionsInit(options.as_mut_ptr()) == 0 {
                return Err(Error::new(ErrorKind::Internal, DECODE, "libwebp has another interface").in_format(Format::WebP));
            }
            let mut options = options.assume_init();
            options.color_mode = sys::WEBP_CSP_MODE::MODE_RGBA;
            options.use_threads = 0;
            sys::WebPAnimDecoderNew(&data, &options)
        };
        let decoder = NonNull::new(decoder).ok_or_else(|| broken(source))?;
        let mut animation = Self { decoder, info: sys::WebPAnimInfo::default(), source };
        // SAFETY: the decoder is live (guard above), `info` is a valid value to overwrite.
        let told = unsafe { sys::WebPAnimDecoderGetInfo(animation.decoder.as_ptr(), &mut animation.info) };
        if told == 0 || (animation.info.canvas_width, animation.info.canvas_height) != (features.width as u32, features.height as u32) {
            return Err(disagreement(Format::WebP));
        }
        Ok(animation)
    }

    /// RGBA of the canvas with the next frame, and when it ends, in milliseconds; `None` behind the last.
    fn next(&mut self) -> Result<Option<(&[u8], c_int)>, Error> {
        let (mut canvas, mut end_ms) = (ptr::null_mut::<u8>(), 0);
        // SAFETY: the decoder is live; both out-pointers are valid for writing.
        let decoded = unsafe {
            if sys::WebPAnimDecoderHasMoreFrames(self.decoder.as_ptr()) == 0 {
                return Ok(None);
            }
            sys::WebPAnimDecoderGetNext(self.decoder.as_ptr(), &mut canvas, &mut end_ms)
        };
        if decoded == 0 || canvas.is_null() {
            return Err(broken(self.source));
        }
        let bytes = self.info.canvas_width as usize * self.info.canvas_height as usize * 4;
        // SAFETY: after success the canvas points to width * height RGBA pixels owned by the decoder, valid until its next call or its
        // deletion; the slice borrows `self` mutably, so neither happens while it lives.
        Ok(Some((unsafe { std::slice::from_raw_parts(canvas, bytes) }, end_ms)))
    }
}

fn broken(source: &[u8]) -> Error {
    refused(sys::VP8StatusCode::VP8_STATUS_BITSTREAM_ERROR, source)
}

/// Composes the first frame on its canvas into `target`, which holds exactly the canvas of `features` in `layout`.
fn first_frame(source: &[u8], features: sys::WebPBitstreamFeatures, layout: Layout, target: &mut [u8]) -> Result<(), Error> {
    let mut animation = Animation::open(source, features)?;
    let Some((canvas, _)) = animation.next()? else { return Err(broken(source)) };
    assert_eq!(target.len(), canvas.len() / 4 * layout.channels(), "the caller made the buffer from the same sides");
    match layout {
        Layout::Rgba8 => target.copy_from_slice(canvas),
        _ => {
            for (pixel, rgba) in target.as_chunks_mut::<3>().0.iter_mut().zip(canvas.as_chunks::<4>().0) {
                pixel.copy_from_slice(&rgba[..3]);
            }
        }
    }
    Ok(())
}

/// The frames of an animation, one after the other on libwebp's canvas.
pub(super) struct Frames<'s> {
    animation: Animation<'s>,
    before_ms: c_int,
}

/// Bytes held while frames are read: libwebp's two canvases, and a frame while it is decoded.
pub(super) fn frames_bytes(probe: &Probe) -> u64 {
    (256 << 10) + probe.pixels() * 8 + probe.pixels() * 5 + u64::from(probe.width_px) * 64
}

impl<'s> Frames<'s> {
    pub(super) fn open(probe: &Probe, source: &'s [u8]) -> Result<(Self, Option<ToSrgb>), Error> {
        let features = features(source).map_err(|status| refused(status, source))?;
        if (features.width, features.height) != (c_side(probe.width_px)?, c_side(probe.height_px)?) || features.has_animation == 0 {
            return Err(disagreement(Format::WebP));
        }
        let animation = Animation::open(source, features)?;
        let to_srgb = if probe.has_icc { profile(source).and_then(ToSrgb::from_profile) } else { None };
        Ok((Self { animation, before_ms: 0 }, to_srgb))
    }

    pub(super) fn plays(&self) -> Plays {
        Plays(NonZeroU32::new(self.animation.info.loop_count))
    }

    /// The canvas with the next frame, and how long it stays, in milliseconds; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], u32)>, Error> {
        let Self { animation, before_ms } = self;
        let Some((canvas, end_ms)) = animation.next()? else { return Ok(None) };
        // Sums of 24 bits each; should they pass 32, the rest takes no time.
        let delay_ms = end_ms.saturating_sub(std::mem::replace(before_ms, end_ms)).max(0);
        Ok(Some((canvas, delay_ms as u32)))
    }
}

/// Frees what libwebp attached to a picture.
struct Picture(sys::WebPPicture);

#[allow(unsafe_code)]
impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the picture was initialised by libwebp; freeing one without buffers does nothing.
        unsafe { sys::WebPPictureFree(&mut self.0) };
    }
}

/// A grey picture in three channels.
fn in_colour(grey: &Pixels) -> Result<Pixels, Error> {
    let bytes = grey.bytes.iter().flat_map(|&sample| [sample; 3]).collect();
    Pixels::new(grey.width_px, grey.height_px, Layout::Rgb8, bytes)
        .ok_or_else(|| Error::new(ErrorKind::Internal, super::ENCODE, "a grey picture has too few bytes"))
}

/// A grey picture's planes as WebP has them: BT.601 of limited range, 16 to 235, with chroma of half the sides in its middle.
struct GreyPlanes {
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

impl GreyPlanes {
    fn of(grey: &Pixels) -> Self {
        let chroma = vec![128; grey.width_px.div_ceil(2) as usize * grey.height_px.div_ceil(2) as usize];
        Self { luma: grey.bytes.iter().map(|&sample| limited(sample)).collect(), blue: chroma.clone(), red: chroma }
    }
}

/// `16 + v * 219 / 255`, rounded to the nearest.
#[inline]
const fn limited(full: u8) -> u8 {
    // 219 * 65536 / 255, rounded: exact for all bytes (checked in tests), below 2^24.
    (16 + ((full as u32 * 56_284 + 32_768) >> 16)) as u8
}

/// Bytes libwebp holds while it writes, its output included: an upper bound, from what noise measured (`tests/memory.rs`), the dearest there is.
pub(super) fn encode_working_bytes(shape: Shape, quality: u8, effort: u8) -> u64 {
    /// Tables, rows of macroblocks, and what the output's pieces are rounded up to.
    const FIXED: u64 = 256 << 10;
    let pixel_bytes = match (effort, quality) {
        // Planes of luma and chroma (1.5), and the output.
        (..WEIGHING_METHOD, ..=80) => 4,
        (..WEIGHING_METHOD, ..=95) => 5,
        (..WEIGHING_METHOD, _) => 8,
        // Every symbol is kept until the best tables for all of them are known.
        (_, ..=50) => 15,
        (_, ..=80) => 19,
        (_, ..=90) => 23,
        (_, ..=95) => 26,
        _ => 30,
    };
    // Alpha is a lossless picture of its own, with tables of its own: with it, noise measured 34 a pixel.
    let (alpha_fixed, alpha_bytes) = if shape.layout == Layout::Rgba8 { (1 << 20, 32) } else { (0, 0) };
    FIXED + alpha_fixed + shape.pixels() * (pixel_bytes + alpha_bytes)
}

/// Takes what libwebp writes: appends it to the `Vec<u8>` at `custom_ptr`. 0 where there is no memory for it.
#[allow(unsafe_code)]
unsafe extern "C" fn append(data: *const u8, data_bytes: usize, picture: *const sys::WebPPicture) -> c_int {
    if data_bytes == 0 {
        return 1;
    }
    // SAFETY: libwebp calls this from within `WebPEncode` only, with the picture it was given, whose `custom_ptr` is set to a live vector
    // that nothing else reaches meanwhile, and with `data_bytes` readable bytes of its own at `data`.
    let (file, data) = unsafe { (&mut *(*picture).custom_ptr.cast::<Vec<u8>>(), std::slice::from_raw_parts(data, data_bytes)) };
    // Nearly all comes in one piece; one more for the byte that makes a chunk even.
    if file.try_reserve_exact(data_bytes + 1).is_err() {
        return 0;
    }
    file.extend_from_slice(data);
    1
}

/// Lossy, alpha kept losslessly; or without any loss, but for colours that cannot be seen. Grey is written as it is, without a detour over colours; of luma and chroma libwebp makes better halves
/// itself (record 0031).
#[allow(unsafe_code)]
pub(super) fn encode(pixels: &Pixels, output: Output) -> Result<Vec<u8>, Error> {
    let Output { quality, effort, lossless, .. } = output;
    let internal = |text| Error::new(ErrorKind::Internal, ENCODE, text).in_format(Format::WebP);
    let other_interface = |()| internal("libwebp has another interface");
    let mut config = sys::WebPConfig::new_with_preset(sys::WebPPreset::WEBP_PRESET_DEFAULT, f32::from(quality)).map_err(other_interface)?;
    config.method = c_int::from(effort.min(6));
    if effort < WEIGHING_METHOD {
        config.filter_strength = PLAIN_FILTER_STRENGTH;
    }
    if lossless {
        // libwebp's levels of 0 to 9.
        // SAFETY: `config` was initialised by libwebp and is a plain value that the call changes.
        if unsafe { sys::WebPConfigLosslessPreset(&mut config, c_int::from(effort.min(6)) * 3 / 2) } == 0 {
            return Err(internal("libwebp has another interface"));
        }
    }
    config.thread_level = 0;
    let mut picture = Picture(sys::WebPPicture::new().map_err(other_interface)?);
    let (Ok(width), Ok(height), Ok(stride)) =
        (c_int::try_from(pixels.width_px), c_int::try_from(pixels.height_px), c_int::try_from(pixels.stride()))
    else {
        return Err(internal("result is too large for webp"));
    };
    picture.0.width = width;
    picture.0.height = height;
    let colours = (lossless && pixels.layout == Layout::Grey8).then(|| in_colour(pixels)).transpose()?;
    let pixels = colours.as_ref().unwrap_or(pixels);
    let stride = if colours.is_some() { width * 3 } else { stride };
    // Without loss there are no planes.
    picture.0.use_argb = c_int::from(lossless);
    let mut planes = (pixels.layout == Layout::Grey8).then(|| GreyPlanes::of(pixels));
    let imported = match (&mut planes, pixels.layout) {
        (Some(planes), _) => {
            picture.0.use_argb = 0;
            picture.0.colorspace = sys::WebPEncCSP::WEBP_YUV420;
            (picture.0.y, picture.0.u, picture.0.v) = (planes.luma.as_mut_ptr(), planes.blue.as_mut_ptr(), planes.red.as_mut_ptr());
            (picture.0.y_stride, picture.0.uv_stride) = (width, width / 2 + width % 2);
            1
        }
        // SAFETY: `Pixels` holds exactly `stride * height` bytes of three channels, as the import is told, which copies them.
        (None, Layout::Rgb8) => unsafe { sys::WebPPictureImportRGB(&mut picture.0, pixels.bytes.as_ptr(), stride) },
        // SAFETY: the same, of four channels.
        (None, Layout::Rgba8) => unsafe { sys::WebPPictureImportRGBA(&mut picture.0, pixels.bytes.as_ptr(), stride) },
        (None, _) => return Err(internal("webp is not written from luma and chroma")),
    };
    let mut file = Vec::new();
    picture.0.writer = Some(append);
    picture.0.custom_ptr = (&raw mut file).cast();
    // SAFETY: the picture has planes of its sides, each of `stride` times its rows: libwebp's own, or those of `planes`, which stay in
    // place until the end of this function (of these libwebp frees none: it did not allocate them). The writer is the one above, and
    // `custom_ptr` is what it expects. `config` was initialised by libwebp and is checked by WebPEncode.
    let encoded = imported != 0 && unsafe { sys::WebPEncode(&config, &mut picture.0) } != 0;
    if !encoded {
        return Err(internal("webp could not be written").caused_by(format!("libwebp says {:?}", picture.0.error_code)));
    }
    drop(picture);
    Ok(file)
}

/// Flags of VP8X (RFC 9649, section 2.7.1).
const FLAG_XMP: u8 = 0x04;
const FLAG_EXIF: u8 = 0x08;
const FLAG_ALPHA: u8 = 0x10;
const FLAG_ICC: u8 = 0x20;

/// A file with blocks around its picture: in the extended format, profile first, Exif and XMP last.
pub(crate) fn with_blocks(file: Vec<u8>, shape: Shape, written: &Written) -> Vec<u8> {
    let Written { exif, xmp, profile } = written;
    if exif.is_none() && xmp.is_none() && profile.is_none() {
        return file;
    }
    let mut flags = 0;
    let mut out = Vec::with_capacity(file.len() + 1024 + [exif, profile].into_iter().flatten().map(Vec::len).sum::<usize>());
    out.extend_from_slice(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0");
    let flags_at = out.len() - 4;
    out.extend_from_slice(&(shape.width_px - 1).to_le_bytes()[..3]);
    out.extend_from_slice(&(shape.height_px - 1).to_le_bytes()[..3]);
    let chunk = |out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]| {
        out.extend_from_slice(kind);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(2), 0);
    };
    if let Some(profile) = profile {
        flags |= FLAG_ICC;
        chunk(&mut out, b"ICCP", profile);
    }
    for (kind, body) in chunks(&file) {
        match kind {
            b"VP8X" => flags |= body.first().copied().unwrap_or(0),
            // RFC 9649, 3.4: the hint of alpha is bit 28 behind the signature.
            b"VP8L" if body.get(4).is_some_and(|bits| bits & 0x10 != 0) => flags |= FLAG_ALPHA,
            _ => {}
        }
        if kind != b"VP8X" {
            chunk(&mut out, kind, body);
        }
    }
    if let Some(exif) = exif {
        flags |= FLAG_EXIF;
        chunk(&mut out, b"EXIF", exif);
    }
    if let Some(xmp) = xmp {
        flags |= FLAG_XMP;
        chunk(&mut out, b"XMP ", xmp.as_bytes());
    }
    out[flags_at] = flags;
    let riff_bytes = (out.len() - 8) as u32;
    out[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage;

    fn output(quality: u8) -> Output {
        Output { effort: 4, ..Output::plain(crate::spec::OutputFormat::WebP, quality) }
    }

    /// Mean difference, of 255, of a file's pixels from `wanted`, as another reader has them.
    fn loss(file: &[u8], wanted: &Pixels) -> f64 {
        let read = image::load_from_memory_with_format(file, image::ImageFormat::WebP).unwrap();
        assert_eq!((read.width(), read.height()), (wanted.width_px, wanted.height_px));
        let read = read.into_rgb8().into_raw();
        read.iter().zip(&wanted.bytes).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / read.len() as f64
    }

    #[test]
    fn ranges_are_limited_to_the_nearest() {
        for full in 0..=u8::MAX {
            let luma = 16.0 + f64::from(full) * 219.0 / 255.0;
            assert_eq!(limited(full), luma.round() as u8, "{full}");
        }
        assert_eq!([0, 255].map(limited), [16, 235]);
    }

    #[test]
    fn grey_is_written_as_grey() {
        for (width_px, height_px) in [(1, 1), (3, 2), (91, 60)] {
            let bytes = (0..width_px * height_px).map(|at| ((at % width_px) * 255 / width_px) as u8).collect();
            let grey = Pixels::new(width_px, height_px, Layout::Grey8, bytes).unwrap();
            let rgb = stage::samples::to_rgb(&grey);
            let file = encode(&grey, output(80)).unwrap();
            let (lost, by_colours) = (loss(&file, &rgb), loss(&encode(&rgb, output(80)).unwrap(), &rgb));
            assert!(lost <= by_colours + 0.2, "{width_px}x{height_px}: {lost}, not {by_colours}");
            let read = image::load_from_memory(&file).unwrap().into_rgb8().into_raw();
            assert!(read.as_chunks::<3>().0.iter().all(|&[r, g, b]| r.abs_diff(g) <= 1 && g.abs_diff(b) <= 1));
        }
    }

    #[test]
    fn without_loss_every_sample_stays() {
        let lossless = Output { lossless: true, ..output(80) };
        for layout in [Layout::Grey8, Layout::Rgb8, Layout::Rgba8] {
            for (width_px, height_px) in [(1, 1), (3, 2), (91, 60)] {
                let pixels = stage::samples::noise(width_px, height_px, layout, 7);
                let read = image::load_from_memory(&encode(&pixels, lossless).unwrap()).unwrap();
                match layout {
                    Layout::Rgba8 => {
                        for (found, wanted) in read.into_rgba8().into_raw().chunks(4).zip(pixels.bytes.chunks(4)) {
                            assert!(found == wanted || (found[3], wanted[3]) == (0, 0), "{found:?} {wanted:?}");
                        }
                    }
                    Layout::Rgb8 => assert_eq!(read.into_rgb8().into_raw(), pixels.bytes),
                    _ => assert_eq!(read.into_rgb8().into_raw(), stage::samples::to_rgb(&pixels).bytes),
                }
            }
        }
    }

    #[test]
    fn luma_and_chroma_are_refused() {
        for (layout, bytes) in [(Layout::Ycc444, 12), (Layout::Ycc420, 6)] {
            let planes = Pixels::new(2, 2, layout, vec![128; bytes]).unwrap();
            assert_eq!(encode(&planes, output(80)).unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}
