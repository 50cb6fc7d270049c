//! The fixed list of media types and extensions we send: never anything a client declared.

/// Format word, media type, extension.
const FORMATS: &[(&str, &str, &str)] =
    &[("jpeg", "image/jpeg", "jpg"), ("png", "image/png", "png"), ("webp", "image/webp", "webp"), ("gif", "image/gif", "gif")];

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
