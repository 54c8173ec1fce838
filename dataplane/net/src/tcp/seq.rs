//! Arithmetic of sequence numbers (RFC 9293 §3.4): modulo 2^32, compared by the sign of their distance.
//!
//! Owns: comparison. Does not own: what a number means. Numbers more than 2^31 apart compare the wrong way round;
//! windows are far below that.

/// Whether `a` comes before `b`.
#[inline]
pub(crate) const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b`.
#[inline]
pub(crate) const fn is_after(a: u32, b: u32) -> bool {
    is_before(b, a)
}

/// The later of two numbers.
#[inline]
pub(crate) const fn later(a: u32, b: u32) -> u32 {
    if is_before(a, b) { b } else { a }
}

/// The earlier of two numbers.
#[inline]
pub(crate) const fn earlier(a: u32, b: u32) -> u32 {
    if is_before(a, b) { a } else { b }
}

/// How far `to` lies after `from`; zero when it does not.
#[inline]
pub(crate) const fn distance(from: u32, to: u32) -> u32 {
    if is_before(to, from) { 0 } else { to.wrapping_sub(from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_across_the_wrap() {
        assert!(is_before(u32::MAX, 0) && is_after(0, u32::MAX));
        assert!(!is_before(5, 5) && !is_after(5, 5));
        assert_eq!((later(u32::MAX - 5, 3), earlier(u32::MAX - 5, 3)), (3, u32::MAX - 5));
        assert_eq!((distance(u32::MAX, 3), distance(3, u32::MAX)), (4, 0));
    }
}
