//! Pictures made here, against recorded numbers: that no pixel changes unseen.
//!
//! The pictures are the writer's, of whole numbers only, so they are the same on every machine. A line of `fixtures/recorded.txt` is
//! a picture: the file's checksum, and for 1/8, 1/4, 1/2 and 1/1 the pixels' checksum and their root-mean-square error against the
//! slow twin in thousandths. Where a change of pixels is meant, the failing test prints the lines to record.

use crate::{
    agreement::{SCALES, decode},
    chance::by_chance,
    corpus::checksum,
    writer::{Codes, Manner, Sign, jpeg, quantisers},
    writings::{FACTORS, against_twin, plainly, take_apart},
};
use jpeg_shrink::Options;

const RECORDED: &str = include_str!("fixtures/recorded.txt");

fn pictures() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, factors) in FACTORS {
        let parts = factors.len();
        let name = name.replace([' ', ','], "-");
        let plain = plainly(factors);
        let mut progressive = Manner::progressive(parts, 0b10_0000_1010);
        if plain.scans.len() > 1 {
            take_apart(&mut progressive);
        }
        let manners = [
            ("plain", (97, 75), plain.clone()),
            ("restarts", (64, 33), Manner { restart: 2, codes: Codes::Steep, ..plain.clone() }),
            ("apart", (35, 50), Manner::apart(parts)),
            ("progressive", (97, 75), progressive),
        ];
        for (manner_name, size, manner) in manners {
            let picture = by_chance(size, factors, quantisers(2, 1), 3, 41);
            all.push((format!("{name}-{manner_name}"), jpeg(&picture, &manner)));
        }
        let untransformed = match parts {
            3 => Sign::Adobe(0),
            4 => Sign::Adobe(2),
            _ => continue,
        };
        let picture = by_chance((50, 41), factors, quantisers(5, 2), 4, 43);
        all.push((format!("{name}-{untransformed:?}").replace(['(', ')'], "-"), jpeg(&picture, &Manner { sign: untransformed, ..plain })));
    }
    all
}

#[test]
fn made_pictures_are_as_recorded() {
    let mut lines = Vec::new();
    for (name, file) in pictures() {
        let mut line = format!("{name} {:016x}", checksum(&file));
        for scale in SCALES {
            let (pixels, ..) = decode(&file, Options::new(scale));
            let (_, mean) = against_twin(&name, &file, scale);
            line += &format!(" {:016x} {:.0}", checksum(&pixels), 1000.0 * mean);
        }
        lines.push(line);
    }
    let recorded: Vec<&str> = RECORDED.lines().collect();
    assert_eq!(lines.len(), FACTORS.len() * 5 - 1);
    for (line, recorded) in lines.iter().zip(recorded.iter().chain(std::iter::repeat(&"nothing"))) {
        assert_eq!(line, recorded, "all lines:\n{}\n", lines.join("\n"));
    }
    assert_eq!(recorded.len(), lines.len());
}
