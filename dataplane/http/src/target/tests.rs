//! Paths, what they resolve to and what is found in them.
use super::*;
use Finding::*;

fn resolved(path: &str) -> (String, Vec<Finding>) {
    let mut resolved = Resolved::new();
    resolved.resolve(path.as_bytes());
    let text = resolved.path().iter().map(|byte| char::from(*byte)).collect();
    (text, resolved.findings().iter().collect())
}

fn check(path: &str, expected: &str, findings: &[Finding]) {
    let mut sorted = findings.to_vec();
    sorted.sort();
    assert_eq!(resolved(path), (expected.to_owned(), sorted), "{path}");
}

#[test]
fn a_plain_path_stays_as_it_is() {
    for path in ["/", "/a/b.c", "/a/", "/a..b/c.", "/a;x=1", "*", "/~a/!$&'()*+,=:@"] {
        check(path, path, &[]);
    }
}

#[test]
fn ordinary_encoding_is_decoded_without_a_finding() {
    check("/a%20b", "/a b", &[]);
    check("/%41%7e", "/A~", &[]);
    check("/%C3%A9", "/\u{c3}\u{a9}", &[]);
    check("/100%25", "/100%", &[]);
}

#[test]
fn dot_segments_are_resolved_as_rfc_3986_has_it() {
    check("/a/b/c/./../../g", "/a/g", &[DotSegment]);
    check("/a/..", "/", &[DotSegment]);
    check("/a/.", "/a/", &[DotSegment]);
    check("/a/./", "/a/", &[DotSegment]);
    check("/...", "/...", &[]);
    check("/a/b/..", "/a/", &[DotSegment]);
}

#[test]
fn climbing_over_the_root_is_found() {
    check("/../etc/passwd", "/etc/passwd", &[DotSegment, EscapesRoot]);
    check("/a/../../b", "/b", &[DotSegment, EscapesRoot]);
    check("/..", "/", &[DotSegment, EscapesRoot]);
}

#[test]
fn hidden_dots_are_found() {
    check("/a/%2e%2e/b", "/b", &[EncodedDotSegment]);
    check("/a/.%2E/b", "/b", &[EncodedDotSegment]);
    check("/a/..%2fb", "/b", &[EncodedDotSegment, EncodedSlash]);
    check("/a/..\\b", "/b", &[Backslash, EncodedDotSegment]);
    check("/a/..%5cb", "/b", &[Backslash, EncodedDotSegment]);
    check("/a/..;/b", "/b", &[DotSegment, ParameterDotSegment]);
    check("/a/..;x=1/b", "/b", &[DotSegment, ParameterDotSegment]);
    check("/a/%252e%252e/b", "/a/%2e%2e/b", &[DoubleEncoded, DoubleEncodedDots]);
    check("/a/..%252fb", "/a/..%2fb", &[DoubleEncoded, DoubleEncodedDots]);
    check("/a%2500", "/a%00", &[DoubleEncoded, Nul]);
    check("/a%2525", "/a%25", &[DoubleEncoded]);
    check("/a/%c0%ae%c0%ae/b", "/a/\u{c0}\u{ae}\u{c0}\u{ae}/b", &[InvalidUtf8, Overlong]);
    check("/a%c0%afb", "/a\u{c0}\u{af}b", &[InvalidUtf8, Overlong]);
    check("/a%e0%80%afb", "/a\u{e0}\u{80}\u{af}b", &[InvalidUtf8, Overlong]);
    check("/%u002e%u002e/a", "/%u002e%u002e/a", &[UnicodePercent]);
}

#[test]
fn bytes_without_meaning_are_found() {
    check("/a%00.jpg", "/a\0.jpg", &[Nul]);
    check("/a%0d%0ab", "/a\r\nb", &[Control]);
    check("/%7f", "/\u{7f}", &[Control]);
    check("/%ff", "/\u{ff}", &[InvalidUtf8]);
    for bad in ["/%", "/%2", "/%2g", "/%%", "/%u12"] {
        check(bad, bad, &[BadPercent]);
    }
}

#[test]
fn empty_segments_are_merged() {
    check("//a///b", "/a/b", &[EmptySegment]);
    check("//", "/", &[EmptySegment]);
    check("/a%2f/b", "/a/b", &[EmptySegment, EncodedSlash]);
}

#[test]
fn only_what_no_ordinary_client_sends_is_hostile() {
    let hostile = |path: &str| {
        let mut resolved = Resolved::new();
        resolved.resolve(path.as_bytes());
        resolved.findings().is_hostile()
    };
    for path in ["/a/../b", "//a", "/a%2fb", "/a%2520b", "/%ff", "/a b"] {
        assert!(!hostile(path), "{path}");
    }
    for path in
        ["/..", "/a/%2e%2e/b", "/a%00", "/a\\b", "/..;/a", "/%c0%af", "/%u0041", "/%zz", "/%252e%252e/"]
    {
        assert!(hostile(path), "{path}");
    }
}

#[test]
fn an_encoded_path_resolves_to_what_was_encoded_without_surprise() {
    for path in ["/a b/\u{e9}", "/100%25/a", "/a?b#c", "/x;y=1"] {
        let mut encoded = Vec::new();
        encode(path.as_bytes(), &mut encoded);
        let mut again = Resolved::new();
        again.resolve(&encoded);
        assert_eq!(again.path(), path.as_bytes());
        assert!(!again.findings().is_hostile());
    }
}
