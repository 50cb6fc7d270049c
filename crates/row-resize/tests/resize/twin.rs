//! The slow twin: weights as defined, one pixel after the other, in doubles. And pictures to try it on.

use proptest::prelude::*;
use row_resize::{Filter, Job, Light, Pixel, Region};

pub(crate) const PIXELS: [Pixel; 3] = [Pixel::Grey8, Pixel::Rgb8, Pixel::Rgba8];
pub(crate) const FILTERS: [Filter; 4] = [Filter::Lanczos3, Filter::CatmullRom, Filter::Triangle, Filter::Nearest];
pub(crate) const LIGHTS: [Light; 2] = [Light::Encoded, Light::Linear];

pub(crate) fn job(source_px: (u32, u32), target_px: (u32, u32), pixel: Pixel) -> Job {
    Job { source_px, region: Region::whole(source_px), target_px, pixel, filter: Filter::Lanczos3, light: Light::Encoded }
}

pub(crate) fn result(job: &Job, source: &[u8]) -> Vec<u8> {
    let mut target = vec![0x55; job.target_px.0 as usize * job.target_px.1 as usize * job.pixel.channels()];
    row_resize::resize(job, source, &mut target).unwrap();
    target
}

pub(crate) fn picture(job: &Job, sample: impl Fn(u32, u32, usize) -> u8) -> Vec<u8> {
    let (width, height) = job.source_px;
    let channels = job.pixel.channels();
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| (0..channels).map(move |channel| (x, y, channel))).map(|(x, y, channel)| sample(x, y, channel)).collect()
}

/// Numbers that look like chance.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn kernel(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
    let a = x.abs();
    match filter {
        Filter::Lanczos3 if a < 3.0 => sinc(x) * sinc(x / 3.0),
        Filter::CatmullRom if a < 1.0 => 1.5 * a.powi(3) - 2.5 * a.powi(2) + 1.0,
        Filter::CatmullRom if a < 2.0 => -0.5 * a.powi(3) + 2.5 * a.powi(2) - 4.0 * a + 2.0,
        Filter::Triangle if a < 1.0 => 1.0 - a,
        _ => 0.0,
    }
}

fn weights(filter: Filter, start: f64, length: f64, side: u32, out_side: u32, out: u32) -> Vec<(u32, f64)> {
    let scale = length / f64::from(out_side);
    let stretch = scale.max(1.0);
    let centre = start + (f64::from(out) + 0.5) * scale;
    let (first, end) = (start.floor() as u32, ((start + length).ceil() as u32).min(side));
    if filter == Filter::Nearest {
        return vec![((centre.floor() as u32).clamp(first, end - 1), 1.0)];
    }
    let raw: Vec<(u32, f64)> = (first..end)
        .map(|at| (at, kernel(filter, (f64::from(at) + 0.5 - centre) / stretch)))
        .filter(|(_, weight)| *weight != 0.0)
        .collect();
    let sum: f64 = raw.iter().map(|(_, weight)| weight).sum();
    raw.into_iter().map(|(at, weight)| (at, weight / sum)).collect()
}

/// Exact values of every sample of the result, before rounding; colours of pixels whose alpha is 0 mean nothing.
pub(crate) fn slow(job: &Job, source: &[u8]) -> Vec<f64> {
    let channels = job.pixel.channels();
    let linear = job.light == Light::Linear && job.filter != Filter::Nearest;
    let to_light = |value: f64| if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
    let to_value = |light: f64| if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    let light: Vec<f64> = (0..256).map(|byte| f64::from(byte) / 255.0).map(|value| if linear { to_light(value) } else { value }).collect();
    let region = job.region;
    let across: Vec<_> = (0..job.target_px.0)
        .map(|out| weights(job.filter, region.left_px, region.width_px, job.source_px.0, job.target_px.0, out))
        .collect();
    let mut samples = Vec::new();
    for y in 0..job.target_px.1 {
        let down = weights(job.filter, region.top_px, region.height_px, job.source_px.1, job.target_px.1, y);
        for across in &across {
            let (mut colours, mut alpha) = ([0.0; 4], 0.0);
            for (from_y, weight_y) in &down {
                for (from_x, weight_x) in across {
                    let at = (*from_y as usize * job.source_px.0 as usize + *from_x as usize) * channels;
                    let pixel = &source[at..at + channels];
                    let weighs = job.filter != Filter::Nearest;
                    let opacity = pixel.get(3).map_or(1.0, |alpha| f64::from(*alpha) / 255.0);
                    let share = weight_x * weight_y * if weighs { opacity } else { 1.0 };
                    alpha += weight_x * weight_y * opacity;
                    for (colour, byte) in colours.iter_mut().zip(pixel) {
                        *colour += share * light[usize::from(*byte)];
                    }
                }
            }
            let divisor = if channels == 4 && job.filter != Filter::Nearest { alpha } else { 1.0 };
            for colour in &colours[..channels.min(3)] {
                let value = if divisor > 0.0 { colour / divisor } else { 0.0 };
                let value = if linear { to_value(value.clamp(0.0, 1.0)) } else { value };
                samples.push((value * 255.0).clamp(0.0, 255.0));
            }
            if channels == 4 {
                samples.push((alpha * 255.0).clamp(0.0, 255.0));
            }
        }
    }
    samples
}

/// Farthest from the twin, in levels; pixels whose alpha is less than `visible` are passed over.
pub(crate) fn farthest(job: &Job, source: &[u8], visible: f64) -> f64 {
    let channels = job.pixel.channels();
    let (fast, slow) = (result(job, source), slow(job, source));
    assert_eq!(fast.len(), slow.len());
    let pixels = fast.chunks(channels).zip(slow.chunks(channels)).filter(|(_, slow)| slow.get(3).is_none_or(|alpha| *alpha >= visible));
    pixels.flat_map(|(fast, slow)| fast.iter().zip(slow)).map(|(fast, slow)| (f64::from(*fast) - slow).abs()).fold(0.0, f64::max)
}

/// Jobs of all kinds with small sides, and seeds for their pictures.
pub(crate) fn jobs(longest: u32) -> impl Strategy<Value = (Job, u32)> {
    let sides = ((1..longest, 1..longest), (1..longest, 1..longest));
    let place = prop_oneof![Just((0.0, 0.0, 1.0, 1.0)), (0.0_f64..1.0, 0.0_f64..1.0, 0.01_f64..1.0, 0.01_f64..1.0),];
    let kind = (prop::sample::select(&PIXELS[..]), prop::sample::select(&FILTERS[..]), prop::sample::select(&LIGHTS[..]));
    (sides, place, kind, any::<u32>()).prop_map(|((source_px, target_px), place, (pixel, filter, light), seed)| {
        let (width, height) = (f64::from(source_px.0), f64::from(source_px.1));
        let region = Region {
            left_px: place.0 * width * (1.0 - place.2),
            top_px: place.1 * height * (1.0 - place.3),
            width_px: width * place.2,
            height_px: height * place.3,
        };
        (Job { source_px, region, target_px, pixel, filter, light }, seed)
    })
}

pub(crate) fn source_bytes(job: &Job) -> usize {
    job.source_px.0 as usize * job.source_px.1 as usize * job.pixel.channels()
}
