//! SQL injection: the contexts a value is read in, its fingerprint, and what is let pass all the same.
//!
//! Owns: [`sqli`]. Tokens, folding and tables have their files. Source: `libinjection_sqli.c` (see [`super`]).

#[cfg(test)]
mod cases;
mod fold;
mod token;
mod tokenizer;
mod words;

use memchr::{memchr, memmem};

use self::{
    fold::Folder,
    token::{BAREWORD, COMMENT, EVIL, KEYWORD, NUMBER, UNION},
    tokenizer::{Dialect, Quote, Tokenizer},
};
use super::Fingerprint;

/// The fingerprint of the injection that the value is, if it is one.
#[must_use]
pub fn sqli(input: &[u8]) -> Option<Fingerprint> {
    if input.is_empty() {
        return None;
    }
    let in_both = |quote| match check(input, quote, Dialect::Ansi) {
        (None, true) => check(input, quote, Dialect::MySql).0,
        (found, _) => found,
    };
    in_both(Quote::None)
        .or_else(|| memchr(b'\'', input).and_then(|_| in_both(Quote::Single)))
        .or_else(|| memchr(b'"', input).and_then(|_| check(input, Quote::Double, Dialect::MySql).0))
}

/// Reads the value in one context: the fingerprint if it is an injection, and whether MySQL would read it otherwise.
fn check(input: &[u8], quote: Quote, dialect: Dialect) -> (Option<Fingerprint>, bool) {
    let mut folder = Folder::new(Tokenizer::new(input, quote, dialect));
    let fingerprint = fingerprint(&mut folder);
    let is_injection =
        words::is_injection(fingerprint.as_bytes()) && !is_let_pass(input, &folder, fingerprint.as_bytes());
    (is_injection.then_some(fingerprint), folder.tokenizer.differs_in_mysql)
}

fn fingerprint(folder: &mut Folder<'_>) -> Fingerprint {
    let count = folder.fold();
    // PHP and MySQL: an open backtick with nothing behind it at the end acts as a comment.
    if count > 2 {
        let last = &mut folder.tokens[count - 1];
        if last.kind == BAREWORD && last.open == b'`' && last.close == 0 && last.text().is_empty() {
            last.kind = COMMENT;
        }
    }
    let mut fingerprint = Fingerprint::default();
    folder.tokens[..count].iter().for_each(|token| fingerprint.push(token.kind));
    if fingerprint.as_bytes().contains(&EVIL) {
        fingerprint = Fingerprint::default();
        fingerprint.push(EVIL);
    }
    fingerprint
}

/// Whether a fingerprint of the table is let pass, since harmless text has it too.
fn is_let_pass(input: &[u8], folder: &Folder<'_>, fingerprint: &[u8]) -> bool {
    // SQL Server leaves lines with this word out of its log.
    if fingerprint.len() > 1
        && fingerprint.last() == Some(&COMMENT)
        && memmem::find(input, b"sp_password").is_some()
    {
        return false;
    }
    match fingerprint.len() {
        2 => is_let_pass_of_two(input, folder, fingerprint),
        3 => is_let_pass_of_three(folder, fingerprint),
        _ => false,
    }
}

fn is_let_pass_of_two(input: &[u8], folder: &Folder<'_>, fingerprint: &[u8]) -> bool {
    let (first, second) = (&folder.tokens[0], &folder.tokens[1]);
    let tokens = folder.tokenizer.tokens;
    if fingerprint[1] == UNION {
        return tokens == 2;
    }
    let start = second.byte(0);
    if start == b'#' {
        return true;
    }
    // Behind a word only `/* */` counts.
    if first.kind == BAREWORD && second.kind == COMMENT && start != b'/' {
        return true;
    }
    if first.kind == NUMBER && second.kind == COMMENT {
        if start == b'/' || tokens > 2 {
            return false;
        }
        // What looks like base64 (`1234-ABCDEF--`) is one token, cut at the number; `1234 --` and `1234--` are no
        // base64.
        let len = first.text().len();
        let behind = |ahead: usize| input.get(len + ahead).copied().unwrap_or(0);
        let is_cut = match behind(0) {
            // Bytes past ASCII are negative in C.
            0..=32 | 0x80.. => true,
            b'/' => behind(1) == b'*',
            b'-' => behind(1) == b'-',
            _ => false,
        };
        return !is_cut;
    }
    // `--` within text; only at the end it counts.
    second.text().len() > 2 && start == b'-'
}

fn is_let_pass_of_three(folder: &Folder<'_>, fingerprint: &[u8]) -> bool {
    let [first, second, third, ..] = &folder.tokens;
    match fingerprint {
        // `foo" + "bar`: open at both ends with the same quote inside.
        b"sos" | b"s&s" => !(first.open == 0 && third.close == 0 && first.close == third.open),
        b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s" => folder.tokenizer.tokens == 3,
        // Only `INTO OUTFILE` and `INTO DUMPFILE`.
        _ => {
            let is_into = second.text().len() > 4 && second.text()[..4].eq_ignore_ascii_case(b"INTO");
            second.kind == KEYWORD && !is_into
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_have_fingerprints_and_text_has_none() {
        let vectors: [(&[u8], Option<&[u8]>); 14] = [
            (b"1 OR 1=1", Some(b"1&1")),
            (b"1' OR '1'='1", Some(b"s&sos")),
            (b"-1 UNION ALL SELECT 1,2,3--", Some(b"1UE1c")),
            (b"\" or 1=1 --", Some(b"s&1c")),
            (b"1 /*!00000select*/ 1", Some(b"X")),
            (b"x' INTO OUTFILE '/tmp/x", Some(b"sks")),
            (b"1 UNION", None),
            (b"", None),
            (b"hello world", None),
            (b"Breakfast was served on time with fresh fruit", None),
            (b"O'Reilly", None),
            (b"\0\xff\xfe'", None),
            (b"((((((", None),
            (b"'", None),
        ];
        for (input, expected) in vectors {
            let found = sqli(input);
            assert_eq!(
                found.as_ref().map(Fingerprint::as_bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }
}
