//! Bodies of the fuzz targets `waf_multipart`, `waf_json`, `waf_xml` and `waf_urlencoded`, shared with the corpus
//! replay in `tests/body.rs`.
//!
//! Not part of the interface. Each panics when a property that must hold for all bytes does not: a warm scratch
//! changes nothing, a sink that stops is asked no more, errors point into the input, and what is found is no more
//! than what is there.
use std::ops::ControlFlow;

use super::{BodyError, Event, LIMIT_REACHED, Scratch, Sink, json, multipart, urlencoded, xml};

/// What a parser found, copied.
type Found = Vec<(&'static str, Vec<u8>, Vec<u8>, Vec<u8>)>;

fn copied(event: Event<'_>) -> (&'static str, Vec<u8>, Vec<u8>, Vec<u8>) {
    let (kind, first, second, third): (_, &[u8], &[u8], &[u8]) = match event {
        Event::Argument { name, value } => ("argument", name, value, &[]),
        Event::Cookie { name, value } => ("cookie", name, value, &[]),
        Event::PartName(name) => ("part name", name, &[], &[]),
        Event::PartFilename(name) => ("part filename", name, &[], &[]),
        Event::PartHeader { part, line } => ("part header", part, line, &[]),
        Event::File { field, filename, content } => ("file", field, filename, content),
        Event::XmlText(text) => ("text", text, &[], &[]),
        Event::XmlAttribute(value) => ("attribute", value, &[], &[]),
        Event::XmlContent(text) => ("content", text, &[], &[]),
    };
    (kind, first.to_vec(), second.to_vec(), third.to_vec())
}

/// Runs a parser cold, warm, and with a sink that stops half-way.
fn check<R: PartialEq + std::fmt::Debug>(
    input: &[u8],
    mut parse: impl FnMut(&mut Scratch, &mut Sink<'_>) -> (R, Result<(), BodyError>),
) -> (Found, R, Result<(), BodyError>) {
    let mut scratch = Scratch::default();
    let mut run = |events_max: usize| {
        let mut found = Found::new();
        let (report, result) = parse(&mut scratch, &mut |event| {
            assert!(found.len() < events_max, "asked after it stopped");
            found.push(copied(event));
            if found.len() == events_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (found, report, result)
    };
    let cold = run(usize::MAX);
    let warm = run(usize::MAX);
    assert_eq!(cold, warm);
    if let Err(error) = cold.2 {
        assert!(error.at <= input.len().max(1_024) && error.message != LIMIT_REACHED, "{error}");
    }
    let half = cold.0.len().div_ceil(2);
    if half > 0 {
        let (found, _, result) = run(half);
        assert_eq!(found, cold.0[..half]);
        assert_eq!(result.map_err(|error| error.message), Err(LIMIT_REACHED));
    }
    cold
}

/// A form: written again, every byte encoded, it reads the same.
pub fn fuzz_urlencoded(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        check(bytes, |scratch, sink| {
            let mut report = urlencoded::Report::default();
            let result = urlencoded::parse(bytes, b'&', scratch, &mut report, sink);
            (report, result)
        })
    };
    let (found, _, result) = read(bytes);
    assert_eq!(result, Ok(()));
    let mut written = Vec::new();
    let encode = |bytes: &[u8], written: &mut Vec<u8>| {
        for byte in bytes {
            written.extend_from_slice(format!("%{byte:02x}").as_bytes());
        }
    };
    for (_, name, value, _) in &found {
        encode(name, &mut written);
        written.push(b'=');
        encode(value, &mut written);
        written.push(b'&');
    }
    let (again, report, _) = read(&written);
    assert_eq!((again, report.is_encoding_invalid), (found, false));
}

/// JSON: values come from the body, names are bounded.
pub fn fuzz_json(bytes: &[u8]) {
    let (found, ..) = check(bytes, |scratch, sink| ((), json::parse(bytes, 20, scratch, sink)));
    assert!(found.len() <= bytes.len());
    let values: usize = found.iter().map(|(_, _, value, _)| value.len()).sum();
    assert!(values <= bytes.len());
    assert!(
        found.iter().all(|(_, name, ..)| name.starts_with(b"json") && name.len() <= json::NAME_BYTES_MAX)
    );
}

/// XML: each text is part of the whole.
pub fn fuzz_xml(bytes: &[u8]) {
    let (found, _, result) = check(bytes, |scratch, sink| ((), xml::parse(bytes, scratch, sink)));
    let whole = found.iter().find(|(kind, ..)| *kind == "content").map_or(&[][..], |(_, text, ..)| text);
    for (kind, text, ..) in &found {
        assert!(text.len() <= bytes.len(), "nothing is expanded");
        if *kind == "text" {
            assert!(!text.is_empty() && memchr::memmem::find(whole, text).is_some());
        }
    }
    // Each text follows the one before it, so together they are no longer than the whole.
    let texts: usize =
        found.iter().filter(|(kind, ..)| *kind == "text").map(|(_, text, ..)| text.len()).sum();
    assert!(texts <= whole.len() || result.is_err());
}

/// A `Content-Type`, LF, and a body: contents are pieces of the body, and a body without doubt has one head per
/// content.
pub fn fuzz_multipart(bytes: &[u8]) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (content_type, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let (found, report, result) = check(body, |scratch, sink| {
        let mut report = multipart::Report::default();
        let result = multipart::parse(content_type, body, 2, scratch, &mut report, sink);
        // A sink that stops makes an error of its own; what else was noticed must not depend on a warm scratch.
        (report, result)
    });
    assert_eq!(report.is_error, result.is_err());
    assert!(report.unmatched_boundary <= 2 && (!report.is_error || report.is_strict_error()));
    let mut contents = 0;
    let mut names = 0;
    for (kind, _, value, content) in &found {
        match *kind {
            "argument" => contents += value.len(),
            "file" => contents += content.len(),
            "part name" => names += 1,
            _ => {}
        }
    }
    assert!(contents <= body.len());
    if result.is_ok() {
        let parts = found.iter().filter(|(kind, ..)| matches!(*kind, "argument" | "file")).count();
        assert_eq!(parts, names);
    }
}
