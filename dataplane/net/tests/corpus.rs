//! Replays the corpora of the fuzz targets `net_wire`, `net_tcp_options`, `net_tcp_segment`, `net_icmp` and `net_syn`.
//!
//! The seeds among them are written by `cargo test -p secbeat-net --test corpus -- --ignored`; whatever a fuzzer
//! finds is added beside them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use secbeat_net::syncookie::fuzz::syn;
use secbeat_net::wire::fuzz::{frame, icmp, segment, tcp_options};

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

fn replay(target: &str, body: fn(&[u8])) {
    let mut count = 0;
    for file in fs::read_dir(folder(target)).unwrap() {
        body(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "the corpus of {target} has only {count} files");
}

#[test]
fn corpus_of_net_wire_is_replayed() {
    replay("net_wire", frame);
}

#[test]
fn corpus_of_net_tcp_options_is_replayed() {
    replay("net_tcp_options", tcp_options);
}

#[test]
fn corpus_of_net_tcp_segment_is_replayed() {
    replay("net_tcp_segment", segment);
}

#[test]
fn corpus_of_net_icmp_is_replayed() {
    replay("net_icmp", icmp);
}

#[test]
fn corpus_of_net_syn_is_replayed() {
    replay("net_syn", syn);
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder(target)).unwrap();
    fs::write(folder(target).join(name), bytes).unwrap();
}

/// Small frames that reach each branch of the parser; longer finds grow from them.
#[test]
#[ignore = "writes the seeds of the corpora"]
fn write_the_seeds() {
    let lines = include_str!("data/linux_syn_ack.txt").lines().filter(|line| !line.starts_with('#'));
    for (number, line) in lines.enumerate().filter(|(number, _)| number % 41 == 0) {
        let [syn, syn_ack] = [1, 2].map(|word| hex(line.split(' ').nth(word).unwrap()));
        let l4 = if syn[12] == 8 { 34 } else { 54 };
        write("net_syn", &format!("linux_{number}"), &syn);
        write("net_wire", &format!("linux_{number}"), &syn_ack);
        write("net_tcp_segment", &format!("linux_{number}"), &syn_ack[l4..]);
        write("net_tcp_options", &format!("linux_{number}"), &syn_ack[l4 + 20..]);
        let mut tagged = syn[..12].to_vec();
        tagged.extend([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
        tagged.extend_from_slice(&syn[12..]);
        write("net_syn", &format!("qinq_{number}"), &tagged);
        write("net_wire", &format!("qinq_{number}"), &tagged);
        // The recorded packet inside an error about it; the first byte chooses the family.
        let (family, kinds) = if syn[12] == 8 { (0, [3, 11, 12, 3]) } else { (1, [1, 2, 3, 4]) };
        for (code, kind) in kinds.into_iter().enumerate() {
            let mut message = vec![family, kind, code as u8 + 1, 0, 0, 0, 0, 5, 0x78];
            message.extend_from_slice(&syn[14..]);
            write("net_icmp", &format!("error_{number}_{code}"), &message);
        }
    }
    let sack = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, 0, 0, 0, 3, 0, 0, 0, 9];
    write("net_tcp_options", "sack", &sack);
    write("net_tcp_options", "fast_open", &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]);
    write("net_tcp_options", "end", &[2, 4, 5, 0xb4, 0, 1, 255, 0]);
    write("net_tcp_options", "length_0", &[3, 0, 0, 0]);
    let mut with_sack = vec![0x1f, 0x90, 0x4e, 0x21, 0, 0, 0, 1, 0, 0, 0, 2, 0xb0, 0x10, 1, 0, 0, 0, 0, 0];
    with_sack.extend(sack);
    write("net_tcp_segment", "sack", &with_sack);
    let v6 = "020000000001020000000002".to_owned() + "86dd" + "6000000000";
    let addrs = "20010db8000000000000000000000001".to_owned() + "20010db8000000000000000000000002";
    let chain = "3c00010400000000".to_owned() + "2b00010400000000" + "2c00040000000000";
    let fragment = "1100000100000007".to_owned() + "0035003500100000" + "0000000000000000";
    write("net_wire", "extension_headers", &hex(&format!("{v6}300040{addrs}{chain}{fragment}")));
    let v4 = "0200000000010200000000020800".to_owned() + "4500002412342003401100000a6200020a620001";
    write("net_wire", "later_fragment", &hex(&format!("{v4}{}", "00".repeat(16))));
}
