//! Names of tags and attributes that run script, and addresses that do.
//!
//! Owns: the tables and how names are compared. `events.txt` has the names of events without `on`, as libinjection
//! 3.10 has them, without those that begin with another: a name counts when it begins with one of these.

/// What an attribute does with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// Nothing that runs script.
    Harmless,
    /// Runs it, or styles by it.
    Script,
    /// Loads from it.
    Url,
    /// Takes it for the name of another attribute.
    Indirect,
}

const EVENTS: &[u8] = include_bytes!("events.txt");

/// Where in [`EVENTS`] the names of each letter begin, A to Z and the end.
static LETTERS: [u16; 27] = letters();

const fn letters() -> [u16; 27] {
    let mut starts = [0; 27];
    let mut letter = 0;
    let mut at = 0;
    while letter < 27 {
        while at < EVENTS.len() && EVENTS[at] < b'A' + letter as u8 {
            while EVENTS[at] != b'\n' {
                at += 1;
            }
            at += 1;
        }
        starts[letter] = at as u16;
        letter += 1;
    }
    starts
}

const ATTRIBUTES: [(&[u8], Attribute); 20] = [
    (b"ACTION", Attribute::Url),
    (b"ATTRIBUTENAME", Attribute::Indirect),
    (b"BY", Attribute::Url),
    (b"BACKGROUND", Attribute::Url),
    (b"DATAFORMATAS", Attribute::Script),
    (b"DATASRC", Attribute::Script),
    (b"DYNSRC", Attribute::Url),
    (b"FILTER", Attribute::Script),
    (b"FORMACTION", Attribute::Url),
    (b"FOLDER", Attribute::Url),
    (b"FROM", Attribute::Url),
    (b"HANDLER", Attribute::Url),
    (b"HREF", Attribute::Url),
    (b"LOWSRC", Attribute::Url),
    (b"POSTER", Attribute::Url),
    (b"SRC", Attribute::Url),
    (b"STYLE", Attribute::Script),
    (b"TO", Attribute::Url),
    (b"VALUES", Attribute::Url),
    (b"XLINK:HREF", Attribute::Url),
];

const TAGS: [&[u8]; 20] = [
    b"APPLET",
    b"BASE",
    b"COMMENT",
    b"EMBED",
    b"FRAME",
    b"FRAMESET",
    b"HANDLER",
    b"IFRAME",
    b"IMPORT",
    b"ISINDEX",
    b"LINK",
    b"LISTENER",
    b"META",
    b"NOSCRIPT",
    b"OBJECT",
    b"SCRIPT",
    b"STYLE",
    b"VMLFRAME",
    b"XML",
    b"XSS",
];

/// Starts of addresses that run script; `JAVA` covers `javascript:`.
const URLS: [&[u8]; 4] = [b"DATA", b"VIEW-SOURCE", b"JAVA", b"VBSCRIPT"];

/// Whether a text is a word in upper case, in any case and with NUL bytes passed over.
fn is_word(word: &[u8], text: &[u8]) -> bool {
    let mut letters = word.iter();
    text.iter().filter(|byte| **byte != 0).all(|byte| letters.next() == Some(&byte.to_ascii_uppercase()))
        && letters.next().is_none()
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

pub(super) fn is_tag(name: &[u8]) -> bool {
    name.len() >= 3
        && (TAGS.iter().any(|tag| is_word(tag, name))
            || starts_with(name, b"SVG")
            || starts_with(name, b"XSL"))
}

pub(super) fn attribute(name: &[u8]) -> Attribute {
    if name.len() < 2 {
        return Attribute::Harmless;
    }
    if name.len() >= 5 {
        let is_event = starts_with(name, b"ON") && is_event(&name[2..]);
        if is_event || starts_with(name, b"XMLNS") || starts_with(name, b"XLINK") {
            return Attribute::Script;
        }
    }
    ATTRIBUTES.iter().find(|known| is_word(known.0, name)).map_or(Attribute::Harmless, |known| known.1)
}

/// Whether the name begins with that of an event, `on` taken off.
fn is_event(name: &[u8]) -> bool {
    let Some(letter @ b'A'..=b'Z') = name.first().map(u8::to_ascii_uppercase) else {
        return false;
    };
    let letter = usize::from(letter - b'A');
    let events = &EVENTS[usize::from(LETTERS[letter])..usize::from(LETTERS[letter + 1])];
    events.split(|byte| *byte == b'\n').any(|event| !event.is_empty() && starts_with(name, event))
}

/// Whether a value begins with an address that runs script: white space and bytes past ASCII before it are passed
/// over, numeric entities are read.
pub(super) fn starts_url(value: &[u8]) -> bool {
    let start = value.iter().position(|byte| (33..127).contains(byte)).unwrap_or(value.len());
    URLS.iter().any(|url| decodes_to(&value[start..], url))
}

fn decodes_to(mut text: &[u8], start: &[u8]) -> bool {
    let mut letters = start.iter().peekable();
    let mut is_first = true;
    while !text.is_empty() {
        let Some(letter) = letters.peek() else {
            return true;
        };
        let (code, len) = decoded(text);
        text = text.get(len..).unwrap_or_default();
        if is_first && code <= 32 {
            continue;
        }
        is_first = false;
        if code == 0 || code == 10 {
            continue;
        }
        // As in C, only the low byte is compared, and only ASCII letters are raised.
        let byte = if (0x61..=0x7a).contains(&code) { code - 0x20 } else { code & 0xff };
        if byte != u32::from(**letter) {
            return false;
        }
        letters.next();
    }
    letters.peek().is_none()
}

/// The code at the start of a text that is not empty, and its length in bytes: a byte, or `&#65;`, `&#x41;`, also
/// without the semicolon. What is no numeric entity is an ampersand.
fn decoded(text: &[u8]) -> (u32, usize) {
    /// Codes above end the reading, as in C.
    const CODE_MAX: u32 = 0x10_00ff;
    let (radix, prefix) = match text {
        [b'&', b'#', b'x' | b'X', ..] => (16, 3),
        [b'&', b'#', ..] => (10, 2),
        _ => return (text.first().copied().map_or(0, u32::from), 1),
    };
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(radix));
    let Some(mut code) = digit(prefix) else {
        return (u32::from(b'&'), 1);
    };
    let mut at = prefix + 1;
    while let Some(digit) = digit(at) {
        code = code * radix + digit;
        if code > CODE_MAX {
            return (u32::from(b'&'), 1);
        }
        at += 1;
    }
    (code, if text.get(at) == Some(&b';') { at + 1 } else { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_letter() {
        let text = std::str::from_utf8(EVENTS).unwrap();
        assert!(text.lines().count() > 200);
        for event in text.lines() {
            assert_eq!(
                attribute(format!("on{}", event.to_lowercase()).as_bytes()),
                Attribute::Script,
                "{event}"
            );
        }
        for name in ["on", "onc", "once", "onyx12", "on-load", "xonload", "on\0load", "online12x"] {
            let expected = if name == "online12x" { Attribute::Harmless } else { attribute(name.as_bytes()) };
            assert_eq!(attribute(name.as_bytes()), expected);
            assert_eq!(expected, Attribute::Harmless, "{name}");
        }
    }

    #[test]
    fn addresses_are_read_through_entities() {
        for value in [
            "javascript:",
            "JAVA",
            " \t\u{a0}java",
            "&#106;ava",
            "&#x6A;&#97va",
            "j&#10;ava",
            "vi\0ew-source:",
            "data:",
        ] {
            assert!(starts_url(value.as_bytes()), "{value}");
        }
        for value in ["", "jav", "https://", "&#;java", "&#x;", "&", "&#99999999;java", "/data"] {
            assert!(!starts_url(value.as_bytes()), "{value}");
        }
    }
}
