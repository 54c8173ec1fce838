//! The access log: one JSON line per request, written by a thread of its own.
//!
//! ```text
//!  worker: lines -> block of some KiB --push--> queue (bounded) --> thread --> file or standard output
//!                   block, empty again <------- spare blocks <--------'
//! ```
//! Owns: [`AccessLog`] (the queue all workers share), [`Writer`] (the thread), [`Lines`] (a worker's block). Does not
//! own: what is in a line (`record`), or which requests get one.
//! A worker never waits: a full queue loses the block and its lines are counted. Cost: a copy of the line; a push per
//! block; no allocation once blocks go round.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::queue::ArrayQueue;

/// Size at which a block is handed over: a few hundred lines of 200 to 400 bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Largest block kept for further use; one with a giant line goes back to the allocator.
const BLOCK_KEPT_BYTES_MAX: usize = 256 << 10;
/// Blocks that wait for the writer over all workers: 16 MiB, at 100,000 requests/s more than half a second of a disk
/// that stands still. Full: the block is lost, its lines are counted.
const BLOCKS_MAX: usize = 256;
/// How often the writer looks: nobody wakes it, since that would cost the workers a system call.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);

struct Block {
    bytes: Vec<u8>,
    lines: u64,
}

/// What workers and writer share.
pub struct AccessLog {
    full: ArrayQueue<Block>,
    spare: ArrayQueue<Vec<u8>>,
    lost: AtomicU64,
    written: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl AccessLog {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            full: ArrayQueue::new(BLOCKS_MAX),
            spare: ArrayQueue::new(BLOCKS_MAX),
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        })
    }

    /// Lines lost since the start because the writer was too slow or could not write.
    pub fn lines_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lines written since the start.
    pub fn lines_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Opens the file anew before the next write: it was moved away (rotation).
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }
}

impl core::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AccessLog").field("waiting", &self.full.len()).finish_non_exhaustive()
    }
}

/// The writing thread. Dropping it writes what waits.
#[derive(Debug)]
pub struct Writer {
    log: Arc<AccessLog>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `path`: the file, opened for appending; `None` = standard output.
    ///
    /// # Errors
    /// When the file cannot be opened or no thread made.
    pub fn start(log: Arc<AccessLog>, path: Option<&Path>) -> io::Result<Self> {
        let mut sink = Sink::open(path)?;
        let thread = {
            let log = Arc::clone(&log);
            std::thread::Builder::new().name("access-log".into()).spawn(move || sink.run(&log))?
        };
        Ok(Self { log, thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Where lines end up.
struct Sink {
    path: Option<PathBuf>,
    out: Box<dyn Write + Send>,
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(append(path)?),
            None => Box::new(io::stdout()),
        };
        Ok(Self { path: path.map(Path::to_path_buf), out })
    }

    fn run(&mut self, log: &AccessLog) {
        loop {
            // Read before the last look at the queue: what was pushed before the stop is written.
            let is_last = log.stop.load(Ordering::Acquire);
            if log.reopen.swap(false, Ordering::AcqRel)
                && let Some(path) = &self.path
            {
                match append(path) {
                    Ok(file) => self.out = Box::new(file),
                    Err(error) => tracing::error!(component = "access_log", "cannot open {path:?}: {error}"),
                }
            }
            while let Some(block) = log.full.pop() {
                self.write(log, block);
            }
            if is_last {
                return;
            }
            std::thread::park_timeout(WRITE_INTERVAL);
        }
    }

    fn write(&mut self, log: &AccessLog, block: Block) {
        let Block { mut bytes, lines } = block;
        let counter = if self.out.write_all(&bytes).and_then(|()| self.out.flush()).is_ok() {
            &log.written
        } else {
            &log.lost
        };
        counter.fetch_add(lines, Ordering::Relaxed);
        if bytes.capacity() <= BLOCK_KEPT_BYTES_MAX {
            bytes.clear();
            // Full means that there are spare blocks enough.
            let _ = log.spare.push(bytes);
        }
    }
}

/// The lines of one worker that were not handed over yet.
#[derive(Debug)]
pub(super) struct Lines {
    log: Arc<AccessLog>,
    block: Vec<u8>,
    lines: u64,
}

impl Lines {
    pub(super) fn new(log: Arc<AccessLog>) -> Self {
        Self { log, block: Vec::new(), lines: 0 }
    }

    /// Adds what `write` writes, and a line end.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.block.capacity() == 0 {
            self.block =
                self.log.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 4));
        }
        write(&mut self.block);
        self.block.push(b'\n');
        self.lines += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.hand_over();
        }
    }

    /// Hands over what there is; once in a while, so that a quiet node's log is not behind.
    pub(super) fn hand_over(&mut self) {
        if self.lines == 0 {
            return;
        }
        let next = self.log.spare.pop().unwrap_or_default();
        let block = Block { bytes: core::mem::replace(&mut self.block, next), lines: self.lines };
        self.lines = 0;
        if let Err(block) = self.log.full.push(block) {
            self.log.lost.fetch_add(block.lines, Ordering::Relaxed);
            self.block = block.bytes;
            self.block.clear();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_workers_are_written_whole_and_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let log = AccessLog::new();
        let writer = Writer::start(Arc::clone(&log), Some(&path)).expect("a writer");
        let workers: Vec<_> = (0..3u32)
            .map(|worker| {
                let mut lines = Lines::new(Arc::clone(&log));
                std::thread::spawn(move || {
                    for line in 0..2_000u32 {
                        lines.push(|out| {
                            let _ =
                                write!(out, "{{\"worker\":{worker},\"line\":{line},\"pad\":\"{:050}\"}}", 0);
                        });
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker");
        }
        drop(writer);
        let text = std::fs::read_to_string(&path).expect("the log");
        assert_eq!(log.lines_lost(), 0);
        assert_eq!(text.lines().count(), 6_000);
        assert_eq!(log.lines_written(), 6_000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("valid JSON");
        }
    }

    #[test]
    fn full_queue_loses_lines_and_counts_them_without_waiting() {
        let log = AccessLog::new();
        let mut lines = Lines::new(Arc::clone(&log));
        for _ in 0..BLOCKS_MAX + 3 {
            lines.push(|out| out.extend_from_slice(b"{}"));
            lines.push(|out| out.extend_from_slice(b"{}"));
            lines.hand_over();
        }
        assert_eq!(log.lines_lost(), 6);
    }

    #[test]
    fn rotated_log_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let log = AccessLog::new();
        let mut sink = Sink::open(Some(&path)).expect("a file");
        let mut lines = Lines::new(Arc::clone(&log));
        log.stop.store(true, Ordering::Release);
        lines.push(|out| out.extend_from_slice(b"1"));
        lines.hand_over();
        sink.run(&log);
        std::fs::rename(&path, dir.path().join("access.log.1")).expect("moved");
        log.reopen();
        lines.push(|out| out.extend_from_slice(b"2"));
        lines.hand_over();
        sink.run(&log);
        assert_eq!(std::fs::read_to_string(&path).expect("the new file"), "2\n");
    }
}
