//! What independent encoders write is read back; what `serde_json` refuses is refused.
use std::ops::ControlFlow;

use proptest::{collection::vec, prelude::*};
use secbeat_waf::body::{BodyError, Event, Scratch, fuzz, json, multipart, urlencoded};
use serde_json::Value;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Names and values of all arguments.
fn pairs(
    parse: impl FnOnce(&mut secbeat_waf::body::Sink<'_>) -> Result<(), BodyError>,
) -> (Pairs, Result<(), BodyError>) {
    let mut found = Pairs::new();
    let result = parse(&mut |event| {
        match event {
            Event::Argument { name, value } => found.push((name.to_vec(), value.to_vec())),
            Event::File { field, content, .. } => found.push((field.to_vec(), content.to_vec())),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    (found, result)
}

fn form_encoded(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// What the flattener should find, by walking a tree.
fn flattened(path: &str, value: &Value, out: &mut Pairs) {
    let is_root = path == "json";
    let mut push = |text: &str| out.push((path.as_bytes().to_vec(), text.as_bytes().to_vec()));
    match value {
        Value::Null => push(""),
        Value::Bool(flag) => push(if *flag { "true" } else { "false" }),
        Value::Number(number) => push(&number.to_string()),
        Value::String(text) => push(text),
        Value::Array(values) if values.is_empty() && !is_root => push(""),
        Value::Object(members) if members.is_empty() && !is_root => push(""),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                flattened(&format!("{path}.array_{index}"), value, out);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                flattened(&format!("{path}.{key}"), value, out);
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Pieces that JSON is made of, put together at random: mostly wrong, sometimes right.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"",
        "\\",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\udc00",
        "1",
        "-",
        "0",
        ".",
        "5",
        "e",
        "+",
        "true",
        "null",
        "fals",
        " ",
        "\n",
        "\t",
        "\u{1}",
        "é",
        "{\"a\":",
        "[1",
        "\"\\n\"",
    ]);
    vec(piece, 1..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn forms_are_read_back(fields in vec((vec(any::<u8>(), 1..9), vec(any::<u8>(), 0..20)), 0..9)) {
        let parts: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", form_encoded(name), form_encoded(value))).collect();
        let mut report = urlencoded::Report::default();
        let body = parts.join("&");
        let (found, result) = pairs(|sink| {
            urlencoded::parse(body.as_bytes(), b'&', &mut Scratch::default(), &mut report, sink)
        });
        prop_assert_eq!((found, result, report.is_encoding_invalid), (fields, Ok(()), false));
    }

    #[test]
    fn multipart_is_read_back(
        fields in vec(("[^\\x00-\\x1f\\x7f']{1,12}", vec(any::<u8>(), 0..60), any::<bool>()), 1..6),
    ) {
        let boundary = "x7MA4YWxkTrZu0gW";
        let mut body = Vec::new();
        for (name, value, is_file) in &fields {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            let file = if *is_file { "; filename=\"f\"\r\nContent-Type: a/b" } else { "" };
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{escaped}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let mut report = multipart::Report::default();
        let (found, result) = pairs(|sink| {
            multipart::parse(content_type.as_bytes(), &body, 9, &mut Scratch::default(), &mut report, sink)
        });
        let expected: Pairs = fields.into_iter().map(|(name, value, _)| (name.into_bytes(), value)).collect();
        prop_assert_eq!((found, result, report.is_strict_error()), (expected, Ok(()), false));
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(tree in tree()) {
        let mut expected = Pairs::new();
        flattened("json", &tree, &mut expected);
        for body in [tree.to_string(), serde_json::to_string_pretty(&tree).unwrap()] {
            let (found, result) = pairs(|sink| json::parse(body.as_bytes(), 99, &mut Scratch::default(), sink));
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(result, Ok(()));
        }
    }

    #[test]
    fn json_is_refused_when_serde_json_refuses_it(body in nearly_json()) {
        let oracle = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
        // Skipping does not look at surrogates; reading does.
        let oracle = oracle && serde_json::from_str::<Value>(&body).is_ok();
        let (_, result) = pairs(|sink| json::parse(body.as_bytes(), 99, &mut Scratch::default(), sink));
        prop_assert_eq!(result.is_ok(), oracle, "{} {:?}", body, result);
    }

    #[test]
    fn no_bytes_break_a_parser(bytes in vec(any::<u8>(), 0..200)) {
        fuzz::fuzz_urlencoded(&bytes);
        fuzz::fuzz_json(&bytes);
        fuzz::fuzz_xml(&bytes);
        fuzz::fuzz_multipart(&bytes);
        fuzz::fuzz_multipart(&[b"multipart/form-data; boundary=b\n", &bytes[..]].concat());
    }

    #[test]
    fn no_pieces_of_multipart_break_it(
        pieces in vec(prop::sample::select(vec![
            "--b", "--b\r\n", "--b--", "--b--\r\n", "\r\n", "\n", "\r", " ", "-", "\0", "'", "\"", "\\", "x", "b",
            "Content-Disposition: form-data; name=a", "; filename=x", "; name=\"q\\\"\"", "A: b", "\x0c", ":",
        ]), 0..30),
    ) {
        let body = format!("multipart/form-data; boundary=b\n{}", pieces.concat());
        fuzz::fuzz_multipart(body.as_bytes());
    }

    #[test]
    fn no_pieces_of_xml_break_it(
        pieces in vec(prop::sample::select(vec![
            "<a>", "</a>", "<a/>", "<", ">", "/", "&lt;", "&#x41;", "&x;", "&", ";", "<![CDATA[", "]]>", "<!--", "-->",
            "<?xml version='1.0'?>", "<!DOCTYPE a [", "]>", "<!ENTITY x 'y'>", " b='c'", "<a b=\"&lt;\">", " ", "x", "'",
        ]), 0..20),
    ) {
        fuzz::fuzz_xml(pieces.concat().as_bytes());
    }
}
