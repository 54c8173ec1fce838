use super::*;

fn interfaces(count: usize) -> Vec<XskInterface> {
    (0..count).map(|i| XskInterface { name: format!("none{i}"), queue: 0 }).collect()
}

#[test]
fn configurations_that_cannot_be_are_named() {
    let good = XskConfig { interfaces: interfaces(2), ..XskConfig::default() };
    let cases = [
        (XskConfig { interfaces: Vec::new(), ..good.clone() }, "interfaces"),
        (XskConfig { interfaces: interfaces(17), ..good.clone() }, "interfaces"),
        (XskConfig { chunk_bytes: 3000, ..good.clone() }, "2048 or 4096"),
        (XskConfig { rx_slots: 1000, ..good.clone() }, "power of two"),
        (XskConfig { rx_slots: 4096, ..good.clone() }, "fill ring"),
        (XskConfig { frames: 8191, ..good.clone() }, "8192"),
        (XskConfig { frames: u32::MAX, ..good.clone() }, "1048576"),
    ];
    for (config, text) in cases {
        let error = XskIo::open(&config).expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!((good.frames_min(), good.frames_default()), (8192, 16384));
}

#[test]
fn the_report_is_one_line() {
    let report = XskReport {
        zero_copy_note: "a driver has no zero copy".into(),
        page_bytes: 4096,
        page_note: "no huge pages free".into(),
        umem_bytes: 1 << 20,
        busy_poll_note: "no NAPI".into(),
        ..XskReport::default()
    };
    assert_eq!(
        report.to_string(),
        "copy mode (a driver has no zero copy), 1024 KiB of packet memory on 4 KiB pages (no huge pages free), \
         no busy polling (no NAPI)"
    );
}
