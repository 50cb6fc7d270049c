//! SVG in (`resvg`): drawn at the size that is wanted, with the bundled font, and with nothing from outside.
//!
//! No file, address, script or picture is looked up: what an `image` element names, inlined or not, is left out. Invariants: before the
//! drawing is unfolded its elements are counted as they will be after every `use`, and their nesting; before it is drawn, the layers and tiles it
//! takes are. What passes a bound is refused. A panic of the library is an error like others.

use super::{DECODE, Opened, Reading, caught, disagreement};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    probe::{Format, MAX_SVG_BYTES, Parts, Probe},
};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{
        Group, ImageHrefResolver, Node, Options, Tree,
        fontdb::Database,
        roxmltree::{Document, Node as Element, NodeId, ParsingOptions},
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// Elements after every `use` is unfolded.
const MAX_ELEMENTS: u64 = 100_000;
/// Elements within each other.
const MAX_DEPTH: u32 = 128;
/// Canvases held at a time beside the drawing itself: for opacity, masks, clips, steps of filters.
const MAX_LAYERS: u64 = 12;

/// Bytes held beside the source, the picture included: an upper bound.
pub(super) fn working_bytes(probe: &Probe, reading: Reading) -> u64 {
    /// The font, and what a small drawing unfolds to.
    const FIXED: u64 = 8 << 20;
    /// Of each byte of text: names, attributes, paths in several forms.
    const UNFOLDED_BYTES: u64 = 40;
    let Parts::Vector { bytes } = probe.parts else { return FIXED };
    let (width_px, height_px) = sides(probe, reading);
    FIXED + bytes.min(MAX_SVG_BYTES) * UNFOLDED_BYTES + u64::from(width_px) * u64::from(height_px) * 4 * (1 + MAX_LAYERS)
}

/// Sides it is drawn at.
fn sides(probe: &Probe, reading: Reading) -> (u32, u32) {
    reading.drawn_px.unwrap_or((probe.width_px, probe.height_px))
}

fn refused(kind: ErrorKind, text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(kind, DECODE, text).in_format(Format::Svg)
}

/// Draws the picture.
pub(super) fn open(probe: &Probe, source: &[u8], reading: Reading) -> Result<Opened<'static>, Error> {
    if source.len() as u64 > MAX_SVG_BYTES {
        return Err(refused(ErrorKind::LimitExceeded, format!("svg has {} bytes, limit is {MAX_SVG_BYTES}", source.len())));
    }
    let (width_px, height_px) = sides(probe, reading);
    let pixels = caught(Format::Svg, || {
        let tree = unfold(source)?;
        draw(&tree, width_px, height_px)
    })?;
    Ok(Opened::whole(pixels, None))
}

fn unfold(source: &[u8]) -> Result<Tree, Error> {
    let text = std::str::from_utf8(source).map_err(|_| refused(ErrorKind::Malformed, "svg is no utf-8 text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsing = ParsingOptions { allow_dtd: true, nodes_limit: 4 * MAX_ELEMENTS as u32, ..ParsingOptions::default() };
    let broken = |error: resvg::usvg::roxmltree::Error| {
        use resvg::usvg::roxmltree::Error as Fault;
        let (kind, text) = match error {
            Fault::NodesLimitReached => (ErrorKind::LimitExceeded, "svg has too many elements"),
            Fault::UnexpectedEndOfStream | Fault::UnclosedRootNode => (ErrorKind::Truncated, "svg ends before its root element does"),
            Fault::EntityReferenceLoop(_) => (ErrorKind::LimitExceeded, "svg has entities within each other, or too many of them"),
            _ => (ErrorKind::Malformed, "svg is no well-formed xml"),
        };
        refused(kind, text).caused_by(error)
    };
    let document = Document::parse_with_options(text, parsing).map_err(broken)?;
    let mut count = Count { by_id: HashMap::new(), known: HashMap::new() };
    for element in document.descendants() {
        if let Some(id) = element.attribute("id") {
            count.by_id.entry(id).or_insert(element);
        }
    }
    let elements = count.of(document.root_element(), 0).ok_or_else(|| {
        refused(ErrorKind::LimitExceeded, format!("svg has elements within each other, or used by each other, limit is {MAX_DEPTH} deep"))
    })?;
    if elements > MAX_ELEMENTS {
        return Err(refused(ErrorKind::LimitExceeded, format!("svg unfolds to {elements} elements, limit is {MAX_ELEMENTS}")));
    }
    let nothing = ImageHrefResolver { resolve_data: Box::new(|_, _, _| None), resolve_string: Box::new(|_, _| None) };
    let options = Options { font_family: FAMILY.to_owned(), fontdb: fonts(), image_href_resolver: nothing, ..Options::default() };
    Tree::from_xmltree(&document, &options).map_err(|error| refused(ErrorKind::Malformed, "svg is broken").caused_by(error))
}

/// Counts elements as they are once every `use` is unfolded.
struct Count<'d> {
    by_id: HashMap<&'d str, Element<'d, 'd>>,
    /// What is used, once counted.
    known: HashMap<NodeId, u64>,
}

impl<'d> Count<'d> {
    /// `None` where it is nested too deeply.
    fn of(&mut self, element: Element<'d, 'd>, depth: u32) -> Option<u64> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut sum = 1_u64;
        if element.tag_name().name() == "use" {
            let link = element.attribute("href").or_else(|| element.attribute(("http://www.w3.org/1999/xlink", "href")));
            let target = link.and_then(|link| link.strip_prefix('#')).and_then(|id| self.by_id.get(id)).copied();
            if let Some(target) = target {
                let used = match self.known.get(&target.id()) {
                    Some(&known) => known,
                    None => {
                        let used = self.of(target, depth + 1)?;
                        self.known.insert(target.id(), used);
                        used
                    }
                };
                sum = sum.saturating_add(used);
            }
        }
        for child in element.children().filter(Element::is_element) {
            sum = sum.saturating_add(self.of(child, depth + 1)?);
        }
        Some(sum)
    }
}

/// Name of the bundled font's family.
const FAMILY: &str = "Ubuntu";

/// The bundled font, whatever family is asked for.
fn fonts() -> Arc<Database> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let made = FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        fonts.set_serif_family(FAMILY);
        fonts.set_sans_serif_family(FAMILY);
        fonts.set_monospace_family(FAMILY);
        fonts.set_cursive_family(FAMILY);
        fonts.set_fantasy_family(FAMILY);
        Arc::new(fonts)
    });
    Arc::clone(made)
}

fn draw(tree: &Tree, width_px: u32, height_px: u32) -> Result<Pixels, Error> {
    let (across, down) = (width_px as f32 / tree.size().width(), height_px as f32 / tree.size().height());
    // Two readers, two sizes: sides may differ by their rounding only.
    let least_px = tree.size().width().min(tree.size().height()).max(1.0);
    if !(across / down - 1.0).abs().le(&(1.0 / least_px + 0.01)) {
        return Err(disagreement(Format::Svg));
    }
    let layers = layers(tree.root());
    if layers > MAX_LAYERS {
        return Err(refused(ErrorKind::LimitExceeded, format!("svg takes {layers} layers to draw, limit is {MAX_LAYERS}")));
    }
    let canvas = f64::from(width_px) * f64::from(height_px);
    let tiles_fit = tree.patterns().iter().all(|pattern| {
        let rect = pattern.rect();
        f64::from(rect.width() * across) * f64::from(rect.height() * down) <= canvas.max(1e6)
    });
    if !tiles_fit {
        return Err(refused(ErrorKind::LimitExceeded, "svg has a pattern whose tiles are larger than the picture"));
    }
    let mut canvas =
        Pixmap::new(width_px, height_px).ok_or_else(|| refused(ErrorKind::LimitExceeded, "svg does not fit the memory of this machine"))?;
    resvg::render(tree, Transform::from_scale(across, down), &mut canvas.as_mut());
    let mut bytes = canvas.take();
    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(super::straighten);
    Pixels::new(width_px, height_px, Layout::Rgba8, bytes).ok_or_else(|| disagreement(Format::Svg))
}

/// Canvases held at a time while a group is drawn.
fn layers(group: &Group) -> u64 {
    let within = group.children().iter().map(|child| match child {
        Node::Group(group) => layers(group),
        Node::Text(text) => layers(text.flattened()),
        Node::Path(_) | Node::Image(_) => 0,
    });
    let within = within.max().unwrap_or(0);
    if !group.should_isolate() {
        return within;
    }
    let mut clips = 0;
    let mut clip = group.clip_path();
    while let Some(found) = clip {
        clips += 1 + layers(found.root());
        clip = found.clip_path();
    }
    let mut masks = 0;
    let mut mask = group.mask();
    while let Some(found) = mask {
        masks += 1 + layers(found.root());
        mask = found.mask();
    }
    let steps = group.filters().iter().map(|filter| filter.primitives().len() as u64 + 3).max().unwrap_or(0);
    1 + within.max(clips).max(masks).max(steps)
}

#[cfg(test)]
mod tests;
