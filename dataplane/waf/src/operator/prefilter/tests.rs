use proptest::prelude::*;
use regex_syntax::ParserBuilder;

use super::*;

fn need(pattern: &str) -> Need {
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).expect("pattern");
    need_of(&hir)
}

fn may_match(need: &Need, value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    need.may_match(value.len(), &folded(ByteSet::of(value)))
        && (need.literals.is_empty()
            || need.literals.iter().any(|text| memchr::memmem::find(&lower, text).is_some()))
}

#[test]
fn a_literal_needs_its_bytes_in_any_case() {
    let need = need("(?i)union\\s+select");
    assert!(may_match(&need, b"1 UNION  SELECT 2"));
    assert!(!may_match(&need, b"ordinary"));
    assert!(!may_match(&need, b"selection of unions".as_slice().get(..9).unwrap()));
    assert_eq!(need.bytes_min, 12);
    assert!(need.literals.contains(&b"select".to_vec()) || need.literals.contains(&b"union".to_vec()));
}

#[test]
fn an_alternation_needs_one_of_its_branches() {
    let need = need("<script|javascript:|on[a-z]+=");
    assert!(may_match(&need, b"<script>"));
    assert!(may_match(&need, b"javascript:x"));
    assert!(may_match(&need, b"onload=1"));
    assert!(!may_match(&need, b"plain words and more"));
    assert!(!may_match(&need, b"12345"));
}

#[test]
fn what_may_be_absent_is_not_needed() {
    let need = need("a?b*(?:c|d)?e");
    assert!(may_match(&need, b"e"));
    assert!(!may_match(&need, b"abcd"));
}

#[test]
fn a_class_needs_one_of_its_bytes() {
    let need = need(r"[;|&`]\s*\w{2}");
    assert!(may_match(&need, b"a;ls"));
    assert!(!may_match(&need, b"hello there"));
}

#[test]
fn no_need_is_read_off_what_matches_anything() {
    for pattern in ["", "^.*$", "(?:abc)?", "a*|b"] {
        assert!(may_match(&need(pattern), b""), "{pattern}");
    }
}

/// Patterns of the kinds that rules are made of.
fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-e]{1,4}",
        Just("[;|&]".to_owned()),
        Just("[^a-z]".to_owned()),
        Just("\\s".to_owned()),
        Just("\\b".to_owned()),
        Just(".".to_owned()),
        Just("(?i:SeL)".to_owned()),
        Just("\\x3c".to_owned()),
        Just("^".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            proptest::collection::vec(inner.clone(), 1..4)
                .prop_map(|parts| format!("(?:{})", parts.join("|"))),
            inner.clone().prop_map(|part| format!("(?:{part})?")),
            inner.clone().prop_map(|part| format!("(?:{part})*")),
            inner.clone().prop_map(|part| format!("(?:{part})+")),
            (inner, 0_u8..3, 0_u8..3)
                .prop_map(|(part, low, more)| format!("({part}){{{low},{}}}", low + more)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_matches_is_never_passed_over(pattern in pattern(), value in "[a-eSEL;|& <>\\n]{0,12}") {
        let regex = regex::bytes::RegexBuilder::new(&pattern).unicode(false).build().expect("pattern");
        if regex.is_match(value.as_bytes()) {
            prop_assert!(may_match(&need(&pattern), value.as_bytes()), "{pattern} in {value:?}");
        }
    }
}
