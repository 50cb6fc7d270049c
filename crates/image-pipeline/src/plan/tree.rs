//! Which picture is made from which: those resampled from the decoded rows, those from a larger one's result, and what is written of each.
//!
//! A base is a part of the source at one size, upright and in sRGB. It comes from the decoded rows, or from another base that shows all
//! of its part at [`FROM_LARGER`] times its size. Turning and colour conversion are done to a base once it has its size, where there is
//! least to move, and so for all that is made from it.

use super::{
    step::Step,
    want::{Colour, Want, sides},
};
use crate::{
    codec::Output,
    pixels::{Layout, Shape},
    probe::Orientation,
    spec::Kernel,
    stage::geometry::Region,
};

/// How many times larger a picture must be, in both directions, for a smaller one to be resampled from it rather than from the decoded
/// rows. Measured by SSIMULACRA2 (record 0030 has the table).
pub(super) const FROM_LARGER: f64 = 2.0;

/// What floating-point noise may add to an edge, in pixels.
const EDGE: f64 = 1e-6;

/// A part of the source at one size.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// The base it is resampled from; `None`: the decoded rows.
    pub(crate) parent: Option<usize>,
    /// In pixels of that.
    pub(crate) region: Region,
    /// As resampling leaves it.
    pub(crate) resized: Shape,
    /// What pixels are weighed with.
    pub(crate) kernel: Kernel,
    /// Whether its light is resampled, not stored values.
    pub(crate) linear_light: bool,
    /// How it is turned then; children of a base that was turned need not be.
    pub(crate) transform: Orientation,
    /// Whether it becomes red, green and blue then.
    pub(crate) to_rgb: bool,
    /// Whether its colours become sRGB then, if the source's profile turns out to ask for it.
    pub(crate) profile: bool,
    /// Bases and finishes made from it.
    pub(crate) uses: usize,
}

impl Base {
    /// What it is in the end.
    pub(crate) fn shape(&self) -> Shape {
        let (width_px, height_px) = sides(self.transform, self.resized.width_px, self.resized.height_px);
        Shape { width_px, height_px, layout: if self.to_rgb { Layout::Rgb8 } else { self.resized.layout } }
    }
}

/// A base finished in one way, and written in one or several.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) base: usize,
    pub(crate) steps: Vec<Step>,
    /// Index of the spec, and how it is written.
    pub(crate) outputs: Vec<(usize, Output)>,
    /// What is written.
    pub(crate) result: Shape,
}

/// All of it.
pub(crate) struct Tree {
    /// Parents before their children.
    pub(crate) bases: Vec<Base>,
    pub(crate) finishes: Vec<Finish>,
}

impl Tree {
    /// The cheapest tree for `wants` from a source of these sides and this layout, as stored.
    pub(crate) fn grow(wants: &[Want], source: Shape, has_profile: bool) -> Self {
        let mut by_size: Vec<usize> = (0..wants.len()).collect();
        by_size.sort_by_key(|&index| std::cmp::Reverse(u64::from(wants[index].width_px) * u64::from(wants[index].height_px)));
        // Of each base the want that names it, and its parent.
        let mut named: Vec<(usize, Option<usize>)> = Vec::new();
        let mut base_of = vec![0; wants.len()];
        for &index in &by_size {
            let same = named.iter().position(|&(other, _)| wants[other].is_same_picture(&wants[index]));
            base_of[index] = same.unwrap_or_else(|| {
                // Smaller ones stand behind larger ones: the last that will do costs least.
                let parent = named.iter().rposition(|&(other, _)| is_enough(&wants[other], &wants[index]));
                named.push((index, parent));
                named.len() - 1
            });
        }
        let mut colours: Vec<Vec<Colour>> = vec![Vec::new(); named.len()];
        for (want, &base) in wants.iter().zip(&base_of) {
            colours[base].push(want.colour());
        }
        for base in (0..named.len()).rev() {
            if let Some(parent) = named[base].1 {
                let own = colours[base].clone();
                colours[parent].extend(own);
            }
        }
        let mut bases: Vec<Base> = Vec::new();
        for (&(want, parent), colours) in named.iter().zip(&colours) {
            let base =
                base(&wants[want], parent.map(|parent| (parent, &wants[named[parent].0], &bases[parent])), source, has_profile, colours);
            bases.push(base);
        }
        let mut finishes: Vec<Finish> = Vec::new();
        for (index, want) in wants.iter().enumerate() {
            let base = base_of[index];
            let steps = steps(want, bases[base].shape().layout);
            match finishes.iter_mut().find(|finish| finish.base == base && finish.steps == steps) {
                Some(finish) => finish.outputs.push((index, want.output)),
                None => {
                    let result = steps.iter().fold(bases[base].shape(), |shape, step| step.after(shape));
                    finishes.push(Finish { base, steps, outputs: vec![(index, want.output)], result });
                }
            }
        }
        for base in 0..bases.len() {
            let children = bases.iter().filter(|other| other.parent == Some(base)).count();
            bases[base].uses = children + finishes.iter().filter(|finish| finish.base == base).count();
        }
        Self { bases, finishes }
    }
}

/// Whether a picture is large enough to make a smaller one from, and shows all of it.
fn is_enough(large: &Want, small: &Want) -> bool {
    let part = within(large, small.region);
    large.transform == small.transform
        && (large.linear_light, large.own_colours) == (small.linear_light, small.own_colours)
        && large.kernel == small.kernel
        && small.kernel != Kernel::Nearest
        && part.width_px >= FROM_LARGER * f64::from(small.width_px)
        && part.height_px >= FROM_LARGER * f64::from(small.height_px)
        && part.left_px >= -EDGE
        && part.top_px >= -EDGE
        && part.left_px + part.width_px <= f64::from(large.width_px) + EDGE
        && part.top_px + part.height_px <= f64::from(large.height_px) + EDGE
}

/// Where a part of the source as shown lies in the picture of a larger part.
fn within(large: &Want, part: Region) -> Region {
    let across = f64::from(large.width_px) / large.region.width_px;
    let down = f64::from(large.height_px) / large.region.height_px;
    Region {
        left_px: (part.left_px - large.region.left_px) * across,
        top_px: (part.top_px - large.region.top_px) * down,
        width_px: part.width_px * across,
        height_px: part.height_px * down,
    }
}

fn base(want: &Want, parent: Option<(usize, &Want, &Base)>, source: Shape, has_profile: bool, colours: &[Colour]) -> Base {
    let from = parent.map_or(source.layout, |(_, _, base)| base.shape().layout);
    let profile = parent.is_none() && has_profile && !want.own_colours;
    let is_planar = matches!(from, Layout::Ycc444 | Layout::Ycc420);
    let to_rgb = is_planar && (profile || colours.iter().all(|&colour| colour == Colour::Rgb));
    let half = !to_rgb && colours.iter().all(|&colour| colour == Colour::Half);
    let layout = match from {
        Layout::Ycc444 | Layout::Ycc420 if half => Layout::Ycc420,
        Layout::Ycc444 | Layout::Ycc420 => Layout::Ycc444,
        // The encoder would take colours apart in the same way, from twice as many bytes.
        Layout::Rgb8 if half && !profile && parent.is_none() && is_as_stored(want, source) => Layout::Ycc420,
        other => other,
    };
    let (region, transform) = match parent {
        Some((_, large, _)) => (within(large, want.region), Orientation::Upright),
        None => {
            let (shown_width_px, shown_height_px) = sides(want.transform, source.width_px, source.height_px);
            (want.region.stored(want.transform, shown_width_px, shown_height_px), want.transform)
        }
    };
    let (width_px, height_px) = sides(transform, want.width_px, want.height_px);
    let resized = Shape { width_px, height_px, layout };
    Base {
        parent: parent.map(|(index, ..)| index),
        region,
        resized,
        kernel: want.kernel,
        linear_light: want.linear_light,
        transform,
        to_rgb,
        profile,
        uses: 0,
    }
}

/// Whether it is all of the source as it is.
fn is_as_stored(want: &Want, source: Shape) -> bool {
    let Shape { width_px, height_px, .. } = source;
    want.transform == Orientation::Upright
        && (want.width_px, want.height_px) == (width_px, height_px)
        && want.region == Region::whole(source)
}

/// What is left to do to a base of this layout before it is written.
fn steps(want: &Want, layout: Layout) -> Vec<Step> {
    let first = match (layout, want.colour()) {
        (Layout::Ycc444, Colour::Half) => Some(Step::HalveChroma),
        (Layout::Grey8, _) if want.steps.iter().all(|step| step.keeps_grey()) => None,
        (Layout::Ycc444 | Layout::Ycc420 | Layout::Grey8, Colour::Rgb) => Some(Step::ToRgb),
        // Half of the samples to work on.
        (Layout::Rgb8, Colour::Half) if !want.steps.is_empty() => Some(Step::ToPlanes),
        _ => None,
    };
    first.into_iter().chain(want.steps.iter().cloned()).collect()
}
