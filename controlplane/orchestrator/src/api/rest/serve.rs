//! HTTP on accepted connections.
//!
//! Owns: limits of heads, keep-alive, the end of the server. Does not own: TLS and places (`tls::accept`). Limits:
//! [`HEADERS_MAX`], [`HEAD_BYTES_MAX`], [`HEAD_TIMEOUT_MS`], [`GRACE_MS`].

use core::future::Future;
use core::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;

use crate::api::tls::accept::{Connection, Listener};

/// Header fields of a request. More: 431.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's head, and of buffers. More: 431.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Longest time, in milliseconds, for a head, and for the pause between two requests.
const HEAD_TIMEOUT_MS: u64 = 30_000;
/// How long, in milliseconds, requests may take after the server was told to end.
const GRACE_MS: u64 = 10_000;

/// Serves until `shutdown` is done, then until open requests have their answers.
pub async fn serve(router: Router, listener: Listener, shutdown: impl Future<Output = ()>) {
    let mut connections = listener.connections();
    // Every connection holds a receiver: when all are gone, all have ended.
    let (end, ending) = watch::channel(());
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = connections.next() => accepted,
            () = &mut shutdown => break,
        };
        let Some(accepted) = accepted else { break };
        if let Ok(connection) = accepted {
            tokio::spawn(serve_one(router.clone(), connection, ending.clone()));
        }
    }
    drop((connections, ending));
    end.send_replace(());
    let _ = tokio::time::timeout(Duration::from_millis(GRACE_MS), end.closed()).await;
}

async fn serve_one(router: Router, connection: Connection, mut ending: watch::Receiver<()>) {
    let peer = connection.peer().clone();
    let address = peer.address;
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(service));
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        _ = ending.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        },
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "http");
    }
}
