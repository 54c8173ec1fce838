//! Long hostile values cost no more than their length: quadratic work would be minutes or hours here.

use std::time::{Duration, Instant};

use secbeat_waf::{
    libinjection::{sqli, xss},
    operator::{Captures, Operator},
    seclang::Files,
};

/// Bytes of a value: more than a body has in one argument.
const VALUE_BYTES: usize = 256 << 10;
/// Far above what an unoptimised build on a busy machine takes.
const TIME_MAX: Duration = Duration::from_secs(10);

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(path.to_owned())
    }

    fn expand(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn check(piece: &str, ask: impl Fn(&[u8])) {
    let value = piece.repeat(VALUE_BYTES / piece.len());
    let start = Instant::now();
    ask(value.as_bytes());
    assert!(start.elapsed() < TIME_MAX, "{piece:?}: {:?}", start.elapsed());
}

#[test]
fn sql_of_any_kind() {
    for piece in [
        "'", "\\", "\\'", "/*", "/*x*/", "$a", "$a$", "$$", "q'(", "b'0", "x'1", "--\n", "-", "(", "1,",
        "1+", "{a", "`", "@", "[", "0x", "0b", "1e", "u&'", "a.", "select ", ";if ",
    ] {
        check(piece, |value| {
            let _ = sqli(value);
        });
    }
}

#[test]
fn html_of_any_kind() {
    for piece in [
        "<",
        "</>",
        "<!--",
        "<!---",
        "-\0",
        "<![CDATA[",
        "<%",
        "%",
        "/",
        "<a ",
        "a=",
        "'",
        "\0",
        "<a b='",
        "=&#1",
    ] {
        check(piece, |value| {
            let _ = xss(value);
        });
    }
}

#[test]
fn candidates_and_words() {
    for (name, argument, piece) in [
        ("verifySSN", r"\d+", "1"),
        ("verifyCPF", r"\d{2,}1", "1"),
        ("verifyCC", r"[0-9 -]+", "1 -"),
        ("containsWord", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a"),
        ("restpath", "/{a}/{b}/{c}", "/"),
        ("pm", "aaab aab ab", "a"),
    ] {
        let operator = Operator::compile(name, Some(argument), "", &NoFiles).unwrap();
        check(piece, |value| {
            operator.matches(value, argument.as_bytes(), &mut Captures::new());
            operator.path_arguments(value, &mut |_, _| {});
        });
    }
}
