//! One decode seam and one encode seam; a file per format behind them.
//!
//! Samples come out as stored (orientation not applied), 8 bit, in strips of rows where the format allows it, in the layout
//! [`decoded_layout`] says; metadata stays behind, but for the colour profile, which leaves as a ready conversion. Decoders get memory
//! limits, and every error becomes the pipeline's own.

mod avif;
mod bmp;
mod changes;
mod cicp;
mod content;
mod described;
pub(crate) mod frames;
mod gif;
#[cfg(feature = "heic")]
mod heic;
pub(crate) mod icc;
mod ico;
mod inks;
mod jpeg;
mod jxl;
mod palette;
mod png;
mod qoi;
mod svg;
mod tiff;
mod tone;
pub(crate) mod webp;

pub(crate) use cicp::Cicp;
pub(crate) use content::{choose, second_choice};
pub(crate) use described::Described;
pub(crate) use frames::{Frames, Moving, Plays, can_move, frames_bytes, moving_frame_bytes, moving_held_bytes};
pub(crate) use icc::ToSrgb;
pub(crate) use jpeg::FULL_CHROMA_QUALITY;
pub(crate) use jpeg_shrink::{Chroma, Corners, Refinement, Scale};
pub(crate) use png::texts as png_texts;
pub(crate) use png::{decode_deep, deep_channels, encode_deep};
pub(crate) use webp::chunks as webp_chunks;

use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    metadata::{Carry, Written},
    pixels::{Layout, Pixels, Shape, SourcePlane},
    probe::{Format, Heif, Parts, Probe, Tiff},
    spec::OutputFormat,
    watch::Watch,
};

use std::{
    io::{BufRead, Seek},
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Stage names in errors.
const DECODE: &str = "decode";
const ENCODE: &str = "encode";

/// A source about to be decoded, once, from the top.
pub(crate) struct Opened<'s> {
    /// What makes the colours sRGB, where the source says they are something else.
    pub(crate) to_srgb: Option<ToSrgb>,
    /// Its planes: of interleaved layouts the one.
    pub(crate) planes: Vec<SourcePlane>,
    strips: Strips<'s>,
}

/// Some rows of a plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'d> {
    pub(crate) bytes: &'d [u8],
    /// Bytes from a row to the next.
    pub(crate) stride: usize,
    /// The plane's number of the first.
    pub(crate) first_row: u32,
}

enum Strips<'s> {
    Jpeg(Box<jpeg::Strips<'s>>),
    Png(Box<png::Strips<'s>>),
    Avif(Box<avif::Strips<'s>>),
    Tiff(Box<tiff::Strips<'s>>),
    WebP(webp::Strips),
    /// Decoded whole; `None` once given out.
    Whole(Option<Pixels>),
}

impl Opened<'_> {
    /// Hands the next rows of each plane to `take`; `false` at the end, where the source was found whole.
    ///
    /// # Errors
    /// `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded`, `Internal`; as [`Watch::check`], where a strip takes long.
    pub(crate) fn strip(&mut self, watch: Watch<'_>, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        match &mut self.strips {
            Strips::Jpeg(strips) => strips.next(watch, take),
            Strips::Png(strips) => strips.next(take),
            Strips::Avif(strips) => strips.next(take),
            Strips::Tiff(strips) => strips.next(take),
            Strips::WebP(strips) => Ok(strips.next(take)),
            Strips::Whole(pixels) => {
                let Some(pixels) = pixels.take() else { return Ok(false) };
                for (index, plane) in pixels.planes().enumerate() {
                    take(index, Rows { bytes: plane.bytes, stride: plane.stride, first_row: 0 });
                }
                Ok(true)
            }
        }
    }

    /// A picture of one plane that is there as a whole.
    fn whole(pixels: Pixels, to_srgb: Option<ToSrgb>) -> Self {
        let planes = vec![SourcePlane { width_px: pixels.width_px, height_px: pixels.height_px, share: (1.0, 1.0) }];
        Self { to_srgb, planes, strips: Strips::Whole(Some(pixels)) }
    }
}

/// How decoded samples of this source lie; `Ycc444` says planes of luma and chroma, the latter of any size, unless [`Reading::rgb`].
pub(crate) fn decoded_layout(probe: &Probe) -> Layout {
    match (probe.format, probe.channels) {
        (Format::Jpeg, 1) => Layout::Grey8,
        (Format::Jpeg, _) if probe.frame.is_ycbcr => Layout::Ycc444,
        _ if probe.has_alpha => Layout::Rgba8,
        _ => Layout::Rgb8,
    }
}

/// Bytes a decoder holds beside the source while it works, what it gives out at a time included: an upper bound.
pub(crate) fn decode_working_bytes(probe: &Probe, reading: Reading) -> u64 {
    let layout = if reading.planes { Layout::Ycc420 } else { decoded_layout(probe) };
    let picture = Shape { width_px: probe.width_px, height_px: probe.height_px, layout }.bytes();
    match probe.format {
        Format::Jpeg => jpeg::working_bytes(probe, reading),
        Format::Png => png::working_bytes(probe),
        Format::Avif | Format::Heic | Format::Tiff => probe.decoder_bytes,
        Format::Ico => ico::working_bytes(probe),
        Format::Jxl => jxl::working_bytes(probe),
        Format::Svg => svg::working_bytes(probe, reading),
        Format::WebP | Format::Gif | Format::Bmp | Format::Qoi => {
            /// Tables, windows and profiles, whatever the size of the picture.
            const FIXED: u64 = 256 << 10;
            FIXED + picture + u64::from(probe.width_px) * 64 + probe.decoder_bytes + icc::reading_bytes(probe.profile_bytes)
        }
    }
}

/// Bytes held for the pictures of an AVIF or HEIC while they are decoded: an upper bound.
pub(crate) fn heif_bytes(format: Format, heif: &Heif) -> u64 {
    match format {
        #[cfg(feature = "heic")]
        Format::Heic => heic::held_bytes(heif),
        _ => avif::held_bytes(heif),
    }
}

/// The same of a TIFF.
pub(crate) fn tiff_bytes(probe: &Probe, tiff: &Tiff) -> u64 {
    tiff::held_bytes(probe, tiff)
}

/// Whether this source may be read as planes ([`Reading::planes`]) though its layout is of colours.
pub(crate) fn has_planes(probe: &Probe) -> bool {
    probe.has_planes
}

/// Whether this source can be decoded to a smaller [`Scale`] than the full one.
pub(crate) fn can_shrink(probe: &Probe) -> bool {
    probe.format == Format::Jpeg
}

/// How much of a JPEG is read, and how large a drawing is drawn; other formats are read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) scale: Scale,
    pub(crate) refinement: Refinement,
    pub(crate) chroma: Chroma,
    pub(crate) corners: Corners,
    /// Luma and chroma are given as red, green and blue of one size, for those who need colours before they resample.
    pub(crate) rgb: bool,
    /// The same of a WebP the other way: its colours are given as luma and chroma.
    pub(crate) planes: bool,
    /// Sides a drawing is drawn at; its own where it is `None`.
    pub(crate) drawn_px: Option<(u32, u32)>,
}

impl Reading {
    /// All of it.
    pub(crate) const WHOLE: Self = Self {
        scale: Scale::Full,
        refinement: Refinement::Read,
        chroma: Chroma::Large,
        corners: Corners::Read,
        rgb: false,
        planes: false,
        drawn_px: None,
    };
}

/// Opens the picture `probe` was read from, to be read as a whole where it cannot shrink; sides are rounded up. Formats that do not come
/// in rows are decoded here.
///
/// # Errors
/// `Truncated`, `Malformed`, `Unsupported`, `LimitExceeded` (a decoder wanted more memory than allowed), `Internal`.
pub(crate) fn open<'s>(probe: &Probe, source: &'s [u8], limits: &Limits, reading: Reading) -> Result<Opened<'s>, Error> {
    match probe.format {
        Format::Jpeg => jpeg::open(probe, source, reading),
        Format::Png => png::open(probe, source, limits),
        Format::Avif => avif::open(probe, source),
        Format::Tiff => tiff::open(probe, source),
        Format::Bmp => bmp::decode(probe, source).map(|pixels| Opened::whole(pixels, None)),
        Format::Ico => ico::open(probe, source, limits),
        Format::Qoi => qoi::decode(probe, source).map(|pixels| Opened::whole(pixels, None)),
        Format::Jxl => jxl::open(probe, source),
        Format::Svg => svg::open(probe, source, reading),
        #[cfg(feature = "heic")]
        Format::Heic => heic::open(probe, source),
        #[cfg(not(feature = "heic"))]
        Format::Heic => Err(Error::new(ErrorKind::Unsupported, DECODE, crate::probe::HEIC_IS_OFF).in_format(Format::Heic)),
        Format::WebP => webp::open(probe, source, reading),
        Format::Gif => gif::decode(probe, source).map(|pixels| Opened::whole(pixels, None)),
    }
}

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: OutputFormat,
    /// 1 to 100; means nothing to PNG and GIF.
    pub(crate) quality: u8,
    /// In several passes; means nothing but to JPEG.
    pub(crate) progressive: bool,
    /// 0 to 6 to WebP, 0 to 9 to AVIF; means nothing to others.
    pub(crate) effort: u8,
    /// Every sample as it is; means nothing but to WebP.
    pub(crate) lossless: bool,
    /// Most colours of a palette; `None`: true colour, or as many as there can be.
    pub(crate) colors: Option<u16>,
    /// How much of a palette's error is passed on, of 255.
    pub(crate) dither: u8,
    /// Most frames of an animation; 0: all.
    pub(crate) max_frames: u32,
    /// What is written beside pixels; nothing in GIF.
    pub(crate) carry: Carry,
    /// Most bytes of the file: quality is lowered to keep within them, by the caller of [`encode`].
    pub(crate) max_bytes: Option<NonZeroU32>,
    /// The pixels decide ([`choose`]); until then `format` stands for the dearest that they may come to.
    pub(crate) by_content: bool,
}

impl Output {
    /// A format at a quality, and nothing else asked for.
    #[cfg(test)]
    pub(crate) const fn plain(format: OutputFormat, quality: u8) -> Self {
        let effort = crate::spec::DEFAULT_EFFORT;
        Self {
            format,
            quality,
            progressive: false,
            effort,
            max_bytes: None,
            lossless: false,
            colors: None,
            dither: 255,
            max_frames: 0,
            carry: Carry::NOTHING,
            by_content: false,
        }
    }

    /// The quality as it is told; `None` where there is none.
    pub(crate) fn told_quality(self) -> Option<u8> {
        let has_quality = match self.format {
            OutputFormat::Jpeg | OutputFormat::Avif => true,
            OutputFormat::WebP => !self.lossless,
            OutputFormat::Png | OutputFormat::Gif => false,
        };
        has_quality.then_some(self.quality)
    }
}

/// Writes pixels, and blocks beside them; a GIF has none. JPEG drops alpha: flatten first.
///
/// # Errors
/// `LimitExceeded` where a side is longer than the format can say, `Internal`; as [`Watch::check`], but not within a call of WebP's or AVIF's
/// encoder.
pub(crate) fn encode(pixels: &Pixels, output: Output, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    let Output { format, quality, progressive, effort, colors, dither, .. } = output;
    check_sides(pixels, format)?;
    match format {
        OutputFormat::Jpeg => jpeg::encode(pixels, quality, progressive, written, watch),
        OutputFormat::Png => png::encode(pixels, colors, dither, written, watch),
        OutputFormat::WebP => webp::encode(pixels, output).map(|file| webp::with_blocks(file, pixels.shape(), written)),
        OutputFormat::Avif => avif::write::encode(pixels, quality, effort),
        OutputFormat::Gif => {
            let mut writer = gif::Writer::new(pixels.shape(), output, None, pixels, watch)?;
            writer.add(pixels, 0, watch)?;
            writer.finish(watch)
        }
    }
}

fn check_sides(pixels: &Pixels, format: OutputFormat) -> Result<(), Error> {
    let longest_px = longest_side_px(format);
    let side_px = pixels.width_px.max(pixels.height_px);
    if side_px > longest_px {
        let text = format!("result has a side of {side_px} pixels, limit of {} is {longest_px}", format.as_str());
        return Err(Error::new(ErrorKind::LimitExceeded, ENCODE, text));
    }
    Ok(())
}

/// The longest side a format can say, in pixels: T.81 B.2.2, the PNG crate's own bound aside from 2^31 - 1, WebP's 14 bits, GIF's 16,
/// AV1's 16.
pub(crate) const fn longest_side_px(format: OutputFormat) -> u32 {
    match format {
        OutputFormat::Jpeg | OutputFormat::Gif => 65_535,
        OutputFormat::Png => 0x7fff_ffff,
        OutputFormat::WebP => 16_383,
        OutputFormat::Avif => 65_535,
    }
}

/// Bytes an encoder holds while it works, its output included: an upper bound for real pictures, from measured peaks and a margin.
pub(crate) fn encode_working_bytes(shape: Shape, output: Output) -> u64 {
    if output.by_content {
        let each = |format| encode_working_bytes(shape, Output { format, by_content: false, ..output });
        return content::CANDIDATES.map(each).into_iter().max().unwrap_or_default();
    }
    let pixels = shape.pixels();
    // Of several tries the best so far is kept.
    let kept = output.max_bytes.map_or(0, |bytes| u64::from(bytes.get()).min(shape.bytes() + (64 << 10)));
    let working = match output.format {
        OutputFormat::Jpeg => jpeg::encode_working_bytes(shape, output.quality, output.progressive),
        // Indices, their packed rows and the output.
        OutputFormat::Png if output.colors.is_some() => {
            (256 << 10) + palette::working_bytes(pixels) + palette::spread_bytes(shape.width_px) + pixels * 4
        }
        // A filtered copy and the growing output: measured 4.
        OutputFormat::Png => (1 << 20) + pixels * 8,
        OutputFormat::Gif => gif::held_bytes(shape, 1) + gif::frame_bytes(shape),
        OutputFormat::WebP if output.lossless => (6 << 18) + pixels * 80,
        OutputFormat::WebP => webp::encode_working_bytes(shape, output.quality, output.effort),
        OutputFormat::Avif => avif::write::working_bytes(shape),
    };
    working + kept
}

use encode_working_bytes as still_working_bytes;
/// The profile of a source of red, green and blue, to be written with pixels that were not converted: as stored, or made of what the
/// header says by numbers. `None` where there is none that can be used.
pub(crate) fn profile(probe: &Probe, source: &[u8]) -> Option<Vec<u8>> {
    if !has_own_colours(probe) {
        return None;
    }
    let stored = match probe.format {
        Format::Jpeg => jpeg::profile(source),
        Format::Png => png::profile(probe, source),
        Format::WebP => webp::profile(source).map(<[u8]>::to_vec),
        Format::Avif | Format::Heic | Format::Tiff => match &probe.parts {
            Parts::Heif(heif) => heif.icc.clone(),
            Parts::Tiff(tiff) => tiff.icc.clone(),
            _ => None,
        },
        _ => None,
    };
    let by_numbers = || probe.described.by_numbers()?.encode().ok();
    let usable = |profile: &Vec<u8>| !matches!(icc::read(profile, false), icc::Said::Nothing);
    match probe.described.code_points {
        // They come before a profile.
        Some(_) => by_numbers().or(stored),
        None => stored.filter(usable).or_else(by_numbers),
    }
    .filter(usable)
}

/// Bytes of that, at most.
pub(crate) fn profile_bytes(probe: &Probe) -> u64 {
    const BY_NUMBERS: u64 = 4 << 10;
    let stored =
        if probe.format == Format::Png { png::unpacked_bytes(probe) } else { probe.profile_bytes.min(icc::MAX_PROFILE_BYTES as u64) };
    stored.max(BY_NUMBERS)
}

/// Whether a source says of red, green and blue what they are: such pixels can be written as they are, with its profile. Grey and inks are
/// always brought to sRGB.
pub(crate) fn has_own_colours(probe: &Probe) -> bool {
    let says = probe.has_icc || probe.described != Described::default();
    says && match probe.format {
        Format::Png => probe.is_palette || probe.channels >= 3,
        Format::Jpeg | Format::WebP | Format::Gif => probe.channels == 3 || probe.has_alpha,
        // What is of high dynamic range is sRGB when it leaves the decoder.
        Format::Avif | Format::Heic => probe.channels >= 3 && probe.needs_profile,
        Format::Tiff => probe.channels >= 3 && !matches!(&probe.parts, Parts::Tiff(tiff) if tiff.photometric == INKS),
        Format::Bmp | Format::Ico | Format::Qoi | Format::Jxl | Format::Svg => false,
    }
}

/// Whether results of this format may keep all 16 bits of the source's samples.
pub(crate) fn keeps_depth(probe: &Probe, output: Output) -> bool {
    probe.format == Format::Png
        && png::is_deep(probe)
        && output.format == OutputFormat::Png
        && !output.by_content
        && output.colors.is_none()
}

/// Inks among a TIFF's kinds of samples.
const INKS: u16 = 5;

/// A buffer for a whole picture; refuses what does not fit the address space.
fn picture_buffer(probe: &Probe, layout: Layout) -> Result<Vec<u8>, Error> {
    let bytes = Pixels::byte_count(probe.width_px, probe.height_px, layout);
    bytes.map(|bytes| vec![0; bytes]).ok_or_else(|| {
        let text = format!("image of {} pixels does not fit the memory of this machine", probe.pixels());
        Error::new(ErrorKind::LimitExceeded, DECODE, text).in_format(probe.format)
    })
}

/// Wraps decoded bytes; a decoder that gave another number of them than it said is our fault.
fn picture(probe: &Probe, layout: Layout, bytes: Vec<u8>) -> Result<Pixels, Error> {
    Pixels::new(probe.width_px, probe.height_px, layout, bytes)
        .ok_or_else(|| Error::new(ErrorKind::Internal, DECODE, "decoder gave a wrong number of bytes").in_format(probe.format))
}

/// Shown frames of the JPEG XL that starts at the reader's position; `None` where it ends before all were seen.
///
/// # Errors
/// `Malformed`.
pub(crate) fn jxl_frames<R: BufRead + Seek>(source: &mut R, most: u32) -> Result<Option<u32>, Error> {
    jxl::frames(source, most)
}

/// Whether a BMP with this head has an alpha channel; `None` if the head is broken or cut.
pub(crate) fn bmp_has_alpha(head: &[u8]) -> Option<bool> {
    bmp::has_alpha(head)
}

/// Calls a library that is known to panic on some bytes: that is an error like others. What it was at work on must not be used again.
fn caught<T>(format: Format, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        let text = format!("{format} is broken in a way that its reader does not expect");
        Err(Error::new(ErrorKind::Malformed, DECODE, text).in_format(format))
    })
}

/// Straight colours of those multiplied by alpha.
fn straighten(pixel: &mut [u8; 4]) {
    let alpha = u32::from(pixel[3]);
    for value in &mut pixel[..3] {
        // Where nothing shows there is nothing to straighten.
        *value = (u32::from(*value) * 255 + alpha / 2).checked_div(alpha).map_or(*value, |straight| straight.min(255) as u8);
    }
}

/// The decoder saw other sides than the probe: two readers, two pictures, so neither is believed.
fn disagreement(format: Format) -> Error {
    Error::new(ErrorKind::Malformed, DECODE, "image says two different sizes").in_format(format)
}

#[cfg(test)]
pub(crate) mod tests;
