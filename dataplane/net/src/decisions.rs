//! Decisions drawn from a fuzzer's input, for the bodies of fuzz targets that drive whole flows.
//!
//! Owns: [`Bytes`]. Does not own: what is decided. Every input is good: when it is used up, only zeros come.

/// Bytes to draw decisions from; zeros when they are used up.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn u8(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes([self.u8(), self.u8(), self.u8(), self.u8()])
    }
}
