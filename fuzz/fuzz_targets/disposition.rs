//! Content-Disposition of a part and Content-Type of a request: what is read keeps its promises, and reads the same when written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixmill_fuzz::ingest::{boundary, display_name, parse_disposition};

/// As RFC 9110 writes a quoted string.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Whether the parser would undo something in it, or refuse it.
fn is_plain(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    !["%22", "%0D", "%0A", "\0", "\r", "\n"].iter().any(|special| upper.contains(special))
}

fuzz_target!(|input: &[u8]| {
    for value in [input.to_vec(), [b"form-data; name=", input].concat(), [b"form-data; name=\"a\"; filename=\"", input, b"\""].concat()] {
        let Ok(found) = parse_disposition(&value) else { continue };
        assert!(!found.name.is_empty());
        let filename = found.filename.as_deref().unwrap_or_default();
        if let Some(shown) = display_name(filename) {
            assert!(!shown.is_empty() && shown.len() <= 255 && !shown.contains(['/', '\\']) && !shown.chars().any(char::is_control));
            assert_eq!(display_name(&shown).as_deref(), Some(shown.as_str()), "what is fit for display stays as it is");
        }
        if is_plain(&found.name) && is_plain(filename) {
            let mut written = format!("form-data; name=\"{}\"", quoted(&found.name));
            if found.filename.is_some() {
                written.push_str(&format!("; filename=\"{}\"", quoted(filename)));
            }
            assert_eq!(parse_disposition(written.as_bytes()).as_ref(), Ok(&found), "{written}");
        }
    }
    let value = [b"multipart/form-data; boundary=", input].concat();
    if let Ok(found) = boundary(&value) {
        assert!((1..=70).contains(&found.len()) && !found.ends_with(' '));
        assert_eq!(boundary(format!("multipart/form-data; boundary=\"{found}\"").as_bytes()), Ok(found));
    }
});
