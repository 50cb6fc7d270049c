//! The fixed list of media types and extensions we send: never anything a client declared.

/// Format word, media type, extension.
const FORMATS: &[(&str, &str, &str)] = &[
    ("jpeg", "image/jpeg", "jpg"),
    ("png", "image/png", "png"),
    ("webp", "image/webp", "webp"),
    ("gif", "image/gif", "gif"),
    ("avif", "image/avif", "avif"),
    ("tiff", "image/tiff", "tif"),
    ("bmp", "image/bmp", "bmp"),
    ("ico", "image/vnd.microsoft.icon", "ico"),
    ("qoi", "image/qoi", "qoi"),
    ("jxl", "image/jxl", "jxl"),
    ("svg", "image/svg+xml", "svg"),
    ("heic", "image/heic", "heic"),
];

/// All media types of images that are taken in, and so sent as originals.
pub fn media_types() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|row| row.1)
}

/// The word for a format that the result's pixels decide.
pub const BY_CONTENT: &str = "auto";

/// The media type of a format word.
#[must_use]
pub fn media_type(format: &str) -> &'static str {
    FORMATS.iter().find(|row| row.0 == format).map_or("application/octet-stream", |row| row.1)
}

/// The extension of a format word.
#[must_use]
pub fn extension(format: &str) -> &'static str {
    FORMATS.iter().find(|row| row.0 == format).map_or("bin", |row| row.2)
}

/// The format word of an extension, `jpeg` and `jpg` alike.
#[must_use]
pub fn of_extension(extension: &str) -> Option<&'static str> {
    FORMATS.iter().find(|row| row.2 == extension || row.0 == extension).map(|row| row.0)
}

/// A file's name without its extension, for naming what was made of it.
#[must_use]
pub fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_lose_only_an_extension() {
        for (name, want) in [("a.jpg", "a"), ("a.b.png", "a.b"), (".png", ".png"), ("noext", "noext"), ("v1.2-final-cut", "v1.2-final-cut")]
        {
            assert_eq!(stem(name), want);
        }
    }
}
