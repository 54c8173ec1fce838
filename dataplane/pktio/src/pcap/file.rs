//! The classic pcap file format (draft-ietf-opsawg-pcap): reading with checked lengths, writing.
//!
//! Owns: the bytes. Does not own: pcapng, other link types than Ethernet. No allocation; a record is a slice of the
//! input.
//!
//! ```text
//!   magic u32 | version 2.4 | reserved u32 x 2 | snap length u32 | link type u32        24 bytes
//!   seconds u32 | fraction u32 | captured length u32 | original length u32 | bytes      each record
//!   The magic tells byte order and whether the fraction counts micro- or nanoseconds.
//! ```

use std::io::{self, Write};

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;

/// Longest record accepted in bytes: libpcap's own maximum. Longer ends the reading.
pub const SNAP_BYTES_MAX: usize = 262_144;

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file does not start with a header of this format.
    #[error("not a pcap file")]
    Header,
    /// The frames are not Ethernet.
    #[error("link type {0}, not Ethernet")]
    LinkType(u32),
    /// The file ends inside a record.
    #[error("cut short at byte {0}")]
    Truncated(usize),
    /// A record is longer than [`SNAP_BYTES_MAX`], or longer than its packet, or its time is no time.
    #[error("a record that cannot be at byte {0}")]
    Record(usize),
    /// The output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Length on the wire in bytes; at least that of `bytes`.
    pub original_len: u32,
    /// What was captured.
    pub bytes: &'a [u8],
}

/// Reads records one after the other. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    is_big_endian: bool,
    fraction_ns: u64,
    is_broken: bool,
}

fn number(bytes: &[u8], offset: usize, is_big_endian: bool) -> Option<u32> {
    let field: [u8; 4] = bytes.get(offset..)?.get(..4)?.try_into().ok()?;
    Some(if is_big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) })
}

impl<'a> Reader<'a> {
    /// Reads the file header.
    ///
    /// # Errors
    /// [`PcapError::Header`] or [`PcapError::LinkType`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, PcapError> {
        let magic = |is_big_endian| match number(bytes, 0, is_big_endian)? {
            MAGIC_MICROSECONDS => Some((is_big_endian, 1000)),
            MAGIC_NANOSECONDS => Some((is_big_endian, 1)),
            _ => None,
        };
        let (is_big_endian, fraction_ns) = magic(false).or_else(|| magic(true)).ok_or(PcapError::Header)?;
        let link_type = number(bytes, 20, is_big_endian).ok_or(PcapError::Header)?;
        // The upper bits say how long the frame check sequence is; we take frames as they are.
        if link_type & 0xffff != LINKTYPE_ETHERNET {
            return Err(PcapError::LinkType(link_type));
        }
        Ok(Self { bytes, offset: HEADER_BYTES, is_big_endian, fraction_ns, is_broken: false })
    }

    /// Goes on at an offset that [`Self::offset`] gave.
    pub(super) fn resume(bytes: &'a [u8], offset: usize) -> Result<Self, PcapError> {
        Ok(Self { offset, ..Self::new(bytes)? })
    }

    /// Where the next record starts.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn read(&self) -> Result<(Record<'a>, usize), PcapError> {
        let truncated = PcapError::Truncated(self.offset);
        let field = |index: usize| number(self.bytes, self.offset + index * 4, self.is_big_endian);
        let (Some(seconds), Some(fraction), Some(captured), Some(original_len)) =
            (field(0), field(1), field(2), field(3))
        else {
            return Err(truncated);
        };
        let fraction_ns = u64::from(fraction) * self.fraction_ns;
        let len = captured as usize;
        if len > SNAP_BYTES_MAX || captured > original_len || fraction_ns >= 1_000_000_000 {
            return Err(PcapError::Record(self.offset));
        }
        let start = self.offset + RECORD_HEADER_BYTES;
        let bytes = self.bytes.get(start..start + len).ok_or(truncated)?;
        let timestamp_ns = u64::from(seconds) * 1_000_000_000 + fraction_ns;
        Ok((Record { timestamp_ns, original_len, bytes }, start + len))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Record<'a>, PcapError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken || self.offset >= self.bytes.len() {
            return None;
        }
        match self.read() {
            Ok((record, next)) => {
                self.offset = next;
                Some(Ok(record))
            }
            Err(error) => {
                self.is_broken = true;
                Some(Err(error))
            }
        }
    }
}

/// Writes a capture with nanosecond times in little-endian order.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn new(mut output: W) -> Result<Self, PcapError> {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
        header[4..6].copy_from_slice(&2u16.to_le_bytes());
        header[6..8].copy_from_slice(&4u16.to_le_bytes());
        header[16..20].copy_from_slice(&(SNAP_BYTES_MAX as u32).to_le_bytes());
        header[20..24].copy_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        output.write_all(&header)?;
        Ok(Self { output })
    }

    /// Writes a frame, cut to [`SNAP_BYTES_MAX`]. Times beyond the year 2106 are not representable and wrap.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn record(&mut self, timestamp_ns: u64, frame: &[u8]) -> Result<(), PcapError> {
        let captured = &frame[..frame.len().min(SNAP_BYTES_MAX)];
        let fields = [
            (timestamp_ns / 1_000_000_000) as u32,
            (timestamp_ns % 1_000_000_000) as u32,
            captured.len() as u32,
            u32::try_from(frame.len()).unwrap_or(u32::MAX),
        ];
        let mut header = [0; RECORD_HEADER_BYTES];
        for (room, field) in header.chunks_exact_mut(4).zip(fields) {
            room.copy_from_slice(&field.to_le_bytes());
        }
        self.output.write_all(&header)?;
        self.output.write_all(captured)?;
        Ok(())
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What flushing failed with.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// Reads anything; what was read and is written again reads the same. For the fuzzer and the corpus test.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Ok(reader) = Reader::new(bytes) else { return };
    let records: Vec<_> = reader.map_while(Result::ok).collect();
    let captured: usize = records.iter().map(|record| record.bytes.len()).sum();
    assert!(
        captured + RECORD_HEADER_BYTES * records.len() + HEADER_BYTES <= bytes.len(),
        "more than was there"
    );
    let Ok(mut writer) = Writer::new(Vec::new()) else { return };
    for record in &records {
        assert!(record.original_len as usize >= record.bytes.len());
        // A vector takes everything.
        let _ = writer.record(record.timestamp_ns, record.bytes);
    }
    let written = writer.finish().unwrap_or_default();
    let again: Vec<_> = Reader::new(&written).into_iter().flatten().map_while(Result::ok).collect();
    assert_eq!(records.len(), again.len(), "a record was lost");
    for (first, second) in records.iter().zip(&again) {
        assert_eq!(
            (first.timestamp_ns, first.bytes),
            (second.timestamp_ns, second.bytes),
            "a record changed"
        );
    }
}
