//! Reads the corpus files; their format is in README.md beside them.
use std::{fs, path::PathBuf};

/// One case.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) sent: Vec<u8>,
    pub(crate) peer_ends: bool,
    /// For an origin's response: the method asked with, and whether for WebSocket.
    pub(crate) asked: Option<(String, bool)>,
    pub(crate) passes: Vec<Pass>,
    pub(crate) then: String,
}

/// A request that reaches the origin, or an answer that reaches the client (`method` is its status then).
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) body: Vec<u8>,
    pub(crate) has: Vec<(String, Vec<u8>)>,
    pub(crate) has_not: Vec<String>,
}

/// Every case of every file.
pub(crate) fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/smuggling");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.iter().flat_map(|path| read(&fs::read_to_string(path).unwrap())).collect()
}

fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case { name: rest.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case comes first");
        directive(case, word, rest);
    }
    cases
}

fn directive(case: &mut Case, word: &str, rest: &str) {
    match word {
        "about" => {}
        "line" => {
            case.sent.extend(unescape(rest));
            case.sent.extend_from_slice(b"\r\n");
        }
        "raw" => case.sent.extend(unescape(rest)),
        "times" => {
            let (count, text) = rest.split_once(' ').unwrap();
            case.sent.extend(unescape(text).repeat(count.parse().unwrap()));
        }
        "end" => case.peer_ends = true,
        "asked" => {
            let (method, protocol) = rest.split_once(' ').unwrap_or((rest, ""));
            case.asked = Some((method.to_owned(), protocol == "websocket"));
        }
        "pass" => case.passes.push(pass(rest)),
        "answer" => {
            let (status, body) = rest.split_once(' ').unwrap();
            case.passes.push(pass(&format!("{status}   {body}")));
        }
        "has" => {
            let (name, value) = rest.split_once(": ").unwrap();
            last(case).has.push((name.to_owned(), unescape(value)));
        }
        "not" => last(case).has_not.push(rest.to_owned()),
        "then" => rest.clone_into(&mut case.then),
        _ => panic!("{}: unknown directive {word}", case.name),
    }
}

fn last(case: &mut Case) -> &mut Pass {
    case.passes.last_mut().expect("has and not follow a pass")
}

fn pass(rest: &str) -> Pass {
    let mut words = rest.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target, host, body) = (word(), word(), word(), word());
    let body = body.strip_prefix('"').and_then(|body| body.strip_suffix('"')).expect("a body in quotes");
    Pass { method, target, host, body: unescape(body), has: Vec::new(), has_not: Vec::new() }
}

/// `\r \n \t \0 \\ \" \xNN`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().expect("an escape") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'"' => b'"',
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {}", char::from(other)),
        });
    }
    out
}
