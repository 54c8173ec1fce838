//! Bodies, in one piece and in all others.
use crate::{
    error::Error,
    h1::{
        BodyKind,
        body::{Decoder, Step},
    },
    limits::Limits,
};

/// Data, and what follows the message; `None` when it has not ended.
type Read = Result<(Vec<u8>, Option<Vec<u8>>, Decoder), Error>;

fn read_in_pieces(kind: BodyKind, bytes: &[u8], piece_len: usize, limits: &Limits) -> Read {
    let mut decoder = Decoder::new(kind, limits);
    let mut data = Vec::new();
    let mut taken = 0;
    for piece in bytes.chunks(piece_len) {
        let mut rest = piece;
        loop {
            match decoder.decode(rest)? {
                Step::Data(range) => {
                    assert!(!range.is_empty());
                    data.extend_from_slice(&rest[range.clone()]);
                    taken += range.end;
                    rest = &rest[range.end..];
                }
                Step::End { consumed } => {
                    taken += consumed;
                    return Ok((data, Some(bytes[taken..].to_vec()), decoder));
                }
                Step::NeedMore => break taken += rest.len(),
            }
        }
    }
    Ok((data, None, decoder))
}

fn read(kind: BodyKind, bytes: &str) -> Result<(String, Option<String>), Error> {
    let limits = Limits::default();
    let whole = read_in_pieces(kind, bytes.as_bytes(), bytes.len().max(1), &limits);
    for piece_len in 1..bytes.len() {
        let other = read_in_pieces(kind, bytes.as_bytes(), piece_len, &limits);
        let plain =
            |read: &Read| read.as_ref().map(|(data, rest, _)| (data.clone(), rest.clone())).map_err(|e| *e);
        assert_eq!(plain(&other), plain(&whole), "in pieces of {piece_len}: {bytes:?}");
    }
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    whole.map(|(data, rest, _)| (text(data), rest.map(text)))
}

fn chunked(bytes: &str) -> Result<(String, Option<String>), Error> {
    read(BodyKind::Chunked, bytes)
}

fn ended(data: &str, rest: &str) -> Result<(String, Option<String>), Error> {
    Ok((data.to_owned(), Some(rest.to_owned())))
}

#[test]
fn a_length_is_followed_to_the_byte() {
    assert_eq!(read(BodyKind::Length(3), "abcGET"), ended("abc", "GET"));
    assert_eq!(read(BodyKind::Length(3), "ab"), Ok(("ab".to_owned(), None)));
    assert_eq!(read(BodyKind::Length(0), "x"), ended("", "x"));
    assert_eq!(read(BodyKind::None, "x"), ended("", "x"));
}

#[test]
fn until_close_ends_with_the_connection() {
    let (data, rest, mut decoder) =
        read_in_pieces(BodyKind::UntilClose, b"abcd", 2, &Limits::default()).unwrap();
    assert_eq!((data, rest), (b"abcd".to_vec(), None));
    assert_eq!(decoder.finish(), Ok(()));
    assert!(decoder.is_done());
}

#[test]
fn chunks_are_joined() {
    assert_eq!(chunked("3\r\nabc\r\n0\r\n\r\nGET"), ended("abc", "GET"));
    assert_eq!(chunked("1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\n"), ended("a0123456789", ""));
    assert_eq!(chunked("0\r\n\r\n"), ended("", ""));
    assert_eq!(chunked("3\r\nab"), Ok(("ab".to_owned(), None)));
}

#[test]
fn sizes_are_hex_digits_alone() {
    for size in ["", " 3", "3 ", "+3", "-3", "0x3", "3_0", "g", "3\t", "\u{663}"] {
        assert_eq!(chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n")), Err(Error::ChunkSize), "{size:?}");
    }
    assert_eq!(chunked("\r\n"), Err(Error::ChunkSize));
    for size in [
        "8000000000000000",
        "ffffffffffffffff",
        "10000000000000000",
        "00000000000000003",
        "100000000000000000003",
    ] {
        assert_eq!(chunked(&format!("{size}\r\nabc\r\n")), Err(Error::ChunkSizeOverflow), "{size}");
    }
    assert_eq!(chunked("7fffffffffffffff\r\nab"), Ok(("ab".to_owned(), None)));
}

#[test]
fn line_ends_in_chunks_are_crlf() {
    assert_eq!(chunked("3\nabc\r\n0\r\n\r\n"), Err(Error::BareLineEnd));
    assert_eq!(chunked("3\r\r\nabc\r\n"), Err(Error::BareLineEnd));
    assert_eq!(chunked("3\rabc\r\n"), Err(Error::BareLineEnd));
    assert_eq!(chunked("3\r\nabc\n0\r\n\r\n"), Err(Error::ChunkEnd));
    assert_eq!(chunked("3\r\nabcd\r\n0\r\n\r\n"), Err(Error::ChunkEnd));
    assert_eq!(chunked("3\r\nabc\r0\r\n\r\n"), Err(Error::ChunkEnd));
    assert_eq!(chunked("3\r\nabc0\r\n\r\n"), Err(Error::ChunkEnd));
    assert_eq!(chunked("0\r\n\n"), Err(Error::BareLineEnd));
    assert_eq!(chunked("0\r\n\rX"), Err(Error::BareLineEnd));
    assert_eq!(chunked("0\r\nA: b\n\r\n"), Err(Error::BareLineEnd));
}

#[test]
fn good_extensions_are_dropped_and_bad_ones_refused() {
    for extension in [";a", ";a=b", ";a=\"b;\\\"\r c\"".replace('\r', "").as_str(), ";a;b=c;d=\"\""] {
        assert_eq!(chunked(&format!("1{extension}\r\nx\r\n0\r\n\r\n")), ended("x", ""), "{extension}");
    }
    for extension in [
        ";",
        ";;",
        ";=",
        ";a=",
        ";a=;",
        "; a",
        ";a =b",
        ";a= b",
        ";a b",
        ";a=\"b",
        ";a=\"b\"c",
        ";\u{1}",
        ";a=\"\u{1}\"",
        ";a=\"\r\n",
    ] {
        assert_eq!(chunked(&format!("1{extension}\r\nx\r\n")), Err(Error::ChunkExtension), "{extension:?}");
    }
    assert_eq!(chunked("1;a\nx\r\n0\r\n\r\n"), Err(Error::BareLineEnd));
    assert_eq!(chunked("1;a=\"\n\"\r\nx\r\n"), Err(Error::BareLineEnd));
}

#[test]
fn extensions_are_limited_per_line_and_per_body() {
    let limits = Limits { chunk_line_bytes_max: 8, chunk_extension_bytes_max: 10, ..Limits::default() };
    let read =
        |bytes: &str| read_in_pieces(BodyKind::Chunked, bytes.as_bytes(), 1, &limits).map(|read| read.0);
    assert_eq!(read("1;aaaaa\r\nx\r\n"), Ok(b"x".to_vec()));
    assert_eq!(read("1;aaaaaa\r\nx\r\n"), Err(Error::ChunkExtension));
    let thrice = "1;aaa\r\nx\r\n".repeat(3);
    assert_eq!(read(&thrice), Err(Error::ChunkExtension));
    assert_eq!(read(&"1\r\nx\r\n".repeat(1_000)), Ok(vec![b'x'; 1_000]));
}

#[test]
fn trailers_are_kept_apart_and_those_that_may_not_be_there_are_dropped() {
    let bytes = "1\r\nx\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\
                 X-Forwarded-For: 1\r\nX_Forwarded_For: 1\r\nSet-Cookie: a\r\nCONNECTION: x\r\nY:\r\n\r\nGET";
    let (data, rest, decoder) =
        read_in_pieces(BodyKind::Chunked, bytes.as_bytes(), 7, &Limits::default()).unwrap();
    assert_eq!((data, rest), (b"x".to_vec(), Some(b"GET".to_vec())));
    let names: Vec<_> = decoder.trailers().unwrap().iter().map(|field| field.name).collect();
    assert_eq!(names, [&b"X-Sum"[..], b"Y"]);
    assert!(
        read_in_pieces(BodyKind::Chunked, b"0\r\n\r\n", 5, &Limits::default())
            .unwrap()
            .2
            .trailers()
            .is_none()
    );
}

#[test]
fn bad_trailers_are_refused() {
    let trailer = |lines: &str| chunked(&format!("0\r\n{lines}\r\n\r\n"));
    assert_eq!(trailer("A : b"), Err(Error::FieldName));
    assert_eq!(trailer("no colon"), Err(Error::FieldName));
    assert_eq!(trailer(" A: b"), Err(Error::FieldFolded));
    assert_eq!(trailer("A: b\r\n c"), Err(Error::FieldFolded));
    assert_eq!(trailer("A: b\rc"), Err(Error::FieldValue));
    assert_eq!(trailer("A: \0"), Err(Error::FieldValue));
    assert_eq!(trailer(&format!("A: {}", "b".repeat(4_096))), Err(Error::TrailerBytes));
    assert_eq!(trailer(&["A: b"; 33].join("\r\n")), Err(Error::TrailersCount));
    assert!(trailer(&["A: b"; 32].join("\r\n")).is_ok());
}

#[test]
fn a_body_cut_short_is_truncated() {
    for (kind, bytes) in
        [(BodyKind::Length(3), "ab"), (BodyKind::Chunked, "3\r\nabc\r\n"), (BodyKind::Chunked, "0\r\n")]
    {
        let (_, rest, mut decoder) = read_in_pieces(kind, bytes.as_bytes(), 2, &Limits::default()).unwrap();
        assert_eq!(rest, None);
        assert_eq!(decoder.finish(), Err(Error::Truncated), "{bytes:?}");
    }
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 48, "{}", size_of::<Decoder>());
}
