//! Operators against vectors that others wrote, and what must hold for all values.
//!
//! The vectors of Coraza are data beside the repository, or where `SECLANG_VECTORS` says; without them that test
//! says so and passes. The corpus of the fuzz target `waf_operator` is replayed here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use proptest::prelude::*;
use secbeat_waf::{
    operator::{Captures, Operator, Word, fuzz::fuzz},
    seclang::Files,
};
use serde::Deserialize;

/// A folder on a disk.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

/// One vector of Coraza.
#[derive(Deserialize)]
struct Vector {
    name: String,
    #[serde(default)]
    param: String,
    #[serde(default)]
    input: String,
    ret: u8,
}

/// Words that the Core Rule Set uses, of those that are here: every vector of theirs must hold.
const CORE_RULE_SET: &[Word] = &[
    Word::BeginsWith,
    Word::Contains,
    Word::DetectSqli,
    Word::DetectXss,
    Word::EndsWith,
    Word::Eq,
    Word::Ge,
    Word::Gt,
    Word::IpMatch,
    Word::Le,
    Word::Lt,
    Word::Pm,
    Word::PmFromFile,
    Word::StrEq,
    Word::UnconditionalMatch,
    Word::ValidateByteRange,
    Word::ValidateUrlEncoding,
    Word::ValidateUtf8Encoding,
    Word::Within,
];

/// Vectors that do not hold, with the reason: word, argument, value.
const DIFFERENT: &[(Word, &str, &str)] = &[];

/// Arguments that are refused here and match nothing there.
const REFUSED: &[(Word, &str)] = &[
    // A prefix longer than an address has bits: a mistake in a rule is told.
    (Word::IpMatch, "10.0.0.0/100"),
];

fn vectors() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/seclang-vectors");
    let root = env::var_os("SECLANG_VECTORS").map_or(beside, PathBuf::from);
    let folder = root.join("coraza/internal/operators/testdata");
    folder.is_dir().then_some(folder)
}

/// The bytes of an input: JSON has no bytes past 127, so the vectors write them as `\xHH` where they need them.
fn bytes_of(input: &str) -> Vec<u8> {
    if !input.contains("\\x") {
        return input.as_bytes().to_vec();
    }
    let mut out = Vec::new();
    let mut rest = input;
    while let Some(first) = rest.chars().next() {
        let (digits, skip) = match rest.as_bytes() {
            [b'\\', b'x', ..] => (2, 2),
            [b'\\', b'u', ..] => (4, 2),
            _ => (0, first.len_utf8()),
        };
        let (head, tail) = rest.split_at(skip + digits);
        if digits == 0 {
            out.extend_from_slice(head.as_bytes());
        } else {
            let code = u32::from_str_radix(&head[skip..], 16).unwrap();
            if digits == 2 {
                out.push(u8::try_from(code).unwrap());
            } else {
                out.extend_from_slice(char::from_u32(code).unwrap().to_string().as_bytes());
            }
        }
        rest = tail;
    }
    out
}

#[test]
fn vectors_of_coraza_hold() {
    let Some(folder) = vectors() else {
        eprintln!("skipped: no vectors (SECLANG_VECTORS)");
        return;
    };
    let files = Folder(folder.join("op"));
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        for vector in serde_json::from_slice::<Vec<Vector>>(&fs::read(&path).unwrap()).unwrap() {
            let word = Word::from_name(&vector.name).unwrap_or_else(|| panic!("{}", vector.name));
            if matches!(word, Word::Rx | Word::RxGlobal | Word::ValidateSchema) {
                continue;
            }
            let input = bytes_of(&vector.input);
            let answer = match Operator::compile(&vector.name, Some(&vector.param), "", &files) {
                Ok(operator) => operator.matches(&input, vector.param.as_bytes(), &mut Captures::new()),
                Err(error) => {
                    let is_known = REFUSED.contains(&(word, vector.param.as_str()));
                    assert!(is_known, "{} {}: {error}", vector.name, vector.param);
                    false
                }
            };
            let count = counts.entry(word.name()).or_default();
            count.1 += 1;
            if answer == (vector.ret == 1) {
                count.0 += 1;
            } else if !DIFFERENT.contains(&(word, vector.param.as_str(), vector.input.as_str())) {
                wrong.push(format!("{} {:?} {:?}: {answer}", vector.name, vector.param, vector.input));
            }
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counts.len() >= 25, "only {} words have vectors", counts.len());
    for word in CORE_RULE_SET {
        let (held, all) = counts[word.name()];
        let different = DIFFERENT.iter().filter(|vector| vector.0 == *word).count();
        assert_eq!(held + different, all, "@{}", word.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_the_fuzz_target_checks_holds(
        word in any::<u8>(), argument in "[a-z0-9.:/%<>=' ]{0,12}", value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = vec![word, u8::try_from(argument.len()).unwrap()];
        bytes.extend_from_slice(argument.as_bytes());
        bytes.extend_from_slice(&value);
        fuzz(&bytes);
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/waf_operator")
}

#[test]
fn corpus_of_waf_operator_is_replayed() {
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        fuzz(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 20, "the corpus has only {count} files");
}

/// One seed a word: its place, the length of the argument, the argument, the value.
#[test]
#[ignore = "writes the seeds of the fuzz target"]
fn seeds_are_written() {
    fs::create_dir_all(folder()).unwrap();
    for (index, word) in Word::ALL.iter().enumerate() {
        let (argument, value) = match word {
            Word::DetectSqli => ("", "1' UNION ALL SELECT $$x$$,q'(a)',[b],@@v-- /*!x*/"),
            Word::DetectXss => ("", "<a href='&#x6a;ava' onclick=x><!--[if]--><![CDATA[]]>"),
            Word::Eq | Word::Ge | Word::Gt | Word::Le | Word::Lt => ("-5", " +12x"),
            Word::IpMatch => ("10.0.0.0/8,::1", "10.1.2.3"),
            Word::IpMatchFromFile => ("list", "192.0.2.0/24 # office\n::1"),
            Word::Pm => ("a|4243|d e\\:f", "xABCdx"),
            Word::PmFromFile => ("list", "# phrases\nlist\n"),
            Word::RestPath => ("/a/{b}/{c}", "/a/1/2"),
            Word::ValidateByteRange => ("9,10,13,32-126", "a\0b"),
            Word::ValidateNid => ("cl [0-9.]+-[0-9kK]", "11.111.111-1"),
            Word::ValidateUrlEncoding => ("", "%41%4"),
            Word::ValidateUtf8Encoding => ("", "é"),
            Word::VerifyCc => ("[0-9]+", "x4417123456789113"),
            Word::VerifyCpf => ("[0-9.-]+", "010.817.514-60"),
            Word::VerifySsn => ("[0-9-]+", "574-57-8065"),
            Word::VerifySvnr => ("[0-9 ]+", "1237 010180"),
            _ => ("word", "a word in words"),
        };
        let index = u8::try_from(index).unwrap();
        let len = u8::try_from(argument.len()).unwrap();
        let bytes = [&[index, len], argument.as_bytes(), value.as_bytes()].concat();
        fs::write(folder().join(word.name()), bytes).unwrap();
    }
}
