//! GIF in (the `gif` crate): the first frame on its canvas. What the frame does not cover is transparent, what juts out is cut.

use super::{DECODE, Decoded, decoded_layout, disagreement, picture, picture_buffer};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    pixels::Layout,
    probe::{Format, Probe},
};
use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use std::num::NonZeroU64;

/// Decodes the first frame.
pub(super) fn decode(probe: &Probe, source: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    if let Some(allowed) = NonZeroU64::new(limits.max_memory_bytes) {
        options.set_memory_limit(MemoryLimit::Bytes(allowed));
    }
    let mut decoder = options.read_info(source).map_err(refused)?;
    if (u32::from(decoder.width()), u32::from(decoder.height())) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Gif));
    }
    let Some(frame) = decoder.next_frame_info().map_err(refused)? else {
        return Err(Error::new(ErrorKind::Truncated, DECODE, "gif ends before its picture").in_format(Format::Gif));
    };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent;
    let index_bytes = frame_width * frame_height;
    if index_bytes as u64 > probe.decoder_bytes {
        return Err(disagreement(Format::Gif));
    }
    let palette = decoder.palette().map_err(refused)?.to_vec();
    let mut indices = vec![0; index_bytes];
    decoder.read_into_buffer(&mut indices).map_err(refused)?;

    let layout = decoded_layout(probe);
    let mut canvas = picture_buffer(probe, layout)?;
    let (width, height) = (probe.width_px as usize, probe.height_px as usize);
    let copied = frame_width.min(width.saturating_sub(left));
    let rows = indices.chunks_exact(frame_width.max(1)).take(height.saturating_sub(top));
    let channels = layout.channels();
    for (row, target) in rows.zip(canvas.chunks_exact_mut(width * channels).skip(top)) {
        for (&index, pixel) in row[..copied].iter().zip(target[left.min(width) * channels..].chunks_exact_mut(channels)) {
            // An index behind the palette's end is black, as browsers show it.
            let at = usize::from(index) * 3;
            let rgb = palette.get(at..at + 3).unwrap_or(&[0; 3]);
            match layout {
                Layout::Rgb8 => pixel.copy_from_slice(rgb),
                Layout::Rgba8 if Some(index) == transparent => {}
                Layout::Rgba8 => {
                    pixel[..3].copy_from_slice(rgb);
                    pixel[3] = 255;
                }
            }
        }
    }
    Ok(Decoded { pixels: picture(probe, layout, canvas)?, to_srgb: None })
}

fn refused(error: DecodingError) -> Error {
    let (kind, text) = match &error {
        DecodingError::UnexpectedEof => (ErrorKind::Truncated, "gif ends before its picture does"),
        DecodingError::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            (ErrorKind::Truncated, "gif ends before its picture does")
        }
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => (ErrorKind::LimitExceeded, "gif wants more memory than is allowed"),
        DecodingError::Io(_) => (ErrorKind::Internal, "gif could not be read"),
        _ => (ErrorKind::Malformed, "gif is broken"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Gif).caused_by(error)
}
