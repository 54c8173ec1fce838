//! UDP headers (RFC 768).
//!
//! Owns: view, setters, emit. Does not own: checksums over the datagram (`wire::checksum`).

use super::be16;
use crate::verdict::DropReason;

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 8;

/// A view of a UDP header and its payload.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<T>(T);

impl<T: AsRef<[u8]>> Datagram<T> {
    /// A view of `bytes`, which start with a UDP header and hold the whole datagram.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] when bytes are missing, [`DropReason::Malformed`] when the length field is
    /// below the header's length.
    pub fn new_checked(bytes: T) -> Result<Self, DropReason> {
        let slice = bytes.as_ref();
        if slice.len() < HEADER_BYTES {
            return Err(DropReason::Truncated);
        }
        let len = be16(slice, 4).map_or(0, usize::from);
        if len < HEADER_BYTES {
            return Err(DropReason::Malformed);
        }
        if slice.len() < len { Err(DropReason::Truncated) } else { Ok(Self(bytes)) }
    }

    fn word(&self, at: usize) -> u16 {
        be16(self.0.as_ref(), at).unwrap_or(0)
    }

    /// Source port.
    pub fn source_port(&self) -> u16 {
        self.word(0)
    }

    /// Destination port.
    pub fn destination_port(&self) -> u16 {
        self.word(2)
    }

    /// Length of header and payload in bytes; at least [`HEADER_BYTES`].
    #[expect(clippy::len_without_is_empty, reason = "a datagram has at least its header")]
    pub fn len(&self) -> u16 {
        self.word(4)
    }

    /// Checksum as stored; 0 means none.
    pub fn checksum(&self) -> u16 {
        self.word(6)
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.0.as_ref().get(HEADER_BYTES..usize::from(self.len())).unwrap_or(&[])
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Datagram<T> {
    fn put(&mut self, at: usize, value: u16) {
        self.0.as_mut()[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// Sets the source port. The checksum changes with it.
    pub fn set_source_port(&mut self, port: u16) {
        self.put(0, port);
    }

    /// Sets the destination port. The checksum changes with it.
    pub fn set_destination_port(&mut self, port: u16) {
        self.put(2, port);
    }

    /// Sets the checksum field.
    pub fn set_checksum(&mut self, checksum: u16) {
        self.put(6, checksum);
    }
}

/// Writes a header for `payload_len` bytes with a zero checksum into the front of `buffer` and returns its
/// length; `None` when it does not fit. `checksum::complete_l4` fills the checksum.
pub fn emit(buffer: &mut [u8], source_port: u16, destination_port: u16, payload_len: u16) -> Option<usize> {
    let header = buffer.first_chunk_mut::<HEADER_BYTES>()?;
    let len = payload_len.checked_add(HEADER_BYTES as u16)?;
    header[..2].copy_from_slice(&source_port.to_be_bytes());
    header[2..4].copy_from_slice(&destination_port.to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    header[6..].fill(0);
    Some(HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_written_and_read_back() {
        let mut buffer = [0xaa; 12];
        assert_eq!(emit(&mut buffer, 53, 4242, 4), Some(8));
        assert_eq!(buffer[..8], [0, 53, 0x10, 0x92, 0, 12, 0, 0]);
        let mut datagram = Datagram::new_checked(&mut buffer[..]).unwrap();
        datagram.set_source_port(54);
        datagram.set_destination_port(1);
        datagram.set_checksum(9);
        assert_eq!((datagram.source_port(), datagram.destination_port(), datagram.checksum()), (54, 1, 9));
        assert_eq!(datagram.payload(), [0xaa; 4]);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        assert_eq!(Datagram::new_checked(&[0u8; 7][..]).err(), Some(DropReason::Truncated));
        assert_eq!(Datagram::new_checked(&[0u8; 8][..]).err(), Some(DropReason::Malformed));
        assert_eq!(Datagram::new_checked(&[0, 0, 0, 0, 0, 9, 0, 0][..]).err(), Some(DropReason::Truncated));
        assert_eq!(emit(&mut [0; 8], 1, 2, u16::MAX), None);
    }
}
