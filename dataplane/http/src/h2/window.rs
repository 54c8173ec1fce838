//! Flow control (RFC 9113 §5.2): what each side may still send.
//!
//! Owns: one window's arithmetic. Does not own: WINDOW_UPDATE frames; it says when one is due.

/// No window may pass this (RFC 9113 §6.9.1).
pub(super) const WINDOW_MAX: i64 = 0x7fff_ffff;
/// What every window starts with until settings say otherwise (RFC 9113 §6.9.2).
pub(super) const WINDOW_DEFAULT: u32 = 65_535;

/// What the client may send us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReceiveWindow {
    left: u32,
    /// Taken by the caller and not yet announced.
    released: u32,
    size: u32,
}

impl ReceiveWindow {
    /// A window of `size` bytes, all of it open.
    pub(super) fn new(size: u32) -> Self {
        Self { left: size, released: 0, size }
    }

    /// The client sent `len` bytes; false when it may not have.
    pub(super) fn take(&mut self, len: usize) -> bool {
        match u32::try_from(len).ok().and_then(|len| self.left.checked_sub(len)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// `len` bytes were used up. Returns the increment to announce once half the window waits for it: each update
    /// costs both sides a frame.
    pub(super) fn release(&mut self, len: usize) -> Option<u32> {
        self.released = self.released.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if self.released == 0 || self.released < self.size / 2 {
            return None;
        }
        let increment = self.released.min(self.size.saturating_sub(self.left));
        self.released = 0;
        self.left += increment;
        (increment > 0).then_some(increment)
    }

    /// Whether the client has room to send.
    pub(super) fn is_open(&self) -> bool {
        self.left > 0
    }
}

/// Adds to what we may send; false when the window would pass its maximum.
pub(super) fn widen(window: &mut i64, increment: i64) -> bool {
    *window = window.saturating_add(increment);
    *window <= WINDOW_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_due_when_half_the_window_was_used_up() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.take(60));
        assert_eq!(window.release(49), None);
        assert_eq!(window.release(1), Some(50));
        assert!(window.take(90));
        assert!(!window.take(1));
        assert!(!window.is_open());
    }

    #[test]
    fn a_window_never_grows_past_its_size() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.release(1_000), None);
        assert!(window.take(100));
        assert!(!window.take(1));
    }

    #[test]
    fn a_send_window_ends_at_two_to_the_31() {
        let mut window = i64::from(WINDOW_DEFAULT);
        let rest = WINDOW_MAX - window;
        assert!(widen(&mut window, rest));
        assert!(!widen(&mut window, 1));
    }
}
