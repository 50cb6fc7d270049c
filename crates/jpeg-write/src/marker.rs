//! Everything in a file that is not entropy-coded: marker segments (T.81, B; JFIF 1.02).
//!
//! Knows nothing of samples. Invariant: lengths fit, for what comes here was checked.

use crate::{
    frame::Frame,
    huffman::Code,
    picture::{Options, Segment},
    quantise::{NATURAL, Quantiser},
};

/// A table's number in DHT: class in the upper half, 0 for DC and 1 for the rest.
pub(crate) const DC_TABLE: u8 = 0x00;
/// As [`DC_TABLE`].
pub(crate) const AC_TABLE: u8 = 0x10;

fn segment(out: &mut Vec<u8>, marker: u8, bytes: &[u8]) {
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&(bytes.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// From the start of the picture to its frame header.
pub(crate) fn head(out: &mut Vec<u8>, frame: &Frame, quantisers: &[Quantiser; 2], options: &Options<'_>) {
    out.extend_from_slice(&[0xff, 0xd8]);
    // Version 1.1, no unit, square pixels, no thumbnail.
    segment(out, 0xe0, b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00");
    for &Segment { number, bytes } in options.segments {
        segment(out, 0xe0 | number, bytes);
    }
    let colour = frame.sampling.is_some();
    for (number, quantiser) in quantisers.iter().take(1 + usize::from(colour)).enumerate() {
        let mut table = [number as u8; 65];
        for (to, index) in table[1..].iter_mut().zip(NATURAL) {
            *to = quantiser.table[usize::from(index)];
        }
        segment(out, 0xdb, &table);
    }
    let (height, width) = ((frame.height_px as u16).to_be_bytes(), (frame.width_px as u16).to_be_bytes());
    let mut header = vec![8, height[0], height[1], width[0], width[1], frame.components().len() as u8];
    for (component, number) in frame.components().iter().zip(1..) {
        header.extend_from_slice(&[number, (component.factor << 4 | component.factor) as u8, component.class as u8]);
    }
    segment(out, if options.progressive { 0xc2 } else { 0xc0 }, &header);
}

/// One Huffman table.
pub(crate) fn table(out: &mut Vec<u8>, number: u8, code: &Code) {
    let mut bytes = vec![number];
    bytes.extend_from_slice(&code.lengths);
    bytes.extend_from_slice(&code.symbols);
    segment(out, 0xc4, &bytes);
}

/// A scan's header: components by index with the class of their tables, then band and bits.
pub(crate) fn scan(out: &mut Vec<u8>, components: &[(usize, usize)], band: [u8; 2], bits: u8) {
    let mut bytes = vec![components.len() as u8];
    for &(component, class) in components {
        bytes.extend_from_slice(&[component as u8 + 1, (class << 4 | class) as u8]);
    }
    bytes.extend_from_slice(&[band[0], band[1], bits]);
    segment(out, 0xda, &bytes);
}

/// The end of the picture.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff, 0xd9]);
}
