use super::*;

type Field = (String, String);

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, Malformed> {
    let mut fields = Vec::new();
    decoder.decode(block, &mut Vec::new(), |name, value| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.push((text(name), text(value)));
        ControlFlow::Continue(())
    })?;
    Ok(fields)
}

fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const FIRST: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];

#[test]
fn three_requests_of_rfc_7541_c3_without_huffman() {
    let mut decoder = Decoder::new(4096);
    let first = decode(&mut decoder, &hex("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"));
    assert_eq!(first.unwrap(), fields(FIRST));
    let second = decode(&mut decoder, &hex("8286 84be 5808 6e6f 2d63 6163 6865")).unwrap();
    assert_eq!(second[3..], fields(&[(":authority", "www.example.com"), ("cache-control", "no-cache")]));
    let third = hex("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65");
    let third = decode(&mut decoder, &third).unwrap();
    assert_eq!(third[3..], fields(&[(":authority", "www.example.com"), ("custom-key", "custom-value")]));
}

#[test]
fn three_requests_of_rfc_7541_c4_with_huffman() {
    let mut decoder = Decoder::new(4096);
    let first = decode(&mut decoder, &hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"));
    assert_eq!(first.unwrap(), fields(FIRST));
    let second = decode(&mut decoder, &hex("8286 84be 5886 a8eb 1064 9cbf")).unwrap();
    assert_eq!(second[4..], fields(&[("cache-control", "no-cache")]));
    let third = decode(&mut decoder, &hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"));
    assert_eq!(third.unwrap()[4..], fields(&[("custom-key", "custom-value")]));
}

#[test]
fn responses_of_rfc_7541_c6_evict_from_a_table_of_256_bytes() {
    let mut decoder = Decoder::new(256);
    decoder.acknowledged();
    let mut first = hex("3fe1 01");
    first.extend(hex(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    ));
    let first = decode(&mut decoder, &first).unwrap();
    assert_eq!(first[0], (":status".into(), "302".into()));
    assert_eq!(first[3], ("location".into(), "https://www.example.com".into()));
    let second = decode(&mut decoder, &hex("4883 640e ffc1 c0bf")).unwrap();
    let expected = [
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ];
    assert_eq!(second, fields(&expected));
}

#[test]
fn what_is_not_in_a_table_is_malformed() {
    for block in [&[0x80][..], &[0xbe], &[0x7e, 1, b'x'], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(decode(&mut Decoder::new(4096), block), Err(Malformed), "{block:x?}");
    }
}

#[test]
fn a_block_that_ends_within_a_field_is_malformed() {
    let block = hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    for len in 4..block.len() {
        assert_eq!(decode(&mut Decoder::new(4096), &block[..len]), Err(Malformed), "{len}");
    }
}

#[test]
fn the_table_shrinks_only_when_the_client_says_so_and_it_must_say_so() {
    let mut decoder = Decoder::new(1024);
    assert!(decode(&mut decoder, b"\x82\x40\x01x\x01y\xbe").is_ok());
    decoder.acknowledged();
    // It need not, as long as it does not use the table.
    assert!(decode(&mut decoder, b"\x82\x00\x01x\x01y").is_ok());
    for block in [&b"\xbe"[..], b"\x40\x01x\x01y", b"\x7e\x01y"] {
        assert_eq!(decode(&mut decoder, block), Err(Malformed));
    }
    // 1,024 is allowed, 1,025 is not.
    assert!(decode(&mut decoder, &hex("3fe1 07 be")).is_ok());
    assert_eq!(decode(&mut decoder, &hex("3fe2 07 82")), Err(Malformed));
}

#[test]
fn a_size_update_comes_first_and_at_most_twice() {
    assert_eq!(decode(&mut Decoder::new(4096), &[0x82, 0x20]), Err(Malformed));
    assert!(decode(&mut Decoder::new(4096), &[0x20, 0x3f, 0x00, 0x82]).is_ok());
    assert_eq!(decode(&mut Decoder::new(4096), &[0x20, 0x20, 0x20]), Err(Malformed));
}

#[test]
fn a_name_is_lent_by_an_entry_that_its_own_insertion_evicts() {
    let mut decoder = Decoder::new(4096);
    // A table of 64 bytes holds one entry; the second takes its name from the first.
    let mut block = hex("3f21 40 04");
    block.extend(b"name\x05first\x7e\x06second\xbe");
    let expected = [("name", "first"), ("name", "second"), ("name", "second")];
    assert_eq!(decode(&mut decoder, &block).unwrap(), fields(&expected));
}

#[test]
fn whoever_takes_the_fields_may_stop() {
    let mut count = 0;
    let outcome = Decoder::new(4096).decode(&[0x82, 0x86, 0x84], &mut Vec::new(), |_, _| {
        count += 1;
        if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((outcome, count), (Ok(()), 2));
}
