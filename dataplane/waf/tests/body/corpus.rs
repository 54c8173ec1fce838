//! Replays the corpora of the fuzz targets `waf_multipart`, `waf_json`, `waf_xml` and `waf_urlencoded`.
use std::{fs, path::PathBuf};

use secbeat_waf::body::fuzz::{fuzz_json, fuzz_multipart, fuzz_urlencoded, fuzz_xml};

fn replay(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        body(&bytes);
        // Every beginning, and every byte turned: cheap, and finds what a fuzzer would find first.
        for len in 0..bytes.len() {
            body(&bytes[..len]);
            let mut turned = bytes.clone();
            turned[len] ^= 1 << (len % 8);
            body(&turned);
        }
        count += 1;
    }
    assert!(count >= 4, "the corpus of {target} has only {count} files");
}

#[test]
fn corpus_of_waf_multipart_is_replayed() {
    replay("waf_multipart", fuzz_multipart);
}

#[test]
fn corpus_of_waf_json_is_replayed() {
    replay("waf_json", fuzz_json);
}

#[test]
fn corpus_of_waf_xml_is_replayed() {
    replay("waf_xml", fuzz_xml);
}

#[test]
fn corpus_of_waf_urlencoded_is_replayed() {
    replay("waf_urlencoded", fuzz_urlencoded);
}
