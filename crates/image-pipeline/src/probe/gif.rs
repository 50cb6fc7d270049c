//! GIF blocks (GIF89a specification, sections 18 to 27): logical screen, first frame, number of frames.

use super::{Probe, Reader, check_area, check_frames};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Seek};

/// Data sub-blocks (up to 255 bytes each) walked at most: some 60 MB of pixels, far above any real animation's header cost.
const MAX_SUB_BLOCKS: u32 = 1 << 18;

/// Reads what follows `GIF87a` or `GIF89a`.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let (width_px, height_px) = (u32::from(reader.u16_le()?), u32::from(reader.u16_le()?));
    check_area(Format::Gif, width_px, height_px, limits)?;
    let [packed, _background, _aspect] = reader.array::<3>()?;
    reader.skip(colour_table_bytes(packed))?;
    let mut probe = Probe::still(Format::Gif, width_px, height_px);
    probe.channels = 1;
    let mut frames = 0;
    let mut sub_blocks = 0;
    match walk(reader, &mut probe, &mut frames, &mut sub_blocks, limits) {
        Ok(()) if frames == 0 => Err(reader.error(ErrorKind::Malformed, "gif ends without a picture")),
        Ok(()) => {
            probe.frames = (sub_blocks < MAX_SUB_BLOCKS).then_some(frames);
            Ok(probe)
        }
        // The first frame is whole: enough for everything but the count.
        Err(error) if error.kind() == ErrorKind::Truncated && frames > 0 => {
            probe.frames = None;
            Ok(probe)
        }
        Err(error) => Err(error),
    }
}

/// Walks blocks to the trailer, or to something that is no block behind a frame. `frames` counts those seen whole.
fn walk<R: BufRead + Seek>(
    reader: &mut Reader<'_, R>,
    probe: &mut Probe,
    frames: &mut u32,
    sub_blocks: &mut u32,
    limits: &Limits,
) -> Result<(), Error> {
    loop {
        match reader.byte()? {
            0x21 => {
                let label = reader.byte()?;
                if label == 0xf9 && *frames == 0 {
                    let size = reader.byte()?;
                    if size >= 1 {
                        probe.has_alpha |= reader.byte()? & 1 == 1;
                        reader.skip(u64::from(size) - 1)?;
                        skip_sub_blocks(reader, sub_blocks)?;
                    }
                } else {
                    skip_sub_blocks(reader, sub_blocks)?;
                }
            }
            0x2c => {
                let [left, top] = [reader.u16_le()?, reader.u16_le()?].map(u32::from);
                let [width_px, height_px] = [reader.u16_le()?, reader.u16_le()?].map(u32::from);
                let packed = reader.byte()?;
                let frame_pixels = u64::from(width_px) * u64::from(height_px);
                if *frames > 0 && frame_pixels > 0 {
                    check_area(Format::Gif, width_px, height_px, limits)?;
                }
                probe.frame_pixels = probe.frame_pixels.max(frame_pixels);
                if *frames == 0 {
                    check_area(Format::Gif, width_px, height_px, limits)?;
                    let covered = left == 0 && top == 0 && width_px >= probe.width_px && height_px >= probe.height_px;
                    probe.has_alpha |= !covered;
                    probe.progressive = packed & 0x40 != 0;
                    // What the decoder holds for the frame before it is cut to the canvas.
                    probe.decoder_bytes = u64::from(width_px) * u64::from(height_px);
                }
                reader.skip(colour_table_bytes(packed) + 1)?;
                skip_sub_blocks(reader, sub_blocks)?;
                *frames += 1;
                check_frames(Format::Gif, *frames, probe.pixels(), limits)?;
            }
            0x3b => return Ok(()),
            _ if *frames > 0 => return Ok(()),
            _ => return Err(reader.error(ErrorKind::Malformed, "gif has an unknown block")),
        }
        if *sub_blocks >= MAX_SUB_BLOCKS && *frames > 0 {
            return Ok(());
        }
    }
}

/// Bytes of the colour table a packed field announces.
fn colour_table_bytes(packed: u8) -> u64 {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// Steps over sub-blocks to their terminator. The walk of one chain is bounded too: a chain past the bound ends the count, not the image.
fn skip_sub_blocks<R: BufRead + Seek>(reader: &mut Reader<'_, R>, sub_blocks: &mut u32) -> Result<(), Error> {
    loop {
        let size = reader.byte()?;
        if size == 0 || *sub_blocks >= MAX_SUB_BLOCKS {
            return Ok(());
        }
        *sub_blocks += 1;
        reader.skip(u64::from(size))?;
    }
}
