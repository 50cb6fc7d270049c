//! A decoder told not to go on.

use crate::{
    chance::by_chance,
    writer::{Manner, jpeg, quantisers},
};
use jpeg_shrink::{Decoder, ErrorKind, Options, Scale, Strip};
use std::cell::Cell;

/// Where blocks wait for several scans, a decoder asks once a row of blocks whether to go on; told not to, it ends at once and for good, a lenient one
/// as well. Asking changes nothing.
#[test]
fn a_decoder_of_many_scans_can_be_interrupted_all_along() {
    let picture = by_chance((700, 500), &[(2, 2), (1, 1), (1, 1)], quantisers(2, 1), 3, 5);
    for manner in [Manner::apart(3), Manner::progressive(3, 0b0_1010_1111), Manner { restart: 3, ..Manner::progressive(3, 0x7ff) }] {
        let file = jpeg(&picture, &manner);
        let options = Options::new(Scale::Full);
        let questions = Cell::new(0_u32);
        let count = || {
            questions.set(questions.get() + 1);
            true
        };
        let (mut plain, mut asked) = (Decoder::new(&file, options).unwrap(), Decoder::new(&file, options).unwrap());
        loop {
            let before = plain.read_strip().unwrap().map(|strip| samples(&strip));
            assert_eq!(before, asked.read_strip_while(&count).unwrap().map(|strip| samples(&strip)));
            if before.is_none() {
                break;
            }
        }
        // Rows of blocks of the smallest component in each scan.
        let all = questions.get();
        assert!(all >= manner.scans.len() as u32 * 500 / 16, "{all} questions in {} scans", manner.scans.len());
        for (last, lenient) in [0, 1, all / 3, all / 2, all - 1].into_iter().flat_map(|last| [(last, false), (last, true)]) {
            questions.set(0);
            let until = || {
                questions.set(questions.get() + 1);
                questions.get() <= last
            };
            let mut decoder = Decoder::new(&file, Options { lenient, ..options }).unwrap();
            let kind = decoder.read_strip_while(&until).map(|_| ()).unwrap_err().kind();
            assert_eq!((kind, questions.get()), (ErrorKind::Interrupted, last + 1));
            assert_eq!(decoder.read_strip().map(|_| ()).unwrap_err().kind(), ErrorKind::Interrupted);
        }
    }
}

fn samples(strip: &Strip<'_>) -> Vec<Vec<u8>> {
    strip.components().map(|samples| samples.bytes.to_vec()).collect()
}
