//! What of a source's metadata leaves with a variant: nothing, who made it and who owns it, or besides that what the camera tells of itself.
//!
//! Invariant: blocks are always written afresh, from a list of tags that is known to be harmless. Bytes of a source's block are never
//! copied as a whole, so that places (GPS), thumbnails, makers' notes, serial numbers and whatever programs hide there stay behind.

mod blocks;
mod credit;
mod exif;
mod iptc;
mod xmp;

pub(crate) use blocks::Blocks;

use crate::{
    codec,
    probe::{Format, Orientation, Probe},
    spec::KeptMetadata,
};
use credit::Credit;

/// Bytes of a source's block that is looked into: what a segment of a JPEG has room for. In a PNG, where they may be packed, of all of them
/// together.
pub(crate) const MAX_BLOCK_BYTES: usize = 64 << 10;

/// What leaves with a variant beside its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carry {
    pub(crate) metadata: KeptMetadata,
    /// The source's colour profile, where it has one.
    pub(crate) profile: bool,
    /// How the pixels must still be turned: as stored where that was not done.
    pub(crate) orientation: Orientation,
}

impl Carry {
    /// Pixels alone.
    #[cfg(test)]
    pub(crate) const NOTHING: Self = Self { metadata: KeptMetadata::None, profile: false, orientation: Orientation::Upright };

    pub(crate) fn is_nothing(&self) -> bool {
        self.metadata == KeptMetadata::None && !self.profile
    }

    /// Bytes of the source's blocks held for it, at most: those of other formats than PNG lie in the source.
    pub(crate) fn held_bytes(&self, probe: &Probe) -> u64 {
        let metadata = if self.metadata != KeptMetadata::None && probe.format == Format::Png { 3 * MAX_BLOCK_BYTES as u64 } else { 0 };
        metadata + if self.profile { codec::profile_bytes(probe) } else { 0 }
    }

    /// Bytes of what is written for it, at most.
    pub(crate) fn written_bytes(&self, probe: &Probe) -> u64 {
        const FRESH: u64 = 40 << 10;
        let metadata = if self.metadata == KeptMetadata::None { 0 } else { FRESH };
        metadata + if self.profile { codec::profile_bytes(probe) } else { 0 }
    }
}

/// Blocks to be written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// A TIFF stream, without a prefix; below 26 KiB.
    pub(crate) exif: Option<Vec<u8>>,
    /// An XMP packet in UTF-8; below 14 KiB.
    pub(crate) xmp: Option<String>,
    /// An ICC profile.
    pub(crate) profile: Option<Vec<u8>>,
}

impl Written {
    /// What `carry` lets out of a source's blocks.
    pub(crate) fn of(blocks: &Blocks<'_>, carry: Carry) -> Self {
        let profile = blocks.profile.as_deref().filter(|_| carry.profile).map(<[u8]>::to_vec);
        if carry.metadata == KeptMetadata::None {
            return Self { profile, ..Self::default() };
        }
        let source = blocks.exif.as_deref().and_then(exif::Source::new);
        let credit = Credit::of(source.as_ref(), blocks.iptc.as_deref(), blocks.xmp.as_deref());
        let exif = match carry.metadata {
            KeptMetadata::All => exif::all(source.as_ref(), &credit, carry.orientation, carry.profile),
            _ => exif::credit(&credit),
        };
        Self { exif, xmp: xmp::packet(&credit), profile }
    }
}
