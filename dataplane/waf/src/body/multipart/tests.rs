//! Multipart bodies one by one: what is read, flagged and refused.
use std::ops::ControlFlow;

use super::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_as(content_type: &str, body: &[u8]) -> (Vec<String>, Report, Result<(), BodyError>) {
    let mut found = Vec::new();
    let mut report = Report::default();
    let mut sink = |event: Event<'_>| {
        found.push(match event {
            Event::Argument { name, value } => format!("{}={}", text(name), text(value)),
            Event::File { field, filename, content } => {
                format!("{}:{}={}", text(field), text(filename), text(content))
            }
            Event::PartName(name) => format!("name {}", text(name)),
            Event::PartFilename(name) => format!("filename {}", text(name)),
            Event::PartHeader { part, line } => format!("header [{}] {}", text(part), text(line)),
            other => panic!("{other:?}"),
        });
        ControlFlow::Continue(())
    };
    let result = parse(content_type.as_bytes(), body, 2, &mut Scratch::default(), &mut report, &mut sink);
    (found, report, result)
}

fn read(body: &str) -> (Vec<String>, Report, Result<(), BodyError>) {
    read_as("multipart/form-data; boundary=b", body.as_bytes())
}

fn part(head: &str) -> String {
    format!("--b\r\n{head}\r\n\r\nx\r\n--b--\r\n")
}

fn message(body: &str) -> &'static str {
    let (_, report, result) = read(body);
    assert!(report.is_strict_error());
    result.unwrap_err().message
}

#[test]
fn arguments_and_files_are_told_apart() {
    let (found, report, result) = read(concat!(
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nline 1\r\n\r\nline 3\r\n",
        "--b\r\ncontent-disposition: form-data; name=f; filename=\"q\\\"\\\\x.txt\"\r\nContent-Type: text/plain\r\n\r\n",
        "DATA\r\n--b\r\nContent-Disposition: form-data; name=\"e\"; filename=\"\"\r\n\r\n\r\n--b--\r\n",
    ));
    assert_eq!(result, Ok(()));
    assert_eq!(report, Report { has_crlf_line: true, ..Report::default() });
    assert_eq!(
        found,
        [
            "name a",
            "header [a] Content-Disposition: form-data; name=\"a\"",
            "a=line 1\r\n\r\nline 3",
            "name f",
            "filename q\"\\x.txt",
            "header [f] content-disposition: form-data; name=f; filename=\"q\\\"\\\\x.txt\"",
            "header [f] Content-Type: text/plain",
            "f:q\"\\x.txt=DATA",
            "name e",
            "header [e] Content-Disposition: form-data; name=\"e\"; filename=\"\"",
            "e=",
        ]
    );
}

#[test]
fn boundaries_in_doubt_are_refused() {
    let cases = [
        ("", "Content-Type header not available"),
        ("multipart/mixed; boundary=b", "Invalid MIME type"),
        ("multipart/form-datax; boundary=b", "Invalid boundary in C-T (malformed)"),
        ("multipart/form-data", "Boundary not found in C-T"),
        ("multipart/form-data; boundary", "Invalid boundary in C-T (malformed)"),
        ("multipart/form-data; boundary=", "Invalid boundary in C-T (empty)"),
        ("multipart/form-data; boundary=\"\"", "Invalid boundary in C-T (empty)"),
        ("multipart/form-data; Boundary=b", "Invalid boundary in C-T (case sensitivity)"),
        ("multipart/form-data, boundary=b", "Invalid boundary in C-T (malformed)"),
        ("multipart/form-data; charset=x; boundary=b", "Invalid boundary in C-T (malformed)"),
        ("multipart/form-data; boundary=a; boundary=b", "Multiple boundary parameters in C-T"),
        ("multipart/form-data; boundary=a; BOUNDARY=b", "Multiple boundary parameters in C-T"),
        ("multipart/form-data; boundary*=b", "Invalid boundary in C-T (parameter name)"),
        ("multipart/form-data; boundary=\"b", "Invalid boundary in C-T (quote)"),
        ("multipart/form-data; boundary=b\"", "Invalid boundary in C-T (quote)"),
        ("multipart/form-data; boundary=\"b\"; c=d", "Invalid boundary in C-T (quote)"),
        ("multipart/form-data; boundary=a*b", "Invalid boundary in C-T (characters)"),
        ("multipart/form-data; boundary=b ", "Invalid boundary in C-T (characters)"),
    ];
    for (content_type, expected) in cases {
        let (_, report, result) = read_as(content_type, b"--b--");
        assert_eq!(result.unwrap_err().message, format!("Multipart: {expected}"), "{content_type}");
        assert!(report.is_strict_error());
    }
    assert!(read_as("multipart/form-data; boundary=\"b\"", b"--b--").1.is_boundary_quoted);
    assert!(read_as("multipart/form-data boundary=b", b"--b--").1.is_semicolon_missing);
    assert!(read_as("multipart/form-data; boundary = b", b"--b--").1.has_boundary_whitespace);
    assert_eq!(read_as("multipart/form-data; boundary=b; charset=UTF-8", b"--b--").2, Ok(()));
}

#[test]
fn heads_in_doubt_are_refused() {
    let cases = [
        ("Content-Type: x", "Part missing Content-Disposition header"),
        ("Content-Disposition: attachment; name=a", "Invalid Content-Disposition header"),
        ("Content-Disposition: form-data name=a", "Invalid Content-Disposition header"),
        ("Content-Disposition: form-data;", "Content-Disposition header missing name field"),
        ("Content-Disposition: form-data; name=a; name=b", "Duplicate Content-Disposition name"),
        ("Content-Disposition: form-data; name=; name=b", "Duplicate Content-Disposition name"),
        (
            "Content-Disposition: form-data; name=a; filename=\"\"; filename=b",
            "Duplicate Content-Disposition filename",
        ),
        (
            "Content-Disposition: form-data; name=a; filename*=UTF-8''x",
            "Invalid Content-Disposition header (parameter)",
        ),
        ("Content-Disposition: form-data; Name=a", "Invalid Content-Disposition header (parameter)"),
        ("Content-Disposition: form-data; name=\"a", "Invalid Content-Disposition header (quote)"),
        ("Content-Disposition: form-data; name=\"a\"b", "Invalid Content-Disposition header"),
        (
            "Content-Disposition: form-data; name=a; filename =x",
            "Invalid Content-Disposition header (filename)",
        ),
        ("Content-Disposition: form-data; name=a\r\ncontent-DISPOSITION: x", "Duplicate part header"),
        ("Content-Disposition: form-data; name=\"a\0b\"", "NUL or CR byte in part headers"),
        ("Content-Disposition: form-data; name=a\rX: y", "NUL or CR byte in part headers"),
        (" folded: x", "Invalid part header (folding error)"),
        ("no colon", "Invalid part header (colon missing)"),
        (": x", "Invalid part header (header name missing)"),
        ("\u{e}Content-Disposition: form-data; name=a", "Invalid part header (contains invalid character)"),
        ("Content- Disposition: form-data; name=a", "Invalid part header (contains invalid character)"),
    ];
    for (head, expected) in cases {
        assert_eq!(message(&part(head)), format!("Multipart: {expected}"), "{head}");
    }
    let (found, ..) = read(&part("\u{e}A: b\r\nC: d"));
    assert_eq!(found, ["header [] \u{e}A: b", "header [] C: d"]);
}

#[test]
fn flags_are_set() {
    let head = "Content-Disposition: form-data; name=\"a\"";
    let report = |body: &str| {
        let (_, report, result) = read(body);
        assert_eq!(result, Ok(()), "{body}");
        assert_eq!(report.is_strict_error(), report.unmatched_boundary == 0, "{body}");
        report
    };
    assert!(report(&format!("preamble\r\n{}", part(head))).has_data_before);
    assert!(report(&format!("{}\r\n", part(head))).has_data_after);
    let folded = report(&part("Content-Disposition: form-data;\r\n\tname=a"));
    assert!(folded.has_header_folding && !folded.has_invalid_header_folding);
    assert!(report(&part("Content-Disposition: form-data;\r\n\x0cname=a")).has_invalid_header_folding);
    let mixed = report(&part("Content-Disposition: form-data; name=a\nX: y"));
    assert_eq!(mixed.value(Variable::MultipartCrlfLfLines), Some(1));
    let lf = report(&part(head).replace('\r', ""));
    assert_eq!(lf.value(Variable::MultipartCrlfLfLines), Some(0));
    assert!(lf.has_lf_line);
    assert!(report(&part("Content-Disposition: form-data; name='a'")).has_invalid_quoting);
    assert!(report(&part("Content-Disposition: form-data; name=a'b")).has_invalid_quoting);
    assert!(report("--b\r\n--b--\r\n").has_invalid_part);
    let file = "Content-Disposition: form-data; name=a; filename=x\r\n\r\n\r\n--b\r\n";
    assert!(
        !read(&part(&format!("{file}{}", file.trim_end_matches("\r\n\r\n\r\n--b\r\n"))))
            .1
            .is_file_limit_exceeded
    );
    assert!(report(&part(&format!("{file}{file}{head}; filename=y"))).is_file_limit_exceeded);
}

#[test]
fn what_looks_like_a_boundary_is_flagged_or_refused() {
    let head = "Content-Disposition: form-data; name=a";
    let of = |content: &str| read(&format!("--b\r\n{head}\r\n\r\n{content}\r\n--b--"));
    assert_eq!(of("ab-").1.unmatched_boundary, 0);
    for content in ["--c", "x--b", "--\r", "x\r--b"] {
        let (found, report, result) = of(content);
        assert_eq!((report.unmatched_boundary, result), (2, Ok(())), "{content:?}");
        assert_eq!(found.last().unwrap(), &format!("a={content}"));
    }
    assert_eq!(of("--b x").2.unwrap_err().message, "Multipart: Invalid boundary");
    assert_eq!(of("-- b").2.unwrap_err().message, "Multipart: Invalid boundary (whitespace)");
    let (_, report, result) = read("--c\r\n\r\nx\r\n--c--\r\n");
    assert_eq!(report.unmatched_boundary, 1);
    assert_eq!(result.unwrap_err().message, "Multipart: No boundaries found in payload");
    assert_eq!(message(&format!("--b\r\n{head}\r\n\r\nx\r\n--b")), "Multipart: Final boundary missing");
    assert_eq!(message(&format!("--b\r\n{head}\r\n\r\nx\r\n")), "Multipart: Final boundary missing");
    let quoted = read_as("multipart/form-data; boundary=\"b\"", b"--\"b\"\r\n");
    assert_eq!(quoted.2.unwrap_err().message, "Multipart: Invalid boundary (quotes)");
}

#[test]
fn heads_and_parts_are_bounded() {
    let head = "Content-Disposition: form-data; name=a";
    let many: String = (0..LINES_MAX).map(|index| format!("\r\nX{index}: y")).collect();
    assert_eq!(message(&part(&format!("{head}{many}"))), "Multipart: Too many part headers");
    let long = format!("{head}\r\nX: {}", "y".repeat(LINE_BYTES_MAX));
    assert_eq!(message(&part(&long)), "Multipart: Part header too long");
    let folded = format!("{head}{}", "\r\n y".repeat(HEAD_BYTES_MAX / 4));
    assert_eq!(message(&part(&folded)), "Multipart: Part header too long");
    let parts = format!("--b\r\n{head}\r\n\r\n\r\n").repeat(PARTS_MAX + 1);
    assert_eq!(message(&parts), "Multipart: Too many parts");
}

#[test]
fn the_sink_stops_it() {
    let mut report = Report::default();
    let body = part("Content-Disposition: form-data; name=a");
    let content_type = b"multipart/form-data; boundary=b";
    let error = parse(content_type, body.as_bytes(), 2, &mut Scratch::default(), &mut report, &mut |_| {
        ControlFlow::Break(())
    })
    .unwrap_err();
    assert_eq!(error.message, super::super::LIMIT_REACHED);
    assert!(report.is_error);
}
