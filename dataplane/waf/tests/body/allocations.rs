//! A warm scratch: no allocation, whatever is taken apart, XML aside.
use std::ops::ControlFlow;

use secbeat_waf::body::{Scratch, cookies, json, multipart, urlencoded};

const MULTIPART: &[u8] =
    b"--b\r\nContent-Disposition: form-data;\r\n name=\"a\\\"\"; filename=x\r\nA: b\r\n\r\nx\r\n\
    --b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--\r\n";

/// How many things were found.
fn everything(scratch: &mut Scratch) -> usize {
    let mut count = 0;
    let mut sink = |_: secbeat_waf::body::Event<'_>| {
        count += 1;
        ControlFlow::Continue(())
    };
    let mut report = urlencoded::Report::default();
    urlencoded::parse(b"a=%41&b+c=d&e", b'&', scratch, &mut report, &mut sink).unwrap();
    cookies::parse(b"a=b; c=d", &mut sink).unwrap();
    json::parse(br#"{"a":[1,{"b\n":"\u0041"}]}"#, 9, scratch, &mut sink).unwrap();
    let mut report = multipart::Report::default();
    let content_type = b"multipart/form-data; boundary=b";
    multipart::parse(content_type, MULTIPART, 9, scratch, &mut report, &mut sink).unwrap();
    count
}

#[test]
fn a_warm_scratch_allocates_nothing() {
    let mut scratch = Scratch::default();
    assert_eq!(everything(&mut scratch), 3 + 2 + 2 + 8);
    let warm = allocation_counter::measure(|| {
        everything(&mut scratch);
    });
    assert_eq!(warm.count_total, 0);
    let cold = allocation_counter::measure(|| {
        everything(&mut Scratch::default());
    });
    assert!(cold.count_total > 0, "the counter counts");
}
