//! XML taken apart: text and values of attributes.
//!
//! Owns: what of a document rules see (`XML:/*`, `XML://@*`), and what is refused. Does not own: tokens, which are
//! those of `quick-xml`; XPath, schemas and DTDs, which there are none of.
//!
//! Text comes two ways: each run between two tags ([`Event::XmlText`], as Coraza gives `/*`), and at the end the
//! whole as one value ([`Event::XmlContent`], as ModSecurity gives it), because an origin may join what elements and
//! comments divide. Names of elements, comments and processing instructions are no values in either engine.
//!
//! Entities are never expanded, nothing is ever loaded: a declaration (`<!DOCTYPE` with an internal subset or an
//! external identifier) and a reference that is neither predefined nor a number are errors, told at the end, after
//! all text has been handed over. So is an encoding that does not contain ASCII, since an origin would read other
//! characters. An empty body is no error.
//!
//! Cost: `quick-xml`'s pass, one copy of the text. Allocates: `quick-xml` keeps the names of open elements and, per
//! element, the places of its attributes; both are bounded below. Sources: XML 1.0 §2.1, §2.8, §4.1, §4.6.
use quick_xml::{
    Reader,
    events::{BytesDecl, BytesStart, Event as Token, attributes::AttrError},
};

use super::{BodyError, Event, LIMIT_REACHED, Scratch, Sink, emit, is_space, trimmed};

/// Deepest nesting of elements: libxml2's own limit.
pub const DEPTH_MAX: usize = 256;
/// Most attributes of one element: each is compared with all before it.
pub const ATTRIBUTES_MAX: usize = 128;
/// Longest name of a reference, bytes.
const REFERENCE_BYTES_MAX: usize = 64;

/// Hands over texts, values of attributes, and the whole text.
///
/// # Errors
/// When it is not well-formed, declares or uses entities, or is too deep; when the sink stops it.
pub fn parse(body: &[u8], scratch: &mut Scratch, sink: &mut Sink<'_>) -> Result<(), BodyError> {
    if body.is_empty() {
        return Ok(());
    }
    if let Some(at) = memchr::memchr(0, body) {
        return Err(BodyError::new("XML: NUL byte", at));
    }
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") {
        return Err(BodyError::new("XML: encoding not supported", 0));
    }
    let Scratch { value, line, .. } = scratch;
    value.clear();
    let mut document =
        Document { text: value, attribute: line, run_start: 0, depth: 0, has_root: false, late: None };
    let result = document.read(body, sink);
    let late = document.late;
    let is_stopped = result.is_err_and(|error| error.message == LIMIT_REACHED);
    if !is_stopped && !trimmed(value).is_empty() {
        emit(sink, body.len(), Event::XmlContent(value))?;
    }
    result?;
    late.map_or(Ok(()), Err)
}

struct Document<'a> {
    /// All text so far.
    text: &'a mut Vec<u8>,
    /// A value of an attribute, decoded.
    attribute: &'a mut Vec<u8>,
    /// Where in `text` the run began that is not handed over yet.
    run_start: usize,
    depth: usize,
    has_root: bool,
    /// The first error that does not keep from reading on.
    late: Option<BodyError>,
}

impl Document<'_> {
    fn read(&mut self, body: &[u8], sink: &mut Sink<'_>) -> Result<(), BodyError> {
        let mut reader = Reader::from_reader(body);
        reader.config_mut().check_comments = true;
        loop {
            let at = position(reader.buffer_position());
            let token = reader
                .read_event()
                .map_err(|_| BodyError::new("XML: not well-formed", position(reader.error_position())))?;
            let is_outside = self.depth == 0;
            match token {
                Token::Start(tag) => {
                    self.open(&tag, at, sink)?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(BodyError::new("XML: too deep", at));
                    }
                }
                Token::Empty(tag) => self.open(&tag, at, sink)?,
                Token::End(_) => {
                    self.end_run(at, sink)?;
                    self.depth = self.depth.saturating_sub(1);
                }
                Token::Text(text) => {
                    if is_outside && !trimmed(&text).is_empty() {
                        return Err(BodyError::new("XML: text outside of the root element", at));
                    }
                    if !is_outside {
                        self.text.extend_from_slice(&text);
                    }
                }
                Token::CData(_) | Token::GeneralRef(_) if is_outside => {
                    return Err(BodyError::new("XML: text outside of the root element", at));
                }
                Token::CData(text) => self.text.extend_from_slice(&text),
                Token::GeneralRef(name) => {
                    if !push_reference(&name, self.text) {
                        self.note("XML: reference to an entity", at);
                    }
                }
                Token::Comment(_) | Token::PI(_) => {}
                Token::Decl(declaration) => self.declaration(&declaration, at)?,
                Token::DocType(text) => {
                    if self.has_root {
                        return Err(BodyError::new("XML: declaration of a type after the root element", at));
                    }
                    if trimmed(&text).iter().any(|byte| *byte == b'[' || is_space(*byte)) {
                        self.note("XML: declaration of a type with entities or an external part", at);
                    }
                }
                Token::Eof => break,
            }
        }
        match (self.has_root, self.depth) {
            (false, _) => Err(BodyError::new("XML: no root element", body.len())),
            (true, 0) => Ok(()),
            _ => Err(BodyError::new("XML: element without end", body.len())),
        }
    }

    /// A start tag: its attributes.
    fn open(&mut self, tag: &BytesStart<'_>, at: usize, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        if self.depth == 0 {
            if self.has_root {
                return Err(BodyError::new("XML: second root element", at));
            }
            self.has_root = true;
        }
        self.end_run(at, sink)?;
        for (index, attribute) in tag.attributes().enumerate() {
            if index == ATTRIBUTES_MAX {
                return Err(BodyError::new("XML: too many attributes", at));
            }
            let attribute = attribute.map_err(|error| match error {
                AttrError::Duplicated(..) => BodyError::new("XML: duplicate attribute", at),
                _ => BodyError::new("XML: attribute not well-formed", at),
            })?;
            self.attribute.clear();
            if attribute.value.contains(&b'<') {
                return Err(BodyError::new("XML: attribute not well-formed", at));
            }
            let result = push_resolved(&attribute.value, self.attribute);
            emit(sink, at, Event::XmlAttribute(self.attribute))?;
            match result {
                References::Known => {}
                References::Unknown => self.note("XML: reference to an entity", at),
                References::Broken => return Err(BodyError::new("XML: attribute not well-formed", at)),
            }
        }
        Ok(())
    }

    /// Hands the text over that has come since the last tag.
    fn end_run(&mut self, at: usize, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        let run = trimmed(&self.text[self.run_start..]);
        self.run_start = self.text.len();
        if run.is_empty() { Ok(()) } else { emit(sink, at, Event::XmlText(run)) }
    }

    /// `<?xml ... ?>`: first, and in an encoding that contains ASCII.
    fn declaration(&mut self, declaration: &BytesDecl<'_>, at: usize) -> Result<(), BodyError> {
        // Three bytes are a byte order mark.
        if at != 0 && at != 3 {
            return Err(BodyError::new("XML: declaration not at the start", at));
        }
        match declaration.encoding() {
            None => {}
            Some(Ok(name)) if is_ascii_based(&name) => {}
            Some(_) => self.note("XML: encoding not supported", at),
        }
        Ok(())
    }

    fn note(&mut self, message: &'static str, at: usize) {
        self.late.get_or_insert(BodyError::new(message, at));
    }
}

/// Whether all ASCII characters are their own bytes in this encoding, and those bytes are nothing else.
fn is_ascii_based(encoding: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"utf-8", b"us-ascii", b"iso-8859-1", b"iso-8859-15", b"windows-1252"];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(encoding))
}

fn position(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    /// All resolved, or none there.
    Known,
    /// One is kept as it is.
    Unknown,
    /// An ampersand that begins none.
    Broken,
}

/// Appends a value with its references resolved.
fn push_resolved(raw: &[u8], out: &mut Vec<u8>) -> References {
    let mut found = References::Known;
    let mut rest = raw;
    while let Some(index) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(&rest[..index]);
        rest = &rest[index + 1..];
        let window = &rest[..rest.len().min(REFERENCE_BYTES_MAX)];
        let Some(len) = memchr::memchr(b';', window) else {
            out.push(b'&');
            found = References::Broken;
            continue;
        };
        if !push_reference(&rest[..len], out) && found == References::Known {
            found = References::Unknown;
        }
        rest = &rest[len + 1..];
    }
    out.extend_from_slice(rest);
    found
}

/// Appends what `&name;` stands for. False: it is none that is known, and is appended as it is.
fn push_reference(name: &[u8], out: &mut Vec<u8>) -> bool {
    let known = match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        [b'#', b'x', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    if let Some(character) = known {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return true;
    }
    out.push(b'&');
    out.extend_from_slice(name);
    out.push(b';');
    false
}

/// A character by its number. `from_str_radix` would take a sign.
fn number(digits: &[u8], radix: u32) -> Option<char> {
    if digits.is_empty() {
        return None;
    }
    let code = digits.iter().try_fold(0_u32, |code, digit| {
        code.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })?;
    char::from_u32(code).filter(|character| *character != '\0')
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn read(body: &[u8]) -> (Vec<String>, Result<(), BodyError>) {
        let mut found = Vec::new();
        let result = parse(body, &mut Scratch::default(), &mut |event| {
            found.push(match event {
                Event::XmlText(text) => format!("text {}", String::from_utf8_lossy(text)),
                Event::XmlAttribute(text) => format!("attribute {}", String::from_utf8_lossy(text)),
                Event::XmlContent(text) => format!("all {}", String::from_utf8_lossy(text)),
                other => panic!("{other:?}"),
            });
            ControlFlow::Continue(())
        });
        (found, result)
    }

    #[test]
    fn text_and_attributes_are_found() {
        let (found, result) = read(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><!DOCTYPE r><r a='1&lt;' b=\"x\"> un<b>ion</b><!-- c --> \
              sel<!-- c -->ect&#x3c;&#62;<![CDATA[<a>&amp;]]><?pi x?></r>\n",
        );
        assert_eq!(result, Ok(()));
        assert_eq!(
            found,
            [
                "attribute 1<",
                "attribute x",
                "text un",
                "text ion",
                "text select<><a>&amp;",
                "all  union select<><a>&amp;",
            ]
        );
    }

    #[test]
    fn entities_are_not_expanded_but_refused_after_all_text_was_seen() {
        let body = b"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\"><!ENTITY y '&x;&x;'>]><a c='&y;'>&x;evil</a>";
        let (found, result) = read(body);
        assert_eq!(found, ["attribute &y;", "text &x;evil", "all &x;evil"]);
        assert_eq!(
            result.unwrap_err().message,
            "XML: declaration of a type with entities or an external part"
        );
        assert_eq!(read(b"<a>&nbsp;</a>").1.unwrap_err().message, "XML: reference to an entity");
        assert!(read(b"<!DOCTYPE a SYSTEM \"http://x/\"><a/>").1.is_err());
        assert_eq!(read(b"<!DOCTYPE a><a/>").1, Ok(()));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let cases: [(&[u8], &str); 19] = [
            (b"x", "XML: text outside of the root element"),
            (b" ", "XML: no root element"),
            (b"<a>", "XML: element without end"),
            (b"<a></b>", "XML: not well-formed"),
            (b"</a>", "XML: not well-formed"),
            (b"<a/><a/>", "XML: second root element"),
            (b"<a/>x", "XML: text outside of the root element"),
            (b"<a/>&amp;", "XML: text outside of the root element"),
            (b"<a b=1/>", "XML: attribute not well-formed"),
            (b"<a b/>", "XML: attribute not well-formed"),
            (b"<a b='<'/>", "XML: attribute not well-formed"),
            (b"<a b='&'/>", "XML: attribute not well-formed"),
            (b"<a b='' b=''/>", "XML: duplicate attribute"),
            (b"<a>&x</a>", "XML: not well-formed"),
            (b"<a>&#0;</a>", "XML: reference to an entity"),
            (b"<a>\0</a>", "XML: NUL byte"),
            (b"\xff\xfe<\0", "XML: NUL byte"),
            (b"<?xml version='1.0' encoding='UTF-7'?><a/>", "XML: encoding not supported"),
            (b"<a/><?xml version='1.0'?>", "XML: declaration not at the start"),
        ];
        for (body, message) in cases {
            let error = read(body).1.unwrap_err();
            assert_eq!(error.message, message, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(read(b"\xef\xbb\xbf<a/>").1, Ok(()));
    }

    #[test]
    fn depth_and_attributes_are_bounded() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert_eq!(read(nested(DEPTH_MAX).as_bytes()).1, Ok(()));
        assert_eq!(read(nested(DEPTH_MAX + 1).as_bytes()).1.unwrap_err().message, "XML: too deep");
        let attributes: String = (0..=ATTRIBUTES_MAX).map(|index| format!(" a{index}=''")).collect();
        let error = read(format!("<a{attributes}/>").as_bytes()).1.unwrap_err();
        assert_eq!(error.message, "XML: too many attributes");
    }
}
