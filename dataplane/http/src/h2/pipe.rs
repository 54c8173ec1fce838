//! The two byte queues that the `h2` crate reads from and writes to, without a socket and without a reactor.
//!
//! Owns: bytes in both directions. Reading an empty queue is `Pending`, writing is always ready up to what the crate
//! buffers itself; nobody is woken, the server polls after each change.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Result};

#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) input: Vec<u8>,
    pub(super) taken: usize,
    pub(super) output: Vec<u8>,
}

/// The transport as the crate sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipe(Arc<Mutex<Queues>>);

impl Pipe {
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Queues) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.with(|queues| {
            let rest = queues.input.get(queues.taken..).unwrap_or_default();
            if rest.is_empty() {
                queues.input.clear();
                queues.taken = 0;
                return Poll::Pending;
            }
            let count = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..count).unwrap_or_default());
            queues.taken += count;
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.with(|queues| queues.output.extend_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
