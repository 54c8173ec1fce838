//! Records: where they end in what came, and how they get into the output.

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, WriteTraffic};

use crate::session::tls::client_hello::RECORD_HEADER_BYTES;
use crate::session::tls::{Output, TlsError};

/// Longest record (RFC 5246 §6.2.3: 2^14 + 2048, more than RFC 8446 allows) with its header.
pub(super) const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + (1 << 14) + 2_048;
/// What a record adds to its plaintext at most: header, explicit nonce, tag (TLS 1.2 AES-GCM; TLS 1.3 adds 22).
pub(super) const RECORD_OVERHEAD_MAX: usize = RECORD_HEADER_BYTES + 8 + 16;
/// Plaintext of later records: the most there may be.
pub(super) const FULL_RECORD_BYTES: usize = 1 << 14;
/// Room for messages of rustls' own that may come along with data: a key update, an alert.
pub(super) const EXTRA_BYTES: usize = 256;

/// How far the records at the front are whole.
pub(super) enum Records {
    /// So many bytes are whole records.
    Whole(usize),
    /// No record begins where one should: rustls is to say what is wrong.
    Strange,
}

pub(super) fn records(bytes: &[u8]) -> Records {
    let mut end = 0;
    while let Some(&[kind, major, _, high, low]) = bytes.get(end..).and_then(<[u8]>::first_chunk) {
        let len = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if !(20..=23).contains(&kind) || major != 3 || len > RECORD_BYTES_MAX || len == RECORD_HEADER_BYTES {
            return if end == 0 { Records::Strange } else { Records::Whole(end) };
        }
        if bytes.len() - end < len {
            break;
        }
        end += len;
    }
    Records::Whole(end)
}

/// Bytes that the unfinished record `raw` lacks; of its header first.
pub(super) fn missing(raw: &[u8]) -> usize {
    match raw.first_chunk::<RECORD_HEADER_BYTES>() {
        Some(&[_, _, _, high, low]) => {
            (RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))).saturating_sub(raw.len())
        }
        None => RECORD_HEADER_BYTES - raw.len(),
    }
}

/// Appends a message of rustls' own.
pub(super) fn encode(
    message: &mut dyn FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    output: &mut Output,
) -> Result<(), TlsError> {
    let mut room = EXTRA_BYTES;
    loop {
        match message(output.spare(room)) {
            Ok(len) => {
                output.advance(len);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(_) => return Err(TlsError::Closed),
        }
    }
}

pub(super) fn encrypt(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    plain: &[u8],
    output: &mut Output,
) -> Result<(), TlsError> {
    if plain.is_empty() {
        return Ok(());
    }
    let records = plain.len().div_ceil(FULL_RECORD_BYTES);
    let mut room = plain.len() + records * RECORD_OVERHEAD_MAX + EXTRA_BYTES;
    loop {
        match traffic.encrypt(plain, output.spare(room)) {
            Ok(len) => {
                output.advance(len);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(_) => return Err(TlsError::Closed),
        }
    }
}

/// After an error: the alert that tells the client. What waits to be sent comes before rustls looks at input again,
/// which it must not: it would stumble over the same bytes.
pub(super) fn last_words(connection: &mut UnbufferedServerConnection, output: &mut Output) {
    while connection.wants_write() {
        match connection.process_tls_records(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                if encode(&mut |room| message.encode(room), output).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
