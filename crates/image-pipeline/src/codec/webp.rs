//! WebP in and out over libwebp: the only file with unsafe code. Each call into C is wrapped where it stands, its buffers outlive it,
//! and everything C allocates is freed by a guard on every path. One thread throughout.

use super::{DECODE, Decoded, ENCODE, decoded_layout, disagreement, icc::ToSrgb, picture, picture_buffer};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, Probe},
};
use libwebp_sys as sys;
use std::{
    ffi::c_int,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

/// libwebp's effort, 0 to 6; 4 is its default and the one sharp and the measured times use.
const METHOD: c_int = 4;

/// Decodes a still picture, or the first frame of an animation on its canvas.
pub(super) fn decode(probe: &Probe, source: &[u8]) -> Result<Decoded, Error> {
    let features = features(source).map_err(|status| refused(status, source))?;
    if (features.width, features.height) != (c_side(probe.width_px)?, c_side(probe.height_px)?) {
        return Err(disagreement(Format::WebP));
    }
    let layout = decoded_layout(probe);
    let mut bytes = picture_buffer(probe, layout)?;
    if features.has_animation != 0 {
        first_frame(source, features, layout, &mut bytes)?;
    } else {
        still(source, layout, features, &mut bytes).map_err(|status| refused(status, source))?;
    }
    let to_srgb = if probe.has_icc { profile(source).and_then(ToSrgb::from_profile) } else { None };
    Ok(Decoded { pixels: picture(probe, layout, bytes)?, to_srgb })
}

fn c_side(side_px: u32) -> Result<c_int, Error> {
    c_int::try_from(side_px).map_err(|_| disagreement(Format::WebP))
}

/// The body of the ICCP chunk, which follows the header (RFC 9649, section 2.7.1.4).
fn profile(source: &[u8]) -> Option<&[u8]> {
    let mut rest = source.get(12..)?;
    for _ in 0..4 {
        let (head, body) = rest.split_first_chunk::<8>()?;
        let bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head.starts_with(b"ICCP") {
            return body.get(..bytes);
        }
        rest = body.get(bytes.checked_add(bytes & 1)?..)?;
    }
    None
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

/// Decodes into `target`, which holds exactly the picture of `features` in `layout`.
#[allow(unsafe_code)]
fn still(source: &[u8], layout: Layout, features: sys::WebPBitstreamFeatures, target: &mut [u8]) -> Result<(), sys::VP8StatusCode> {
    let mut config = sys::WebPDecoderConfig::new().map_err(|()| sys::VP8StatusCode::VP8_STATUS_INVALID_PARAM)?;
    let stride = features.width as usize * layout.channels();
    assert_eq!(target.len(), stride * features.height as usize, "the caller made the buffer from the same sides");
    config.input = features;
    config.output.colorspace = match layout {
        Layout::Rgb8 => sys::WEBP_CSP_MODE::MODE_RGB,
        Layout::Rgba8 => sys::WEBP_CSP_MODE::MODE_RGBA,
    };
    config.output.is_external_memory = 1;
    // A side has at most 24 bits and four channels: no stride passes 2^26.
    config.output.u.RGBA = sys::WebPRGBABuffer { rgba: target.as_mut_ptr(), stride: stride as c_int, size: target.len() };
    config.options.use_threads = 0;
    // SAFETY: source pointer and length are those of one live slice, only read. The output is declared external with the address, stride
    // and size of `target`, which is borrowed mutably for the whole call; libwebp checks stride and size against the picture before it
    // writes. `config` was initialised by libwebp. Freeing the output releases what libwebp may have attached beside external memory;
    // `config` is not used afterwards.
    unsafe {
        let status = sys::WebPDecode(source.as_ptr(), source.len(), &mut config);
        sys::WebPFreeDecBuffer(&mut config.output);
        if status == sys::VP8StatusCode::VP8_STATUS_OK { Ok(()) } else { Err(status) }
    }
}

/// An animation decoder, deleted when dropped.
struct Animation(NonNull<sys::WebPAnimDecoder>);

#[allow(unsafe_code)]
impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: the pointer came from WebPAnimDecoderNew and is deleted once, here.
        unsafe { sys::WebPAnimDecoderDelete(self.0.as_ptr()) };
    }
}

/// Composes the first frame on its canvas into `target`, which holds exactly the canvas of `features` in `layout`.
#[allow(unsafe_code)]
fn first_frame(source: &[u8], features: sys::WebPBitstreamFeatures, layout: Layout, target: &mut [u8]) -> Result<(), Error> {
    let broken = || refused(sys::VP8StatusCode::VP8_STATUS_BITSTREAM_ERROR, source);
    let mut options = MaybeUninit::<sys::WebPAnimDecoderOptions>::zeroed();
    let data = sys::WebPData { bytes: source.as_ptr(), size: source.len() };
    // SAFETY: `options` is zeroed memory of the right type, a valid value of it (mode 0 is MODE_RGB), which libwebp fills. `data` is
    // read during the call; the decoder keeps the pointer to `source`, which outlives the guard below.
    let decoder = unsafe {
        if sys::WebPAnimDecoderOptionsInit(options.as_mut_ptr()) == 0 {
            return Err(Error::new(ErrorKind::Internal, DECODE, "libwebp has another interface").in_format(Format::WebP));
        }
        let mut options = options.assume_init();
        options.color_mode = sys::WEBP_CSP_MODE::MODE_RGBA;
        options.use_threads = 0;
        sys::WebPAnimDecoderNew(&data, &options)
    };
    let animation = Animation(NonNull::new(decoder).ok_or_else(broken)?);
    let mut info = sys::WebPAnimInfo::default();
    // SAFETY: the decoder is live (guard above), `info` is a valid value to overwrite.
    let told = unsafe { sys::WebPAnimDecoderGetInfo(animation.0.as_ptr(), &mut info) };
    if told == 0 || (info.canvas_width, info.canvas_height) != (features.width as u32, features.height as u32) {
        return Err(disagreement(Format::WebP));
    }
    let (mut canvas, mut timestamp_ms) = (ptr::null_mut::<u8>(), 0);
    // SAFETY: the decoder is live; both out-pointers are valid for writing.
    let decoded = unsafe { sys::WebPAnimDecoderGetNext(animation.0.as_ptr(), &mut canvas, &mut timestamp_ms) };
    if decoded == 0 || canvas.is_null() {
        return Err(broken());
    }
    let pixels = info.canvas_width as usize * info.canvas_height as usize;
    assert_eq!(target.len(), pixels * layout.channels(), "the caller made the buffer from the same sides");
    // SAFETY: after success the canvas points to width * height RGBA pixels owned by the decoder, valid until its next call or its
    // deletion; neither happens while this slice lives.
    let canvas = unsafe { std::slice::from_raw_parts(canvas, pixels * 4) };
    match layout {
        Layout::Rgba8 => target.copy_from_slice(canvas),
        Layout::Rgb8 => {
            for (pixel, rgba) in target.as_chunks_mut::<3>().0.iter_mut().zip(canvas.as_chunks::<4>().0) {
                pixel.copy_from_slice(&rgba[..3]);
            }
        }
    }
    Ok(())
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

/// Frees the output libwebp has written.
struct Output(sys::WebPMemoryWriter);

#[allow(unsafe_code)]
impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: the writer was initialised by libwebp and is cleared once, here.
        unsafe { sys::WebPMemoryWriterClear(&mut self.0) };
    }
}

/// Lossy, alpha kept losslessly.
#[allow(unsafe_code)]
pub(super) fn encode(pixels: &Pixels, quality: u8) -> Result<Vec<u8>, Error> {
    let internal = |text| Error::new(ErrorKind::Internal, ENCODE, text).in_format(Format::WebP);
    let other_interface = |()| internal("libwebp has another interface");
    let mut config = sys::WebPConfig::new_with_preset(sys::WebPPreset::WEBP_PRESET_DEFAULT, f32::from(quality)).map_err(other_interface)?;
    config.method = METHOD;
    config.thread_level = 0;
    let mut picture = Picture(sys::WebPPicture::new().map_err(other_interface)?);
    let (Ok(width), Ok(height), Ok(stride)) =
        (c_int::try_from(pixels.width_px), c_int::try_from(pixels.height_px), c_int::try_from(pixels.stride()))
    else {
        return Err(internal("result is too large for webp"));
    };
    picture.0.width = width;
    picture.0.height = height;
    let mut output = MaybeUninit::<sys::WebPMemoryWriter>::zeroed();
    // SAFETY: zeroed memory of the right type, which libwebp sets up; it holds no pointer yet.
    let mut output = Output(unsafe {
        sys::WebPMemoryWriterInit(output.as_mut_ptr());
        output.assume_init()
    });
    // SAFETY: `Pixels` holds exactly `stride * height` bytes of three or four channels, as each import is told; imports copy them. The
    // writer is libwebp's own, and `custom_ptr` points to the `WebPMemoryWriter` it expects, which stays in place until the end of this
    // block and is reached by nothing else meanwhile. `config` was initialised by libwebp and is checked by WebPEncode.
    let encoded = unsafe {
        let imported = match pixels.layout {
            Layout::Rgb8 => sys::WebPPictureImportRGB(&mut picture.0, pixels.bytes.as_ptr(), stride),
            Layout::Rgba8 => sys::WebPPictureImportRGBA(&mut picture.0, pixels.bytes.as_ptr(), stride),
        };
        picture.0.writer = Some(sys::WebPMemoryWrite);
        picture.0.custom_ptr = (&raw mut output.0).cast();
        imported != 0 && sys::WebPEncode(&config, &mut picture.0) != 0
    };
    if !encoded {
        return Err(internal("webp could not be written").caused_by(format!("libwebp says {:?}", picture.0.error_code)));
    }
    if output.0.mem.is_null() {
        return Err(internal("webp could not be written"));
    }
    // SAFETY: the writer holds `size` written bytes at `mem`, not null, until `output` is dropped.
    Ok(unsafe { std::slice::from_raw_parts(output.0.mem, output.0.size) }.to_vec())
}
