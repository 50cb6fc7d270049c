//! The slow obvious twin: codes found bit by bit in a map, every coefficient kept, transforms and colours by formula in floating
//! point, the whole picture in memory. Written from T.81; shares no code with the decoder.

use std::collections::HashMap;

#[derive(Clone, Default)]
struct Part {
    id: u8,
    h: usize,
    v: usize,
    tq: usize,
    wide: usize,
    high: usize,
    own: (usize, usize),
    blocks: Vec<[i32; 64]>,
}

type Codes = HashMap<(u32, u32), u8>;

struct BitsOf<'a> {
    bytes: &'a [u8],
    at: usize,
    bit: u32,
}

impl BitsOf<'_> {
    fn one(&mut self) -> i32 {
        let byte = self.bytes[self.at];
        let bit = byte >> (7 - self.bit) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.at += if byte == 0xff { 2 } else { 1 };
        }
        i32::from(bit)
    }

    fn many(&mut self, count: u32) -> i32 {
        (0..count).fold(0, |value, _| value << 1 | self.one())
    }

    fn extended(&mut self, size: u32) -> i32 {
        let value = self.many(size);
        if size > 0 && value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    fn symbol(&mut self, codes: &Codes) -> u32 {
        let mut code = 0;
        for length in 1..=16 {
            code = code << 1 | self.one() as u32;
            if let Some(&symbol) = codes.get(&(length, code)) {
                return u32::from(symbol);
            }
        }
        panic!("no code");
    }

    fn restart(&mut self) {
        if self.bit > 0 {
            self.at += if self.bytes[self.at] == 0xff { 2 } else { 1 };
            self.bit = 0;
        }
        assert_eq!(self.bytes[self.at], 0xff);
        assert!((0xd0..=0xd7).contains(&self.bytes[self.at + 1]));
        self.at += 2;
    }
}

/// Natural position of zigzag index, walked rather than listed.
fn zigzag() -> Vec<usize> {
    let mut places: Vec<(usize, usize)> = (0..8).flat_map(|row| (0..8).map(move |column| (row, column))).collect();
    places.sort_by_key(|&(row, column)| {
        let diagonal = row + column;
        (diagonal, if diagonal % 2 == 0 { column } else { row })
    });
    places.into_iter().map(|(row, column)| 8 * row + column).collect()
}

/// The picture at `side`/8, as interleaved floats before rounding, with width, height and channels.
pub(crate) fn decode(bytes: &[u8], side: usize) -> (Vec<f64>, usize, usize, usize) {
    let zigzag = zigzag();
    let mut quantisers = vec![[0f64; 64]; 4];
    let mut codes: Vec<Codes> = vec![Codes::new(); 32];
    let (mut width, mut height, mut interval, mut progressive) = (0, 0, 0, false);
    let mut parts: Vec<Part> = Vec::new();
    let (mut adobe, mut jfif) = (None, false);
    let mut at = 2;
    loop {
        let code = bytes[at + 1];
        if code == 0xd9 {
            break;
        }
        let length = usize::from(bytes[at + 2]) << 8 | usize::from(bytes[at + 3]);
        let body = &bytes[at + 4..at + 2 + length];
        at += 2 + length;
        match code {
            0xe0 => jfif |= body.starts_with(b"JFIF"),
            0xee if body.starts_with(b"Adobe") => adobe = Some(body[11]),
            0xdd => interval = usize::from(body[0]) << 8 | usize::from(body[1]),
            0xdb => {
                let mut rest = body;
                while !rest.is_empty() {
                    let wide = usize::from(rest[0] >> 4);
                    for index in 0..64 {
                        quantisers[usize::from(rest[0] & 15)][zigzag[index]] = if wide == 1 {
                            256.0 * f64::from(rest[1 + 2 * index]) + f64::from(rest[2 + 2 * index])
                        } else {
                            f64::from(rest[1 + index])
                        };
                    }
                    rest = &rest[1 + 64 * (1 + wide)..];
                }
            }
            0xc4 => {
                let mut rest = body;
                while !rest.is_empty() {
                    let table = &mut codes[usize::from(rest[0])];
                    table.clear();
                    let (mut code, mut place) = (0, 17);
                    for length in 1..=16 {
                        for _ in 0..rest[length] {
                            table.insert((length as u32, code), rest[place]);
                            code += 1;
                            place += 1;
                        }
                        code <<= 1;
                    }
                    rest = &rest[place..];
                }
            }
            0xc0..=0xc2 => {
                progressive = code == 0xc2;
                height = usize::from(body[1]) << 8 | usize::from(body[2]);
                width = usize::from(body[3]) << 8 | usize::from(body[4]);
                for three in body[6..].chunks(3) {
                    parts.push(Part {
                        id: three[0],
                        h: (three[1] >> 4).into(),
                        v: (three[1] & 15).into(),
                        tq: three[2].into(),
                        ..Part::default()
                    });
                }
                if let [lone] = parts.as_mut_slice() {
                    (lone.h, lone.v) = (1, 1);
                }
                let (hmax, vmax) = (parts.iter().map(|part| part.h).max().unwrap(), parts.iter().map(|part| part.v).max().unwrap());
                for part in &mut parts {
                    part.wide = width.div_ceil(8 * hmax) * part.h;
                    part.high = height.div_ceil(8 * vmax) * part.v;
                    part.own = ((width * part.h).div_ceil(8 * hmax), (height * part.v).div_ceil(8 * vmax));
                    part.blocks = vec![[0; 64]; part.wide * part.high];
                }
            }
            0xda => {
                let count = usize::from(body[0]);
                let chosen: Vec<(usize, usize, usize)> = body[1..=2 * count]
                    .chunks(2)
                    .map(|pair| {
                        let index = parts.iter().position(|part| part.id == pair[0]).unwrap();
                        (index, usize::from(pair[1] >> 4), 16 + usize::from(pair[1] & 15))
                    })
                    .collect();
                let (first, last) = (usize::from(body[1 + 2 * count]), usize::from(body[2 + 2 * count]));
                let (high, low) = (body[3 + 2 * count] >> 4, u32::from(body[3 + 2 * count] & 15));
                let mut bits = BitsOf { bytes, at, bit: 0 };
                // The order of blocks: (component, its block) for each MCU.
                let mut mcus: Vec<Vec<(usize, usize)>> = Vec::new();
                if let [(index, ..)] = chosen[..] {
                    for row in 0..parts[index].own.1 {
                        for column in 0..parts[index].own.0 {
                            mcus.push(vec![(0, row * parts[index].wide + column)]);
                        }
                    }
                } else {
                    let (across, down) = (parts[0].wide / parts[0].h, parts[0].high / parts[0].v);
                    for row in 0..down {
                        for column in 0..across {
                            let mut mcu = Vec::new();
                            for (place, &(index, ..)) in chosen.iter().enumerate() {
                                let part = &parts[index];
                                for y in 0..part.v {
                                    for x in 0..part.h {
                                        mcu.push((place, (row * part.v + y) * part.wide + column * part.h + x));
                                    }
                                }
                            }
                            mcus.push(mcu);
                        }
                    }
                }
                let (mut before, mut run) = ([0; 4], 0);
                for (number, mcu) in mcus.iter().enumerate() {
                    if interval > 0 && number > 0 && number % interval == 0 {
                        bits.restart();
                        before = [0; 4];
                        run = 0;
                    }
                    for &(place, block) in mcu {
                        let (index, dc, ac) = chosen[place];
                        let block = &mut parts[index].blocks[block];
                        if !progressive {
                            let size = bits.symbol(&codes[dc]);
                            before[place] += bits.extended(size);
                            block[0] = before[place];
                            let mut k = 1;
                            while k < 64 {
                                let symbol = bits.symbol(&codes[ac]);
                                if symbol == 0 {
                                    break;
                                }
                                k += (symbol >> 4) as usize;
                                let value = bits.extended(symbol & 15);
                                block[zigzag[k]] = value;
                                k += 1;
                            }
                        } else if first == 0 && high == 0 {
                            let size = bits.symbol(&codes[dc]);
                            before[place] += bits.extended(size);
                            block[0] = before[place] << low;
                        } else if first == 0 {
                            block[0] |= bits.one() << low;
                        } else if high == 0 {
                            if run > 0 {
                                run -= 1;
                                continue;
                            }
                            let mut k = first;
                            while k <= last {
                                let symbol = bits.symbol(&codes[ac]);
                                let (zeros, size) = (symbol >> 4, symbol & 15);
                                if size == 0 && zeros < 15 {
                                    run = (1 << zeros) + bits.many(zeros) - 1;
                                    break;
                                }
                                k += zeros as usize;
                                if size > 0 {
                                    block[zigzag[k]] = bits.extended(size) << low;
                                }
                                k += 1;
                            }
                        } else {
                            let correct = |value: &mut i32, bits: &mut BitsOf<'_>| {
                                if bits.one() == 1 {
                                    *value += value.signum() << low;
                                }
                            };
                            let mut k = first;
                            while run == 0 && k <= last {
                                let symbol = bits.symbol(&codes[ac]);
                                let (mut zeros, size) = (symbol >> 4, symbol & 15);
                                if size == 0 && zeros < 15 {
                                    run = (1 << zeros) + bits.many(zeros);
                                    break;
                                }
                                let fresh = if size == 0 { 0 } else { (2 * bits.one() - 1) << low };
                                while k <= last {
                                    let value = &mut block[zigzag[k]];
                                    if *value != 0 {
                                        correct(value, &mut bits);
                                    } else if zeros == 0 {
                                        *value = fresh;
                                        break;
                                    } else {
                                        zeros -= 1;
                                    }
                                    k += 1;
                                }
                                k += 1;
                            }
                            if run > 0 {
                                run -= 1;
                                for k in k..=last {
                                    if block[zigzag[k]] != 0 {
                                        correct(&mut block[zigzag[k]], &mut bits);
                                    }
                                }
                            }
                        }
                    }
                }
                at = bits.at + usize::from(bits.bit > 0) * if bytes[bits.at] == 0xff { 2 } else { 1 };
            }
            _ => {}
        }
    }
    render(&parts, &quantisers, side, width, height, adobe, jfif)
}

/// A component's samples, `side` by `side` a block, clamped to its real size, and the clamped size.
fn samples(part: &Part, quantisers: &[f64; 64], side: usize) -> Vec<Vec<f64>> {
    let norm = |index: usize| if index == 0 { 0.5f64.sqrt() } else { 1.0 };
    let angle = |at: usize, frequency: usize| ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * side) as f64).cos();
    let basis: Vec<Vec<f64>> = (0..side).map(|at| (0..side).map(|frequency| norm(frequency) * angle(at, frequency)).collect()).collect();
    let mut rows = vec![vec![0.0; part.wide * side]; part.high * side];
    for (index, block) in part.blocks.iter().enumerate() {
        let (top, left) = (index / part.wide * side, index % part.wide * side);
        for y in 0..side {
            for x in 0..side {
                let mut sum = 0.0;
                for v in 0..side {
                    for u in 0..side {
                        sum += f64::from(block[8 * v + u]) * quantisers[8 * v + u] * basis[y][v] * basis[x][u];
                    }
                }
                rows[top + y][left + x] = (sum / 4.0 + 128.0).clamp(0.0, 255.0);
            }
        }
    }
    rows
}

fn render(
    parts: &[Part],
    quantisers: &[[f64; 64]],
    side: usize,
    width: usize,
    height: usize,
    adobe: Option<u8>,
    jfif: bool,
) -> (Vec<f64>, usize, usize, usize) {
    let (hmax, vmax) = (parts.iter().map(|part| part.h).max().unwrap(), parts.iter().map(|part| part.v).max().unwrap());
    let (out_width, out_height) = ((width * side).div_ceil(8), (height * side).div_ceil(8));
    let planes: Vec<Vec<f64>> = parts
        .iter()
        .map(|part| {
            let mut own = side;
            while own < 8 && (hmax * side).is_multiple_of(2 * own * part.h) && (vmax * side).is_multiple_of(2 * own * part.v) {
                own *= 2;
            }
            let rows = samples(part, &quantisers[part.tq], own);
            let real = ((width * part.h * own).div_ceil(8 * hmax), (height * part.v * own).div_ceil(8 * vmax));
            let ratio = ((hmax * side) as f64 / (part.h * own) as f64, (vmax * side) as f64 / (part.v * own) as f64);
            let smooth = side > 1 && [(2.0, 1.0), (2.0, 2.0), (1.0, 2.0)].contains(&ratio) && (ratio.0 == 1.0 || real.0 > 2);
            let mut plane = Vec::new();
            for y in 0..out_height {
                for x in 0..out_width {
                    let value = |row: f64, column: f64| {
                        rows[row.clamp(0.0, (real.1 - 1) as f64) as usize][column.clamp(0.0, (real.0 - 1) as f64) as usize]
                    };
                    plane.push(if smooth {
                        // Linear between the samples' centres.
                        let (cy, cx) = ((y as f64 + 0.5) / ratio.1 - 0.5, (x as f64 + 0.5) / ratio.0 - 0.5);
                        let (fy, fx) = (cy - cy.floor(), cx - cx.floor());
                        let (cy, cx) = (cy.floor(), cx.floor());
                        (1.0 - fy) * ((1.0 - fx) * value(cy, cx) + fx * value(cy, cx + 1.0))
                            + fy * ((1.0 - fx) * value(cy + 1.0, cx) + fx * value(cy + 1.0, cx + 1.0))
                    } else {
                        value((y as f64 / ratio.1 + 1e-9).floor(), (x as f64 / ratio.0 + 1e-9).floor())
                    });
                }
            }
            plane
        })
        .collect();
    let transformed = match (parts.len(), adobe) {
        (1, _) | (4, None | Some(0)) => false,
        (3, Some(0)) => jfif,
        _ => true,
    };
    let mut out = Vec::new();
    for at in 0..out_width * out_height {
        let mut values: Vec<f64> = planes.iter().map(|plane| plane[at]).collect();
        if transformed {
            let (y, cb, cr) = (values[0], values[1] - 128.0, values[2] - 128.0);
            let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|value| value.clamp(0.0, 255.0));
            for (place, value) in values.iter_mut().zip(rgb) {
                *place = if parts.len() == 4 { 255.0 - value } else { value };
            }
        }
        out.extend(values);
    }
    (out, out_width, out_height, parts.len())
}
