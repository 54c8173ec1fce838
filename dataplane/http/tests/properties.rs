//! What must hold for all bytes: mutations of the smuggling corpus and made-up messages, in any pieces.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "smuggling/corpus.rs"]
#[expect(dead_code, reason = "only the bytes of the cases are used here")]
mod corpus;
#[path = "smuggling/node.rs"]
#[expect(dead_code, reason = "only requests are played here")]
mod node;
#[path = "smuggling/origin.rs"]
mod origin;

use std::sync::OnceLock;

use node::Then;
use origin::Origin;
use proptest::prelude::*;
use secbeat_http::fuzz;

fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let cases = corpus::cases().into_iter();
        cases.map(|case| case.sent).filter(|sent| sent.len() < 2_000).collect()
    })
}

/// Bytes that framing is made of, where a random byte would only break things.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"0",
    b"3",
    b"a",
    b"\x0b",
    b"\x80",
    b"_",
    b"-",
    b"\r\n\r\n",
    b"chunked",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HTTP/1.1",
    b"Host: y\r\n",
    b"Connection: close\r\n",
    b"3\r\nabc\r\n",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, usize),
    Remove(usize, usize),
    Copy(usize, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        2 => (any::<usize>(), 1..4usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        1 => (any::<usize>(), any::<usize>(), 1..30usize).prop_map(|(from, to, len)| Edit::Copy(from, to, len)),
    ]
}

fn edited(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for edit in edits {
        let len = bytes.len() + 1;
        match edit {
            Edit::Insert(at, piece) => {
                let at = at % len;
                bytes.splice(at..at, PIECES[*piece].iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = at % len;
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Edit::Copy(from, to, count) => {
                let from = from % len;
                let part = bytes[from..(from + count).min(bytes.len())].to_vec();
                let to = to % len;
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_passes_is_read_alike_by_all(
        seed in 0..seeds().len(),
        edits in proptest::collection::vec(edit(), 0..5),
        piece_len in 1..40usize,
    ) {
        let bytes = edited(&seeds()[seed], &edits);
        let (passed, then) = node::requests(&bytes, usize::MAX / 2, false);
        let (in_pieces, then_in_pieces) = node::requests(&bytes, piece_len, false);
        prop_assert_eq!(passed.len(), in_pieces.len());
        for (one, other) in passed.iter().zip(&in_pieces) {
            prop_assert_eq!((&one.method, &one.target, &one.body), (&other.method, &other.target, &other.body));
        }
        let is_same_end = then == then_in_pieces
            || matches!((then, then_in_pieces), (Then::Refused(_), Then::Refused(_)));
        prop_assert!(is_same_end, "{:?} {:?}", then, then_in_pieces);

        let stream: Vec<u8> = passed.iter().flat_map(|message| message.written.clone()).collect();
        let (again, then) = node::requests(&stream, piece_len, false);

        prop_assert_eq!(then, Then::Open);
        prop_assert_eq!(again.len(), passed.len());
        for origin in Origin::ALL {
            let seen = origin::read(origin, &stream);
            prop_assert!(seen.is_some(), "{:?} is left with bytes", origin);
            let seen = seen.unwrap();
            prop_assert_eq!(seen.len(), passed.len());
            for (sent, seen) in passed.iter().zip(&seen) {
                prop_assert_eq!(&sent.method, &seen.method);
                prop_assert_eq!(&sent.target, &seen.target);
                prop_assert_eq!(&sent.body, &seen.body);
            }
        }
    }

    #[test]
    fn what_the_fuzz_targets_check_holds_for_mutations(
        seed in 0..seeds().len(),
        edits in proptest::collection::vec(edit(), 0..8),
        choice in any::<u8>(),
    ) {
        let bytes = edited(&seeds()[seed], &edits);
        fuzz::h1_request(&bytes);
        fuzz::h1_response(&bytes);
        let body_start = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
        fuzz::h1_body(&[&[choice], &bytes[body_start..]].concat());
    }
}
