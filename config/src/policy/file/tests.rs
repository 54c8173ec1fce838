use super::*;

fn held() -> Held {
    let mut set = Set::new();
    let mut versions = BTreeMap::new();
    for (key, body, version) in [
        (
            "filter-set/edge",
            r#"{"priority":3,"rules":[{"id":"a","name":"ä"},{"id":"b","action":"pass"}]}"#,
            7,
        ),
        ("limits/default", r#"{"source_rate":9}"#, 1),
    ] {
        let key: Key = key.parse().unwrap();
        versions.insert(key.clone(), version);
        set.insert(Resource::parse(key, body).unwrap()).unwrap();
    }
    Held::new(set, versions)
}

#[test]
fn what_is_written_is_read_again() {
    for held in [held(), Held::default()] {
        assert_eq!(parse_file(&write_file(&held, 42, 3)).unwrap(), (held, 42, 3));
    }
}

#[test]
fn file_that_is_cut_off_anywhere_is_an_error() {
    let text = write_file(&held(), 42, 3);
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        parse_file(&text[..end]).expect_err("cut off");
    }
    let end = text.trim_end().rfind('\n').unwrap() + 1;
    assert_eq!(parse_file(&text[..end]), Err(FileError::Truncated));
    assert_eq!(parse_file(&text[..text.len() - 1]), Err(FileError::Truncated));
}

#[test]
fn file_with_any_bit_turned_or_any_byte_more_is_an_error() {
    let text = write_file(&held(), 42, 3);
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                parse_file(&text).expect_err("damaged");
            }
        }
        if text.is_char_boundary(at) {
            let (before, after) = text.split_at(at);
            for byte in ["x", "\n", " ", "0"] {
                parse_file(&format!("{before}{byte}{after}")).expect_err("longer");
            }
        }
    }
    assert_eq!(parse_file(&text.replace("\"pass\"", "\"drop\"")), Err(FileError::Damaged));
}

#[test]
fn newer_format_and_other_files_are_told_apart() {
    let text = write_file(&held(), 42, 3);
    assert_eq!(parse_file(&text.replacen(" 1 ", " 2 ", 1)), Err(FileError::Newer(2)));
    assert_eq!(parse_file("[server]\n"), Err(FileError::NotPolicy));
    assert_eq!(parse_file(""), Err(FileError::NotPolicy));
}

#[test]
fn right_checksum_over_wrong_lines_names_the_line() {
    let sealed = |text: &str| format!("{text}{SEAL}{}\n", seal(text));
    let error = |text: &str| parse_file(&sealed(text)).unwrap_err().to_string();
    assert_eq!(
        error("secbeat-policy 1 2 3 1\n"),
        "line 1 is wrong: the head says another number of resources"
    );
    assert_eq!(error("secbeat-policy 1 2 3\n"), "line 1 is wrong: the head has three numbers");
    assert_eq!(
        error("secbeat-policy 1 2 3 1\nlist/a 1\n"),
        "line 2 is wrong: a resource is key, version, hash and body"
    );
    assert_eq!(
        error("secbeat-policy 1 2 3 1\nlist/a 1 00 {\"action\":\"allow\"}\n"),
        "line 2 is wrong: the body has another hash"
    );
    assert!(
        error("secbeat-policy 1 2 3 1\nlist/a 1 00 {\"action\":\"alow\"}\n")
            .starts_with("line 2: list/a: body: action: ")
    );
    assert!(error("secbeat-policy 1 2 3 1\nlyst/a 1 00 {}\n").starts_with("line 2: `lyst` is not a kind"));
}
