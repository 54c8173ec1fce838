//! Replays the corpus of the fuzz target `waf_seclang`.
//!
//! The seeds are small rule files written by hand; whatever a fuzzer finds is added beside them.
use std::{fs, path::PathBuf};

use proptest::prelude::*;
use secbeat_waf::seclang::fuzz::fuzz;

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
