//! What is wrong with an option text, in words for the client. Every text that is echoed is shortened and stripped of control characters.

use std::fmt::Write as _;

/// Longest piece of client text an error repeats, in characters.
const ECHO_CHARS: usize = 40;

/// An option text that was refused. `Display` says what was found and what is allowed; it is meant for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SpecError(#[from] pub(super) Fault);

/// The ways a text can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("unknown option {}{}", quoted(found), hint(*nearest))]
    UnknownOption { found: String, nearest: Option<&'static str> },
    #[error("option {name} is not supported by this version")]
    NotSupported { name: &'static str },
    #[error("{subject} is {}, allowed is {allowed}", shown(found))]
    NotAllowed { subject: String, found: String, allowed: String },
    #[error("{subject} has no value, allowed is {allowed}")]
    NoValue { subject: String, allowed: String },
    #[error("{option} has {found} arguments, at most {allowed} are allowed")]
    TooManyArguments { option: &'static str, found: usize, allowed: usize },
    #[error("options have {found} bytes, limit is {allowed}")]
    TooLong { found: usize, allowed: usize },
    #[error("more than {allowed} options, presets included")]
    TooManyOptions { allowed: usize },
    #[error("more than {allowed} passes (/-/), presets included")]
    TooManyPasses { allowed: usize },
    #[error("unknown preset {}, there are {known}", quoted(found))]
    UnknownPreset { found: String, known: String },
    #[error("preset {} refers to presets more than {allowed} deep", quoted(found))]
    PresetTooDeep { found: String, allowed: usize },
    #[error("preset name is {}, allowed is 1 to 64 characters of a-z, 0-9, _ and -", quoted(found))]
    PresetName { found: String },
}

impl SpecError {
    /// Keeps at most a screenful of `text`, so that hostile input is neither stored nor repeated whole.
    pub(super) fn clip(text: &str) -> String {
        let mut clipped: String = text.chars().take(ECHO_CHARS).collect();
        if clipped.len() < text.len() {
            clipped.push('…');
        }
        clipped
    }
}

/// Numbers as they are, everything else in quotes.
fn shown(found: &str) -> String {
    let plain = !found.is_empty() && found.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    if plain { found.to_owned() } else { quoted(found) }
}

/// `"text"`, control characters, quotes and backslashes escaped.
fn quoted(found: &str) -> String {
    let mut out = String::with_capacity(found.len() + 2);
    // Writing to a String cannot fail.
    let _ = write!(out, "\"{}\"", found.escape_debug());
    out
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}
