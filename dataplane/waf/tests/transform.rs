//! Every transformation against random bytes, and against the vectors of Coraza where these are at hand.
//!
//! The vectors are not part of the repository. They are looked for in `SECLANG_VECTORS`, else in `seclang-vectors` of
//! a folder `shared` beside the repository; without them that test says that it is skipped.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use proptest::{collection::vec, prelude::*, sample::select};
use secbeat_waf::{
    byte_set::ByteSet,
    seclang::settings::UnicodeMap,
    transform::{Transformation, fuzz},
};

#[path = "transform/go_text.rs"]
mod go_text;

/// Pieces that transformations act on, so that random values meet them often.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..4),
        "[ -~]{0,6}".prop_map(String::into_bytes),
        "\\PC{0,3}".prop_map(String::into_bytes),
        select(vec![
            "%u0041", "%2e", "%", "+", "\\u0061", "\\x41", "\\101", "\\", "&lt;", "&#x3c;", "&#60",
            "&colon;", "&", "/*", "*/", "<!--", "-->", "--", "#", "../", "./", "//", "\\..\\", "0x41", " \t",
            "\r\n", "\"^'", ",;", " /", " (", "\0", "QUJD", "=", "AbC", "\\0", "\\1f600 ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The result differs where it is said to, is no longer than it may be, and is the same whatever the buffer held.
    #[test]
    fn what_a_word_says_of_itself_holds(input in value()) {
        let mut out = b"of before".to_vec();
        let map = UnicodeMap::us_ascii();
        for &word in Transformation::ALL {
            fuzz::check(word, &input, None, &mut out);
            fuzz::check(word, &input, Some(&map), &mut out);
        }
    }

    /// Without any byte that a word touches a value stays as it is: values of all other bytes, not only of likely
    /// ones.
    #[test]
    fn a_word_leaves_a_value_without_its_bytes(input in value(), random in vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        for &word in Transformation::ALL {
            let touches = word.touches();
            for bytes in [&input, &random] {
                let rest: Vec<u8> = bytes.iter().copied().filter(|&byte| !touches.contains(byte)).collect();
                let may_change = rest.is_empty() && word.changes_empty();
                prop_assert_eq!(word.apply(&rest, None, &mut out), may_change, "{:?} {:?}", word, rest);
            }
        }
    }

    /// What the fuzz target checks, chains included.
    #[test]
    fn random_chains_hold(count in any::<u8>(), words in vec(any::<u8>(), 8), input in value()) {
        fuzz::fuzz(&[&[count], &words[..], &input].concat());
    }

    /// Undoing a coding gives back what was coded.
    #[test]
    fn codings_are_undone(input in vec(any::<u8>(), 0..100)) {
        use Transformation::*;
        for (code, undo) in [
            (Base64Encode, Base64Decode), (Base64Encode, Base64DecodeExt), (HexEncode, HexDecode),
            (UrlEncode, UrlDecode), (UrlEncode, UrlDecodeUni),
        ] {
            prop_assert_eq!(&apply(undo, &apply(code, &input)), &input, "{:?}", code);
        }
    }
}

fn apply(word: Transformation, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if word.apply(input, Some(&UnicodeMap::us_ascii()), &mut out) { out } else { input.to_vec() }
}

/// Values of up to three bytes over all bytes that matter to any word: every one of them.
#[test]
fn short_values_hold_what_is_said() {
    let bytes = b"\0 \t/\\.*-#<!>%+u&#xX0aAfz4\"^,;(:\x80\xa0\xc3\xe2\xff";
    let mut out = Vec::new();
    for &word in Transformation::ALL {
        for &first in bytes {
            for &second in bytes {
                fuzz::check(word, &[first, second], None, &mut out);
                for &third in bytes {
                    fuzz::check(word, &[first, second, third], None, &mut out);
                }
            }
        }
        for byte in 0..=u8::MAX {
            fuzz::check(word, &[byte], None, &mut out);
            fuzz::check(word, &[byte; 3], None, &mut out);
        }
    }
}

/// A set of touched bytes that is all bytes although the word leaves some alone would cost, not break; this keeps
/// them tight.
#[test]
fn every_touched_byte_can_matter() {
    let mut out = Vec::new();
    let around: &[&[&[u8]]] = &[
        &[b"", b""],
        &[b"a ", b" "],
        &[b"a", b"/b"],
        &[b"/", b"/"],
        &[b"/", b"1*/"],
        &[b"-", b"-"],
        &[b"", b"41"],
        &[b"0", b"41"],
        &[b"&lt", b""],
        &[b"", b"lt;"],
        &[b"", b"1"],
        &[b" ", b""],
    ];
    for &word in Transformation::ALL.iter().filter(|word| word.touches() != ByteSet::ALL) {
        for byte in (0..=u8::MAX).filter(|&byte| word.touches().contains(byte)) {
            let matters = around.iter().any(|sides| {
                let with = [sides[0], &[byte], sides[1]].concat();
                word.apply(&with, None, &mut out)
            });
            assert!(matters, "{word:?} never minds {byte:#x}");
        }
    }
}

/// Room that is there is used: a warm buffer allocates nothing.
#[test]
fn a_warm_buffer_allocates_nothing() {
    let values: Vec<Vec<u8>> = vec![
        b"select%20a+from%u0062 where /*x*/ C='\\u0061\\x41\\0' &lt;&#60; ../a//./b -- # \0 \xc3\xa9 0x4142"
            .to_vec(),
        vec![b'\xff'; 300],
        b"plain".to_vec(),
    ];
    let map = UnicodeMap::us_ascii();
    let mut out = Vec::with_capacity(6 * 300);
    for &word in Transformation::ALL {
        let info = allocation_counter::measure(|| {
            for value in &values {
                word.apply(value, Some(&map), &mut out);
            }
        });
        assert_eq!(info.count_total, 0, "{word:?}");
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    input: String,
    output: String,
}

/// Vectors that this crate answers otherwise, with why: word, input as written, our result.
const DIFFERENCES: &[(&str, &str, &[u8], &str)] = &[(
    "escapeSeqDecode",
    r"\8\9\666\xag\xga\0123",
    b"89\xb6xagxga\n3",
    "the expected text has `\\xag`, which no reader of such text takes (Coraza compares nothing with nothing here)",
)];

#[test]
fn vectors_of_coraza() {
    let root = env::var_os("SECLANG_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/seclang-vectors"),
        PathBuf::from,
    );
    let folder = root.join("coraza/internal/transformations/testdata");
    let Ok(files) = fs::read_dir(&folder) else {
        println!("skipped: no vectors in {}", folder.display());
        return;
    };
    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    let mut differences = 0;
    for file in files {
        // The file names the word; the names inside are of tests for some.
        let path = file.unwrap().path();
        let word = Transformation::from_name(path.file_stem().unwrap().to_str().unwrap()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for vector in serde_json::from_str::<Vec<Vector>>(&text).unwrap() {
            let (input, output) = go_text::vector(&vector.input, &vector.output);
            let found = apply(word, &input);
            let counted: &mut (u32, u32) = counts.entry(word.name()).or_default();
            counted.1 += 1;
            if found == output {
                counted.0 += 1;
                continue;
            }
            let known = DIFFERENCES.iter().find(|known| known.0 == word.name() && known.1 == vector.input);
            match known {
                Some(known) => {
                    assert_eq!(found, known.2, "{known:?}");
                    println!("differs as it should: {known:?}");
                    differences += 1;
                }
                None => failures.push(format!(
                    "{} of \"{}\": \"{}\" and not \"{}\"",
                    word.name(),
                    input.escape_ascii(),
                    found.escape_ascii(),
                    output.escape_ascii()
                )),
            }
        }
    }
    for (word, (passed, all)) in &counts {
        println!("{word:<20} {passed:>3} of {all:>3}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(differences, DIFFERENCES.len(), "a known difference is none");
    assert_eq!(counts.len(), Transformation::ALL.len(), "not every word has vectors");
}
