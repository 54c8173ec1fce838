use super::*;

/// An IPv4 TCP SYN from 192.0.2.1:1000 to 198.51.100.1:80 with right checksums.
pub(crate) fn syn_v4() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1]);
    frame.extend([3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0]);
    let ip = !sum(&frame[14..34], 0);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let tcp = !sum(&frame[34..54], pseudo(&frame));
    frame[50..52].copy_from_slice(&tcp.to_be_bytes());
    frame
}

fn pseudo(frame: &[u8]) -> u32 {
    u32::from(sum(&frame[26..34], 0)) + 6 + 20
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start + bytes.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn is_valid(frame: &[u8]) -> bool {
    sum(&frame[14..34], 0) == 0xffff && sum(&frame[34..54], pseudo(frame)) == 0xffff
}

#[test]
fn the_source_prefix_is_written_and_checksums_follow() {
    let mut frame = syn_v4();
    assert!(is_valid(&frame));
    let randomize = Randomize { source: Some("10.1.0.0/16".parse().unwrap()), ..Randomize::default() };
    Plan::of(&mut frame, &randomize).unwrap();
    assert_eq!(frame[26..30], [10, 1, 0, 0]);
    assert!(is_valid(&frame));
}

#[test]
fn impossible_templates_are_refused() {
    let v6 = Randomize { source: Some("fd00::/64".parse().unwrap()), ..Randomize::default() };
    assert!(Plan::of(&mut syn_v4(), &v6).is_err(), "families differ");
    for len in 14..51 {
        let all = Randomize { sequence: true, ..Randomize::default() };
        assert!(Plan::of(&mut syn_v4()[..len], &all).is_err(), "cut at {len}");
    }
    assert!(LiveGenerator::open(1, &[], &Randomize::default(), 1).is_err());
    assert!(LiveGenerator::open(1, &vec![syn_v4(); TEMPLATES_MAX + 1], &Randomize::default(), 1).is_err());
    assert!(LiveGenerator::open(1, &[vec![0; TEMPLATE_BYTES_MAX + 1]], &Randomize::default(), 1).is_err());
}

/// Loads the program and runs it over one frame without redirecting it anywhere.
fn run_once(generator: &LiveGenerator, frame: &[u8]) -> Vec<u8> {
    // With room for metadata, which leads the answer.
    let mut out = vec![0; frame.len() + 4];
    let input =
        libbpf_rs::ProgramInput { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() };
    let output = generator.skel.progs.generate.test_run(input).unwrap();
    assert_eq!(output.return_value, 4, "XDP_REDIRECT");
    let got = output.data.unwrap().to_vec();
    got[got.len() - frame.len()..].to_vec()
}

#[test]
fn drawn_fields_stay_in_their_ranges_and_checksums_stay_right() {
    if !crate::test_support::is_root("drawn_fields_stay_in_their_ranges_and_checksums_stay_right") {
        return;
    }
    let randomize = Randomize {
        source: Some("10.1.0.0/16".parse().unwrap()),
        source_port: Some(1024..=65535),
        destination_port: Some(80..=81),
        sequence: true,
        identification: true,
    };
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut generator = LiveGenerator::open(1, &[syn_v4()], &randomize, 7).unwrap();
        let plan = generator.templates[0].1.to_kernel(1, &generator.templates[0].0);
        generator.skel.maps.bss_data.as_deref_mut().unwrap().plan = plan;
        let mut frame = generator.templates[0].0.clone();
        let mut stream = Vec::new();
        for _ in 0..200 {
            frame = run_once(&generator, &frame);
            assert!(is_valid(&frame), "{frame:02x?}");
            assert_eq!(frame[26..28], [10, 1]);
            assert!(u16::from_be_bytes([frame[34], frame[35]]) >= 1024);
            assert!((80..=81).contains(&u16::from_be_bytes([frame[36], frame[37]])));
            stream.push(frame.clone());
        }
        let mut distinct = stream.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 200);
        streams.push(stream);
    }
    assert_eq!(streams[0], streams[1], "equal seeds give equal streams");
}

#[test]
fn a_frame_that_was_sent_back_is_made_anew() {
    if !crate::test_support::is_root("a_frame_that_was_sent_back_is_made_anew") {
        return;
    }
    for len in [54, 60, 128, 131, 600] {
        let mut template = syn_v4();
        template.extend((54..len).map(|byte| byte as u8));
        let randomize = Randomize { sequence: true, ..Randomize::default() };
        let mut generator = LiveGenerator::open(1, std::slice::from_ref(&template), &randomize, 3).unwrap();
        let plan = generator.templates[0].1.to_kernel(1, &template);
        generator.skel.maps.bss_data.as_deref_mut().unwrap().plan = plan;
        // As it is: only what is drawn differs.
        let first = run_once(&generator, &template);
        assert_eq!((&first[..38], &first[52..]), (&template[..38], &template[52..]));
        assert_ne!(first[38..46], template[38..46]);
        // Answered: addresses exchanged, headers overwritten, also the last bytes that are kept.
        let mut answered = template.clone();
        answered[..len.min(128)].fill(0xa5);
        answered[..6].copy_from_slice(&template[6..12]);
        answered[6..12].copy_from_slice(&template[..6]);
        let again = run_once(&generator, &answered);
        assert_eq!((&again[..38], &again[52..]), (&template[..38], &template[52..]), "{len} bytes");
        assert!(len != 54 || is_valid(&again));
    }
}
