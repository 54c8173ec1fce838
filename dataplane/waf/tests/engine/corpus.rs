//! Replays the corpus of the fuzz target `waf_transaction`, and changes it.
use std::{fs, path::PathBuf};

use proptest::prelude::*;
use secbeat_waf::transaction::fuzz::fuzz;

fn corpus() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/waf_transaction");
    fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn corpus_of_waf_transaction_is_replayed() {
    let seeds = corpus();
    assert!(seeds.len() >= 8, "the corpus has only {} files", seeds.len());
    for seed in &seeds {
        for end in (0..=seed.len()).step_by(3) {
            fuzz(&seed[..end]);
        }
        fuzz(seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn seeds_with_bytes_changed_hold_what_the_target_checks(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let seeds = corpus();
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        fuzz(&bytes);
    }

    #[test]
    fn any_bytes_hold_what_the_target_checks(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&bytes);
    }
}
