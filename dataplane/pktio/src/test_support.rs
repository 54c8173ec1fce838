//! What the unit tests that need a kernel share.

/// Whether this test may use bpf(2); prints why it is skipped otherwise.
pub(crate) fn is_root(test: &str) -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("{test}: skipped, needs root");
    }
    root
}
