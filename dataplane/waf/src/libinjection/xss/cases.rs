//! libinjection's own cases of HTML, and what must hold for all values.

use proptest::prelude::*;

use super::{
    super::cases::{cases, trimmed},
    html5::{Context, Kind, Reader},
    is_script, xss,
};
use crate::{byte_set::ByteSet, libinjection::XSS_BYTES};

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "DATA_TEXT",
        Kind::TagNameOpen => "TAG_NAME_OPEN",
        Kind::TagNameClose => "TAG_NAME_CLOSE",
        Kind::TagNameSelfClose => "TAG_NAME_SELFCLOSE",
        Kind::TagClose => "TAG_CLOSE",
        Kind::AttributeName => "ATTR_NAME",
        Kind::AttributeValue => "ATTR_VALUE",
        Kind::Comment => "TAG_COMMENT",
        Kind::Doctype => "DOCTYPE",
    }
}

#[test]
fn html_is_read_as_libinjection_does() {
    let cases = cases("test-html5");
    assert_eq!(cases.len(), 63);
    for case in cases {
        let mut reader = Reader::new(&case.input, Context::Data);
        let mut out = Vec::new();
        while let Some((kind, text)) = reader.next() {
            out.extend_from_slice(format!("{},{},", name(kind), text.len()).as_bytes());
            out.extend(text.iter().take_while(|byte| **byte != 0));
            out.push(b'\n');
        }
        let out = trimmed(out);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&case.expected), "{}", case.name);
    }
}

const CONTEXTS: [Context; 5] =
    [Context::Data, Context::Attributes, Context::SingleQuote, Context::DoubleQuote, Context::BackQuote];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// The contexts that are not read, and the bytes that are needed.
    #[test]
    fn what_is_not_read_would_find_nothing(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "<", ">", "=", "'", "\"", "`", "/", " ", "\0", "!", "--", "%", "[CDATA[", "]]>", "DOCTYPE", "script", "svg",
                    "onload", "onclick", "href", "style", "javascript:", "data:", "attributename", "&#106;", "xmlns", "a", "?xml",
                ]).prop_map(|piece| piece.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 1..3),
            ],
            0..14,
        ),
    ) {
        let value = pieces.concat();
        let is_found = CONTEXTS.iter().any(|context| is_script(&value, *context));
        prop_assert_eq!(xss(&value), is_found);
        prop_assert!(!is_found || XSS_BYTES.meets(&ByteSet::of(&value)));
    }
}
