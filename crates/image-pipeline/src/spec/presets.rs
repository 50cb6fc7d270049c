//! Named option texts. A set of presets holds only names and texts that parse.

use std::collections::BTreeMap;

use super::error::{Fault, SpecError};
use super::model::Spec;

/// Longest preset name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// The presets that exist without configuration. `filter` is what `process_type=filter` asks for: a picture that is visibly
/// filtered (black and white, more contrast, crisp), at a size fit for a screen.
const BUILTIN: [(&str, &str); 3] =
    [("default", "rs:fit:320:320"), ("thumbnail", "rs:fit:320:320"), ("filter", "rs:fit:1280:1280/gray:1/co:1.2/sh:0.8")];

/// Preset names and the options each stands for, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presets(BTreeMap<String, String>);

impl Presets {
    /// `default`, `thumbnail` and `filter`.
    pub fn builtin() -> Self {
        Self(BUILTIN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    /// Adds a preset or replaces one of the same name. It may refer to presets already there.
    ///
    /// # Errors
    /// The name is not 1 to 64 characters of `a-z 0-9 _ -`, or the text (or one that refers to this name) is no valid option text.
    pub fn with(mut self, name: &str, text: &str) -> Result<Self, SpecError> {
        let well_formed = (1..=MAX_NAME_CHARS).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'));
        if !well_formed {
            return Err(Fault::PresetName { found: SpecError::clip(name) }.into());
        }
        // Parsing every text with the new one in place finds a ring wherever it closes.
        self.0.insert(name.to_owned(), text.to_owned());
        for text in self.0.values() {
            Spec::parse(text, &self)?;
        }
        Ok(self)
    }

    /// The options a preset stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and options, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

impl Default for Presets {
    /// [`Presets::builtin`].
    fn default() -> Self {
        Self::builtin()
    }
}
