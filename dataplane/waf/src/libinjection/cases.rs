//! The test cases that come with libinjection, read from `tests/libinjection/fixtures/cases.txt`.

/// One of its files.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) input: Vec<u8>,
    pub(super) expected: Vec<u8>,
}

/// All cases whose name begins so.
pub(super) fn cases(prefix: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut sections: [Vec<u8>; 4] = Default::default();
    let mut section = 0;
    let text = include_bytes!("../../tests/libinjection/fixtures/cases.txt");
    for line in text.split_inclusive(|byte| *byte == b'\n').chain([&b"--NAME--\n"[..]]) {
        let marks: [&[u8]; 4] = [b"--NAME--\n", b"--TEST--\n", b"--INPUT--\n", b"--EXPECTED--\n"];
        match marks.iter().position(|mark| *mark == line) {
            Some(0) => {
                let [name, _, input, expected] = std::mem::take(&mut sections);
                if name.starts_with(prefix.as_bytes()) && !name.is_empty() {
                    let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                    cases.push(Case { name, input: trimmed(input), expected: trimmed(expected) });
                }
                section = 0;
            }
            Some(mark) => section = mark,
            None => sections[section].extend_from_slice(line),
        }
    }
    cases
}

/// Without white space at the end, as the test driver of libinjection reads and writes.
pub(super) fn trimmed(mut text: Vec<u8>) -> Vec<u8> {
    while matches!(text.last(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        text.pop();
    }
    text
}
