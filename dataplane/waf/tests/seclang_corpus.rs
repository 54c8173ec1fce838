//! Replays the corpus of the fuzz target `waf_seclang`.
//!
//! The seeds are small rule files written by hand; whatever a fuzzer finds is added beside them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use secbeat_waf::seclang::fuzz::fuzz;
use secbeat_waf::seclang::{Files, read_text};

fn corpus() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/waf_seclang");
    fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn corpus_of_waf_seclang_is_replayed() {
    let seeds = corpus();
    assert!(seeds.len() >= 8, "the corpus has only {} files", seeds.len());
    for seed in &seeds {
        fuzz(seed);
        for end in 0..seed.len() {
            fuzz(&seed[..end]);
        }
    }
}

/// What is kept of a rule is a fixed multiple of its text, whatever the text.
#[test]
fn memory_is_in_proportion_to_the_text() {
    struct None;
    impl Files for None {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Err("not there".into())
        }

        fn expand(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
    }
    let ids = "1 ".repeat(50_000);
    let numbered: String =
        (1..=2_000).map(|id| format!("SecRule ARGS a id:{id},chain\nSecRule IP|IP b\n")).collect();
    let cases = [
        numbered,
        "SecMarker a\n".repeat(5_000),
        "SecRuleRemoveById 1\n".repeat(5_000),
        "SecRuleUpdateTargetById 1 IP\n".repeat(5_000),
        "SecTmpDir\n".repeat(5_000),
        format!("SecRuleRemoveById {ids}"),
        format!("SecAction \"ctl:'ruleRemoveById={ids}'\""),
        format!("SecAction \"msg:'{}'\"", "%{TX}".repeat(20_000)),
        format!("SecRule ARGS \"{}\" id:1", "%{TX.a}".repeat(9_000)),
        format!("SecRule \"{}\" a id:1", "IP|".repeat(50_000)),
        format!("SecAction \"{}\"", "log,".repeat(50_000)),
        format!("SecAction \"{}\"", "dney,".repeat(255)),
        "\\\n".repeat(50_000),
        format!("SecMarker {}", "a\\\n".repeat(50_000)),
        "x ".repeat(50_000),
        "'x' ".repeat(50_000),
    ];
    for text in cases {
        let info = allocation_counter::measure(|| drop(read_text("a.conf", &text, &None)));
        let bytes_max = 100 * text.len() as u64 + 100_000;
        let start: String = text.chars().take(40).collect();
        assert!(info.bytes_max < bytes_max, "{start:?}: {} bytes for {}", info.bytes_max, text.len());
    }
}

proptest! {
    #[test]
    fn seeds_with_bytes_changed_hold_what_the_target_checks(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\x00-\\x7f]"), 1..6),
    ) {
        let seeds = corpus();
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte.as_bytes()[0];
        }
        fuzz(&bytes);
    }

    #[test]
    fn any_bytes_hold_what_the_target_checks(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&bytes);
    }
}
