//! `Content-Disposition` of a part (RFC 7578, RFC 6266, RFC 8187, and what browsers do). Pure: bytes in, names out.
//!
//! Invariant: a parameter begins only after a `;` outside quotes, so no file name can pass for another parameter; names are data
//! for display, never parts of a path. Time is linear in the header's length.

use super::media_type::is_token_char;
use crate::domain::{Code, Refusal};

/// Longest display name, in bytes.
const MAX_DISPLAY_BYTES: usize = 255;

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// The field's name, never empty.
    pub name: String,
    /// The file's name as sent (decoded, not yet fit for display); empty when it was sent empty or undecipherable.
    pub filename: Option<String>,
}

/// Reads a `Content-Disposition` value.
///
/// In a quoted string a backslash escapes `"` and `\` only: browsers send Windows paths raw and escape a quote as `%22`. `%22`, `%0D` and
/// `%0A` are decoded, as the HTML standard encodes them. A name may end in a raw backslash: where taking `\"` for an escaped quote leaves
/// the header malformed, it is read as a backslash and the closing quote. `filename*` wins over `filename`; one that cannot be decoded
/// is passed over. Bytes that are no UTF-8 are read as ISO-8859-1. A control character is data between quotes, where browsers leave it
/// as it is (all but NUL, CR and LF); anywhere else the header is malformed, as it is when a parameter's name is no token.
///
/// # Errors
/// `malformed_multipart` when it is not `form-data`, when a `name` is missing, empty or given twice, or when it cannot be parsed.
pub fn parse_disposition(value: &[u8]) -> Result<Disposition, Refusal> {
    parse_as(value, Backslash::Escapes)
        .or_else(|refusal| match refusal {
            Flaw::Syntax => parse_as(value, Backslash::MayEnd),
            other => Err(other),
        })
        .map_err(|flaw| Refusal::new(Code::MalformedMultipart, format!("content-disposition {}", flaw.text())))
}

/// How `\"` is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// Always an escaped quote.
    Escapes,
    /// A backslash and the closing quote, when a `;` or the end follows.
    MayEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Syntax,
    NotFormData,
    NoName,
    Twice,
}

impl Flaw {
    const fn text(self) -> &'static str {
        match self {
            Self::Syntax => "is malformed",
            Self::NotFormData => "is not form-data",
            Self::NoName => "has no name, or an empty one",
            Self::Twice => "has a parameter twice",
        }
    }
}

fn parse_as(value: &[u8], backslash: Backslash) -> Result<Disposition, Flaw> {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    let (kind, mut rest) = value.split_at(end);
    if !trim(kind).eq_ignore_ascii_case(b"form-data") {
        return Err(Flaw::NotFormData);
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    while let Some(tail) = rest.strip_prefix(b";") {
        let tail = trim_start(tail);
        if tail.is_empty() || tail.starts_with(b";") {
            rest = tail; // a trailing or doubled semicolon, as some clients send
            continue;
        }
        let equals = tail.iter().position(|&b| matches!(b, b'=' | b';' | b'"')).ok_or(Flaw::Syntax)?;
        if tail[equals] != b'=' {
            return Err(Flaw::Syntax);
        }
        let key = trim(&tail[..equals]);
        if key.is_empty() || !key.iter().all(|&b| is_token_char(b)) {
            return Err(Flaw::Syntax);
        }
        let (argument, after) = argument(trim_start(&tail[equals + 1..]), backslash)?;
        rest = trim_start(after);
        let slot = match () {
            () if key.eq_ignore_ascii_case(b"name") => &mut name,
            () if key.eq_ignore_ascii_case(b"filename") => &mut filename,
            () if key.eq_ignore_ascii_case(b"filename*") => &mut extended,
            () => continue,
        };
        if slot.replace(argument).is_some() {
            return Err(Flaw::Twice);
        }
    }
    if !rest.is_empty() {
        return Err(Flaw::Syntax);
    }
    let name = name.map(|raw| text_of(&percent_escapes(&raw))).filter(|name| !name.is_empty()).ok_or(Flaw::NoName)?;
    let plain = filename.map(|raw| text_of(&percent_escapes(&raw)));
    let filename = match extended {
        None => plain,
        Some(raw) => decode_extended(&raw).or(plain).or_else(|| Some(String::new())),
    };
    Ok(Disposition { name, filename })
}

/// Without blanks (SP, HT) at the start.
fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&b| matches!(b, b' ' | b'\t')).count()..]
}

/// Without blanks at both ends.
fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    &text[..text.len() - text.iter().rev().take_while(|&&b| matches!(b, b' ' | b'\t')).count()]
}

/// One argument, and what follows it.
fn argument(text: &[u8], backslash: Backslash) -> Result<(Vec<u8>, &[u8]), Flaw> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&b| b == b';').unwrap_or(text.len());
        let bare = trim(&text[..end]);
        if bare.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
            return Err(Flaw::Syntax);
        }
        return Ok((bare.to_vec(), &text[end..]));
    };
    let mut argument = Vec::new();
    let mut at = 0;
    loop {
        match (quoted.get(at), quoted.get(at + 1)) {
            (None, _) | (Some(b'\0' | b'\r' | b'\n'), _) => return Err(Flaw::Syntax),
            (Some(b'"'), _) => return Ok((argument, &quoted[at + 1..])),
            (Some(b'\\'), Some(b'"')) if backslash == Backslash::MayEnd && closes(&quoted[at + 2..]) => {
                argument.push(b'\\');
                at += 1;
            }
            (Some(b'\\'), Some(&escaped @ (b'"' | b'\\'))) => {
                argument.push(escaped);
                at += 2;
            }
            (Some(&byte), _) => {
                argument.push(byte);
                at += 1;
            }
        }
    }
}

/// Whether a quote before `after` can be a closing one. Looks past a few blanks only, to stay linear.
fn closes(after: &[u8]) -> bool {
    let near = &after[..after.len().min(16)];
    let near = trim_start(near);
    near.first().map_or(after.len() < 16, |&b| b == b';')
}

/// Undoes the escapes of the HTML standard's multipart encoder, and only those: a `%41` in a file name stays what it is.
fn percent_escapes(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [b'2', b'2', ..]) => Some(b'"'),
            (b'%', [b'0', b'D' | b'd', ..]) => Some(b'\r'),
            (b'%', [b'0', b'A' | b'a', ..]) => Some(b'\n'),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// UTF-8, else ISO-8859-1.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

/// `charset'language'percent-encoded` (RFC 8187); `None` when it is not that, or not text in that charset.
fn decode_extended(raw: &[u8]) -> Option<String> {
    let mut fields = raw.splitn(3, |&b| b == b'\'');
    let (charset, _language, text) = (fields.next()?, fields.next()?, fields.next()?);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let [high, low, ..] = tail else { return None };
            let digit = |b: u8| char::from(b).to_digit(16);
            bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(bytes.iter().map(|&b| char::from(b)).collect())
    } else {
        None
    }
}

/// A client's file name made fit to show: the last component of a path of either kind, without control and direction-changing
/// characters, at most 255 bytes; `None` when nothing is left. Still data: to be escaped wherever it is printed.
#[must_use]
pub fn display_name(filename: &str) -> Option<String> {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name = String::new();
    for ch in last.chars().filter(|&ch| !is_unshowable(ch)) {
        if name.len() + ch.len_utf8() > MAX_DISPLAY_BYTES {
            break;
        }
        name.push(ch);
    }
    let name = name.trim();
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

/// Control characters, the line separators, and Unicode's bidirectional controls (UAX 9): they change how what follows is shown.
fn is_unshowable(ch: char) -> bool {
    ch.is_control()
        || matches!(ch, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> (String, Option<String>) {
        let found = parse_disposition(value.as_bytes()).unwrap_or_else(|refusal| panic!("{value}: {refusal}"));
        (found.name, found.filename)
    }

    fn pair(name: &str, filename: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(filename.to_owned()))
    }

    #[test]
    fn what_clients_send_is_read() {
        assert_eq!(read("form-data; name=\"a\""), ("a".to_owned(), None));
        assert_eq!(read("Form-Data;Name=a;FILENAME=b.png"), pair("a", "b.png"));
        assert_eq!(read("form-data; filename = \"b;c.png\" ; name = \"a\";"), pair("a", "b;c.png"));
        assert_eq!(read("form-data; name=file; filename=my cat.png"), pair("file", "my cat.png"));
        assert_eq!(read("form-data; name=a; filename=\"\""), pair("a", ""));
        assert_eq!(read("form-data; name=\"a%22b\"; filename=\"c%0D%0Ad%41\""), pair("a\"b", "c\r\nd%41"));
        assert_eq!(read(r#"form-data; name="a\b"; filename="b\c\\d\"e""#), pair("a\\b", "b\\c\\d\"e"));
        assert_eq!(read("form-data; name=\"file\"; filename=\"こ.txt\""), pair("file", "こ.txt"));
    }

    #[test]
    fn a_last_backslash_does_not_swallow_the_quote() {
        assert_eq!(read(r#"form-data; name="a"; filename="C:\dir\""#), pair("a", "C:\\dir\\"));
        assert_eq!(read(r#"form-data; filename="C:\dir\"; name="a""#), pair("a", "C:\\dir\\"));
        assert_eq!(read(r#"form-data; name="a\"; filename="b\""#), pair("a\\", "b\\"));
        assert_eq!(read(r#"form-data; name="a"; filename="x\"; name=evil; y.png""#), pair("a", "x\"; name=evil; y.png"));
    }

    #[test]
    fn names_cannot_pass_for_parameters() {
        assert_eq!(read("form-data; filename=\"x; name=evil\"; name=\"f\""), pair("f", "x; name=evil"));
        assert_eq!(
            read("form-data; name=\"f\"; filename=\"; name=evil; filename*=utf-8''e\""),
            pair("f", "; name=evil; filename*=utf-8''e")
        );
        assert_eq!(read("form-data; xname=\"evil\"; name=f"), ("f".to_owned(), None));
    }

    #[test]
    fn extended_names_win_when_they_can_be_decoded() {
        assert_eq!(read("form-data; name=f; filename*=utf-8''n%C3%A4me.txt"), pair("f", "näme.txt"));
        assert_eq!(read("form-data; name=f; filename*=ISO-8859-1'en'n%E4me.txt; filename=x"), pair("f", "näme.txt"));
        assert_eq!(read("form-data; name=f; filename=x; filename*=utf-8''%FF"), pair("f", "x"));
        assert_eq!(read("form-data; name=f; filename=x; filename*=koi8-r''%41"), pair("f", "x"));
        assert_eq!(read("form-data; name=f; filename*=utf-8''%4"), pair("f", ""));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_latin1() {
        let found = parse_disposition(b"form-data; name=\"\xe1\"; filename=\"\xffx\"").expect("valid");
        assert_eq!((found.name.as_str(), found.filename.as_deref()), ("á", Some("ÿx")));
    }

    #[test]
    fn control_characters_between_quotes_are_data() {
        let raw = "a\u{1}\t\u{b}\u{c}\u{1b}\u{7f}b";
        assert_eq!(read(&format!("form-data; name=\"{raw}\"; filename=\"{raw}.png\"")), pair(raw, &format!("{raw}.png")));
        assert_eq!(display_name(raw).as_deref(), Some("ab"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            "",
            "form-data",
            "form-data;",
            "attachment; name=f",
            "form-datax; name=f",
            "form-data; filename=x",
            "form-data; name=\"\"",
            "form-data; name=",
            "form-data; name=a; name=b",
            "form-data; name=a; Name=b",
            "form-data; name=a; filename=x; filename=y",
            "form-data; name=\"a",
            "form-data; name=\"a\"b",
            "form-data; name",
            "form-data name=f",
            "form-data; name=a\u{1b}",
            "form-data; name=\"a\"\u{1b}",
            "form-data;\u{c}name=a",
            "form-data\u{c}; name=a",
            "form-data; \u{1b}x=y; name=a",
            "form-data; name=a;\u{a0}filename=b",
            "form-data; =x; name=a",
            "form-data; name=\"a\0\"",
            "form-data; name=\"a\r\n\"",
        ] {
            let refusal = parse_disposition(bad.as_bytes()).expect_err(bad);
            assert_eq!(refusal.code, Code::MalformedMultipart, "{bad}");
        }
    }

    #[test]
    fn display_names_are_last_components_without_tricks() {
        let shown = |name: &str| display_name(name);
        for (name, want) in [
            ("/tmp/hax0rd.txt", Some("hax0rd.txt")),
            ("C:\\Windows\\hax0rd.txt", Some("hax0rd.txt")),
            ("../..\\a.png", Some("a.png")),
            ("\\\\unc\\x", Some("x")),
            ("/tmp/", None),
            ("c:\\tmp\\..", None),
            (".", None),
            ("", None),
            (" \u{202e} ", None),
            ("a\u{202e}gnp.exe\r\n\0\x1b[0m", Some("agnp.exe[0m")),
            (".\u{200f}.", None),
        ] {
            assert_eq!(shown(name).as_deref(), want, "{name:?}");
        }
        let long = shown(&"ä".repeat(4096)).expect("a name");
        assert_eq!(long.len(), 254);
    }

    #[test]
    fn time_is_linear() {
        for unit in ["\\\"", "\\", ";", "\"", "=", ";a=\"", "\\\" ", "%", "\\\";"] {
            let mut value = b"form-data; name=\"a".to_vec();
            value.extend(unit.bytes().cycle().take(1 << 20));
            let start = Instant::now();
            let _ = parse_disposition(&value);
            assert!(start.elapsed().as_secs() < 2, "{unit}: {:?}", start.elapsed());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_disposition(&value);
            let mut disposition = b"form-data; name=".to_vec();
            disposition.extend_from_slice(&value);
            let _ = parse_disposition(&disposition);
        }

        #[test]
        fn quoted_file_names_stay_inside(filename in "[ -~]{0,20}(; ?name=evil|\"; name=\"evil|\\\\\"; name=evil; |%22)?[ -~]{0,20}") {
            let escaped = filename.replace('\\', "\\\\").replace('"', "\\\"");
            let found = parse_disposition(format!("form-data; name=\"f\"; filename=\"{escaped}\"").as_bytes()).expect("well-formed");
            prop_assert_eq!(&found.name, "f");
            let sent = filename.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n").replace("%0d", "\r").replace("%0a", "\n");
            prop_assert_eq!(found.filename, Some(sent));
            // As browsers write it: backslashes raw, quotes as %22. The other order too.
            let raw = filename.replace('"', "%22");
            let last = parse_disposition(format!("form-data; name=\"f\"; filename=\"{raw}\"").as_bytes()).expect("well-formed");
            prop_assert_eq!(last.name, "f");
            let first = parse_disposition(format!("form-data; filename=\"{raw}\"; name=\"f\"").as_bytes()).expect("well-formed");
            prop_assert_eq!(first.name, "f");
        }

        #[test]
        fn display_names_keep_their_promise(name in any::<String>()) {
            if let Some(shown) = display_name(&name) {
                prop_assert!(!shown.is_empty() && shown.len() <= MAX_DISPLAY_BYTES && shown != "." && shown != "..");
                prop_assert!(!shown.contains(['/', '\\']) && !shown.chars().any(is_unshowable));
            }
        }
    }
}
