//! A database file that can be looked at without being changed.
//!
//! Opening a database writes to it (it notes that it is open, and repairs what a crash left). On a full disk
//! that fails, and `check` must not change what it looks at. Here writes go to memory and reads see them; the
//! file is only read. Bounded by `OVERLAY_BYTES_MAX`: above it, writes fail and so does the opening.

use redb::StorageBackend;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that are kept together.
const PAGE_BYTES: u64 = 4096;
/// Memory for changed pages. A repair changes the state of the allocator, some 0.1 % of the file.
const OVERLAY_BYTES_MAX: u64 = 256 << 20;

/// The file and what was written over it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes of the file, as the database sees it.
    len_bytes: u64,
    /// Bytes that are to be taken from the file: what lies behind was cut off, and is zero if it comes back.
    file_bytes: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len_bytes = file.metadata()?.len();
        let state = State { len_bytes, file_bytes: len_bytes, pages: BTreeMap::new() };
        Ok(Self { file, state: Mutex::new(state) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().len_bytes == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Page `number` as the file has it.
    fn page_of_file(&self, state: &State, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES as usize];
        let start = number * PAGE_BYTES;
        let wanted = state.file_bytes.saturating_sub(start).min(PAGE_BYTES) as usize;
        if let Some(part) = page.get_mut(..wanted) {
            self.file.read_exact_at(part, start)?;
        }
        Ok(page)
    }

    /// Calls `each(page number, bytes of the page, bytes of the buffer)` for what `offset..` touches.
    fn pieces(
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let from = (at % PAGE_BYTES) as usize;
            let count = (PAGE_BYTES as usize - from).min(len - done);
            each(at / PAGE_BYTES, from..from + count, done..done + count)?;
            done += count;
        }
        Ok(())
    }
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before what it refers to")
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len_bytes) {
            return Err(short());
        }
        if state.pages.is_empty() && offset + out.len() as u64 <= state.file_bytes {
            return self.file.read_exact_at(out, offset);
        }
        Self::pieces(offset, out.len(), |number, in_page, in_out| {
            let from_file;
            let page = match state.pages.get(&number) {
                Some(page) => page,
                None => {
                    from_file = self.page_of_file(&state, number)?;
                    &from_file
                }
            };
            let (Some(from), Some(to)) = (page.get(in_page), out.get_mut(in_out)) else {
                return Err(short());
            };
            to.copy_from_slice(from);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        if len < state.len_bytes {
            state.file_bytes = state.file_bytes.min(len);
            // The page that is cut in two keeps its front only.
            let cut = len / PAGE_BYTES;
            state.pages.split_off(&(cut + 1));
            if let Some(page) = state.pages.get_mut(&cut) {
                page.iter_mut().skip((len % PAGE_BYTES) as usize).for_each(|byte| *byte = 0);
            }
        }
        state.len_bytes = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > state.len_bytes) {
            return Err(short());
        }
        Self::pieces(offset, data.len(), |number, in_page, in_data| {
            if !state.pages.contains_key(&number) {
                if state.pages.len() as u64 * PAGE_BYTES >= OVERLAY_BYTES_MAX {
                    return Err(io::Error::other("too much would have to be changed for looking only"));
                }
                let page = self.page_of_file(&state, number)?;
                state.pages.insert(number, page);
            }
            let page = state.pages.get_mut(&number).and_then(|page| page.get_mut(in_page));
            let (Some(to), Some(from)) = (page, data.get(in_data)) else { return Err(short()) };
            to.copy_from_slice(from);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_over_a_file_is_read_back_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let before: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &before).unwrap();
        let overlay = Overlay::open(&path).unwrap();
        let mut expected = before.clone();
        for (offset, len, byte) in [(0, 1, 1), (4090, 20, 2), (9_990, 10, 3), (100, 9_000, 4)] {
            overlay.write(offset as u64, &vec![byte; len]).unwrap();
            expected[offset..offset + len].fill(byte);
        }
        let mut seen = vec![0; expected.len()];
        overlay.read(0, &mut seen).unwrap();
        assert_eq!(seen, expected);
        assert!(overlay.write(9_999, &[1, 2]).is_err(), "behind the end");
        overlay.set_len(5_000).unwrap();
        overlay.set_len(9_000).unwrap();
        expected.resize(5_000, 0);
        expected.resize(9_000, 0);
        let mut seen = vec![9; 9_000];
        overlay.read(0, &mut seen).unwrap();
        assert_eq!(seen, expected, "what was cut off comes back as zeros");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
