//! Reads the arguments of one option against its row of the table. Knows nothing of what they are for.
//!
//! Invariant: a value that leaves here lies in the range its row names; an empty argument is `None`, never a value.

use super::error::{Fault, SpecError};
use super::model::{Anchor, Gravity, Length, Place, Rgb};
use super::options::{ArgKind, Id, MAX_SHARE, MAX_SIDE_PX, MIN_SHARE, OptionRow};
use super::text;

/// Most characters of a number; what is longer is refused unread.
const MAX_NUMBER_CHARS: usize = 48;

/// The arguments of one option as written.
pub(super) struct Args<'t> {
    row: &'static OptionRow,
    values: Vec<&'t str>,
}

impl<'t> Args<'t> {
    /// Splits `text` at the colons.
    ///
    /// # Errors
    /// More arguments than the row has.
    pub(super) fn split(row: &'static OptionRow, text: &'t str) -> Result<Self, SpecError> {
        let allowed = match row.id {
            Id::Preset => usize::MAX,
            Id::Background | Id::Tint => 3,
            _ => row.args.len(),
        };
        let values: Vec<&str> = text.split(':').collect();
        if values.len() > allowed {
            return Err(Fault::TooManyArguments { option: row.name, found: values.len(), allowed }.into());
        }
        Ok(Self { row, values })
    }

    /// Every argument that is not empty.
    pub(super) fn all(&self) -> impl Iterator<Item = &'t str> {
        self.values.iter().copied().filter(|value| !value.is_empty())
    }

    fn value(&self, index: usize) -> Option<&'t str> {
        self.values.get(index).copied().filter(|value| !value.is_empty())
    }

    /// "argument is X, allowed is Y", in the words of the table.
    pub(super) fn refuse(&self, index: usize, found: &str) -> SpecError {
        let (subject, allowed) = match self.row.args {
            [only] => (self.row.name.to_owned(), only.kind.to_string()),
            args => match args.get(index) {
                Some(arg) if arg.name == self.row.name => (arg.name.to_owned(), arg.kind.to_string()),
                Some(arg) => (format!("{} {}", self.row.name, arg.name), arg.kind.to_string()),
                None => (self.row.name.to_owned(), self.row.range_text()),
            },
        };
        Fault::NotAllowed { subject, found: SpecError::clip(found), allowed }.into()
    }

    /// The row's kind of argument `index`; the table and the parser are written together, a mismatch is caught by the tests.
    fn kind(&self, index: usize) -> Option<&'static ArgKind> {
        self.row.args.get(index).map(|arg| &arg.kind)
    }

    pub(super) fn integer(&self, index: usize) -> Result<Option<i64>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        let number = Some(text).filter(|text| is_decimal(text)).and_then(|text| text.parse::<i64>().ok());
        let fits = match (self.kind(index), number) {
            (Some(ArgKind::Integer { min, max, .. }), Some(number)) => (*min..=*max).contains(&number),
            (Some(ArgKind::Multiple { of, min, max }), Some(number)) => (*min..=*max).contains(&number) && number % of == 0,
            _ => false,
        };
        if fits { Ok(number) } else { Err(self.refuse(index, text)) }
    }

    /// A side in pixels.
    pub(super) fn side(&self, index: usize) -> Result<Option<u32>, SpecError> {
        // The row allows 0 to 65535, so the conversion cannot fail; if the table ever says otherwise the value is refused.
        match self.integer(index)? {
            None => Ok(None),
            Some(number) => u32::try_from(number).map(Some).map_err(|_| self.refuse(index, &number.to_string())),
        }
    }

    pub(super) fn decimal(&self, index: usize) -> Result<Option<f32>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        match (self.kind(index), decimal(text)) {
            // Adding zero turns -0 into 0, which the canonical text needs.
            (Some(ArgKind::Decimal { min, max }), Some(number)) if (*min..=*max).contains(&number) => Ok(Some(number + 0.0)),
            _ => Err(self.refuse(index, text)),
        }
    }

    pub(super) fn switch(&self, index: usize) -> Result<Option<bool>, SpecError> {
        match self.value(index) {
            None if self.row.is_switch() => Ok(Some(true)),
            None => Ok(None),
            Some("1" | "t" | "true") => Ok(Some(true)),
            Some("0" | "f" | "false") => Ok(Some(false)),
            Some(other) => Err(self.refuse(index, other)),
        }
    }

    /// One of the words the row lists.
    pub(super) fn word(&self, index: usize) -> Result<Option<&'static str>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        let words: &[&'static str] = match self.kind(index) {
            Some(ArgKind::Word(words) | ArgKind::Words(words)) => words,
            _ => &[],
        };
        words.iter().copied().find(|word| *word == text).map(Some).ok_or_else(|| self.refuse(index, text))
    }

    /// Some of the words the row lists, separated by commas.
    pub(super) fn words(&self, index: usize) -> Result<Vec<&'static str>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(Vec::new()) };
        let Some(ArgKind::Words(words)) = self.kind(index) else { return Err(self.refuse(index, text)) };
        text.split(',').map(|part| words.iter().copied().find(|word| *word == part).ok_or_else(|| self.refuse(index, part))).collect()
    }

    pub(super) fn length(&self, index: usize) -> Result<Option<Length>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        if let Some(number) = Some(text).filter(|text| is_decimal(text)).and_then(|text| text.parse::<i64>().ok()) {
            return match u32::try_from(number) {
                Ok(0) => Ok(Some(Length::Full)),
                Ok(px) if i64::from(px) <= MAX_SIDE_PX => Ok(Some(Length::Px(px))),
                _ => Err(self.refuse(index, text)),
            };
        }
        match decimal(text) {
            Some(0.0) => Ok(Some(Length::Full)),
            Some(share) if (MIN_SHARE..=MAX_SHARE).contains(&share) => Ok(Some(Length::Share(share))),
            _ => Err(self.refuse(index, text)),
        }
    }

    /// Pixels or a share, either way.
    pub(super) fn offset(&self, index: usize) -> Result<Option<f32>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        let most = MAX_SIDE_PX as f32;
        match (self.kind(index), decimal(text)) {
            (Some(ArgKind::Offset), Some(number)) if (-most..=most).contains(&number) => Ok(Some(number + 0.0)),
            _ => Err(self.refuse(index, text)),
        }
    }

    /// A gravity word at `index`, its offsets, or the focus point, in the two arguments after it.
    pub(super) fn gravity(&self, index: usize) -> Result<Option<Gravity>, SpecError> {
        let word = self.word(index)?;
        let takes_none = match word {
            None => Some("none unless gravity is said"),
            Some("sm") => Some("none after sm"),
            Some(_) => None,
        };
        if let Some(allowed) = takes_none
            && let Some((at, text)) = [index + 1, index + 2].into_iter().find_map(|at| self.value(at).map(|text| (at, text)))
        {
            let subject = format!("{} argument {}", self.row.name, at + 1);
            return Err(Fault::NotAllowed { subject, found: SpecError::clip(text), allowed: allowed.to_owned() }.into());
        }
        match word {
            None => Ok(None),
            Some("fp") => Ok(Some(Gravity::focus(self.share(index + 1)?.unwrap_or(0.5), self.share(index + 2)?.unwrap_or(0.5)))),
            Some(word) => {
                let (x, y) = (self.offset(index + 1)?.unwrap_or(0.0), self.offset(index + 2)?.unwrap_or(0.0));
                Ok(Anchor::from_word(word).map(|anchor| Gravity { anchor, x, y }))
            }
        }
    }

    /// 0 to 1, whatever else the row allows there.
    fn share(&self, index: usize) -> Result<Option<f32>, SpecError> {
        let Some(number) = self.offset(index)? else { return Ok(None) };
        if (0.0..=1.0).contains(&number) {
            return Ok(Some(number));
        }
        let name = self.row.args.get(index).map_or("", |arg| arg.name);
        let subject = format!("{} {name}", self.row.name);
        Err(Fault::NotAllowed { subject, found: SpecError::clip(&number.to_string()), allowed: "0 to 1".to_owned() }.into())
    }

    /// Where something is laid.
    pub(super) fn place(&self, index: usize) -> Result<Option<Place>, SpecError> {
        Ok(self.word(index)?.and_then(Place::from_word))
    }

    /// `rrggbb` or `rgb` in one argument.
    pub(super) fn hex(&self, index: usize) -> Result<Option<Rgb>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        hex_colour(text.strip_prefix('#').unwrap_or(text)).map(Some).ok_or_else(|| self.refuse(index, text))
    }

    /// The name of something the operator named.
    pub(super) fn name(&self, index: usize) -> Result<Option<String>, SpecError> {
        let Some(text) = self.value(index) else { return Ok(None) };
        if is_name(text) { Ok(Some(text.to_owned())) } else { Err(self.refuse(index, text)) }
    }

    /// Text in base64 or percent-encoded.
    pub(super) fn text(&self, index: usize) -> Result<Option<String>, SpecError> {
        let Some(written) = self.value(index) else { return Ok(None) };
        text::decode(written).map(Some).ok_or_else(|| self.refuse(index, written))
    }

    /// Whether no argument has a value.
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.is_empty())
    }

    /// "argument has no value, allowed is Y".
    pub(super) fn missing(&self, index: usize) -> SpecError {
        let (name, allowed) = self.row.args.get(index).map_or(("", String::new()), |arg| (arg.name, arg.kind.to_string()));
        Fault::NoValue { subject: format!("{} {name}", self.row.name), allowed }.into()
    }

    /// `rrggbb`, `rgb`, or three numbers; a leading `#` is allowed.
    pub(super) fn colour(&self) -> Result<Option<Rgb>, SpecError> {
        let written = self.values.join(":");
        match self.values.as_slice() {
            [] | [""] => Ok(None),
            [hex] => hex_colour(hex.strip_prefix('#').unwrap_or(hex)).map(Some).ok_or_else(|| self.refuse(0, &written)),
            [r, g, b] => match (channel(r), channel(g), channel(b)) {
                (Some(r), Some(g), Some(b)) => Ok(Some(Rgb([r, g, b]))),
                _ => Err(self.refuse(0, &written)),
            },
            _ => Err(self.refuse(0, &written)),
        }
    }
}

/// Whether a watermark may be called this.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// Digits, one sign, one point: no exponent, no `inf`, no `nan`, nothing endless.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.len() <= MAX_NUMBER_CHARS
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn decimal(text: &str) -> Option<f32> {
    is_decimal(text).then(|| text.parse::<f32>().ok()).flatten()
}

fn channel(text: &str) -> Option<u8> {
    is_decimal(text).then(|| text.parse::<u8>().ok()).flatten()
}

fn hex_colour(text: &str) -> Option<Rgb> {
    let digits: Vec<u8> = text.chars().map(|char| char.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    match digits[..] {
        [r, g, b] => Some(Rgb([r * 17, g * 17, b * 17])),
        [r1, r0, g1, g0, b1, b0] => Some(Rgb([r1 * 16 + r0, g1 * 16 + g0, b1 * 16 + b0])),
        _ => None,
    }
}
