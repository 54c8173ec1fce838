use std::fs;
use std::path::Path;

use super::*;
use crate::memory::{MemoryConfig, MemoryIo};

fn capture(records: &[(u64, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for (timestamp_ns, bytes) in records {
        writer.record(*timestamp_ns, bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn records(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    Reader::new(bytes)
        .unwrap()
        .map(|record| record.unwrap())
        .map(|r| (r.timestamp_ns, r.bytes.to_vec()))
        .collect()
}

/// A capture of one 14-byte frame as other tools write it: microseconds, either byte order.
fn foreign(is_big_endian: bool) -> Vec<u8> {
    let put = |n: u32| if is_big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let version = if is_big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let mut bytes = [put(0xa1b2_c3d4), version, put(0), put(0), put(65535), put(1)].concat();
    bytes.extend([put(5), put(7), put(14), put(60)].concat());
    bytes.extend([9; 14]);
    bytes
}

#[test]
fn captures_of_both_byte_orders_are_read() {
    for is_big_endian in [false, true] {
        let bytes = foreign(is_big_endian);
        let record = Reader::new(&bytes).unwrap().next().unwrap().unwrap();
        assert_eq!(record, Record { timestamp_ns: 5_000_007_000, original_len: 60, bytes: &[9; 14] });
    }
}

#[test]
fn what_is_written_reads_the_same() {
    let written = capture(&[(1, b"first"), (4_294_967_295_999_999_999, b""), (3, &[7; 3000])]);
    let read = records(&written);
    assert_eq!(read[0], (1, b"first".to_vec()));
    assert_eq!(read[1], (4_294_967_295_999_999_999, Vec::new()));
    assert_eq!(read[2], (3, vec![7; 3000]));
}

#[test]
fn broken_files_are_named_and_never_read_past_their_end() {
    assert!(matches!(Reader::new(b""), Err(PcapError::Header)));
    assert!(matches!(Reader::new(&[0; 24]), Err(PcapError::Header)));
    let mut other = foreign(false);
    other[20] = 113;
    assert!(matches!(Reader::new(&other), Err(PcapError::LinkType(113))));
    let whole = foreign(false);
    for len in 25..whole.len() {
        let mut reader = Reader::new(&whole[..len]).unwrap();
        assert!(matches!(reader.next(), Some(Err(PcapError::Truncated(24)))), "cut at {len}");
        assert!(reader.next().is_none());
    }
    for (offset, value) in [(32, 61), (35, 255), (31, 255)] {
        let mut broken = whole.clone();
        broken[offset] = value;
        assert!(
            matches!(Reader::new(&broken).unwrap().next(), Some(Err(PcapError::Record(24)))),
            "at {offset}"
        );
    }
}

#[test]
fn a_capture_is_replayed_and_answers_are_recorded() {
    let long = vec![1; 1793];
    let input = capture(&[(10, b"one"), (20, &long), (30, b"three")]);
    let mut io = PcapIo::new(input, Vec::new()).unwrap();
    assert_eq!(io.next_timestamp_ns(), Some(10));
    let mut burst = Burst::new();
    assert_eq!(io.receive(0, &mut burst), 2);
    assert_eq!((io.skipped(), io.next_timestamp_ns(), io.is_broken()), (1, None, false));
    assert_eq!(io.receive(0, &mut burst), 0);
    let (mut three, one) = (burst.pop().unwrap(), burst.pop().unwrap());
    assert_eq!((io.bytes(&one), io.bytes(&three)), (b"one".as_slice(), b"three".as_slice()));
    let start = three.start();
    io.chunk_mut(&mut three)[start..start + 5].make_ascii_uppercase();
    io.set_now(99);
    io.transmit(0, three).unwrap();
    io.release(one);
    io.flush();
    assert_eq!(io.chunks.count(Place::Free), FRAMES as usize);
    assert_eq!(records(&io.finish().unwrap()), [(99, b"THREE".to_vec())]);
}

#[test]
fn a_broken_record_ends_the_replay_and_shows() {
    let mut input = capture(&[(10, b"one"), (20, b"two")]);
    input.truncate(input.len() - 1);
    let mut io = PcapIo::new(input, Vec::new()).unwrap();
    let mut burst = Burst::new();
    assert_eq!(io.receive(0, &mut burst), 1);
    assert!(io.is_broken());
    for frame in burst.drain(..) {
        io.release(frame);
    }
    assert!(PcapIo::new(b"nonsense".to_vec(), Vec::new()).is_err());
}

#[test]
fn a_recorder_writes_down_both_directions() {
    let (io, peer) = MemoryIo::new(&MemoryConfig::default());
    let mut io = Recorder::new(io, Vec::new()).unwrap();
    peer.inject(0, b"question");
    io.set_now(1);
    let mut burst = Burst::new();
    assert_eq!(io.receive(0, &mut burst), 1);
    let mut frame = burst.pop().unwrap();
    let start = frame.start();
    io.chunk_mut(&mut frame)[start..start + 8].copy_from_slice(b"answer!!");
    io.set_now(2);
    io.transmit(0, frame).unwrap();
    io.flush();
    assert_eq!(peer.take(0).unwrap(), b"answer!!");
    assert_eq!(io.inner().frames_held(), 0);
    assert_eq!(records(&io.finish().unwrap()), [(1, b"question".to_vec()), (2, b"answer!!".to_vec())]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_after_a_header_are_read_without_harm(tail: Vec<u8>, cut in 0usize..60) {
        let mut bytes = foreign(false);
        bytes.truncate(cut.max(24));
        bytes.extend(tail);
        fuzz(&bytes);
    }
}

#[test]
fn the_fuzz_corpus_is_replayed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pktio_pcap");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        fuzz(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 6, "{count} files");
}

/// Writes the corpus: `cargo test -p secbeat-pktio -- --ignored write_the_fuzz_corpus`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_fuzz_corpus() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pktio_pcap");
    fs::create_dir_all(&directory).unwrap();
    let several =
        capture(&[(1, b"first frame...."), (u64::from(u32::MAX) * 1_000_000_000, b""), (3, &[7; 60])]);
    let mut cut = several.clone();
    cut.truncate(cut.len() - 7);
    let mut long = several.clone();
    long[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut link_type = several.clone();
    link_type[20] = 113;
    for (name, bytes) in [
        ("big_endian", foreign(true)),
        ("cut_short", cut),
        ("link_type", link_type),
        ("little_endian", foreign(false)),
        ("long_record", long),
        ("nanoseconds", several),
        ("empty", capture(&[])),
    ] {
        fs::write(directory.join(name), bytes).unwrap();
    }
}
