//! Finds the end of a head, line by line, and keeps its limits while it arrives.
//!
//! Owns: line ends (RFC 9112 §2.2: CRLF, nothing else), empty lines before a request, obs-fold, sizes.
//! Cost: one vectorised search for LF over each byte, once.
use super::Progress;
use crate::{error::Error, limits::Limits, syntax};

/// Where a head lies in what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Where its start line begins.
    pub(super) start: usize,
    /// Just after its empty line.
    pub(super) end: usize,
}

/// Whose head it is: what may come first differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What every status line we accept begins with.
const STATUS_LINE_START: &[u8] = b"HTTP/1.";

/// Goes on from where the last call stopped. `None`: no whole head yet.
pub(super) fn head_bounds(
    input: &[u8],
    side: Side,
    progress: &mut Progress,
    limits: &Limits,
) -> Result<Option<Bounds>, Error> {
    let from = (progress.scanned as usize).min(input.len());
    for at in memchr::memchr_iter(b'\n', input.get(from..).unwrap_or_default()) {
        let end = from + at + 1;
        if let Some(bounds) = end_line(input, end, side, progress, limits)? {
            return Ok(Some(bounds));
        }
    }
    let open_line = input.get(progress.line_start as usize..).unwrap_or_default();
    check_first_bytes(open_line, side, *progress)?;
    // The open line may hold its CR already.
    check_line_len(open_line.len().saturating_sub(1), *progress, limits)?;
    // The empty line that ends the head needs two more bytes, so a head of exactly the limit still passes.
    if input.len() >= limits.head_bytes_max as usize {
        return Err(Error::HeadBytes);
    }
    progress.scanned = u32::try_from(input.len()).unwrap_or(u32::MAX);
    Ok(None)
}

/// The line that ends before `end`, with its LF just there.
fn end_line(
    input: &[u8],
    end: usize,
    side: Side,
    progress: &mut Progress,
    limits: &Limits,
) -> Result<Option<Bounds>, Error> {
    let start = progress.line_start as usize;
    let Some([line @ .., b'\r', b'\n']) = input.get(start..end) else {
        check_line_len(end.saturating_sub(start + 1), *progress, limits)?;
        return Err(Error::BareLineEnd);
    };
    if end > limits.head_bytes_max as usize {
        return Err(if progress.lines == 0 { Error::StartLineBytes } else { Error::HeadBytes });
    }
    progress.line_start = u32::try_from(end).unwrap_or(u32::MAX);
    if !line.is_empty() {
        if progress.lines == 0 {
            check_start_line(line, side)?;
        } else if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Error::FieldFolded);
        }
        check_line_len(line.len(), *progress, limits)?;
        if progress.lines > limits.fields_max {
            return Err(Error::FieldsCount);
        }
        progress.lines = progress.lines.saturating_add(1);
        return Ok(None);
    }
    if progress.lines > 0 {
        return Ok(Some(Bounds { start: usize::from(progress.empty_lines) * 2, end }));
    }
    if side == Side::Response {
        return Err(Error::Status);
    }
    if progress.empty_lines >= limits.empty_lines_max {
        return Err(Error::StartLine);
    }
    progress.empty_lines += 1;
    Ok(None)
}

/// Refuses a start line for how it begins.
fn check_start_line(line: &[u8], side: Side) -> Result<(), Error> {
    match side {
        Side::Request if line.first().copied().is_some_and(syntax::is_token_byte) => Ok(()),
        Side::Request => Err(Error::Method),
        Side::Response if line.starts_with(STATUS_LINE_START) => Ok(()),
        Side::Response => Err(Error::Status),
    }
}

/// Refuses at once what cannot become a start line: TLS on a plain port, another protocol, binary noise.
fn check_first_bytes(open_line: &[u8], side: Side, progress: Progress) -> Result<(), Error> {
    match (side, open_line) {
        _ if progress.lines > 0 => Ok(()),
        (_, []) | (Side::Request, [b'\r']) => Ok(()),
        (Side::Response, short) if STATUS_LINE_START.starts_with(short) => Ok(()),
        _ => check_start_line(open_line, side),
    }
}

fn check_line_len(len: usize, progress: Progress, limits: &Limits) -> Result<(), Error> {
    if progress.lines == 0 {
        if len > limits.start_line_bytes_max as usize {
            return Err(Error::StartLineBytes);
        }
    } else if len > limits.field_bytes_max as usize {
        return Err(Error::FieldBytes);
    }
    Ok(())
}
