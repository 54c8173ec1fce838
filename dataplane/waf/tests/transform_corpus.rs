//! Replays the corpus of the fuzz target `waf_transform`.
//!
//! The seeds among it are written by `cargo test -p secbeat-waf --test transform_corpus -- --ignored`; whatever a
//! fuzzer finds is added beside them.

use std::{fs, path::PathBuf};

use secbeat_waf::transform::{Transformation, fuzz::fuzz};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/waf_transform")
}

#[test]
fn corpus_of_waf_transform_is_replayed() {
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        fuzz(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= SEEDS.len(), "the corpus of waf_transform has only {count} files");
}

/// Chains of the core rule set and what they are against, with the name of the file.
const SEEDS: &[(&str, &[Transformation], &[u8])] = {
    use Transformation::*;
    &[
        (
            "xss",
            &[Utf8ToUnicode, UrlDecodeUni, HtmlEntityDecode, JsDecode, CssDecode, RemoveNulls],
            b"%3csc\0ript%u003e&#x61;lert\\u0028\\000028 1&rpar;\xef\xbc\x9c",
        ),
        (
            "traversal",
            &[Utf8ToUnicode, UrlDecodeUni, NormalizePathWin],
            b"..%c0%af..\\.\\//a/../\xc0\xae./etc/passwd",
        ),
        (
            "shell",
            &[UrlDecode, CmdLine, EscapeSeqDecode, Lowercase],
            b"C^at,;  /etc/p'a'ss\\x77d (\"\\n\\777",
        ),
        (
            "sql",
            &[ReplaceComments, RemoveComments, SqlHexDecode, CompressWhitespace],
            b"0x4142/*x*/ or  1 -- <!-- # */ ",
        ),
        (
            "codings",
            &[Base64Encode, Base64Decode, HexEncode, HexDecode, UrlEncode, UrlDecode, Base64DecodeExt],
            b"\0\xffab",
        ),
        (
            "growth",
            &[Utf8ToUnicode, UrlEncode, HexEncode, Base64Encode, UrlEncode, HexEncode, UrlEncode],
            &[0xff; 80],
        ),
        (
            "edges",
            &[
                TrimLeft,
                TrimRight,
                Trim,
                ParityOdd7bit,
                ParityEven7bit,
                ParityZero7bit,
                ReplaceNulls,
                RemoveWhitespace,
            ],
            b" \t\\ %u \\u \\x & &# -- \x80 ",
        ),
        ("digests", &[Md5, HexEncode, Length, Sha1, Uppercase, RemoveCommentsChar, NormalizePath], b"/*a*/"),
    ]
};

/// Writes the seeds: how many words, the words by place, the value.
#[test]
#[ignore = "writes the seeds of the corpus"]
fn seeds_are_written() {
    fs::create_dir_all(folder()).unwrap();
    for (name, words, value) in SEEDS {
        let mut bytes = vec![words.len() as u8];
        bytes.extend(
            words
                .iter()
                .map(|word| Transformation::ALL.iter().position(|other| other == word).unwrap() as u8),
        );
        bytes.extend_from_slice(value);
        fs::write(folder().join(name), bytes).unwrap();
    }
}
