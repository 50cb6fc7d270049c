//! Credit out of XMP packets, and packets that hold nothing else. No reader of XML: the few properties are looked for under their usual
//! prefixes, as elements or attributes, and what is not found there is not kept.

use super::credit::{Credit, clean};

/// Reads a packet in UTF-8; others are not read.
pub(super) fn read(packet: &[u8]) -> Credit {
    let Ok(packet) = std::str::from_utf8(packet) else { return Credit::default() };
    let joined = |names: Vec<String>| clean(&names.join("; "));
    Credit {
        copyright: property(packet, "dc:rights").into_iter().next(),
        artist: joined(property(packet, "dc:creator")),
        credit: property(packet, "photoshop:Credit").into_iter().next(),
    }
}

/// Values of a property: of its items where it has some.
fn property(packet: &str, name: &str) -> Vec<String> {
    let Some(body) = element(packet, name) else {
        return attribute(packet, name).and_then(|value| clean(&unescaped(value))).into_iter().collect();
    };
    if !body.contains('<') {
        return clean(&unescaped(body)).into_iter().collect();
    }
    let mut items = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find("<rdf:li") {
        rest = &rest[start..];
        let Some(open) = rest.find('>') else { break };
        let Some(end) = rest.find("</rdf:li>").filter(|end| *end > open) else { break };
        let item = &rest[open + 1..end];
        items.extend(clean(&unescaped(item)).filter(|_| !item.contains('<')));
        rest = &rest[end..];
        rest = &rest["</rdf:li>".len()..];
    }
    items
}

/// What is between an element's tags.
fn element<'p>(packet: &'p str, name: &str) -> Option<&'p str> {
    let start = packet.match_indices('<').map(|(at, _)| at + 1).find(|&at| {
        let after = packet[at..].strip_prefix(name);
        after.is_some_and(|after| after.starts_with(['>', ' ', '\t', '\r', '\n']))
    })?;
    let body = &packet[start + packet[start..].find('>')? + 1..];
    let end = format!("</{name}>");
    body.find(&end).map(|end| &body[..end])
}

fn attribute<'p>(packet: &'p str, name: &str) -> Option<&'p str> {
    packet.match_indices(name).find_map(|(at, _)| {
        if !packet[..at].ends_with([' ', '\t', '\r', '\n']) {
            return None;
        }
        let value = packet[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value[1..].split(quote).next()
    })
}

/// XML 1.0, 4.6 and 4.1: the five entities and characters by number.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.find(';').filter(|end| *end <= 10).and_then(|end| entity(&rest[1..end]).map(|letter| (letter, end)));
        let (letter, end) = known.unwrap_or(('&', 0));
        out.push(letter);
        rest = &rest[end + 1..];
    }
    out + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A packet with what Exif has no place for, and what goes with it; `None` where there is no such thing.
pub(super) fn packet(credit: &Credit) -> Option<String> {
    let thanks = credit.credit.as_deref()?;
    let mut out = String::from(
        r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">"#,
    );
    if let Some(rights) = &credit.copyright {
        out += &format!(r#"<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:rights>"#, escaped(rights));
    }
    if let Some(artist) = &credit.artist {
        out += &format!("<dc:creator><rdf:Seq><rdf:li>{}</rdf:li></rdf:Seq></dc:creator>", escaped(artist));
    }
    out += &format!("<photoshop:Credit>{}</photoshop:Credit></rdf:Description></rdf:RDF></x:xmpmeta>", escaped(thanks));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_are_read() {
        let elements = r#"<?xpacket?><x:xmpmeta><rdf:Description xmlns:dc="x" exif:GPSLatitude="1,2N">
            <dc:rights> <rdf:Alt><rdf:li xml:lang="x-default">&#169; 2024 Ann &amp; Co</rdf:li><rdf:li xml:lang="de">anders</rdf:li></rdf:Alt></dc:rights>
            <dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>
            <photoshop:Credit>Agency</photoshop:Credit></rdf:Description></x:xmpmeta>"#;
        let wanted = Credit {
            copyright: Some("\u{a9} 2024 Ann & Co".to_owned()),
            artist: Some("Ann; Bob".to_owned()),
            credit: Some("Agency".to_owned()),
        };
        assert_eq!(read(elements.as_bytes()), wanted);
        let attributes = r#"<rdf:Description photoshop:CreditX="no" photoshop:Credit = 'Agency "A"' dc:rights="all"/>"#;
        let found = read(attributes.as_bytes());
        assert_eq!((found.credit.as_deref(), found.copyright.as_deref()), (Some("Agency \"A\""), Some("all")));
        for end in (0..elements.len()).filter(|&end| elements.is_char_boundary(end)) {
            let _ = read(&elements.as_bytes()[..end]);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let credit =
            Credit { copyright: Some("a < b & \u{a9}".to_owned()), artist: Some("Ann".to_owned()), credit: Some("C > D".to_owned()) };
        assert_eq!(read(packet(&credit).unwrap().as_bytes()), credit);
        assert_eq!(packet(&Credit { credit: None, ..credit }), None);
    }
}
