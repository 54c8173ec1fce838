//! Records in a file, one per line.
//!
//! Owns: appending, the largest size, forcing to the disk. A write that was cut short (a full disk) leaves half a line;
//! the next one begins on a new line, so that the half is the only one that does not parse. Does not own: rotation;
//! whoever moved the file has it opened anew by a reload.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use secbeat_config::export::{Export, Fsync};

use super::connection::Sent;

/// Readable for the group: collectors usually are in one.
const MODE: u32 = 0o640;

/// Time between two times of forcing to the disk, for `fsync = "second"`.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct FileOut {
    file: File,
    bytes: u64,
    bytes_max: Option<u64>,
    fsync: Fsync,
    is_dirty: bool,
    is_torn: bool,
    synced: Instant,
}

impl FileOut {
    pub(super) fn open(path: &Path, export: &Export) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
        let metadata = file.metadata()?;
        // A pipe or terminal has no size.
        let bytes_max = export.file_bytes_max.filter(|_| metadata.is_file());
        Ok(Self {
            file,
            bytes: metadata.len(),
            bytes_max,
            fsync: if metadata.is_file() { export.fsync } else { Fsync::Never },
            is_dirty: false,
            is_torn: false,
            synced: Instant::now(),
        })
    }

    pub(super) fn send(&mut self, frames: &[Vec<u8>]) -> Sent {
        let mut sent = Sent::default();
        for frame in frames {
            if self.bytes_max.is_some_and(|max| self.bytes + frame.len() as u64 > max) {
                sent.lost = frames.len() - sent.done;
                break;
            }
            if let Err(error) = self.append(frame) {
                sent.error = Some(error);
                return sent;
            }
            sent.done += 1;
        }
        let is_due = match self.fsync {
            Fsync::Never => false,
            Fsync::Second => self.synced.elapsed() >= SYNC_INTERVAL,
            Fsync::Always => true,
        };
        if is_due && let Err(error) = self.sync() {
            // The kernel forgets pages it could not write: telling again could not help.
            tracing::error!(component = "export", %error, "a file cannot be forced to the disk");
        }
        sent
    }

    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
            self.is_torn = false;
        }
        let mut rest = frame;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.bytes += count as u64;
                    self.is_dirty = true;
                    rest = rest.get(count..).unwrap_or_default();
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forces what was written to the disk, if it shall be.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.fsync != Fsync::Never && core::mem::take(&mut self.is_dirty) {
            self.synced = Instant::now();
            self.file.sync_data()?;
        }
        Ok(())
    }
}
