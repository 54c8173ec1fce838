//! Script injection: a value is read as HTML in five contexts, and what runs script is looked for.
//!
//! Owns: [`xss`], names and addresses that run script. Does not own: reading HTML ([`html5`]). Cost: up to five
//! passes; a context whose quote is not in the value is not read. Source: `libinjection_xss.c` (see [`super`]).

#[cfg(test)]
mod cases;
mod html5;
mod names;

use memchr::memchr;

use self::{
    html5::{Context, Kind, Reader},
    names::{Attribute, attribute, is_tag, starts_url},
};

/// Whether the value is script, as it stands or inside of an attribute.
#[must_use]
pub fn xss(input: &[u8]) -> bool {
    let has = |byte| memchr(byte, input).is_some();
    // Without `<` there is neither tag nor comment, without `=` no attribute with a value.
    if has(b'<') {
        if is_script(input, Context::Data) {
            return true;
        }
    } else if !has(b'=') {
        return false;
    }
    // Behind a quote that never ends all is one value of an attribute without a name.
    is_script(input, Context::Attributes)
        || (has(b'\'') && is_script(input, Context::SingleQuote))
        || (has(b'"') && is_script(input, Context::DoubleQuote))
        || (has(b'`') && is_script(input, Context::BackQuote))
}

fn is_script(input: &[u8], context: Context) -> bool {
    let mut reader = Reader::new(input, context);
    let mut attribute_kind = Attribute::Harmless;
    while let Some((kind, text)) = reader.next() {
        let before = std::mem::replace(&mut attribute_kind, Attribute::Harmless);
        let is_found = match kind {
            Kind::Doctype => true,
            Kind::TagNameOpen => is_tag(text),
            Kind::AttributeName => {
                attribute_kind = attribute(text);
                false
            }
            Kind::AttributeValue => match before {
                Attribute::Harmless => false,
                Attribute::Script => true,
                Attribute::Url => starts_url(text),
                // The name of an attribute stands in the value.
                Attribute::Indirect => attribute(text) != Attribute::Harmless,
            },
            Kind::Comment => is_comment(text),
            Kind::Text | Kind::TagNameClose | Kind::TagNameSelfClose | Kind::TagClose => false,
        };
        if is_found {
            return true;
        }
    }
    false
}

/// Comments that browsers look into.
fn is_comment(text: &[u8]) -> bool {
    let starts = |word: &[u8], longer_than: usize| {
        text.len() > longer_than
            && text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    // A backtick ends a tag for old browsers; the rest are conditions, XML, imports and entities.
    memchr(b'`', text).is_some()
        || starts(b"[if", 3)
        || starts(b"xml", 3)
        || starts(b"IMPORT", 5)
        || starts(b"ENTITY", 5)
}

#[cfg(test)]
mod tests {
    use super::xss;

    #[test]
    fn script_is_found_and_text_is_not() {
        for input in [
            "<script>alert(1)</script>",
            "<sc\0ript>",
            "<svg/onload=alert(1)>",
            "x' onmouseover='alert(1)",
            "\" onfocus=alert(1) autofocus=\"",
            "` onclick=x",
            "onclick=x",
            "<a href=\"java&#x73;cript:alert(1)\">",
            "<a href=\" \u{a0}javascript:x\">",
            "<!DOCTYPE html>",
            "<!--[if IE]>",
            "<?xml:namespace>",
            "<animate attributeName=onload>",
            "<p style=x>",
        ] {
            assert!(xss(input.as_bytes()), "{input}");
        }
        assert!(xss(b"<a \xff onclick=x>"), "a byte that is -1 in C is no end");
        for input in [
            "",
            "a < b and c > d",
            "x = 1",
            "once=1",
            "<b>bold</b>",
            "<a href=\"https://example.net/\">",
            "<!-- comment -->",
            "<",
            "</",
            "<!",
            "<%",
            "<![CDATA[",
            "'=\"`<",
        ] {
            assert!(!xss(input.as_bytes()), "{input}");
        }
    }
}
