use super::*;

/// Small enough for any machine, large enough for huge pages.
const LEN: usize = 4 << 20;

#[test]
fn auto_gives_zeroed_writable_memory_and_says_what_it_got() {
    let mut region = Region::map(LEN, HugepagePolicy::Auto, None).unwrap();
    assert_eq!(region.len(), LEN);
    assert!(region.as_slice().iter().all(|&b| b == 0));
    region.as_mut_slice()[LEN - 1] = 7;
    assert_eq!(region.as_slice()[LEN - 1], 7);
    let report = region.report();
    println!(
        "auto: {} ({} bytes) node {:?} {}",
        report.kind, report.mapped_bytes, report.numa_node, report.note
    );
    if report.kind == PageKind::Base {
        assert!(report.note.contains("2 MiB pages: "), "says why not huge: {}", report.note);
    }
}

#[test]
fn off_gives_base_pages_without_a_reason() {
    let region = Region::map(LEN + 1, HugepagePolicy::Off, None).unwrap();
    assert_eq!(region.report().kind, PageKind::Base);
    assert_eq!(region.report().mapped_bytes, LEN + PAGE_4K_BYTES);
    assert_eq!(region.report().note, "");
    if !cfg!(miri) {
        assert_eq!(kernel_page_bytes(region.as_slice().as_ptr()), Some(4096));
    }
}

#[test]
fn require_gives_reserved_pages_or_says_how_to_get_them() {
    match Region::map(LEN, HugepagePolicy::Require, None) {
        Ok(region) => assert_eq!(region.report().kind, PageKind::Huge2M),
        Err(error) => assert!(error.to_string().contains("vm.nr_hugepages"), "{error}"),
    }
}

#[test]
fn a_node_is_preferred_and_a_missing_one_refused() {
    let region = Region::map(LEN, HugepagePolicy::Off, Some(0)).unwrap();
    assert!(matches!(region.report().numa_node, None | Some(0)));
    assert!(Region::map(LEN, HugepagePolicy::Off, Some(5000)).is_err());
    let preference = prefer_node(0).unwrap();
    drop(preference);
    assert!(prefer_node(1024).is_err());
}

#[test]
fn impossible_lengths_are_errors() {
    assert!(matches!(Region::map(0, HugepagePolicy::Auto, None), Err(RegionError::Length(0))));
    assert!(Region::map(usize::MAX, HugepagePolicy::Auto, None).is_err());
    assert!(Region::map(1 << 50, HugepagePolicy::Off, None).is_err());
}

#[test]
fn a_gigabyte_page_is_tried_only_when_little_is_wasted() {
    use PageKind::{Base, Huge1G, Huge2M, Transparent};
    assert_eq!(candidates(LEN, HugepagePolicy::Auto), [Huge2M, Transparent, Base]);
    assert_eq!(candidates(800 << 20, HugepagePolicy::Auto), [Huge1G, Huge2M, Transparent, Base]);
    assert_eq!(candidates(700 << 20, HugepagePolicy::Auto), [Huge2M, Transparent, Base]);
    assert_eq!(candidates(1 << 16, HugepagePolicy::Auto), [Base]);
    assert_eq!(candidates(5 << 30, HugepagePolicy::Require), [Huge1G, Huge2M]);
}
