//! A clock that the test moves, for a peer that reads the system's.
//!
//! The peer's engine takes its time from `std::time::Instant`, and a simulation must be the same every time: so this
//! test binary brings its own `clock_gettime`, which the linker prefers to the C library's. A thread that never called
//! [`set`] sees the real time. Owns: the symbol and the time of this thread. Does not own: when time moves.

use core::cell::Cell;
use core::ffi::{c_int, c_long};
use std::time::Instant;

thread_local! {
    /// Nanoseconds; zero means "the real clock".
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
pub(crate) struct Timespec {
    seconds: i64,
    nanos: i64,
}

#[cfg(target_arch = "x86_64")]
const SYS_CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const SYS_CLOCK_GETTIME: c_long = 113;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Takes the place of the C library's function in this binary.
// SAFETY: the name and signature are those of POSIX, so every caller passes what the body expects.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int {
    let now = NOW.try_with(Cell::get).unwrap_or(0);
    if now == 0 || out.is_null() {
        // SAFETY: the arguments are passed on to the system call of the same meaning, which checks the pointer.
        return unsafe { syscall(SYS_CLOCK_GETTIME, clock, out) as c_int };
    }
    let time = Timespec { seconds: (now / 1_000_000_000) as i64, nanos: (now % 1_000_000_000) as i64 };
    // SAFETY: not null, and POSIX has the caller pass a place for one `timespec`.
    unsafe { out.write(time) };
    0
}

/// Sets this thread's time.
pub(crate) fn set(nanos: u64) {
    NOW.with(|now| now.set(nanos));
}

/// A time of the peer in this thread's nanoseconds.
pub(crate) fn nanos_of(instant: Instant) -> u64 {
    let now = NOW.with(Cell::get);
    let ahead = instant.saturating_duration_since(Instant::now());
    now + u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX - now)
}

#[test]
fn time_stands_still_until_it_is_moved() {
    set(5_000_000_000);
    let before = Instant::now();
    std::thread::yield_now();
    assert_eq!(before, Instant::now());
    set(7_500_000_000);
    assert_eq!(before.elapsed().as_millis(), 2_500);
    assert_eq!(nanos_of(before), 7_500_000_000, "what is past is due now");
}
