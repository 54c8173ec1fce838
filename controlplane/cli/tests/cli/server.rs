//! An orchestrator in this process: every method answers what the test says, and keeps what it was asked. Also runs
//! the built program.

use std::any::Any;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use secbeat_proto::v1::access_service_server::{AccessService, AccessServiceServer};
use secbeat_proto::v1::ban_service_server::{BanService, BanServiceServer};
use secbeat_proto::v1::event_service_server::{EventService, EventServiceServer};
use secbeat_proto::v1::fleet_service_server::{FleetService, FleetServiceServer};
use secbeat_proto::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use secbeat_proto::v1::*;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::{ServerTlsConfig, server::Router};
use tonic::{Request, Response, Status};

/// Longer than any run on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

type Anything = Box<dyn Any + Send>;
type Handler = Arc<dyn Fn(Anything) -> Result<Anything, Status> + Send + Sync>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
struct Inner {
    handlers: HashMap<&'static str, Handler>,
    seen: Vec<(&'static str, Anything)>,
    tokens: Vec<Option<String>>,
}

/// What the services answer.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Inner>>);

/// Items of a stream, and whether it stays open after them.
struct Items<T>(Vec<T>, bool);

impl Fake {
    fn call<Q: Clone + Send + 'static>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Anything, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = token.map(str::to_owned);
        let request = request.into_inner();
        let handler = {
            let mut inner = self.0.lock().unwrap();
            inner.tokens.push(token);
            inner.seen.push((method, Box::new(request.clone())));
            inner.handlers.get(method).cloned()
        };
        let handler = handler.ok_or_else(|| Status::unimplemented(format!("the test has no {method}")))?;
        handler(Box::new(request))
    }

    fn answer<Q: Clone + Send + 'static, A: 'static>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Response<A>, Status> {
        let answer = self.call(method, request)?;
        Ok(Response::new(*answer.downcast().expect("the answer of the test has the right type")))
    }

    fn stream<Q: Clone + Send + 'static, A: Send + 'static>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Response<Streamed<A>>, Status> {
        let answer = self.call(method, request)?;
        let Items(items, is_open) = *answer.downcast().expect("the answer of the test has the right type");
        let items = tokio_stream::iter(items).map(Ok);
        let stream: Streamed<A> =
            if is_open { Box::pin(items.chain(tokio_stream::pending())) } else { Box::pin(items) };
        Ok(Response::new(stream))
    }
}

macro_rules! service {
    ($service:ident {
        $($method:ident($q:ty) -> $a:ty;)*
    } streams {
        $($streaming:ident: $stream:ident($sq:ty) -> $sa:ty;)*
    }) => {
        #[tonic::async_trait]
        impl $service for Fake {
            $(type $stream = Streamed<$sa>;)*
            $(async fn $method(&self, request: Request<$q>) -> Result<Response<$a>, Status> {
                self.answer(stringify!($method), request)
            })*
            $(async fn $streaming(&self, request: Request<$sq>) -> Result<Response<Streamed<$sa>>, Status> {
                self.stream(stringify!($streaming), request)
            })*
        }
    };
}

service! { PolicyService {
    apply(ApplyRequest) -> ApplyResponse;
    diff(DiffRequest) -> DiffResponse;
    get(GetPolicyRequest) -> GetPolicyResponse;
    history(HistoryRequest) -> HistoryResponse;
    rollback(RollbackRequest) -> ApplyResponse;
    confirm(ConfirmRequest) -> RolloutStatus;
    cancel(CancelRequest) -> RolloutStatus;
    get_rollout(GetRolloutRequest) -> RolloutStatus;
    change_rules(ChangeRulesRequest) -> ApplyResponse;
} streams {
    watch_rollout: WatchRolloutStream(GetRolloutRequest) -> RolloutStatus;
    watch: WatchStream(WatchPolicyRequest) -> PolicyEvent;
} }

service! { FleetService {
    list_nodes(ListNodesRequest) -> ListNodesResponse;
    get_node(GetNodeRequest) -> NodeDetail;
    get_fleet_stats(GetFleetStatsRequest) -> FleetStats;
    order_nodes(OrderNodesRequest) -> OrderNodesResponse;
    scale(ScaleRequest) -> ScaleResponse;
    cleanup(CleanupRequest) -> CleanupResponse;
    explain(ExplainRequest) -> ExplainResponse;
    get_server_info(GetServerInfoRequest) -> ServerInfo;
} streams {
    watch_nodes: WatchNodesStream(WatchNodesRequest) -> NodeEvent;
} }

service! { BanService {
    add_ban(AddBanRequest) -> AddBanResponse;
    remove_ban(RemoveBanRequest) -> RemoveBanResponse;
    list_bans(ListBansRequest) -> ListBansResponse;
    import_bans(ImportBansRequest) -> ImportBansResponse;
} streams {
    watch_bans: WatchBansStream(WatchBansRequest) -> BanEvent;
} }

service! { EventService {
    list_events(ListEventsRequest) -> ListEventsResponse;
    acknowledge_events(AcknowledgeEventsRequest) -> AcknowledgeEventsResponse;
    get_event_stats(GetEventStatsRequest) -> EventStats;
    list_threats(ListThreatsRequest) -> ListThreatsResponse;
} streams {
    watch_events: WatchEventsStream(WatchEventsRequest) -> WatchEventsResponse;
} }

service! { AccessService {
    create_token(CreateTokenRequest) -> CreateTokenResponse;
    list_tokens(ListTokensRequest) -> ListTokensResponse;
    revoke_token(RevokeTokenRequest) -> RevokeTokenResponse;
    list_audit(ListAuditRequest) -> ListAuditResponse;
    verify_audit(VerifyAuditRequest) -> VerifyAuditResponse;
} streams {} }

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The exit code is this one; else the output is shown.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(
            self.out.contains(part),
            "`{part}` is missing in stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub(crate) fn warns(self, part: &str) -> Self {
        assert!(self.err.contains(part), "`{part}` is missing in stderr:\n{}", self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in\n{}\n{}", self.out, self.err))
    }
}

/// A running orchestrator and a home for the program.
pub(crate) struct Server {
    pub(crate) fake: Fake,
    pub(crate) url: String,
    home: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("http", None)
    }

    pub(crate) fn start_tls(tls: ServerTlsConfig) -> Self {
        Self::start_with("https", Some(tls))
    }

    fn start_with(scheme: &str, tls: Option<ServerTlsConfig>) -> Self {
        let fake = Fake::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = router(&fake, tls);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        let url = format!("{scheme}://localhost:{port}");
        Self { fake, url, home: tempfile::tempdir().unwrap(), runtime: Some(runtime) }
    }

    /// What a method answers.
    pub(crate) fn on<Q: 'static, A: Send + 'static>(
        &self,
        method: &'static str,
        answer: impl Fn(Q) -> Result<A, Status> + Send + Sync + 'static,
    ) -> &Self {
        let handler: Handler = Arc::new(move |request| {
            let request = *request.downcast::<Q>().expect("the handler of the test takes the right type");
            answer(request).map(|answer| Box::new(answer) as Anything)
        });
        self.fake.0.lock().unwrap().handlers.insert(method, handler);
        self
    }

    /// What a stream has, and whether it stays open.
    pub(crate) fn on_stream<Q: 'static, A: Send + 'static>(
        &self,
        method: &'static str,
        is_open: bool,
        items: impl Fn(Q) -> Result<Vec<A>, Status> + Send + Sync + 'static,
    ) -> &Self {
        self.on(method, move |request: Q| items(request).map(|items| Items(items, is_open)))
    }

    /// What a method was asked, in order.
    pub(crate) fn seen<Q: Clone + 'static>(&self, method: &str) -> Vec<Q> {
        let inner = self.fake.0.lock().unwrap();
        let asked = inner.seen.iter().filter(|(name, _)| *name == method);
        asked.map(|(_, request)| request.downcast_ref::<Q>().expect("the right type").clone()).collect()
    }

    /// The `authorization` of every call.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        self.fake.0.lock().unwrap().tokens.clone()
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file of the test.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs `secbeat --server URL ARGS`.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut all = vec!["--server", self.url.as_str()];
        all.extend(args);
        run(self.command(&all), stdin)
    }

    /// The program with a clean environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secbeat"));
        command.env_clear().env("HOME", self.home.path()).args(args);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn router(fake: &Fake, tls: Option<ServerTlsConfig>) -> Router {
    let mut builder = tonic::transport::Server::builder();
    if let Some(tls) = tls {
        builder = builder.tls_config(tls).unwrap();
    }
    builder
        .add_service(PolicyServiceServer::new(fake.clone()))
        .add_service(FleetServiceServer::new(fake.clone()))
        .add_service(BanServiceServer::new(fake.clone()))
        .add_service(EventServiceServer::new(fake.clone()))
        .add_service(AccessServiceServer::new(fake.clone()))
}

/// Runs to the end; a run that does not end is killed, and fails the test.
pub(crate) fn run(mut command: Command, stdin: &str) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    finish(child)
}

pub(crate) fn finish(mut child: Child) -> Ran {
    let out = read(child.stdout.take());
    let err = read(child.stderr.take());
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it did not end: {:?} {:?}", out.join().unwrap(), err.join().unwrap());
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ran { code: status.code().unwrap_or(-1), out: out.join().unwrap(), err: err.join().unwrap() }
}

/// Reads to the end, on a thread of its own; nothing when the test has closed it.
fn read(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_string(&mut text).unwrap();
        }
        text
    })
}

/// The program on a terminal of 80 x 24, which `script` (util-linux) makes.
pub(crate) struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    pub(crate) fn start(server: &Server, args: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_secbeat");
        let line = format!("stty rows 24 cols 80; exec {program} --server {} {}", server.url, args.join(" "));
        let mut command = Command::new("script");
        command.env_clear().env("HOME", server.home()).env("TERM", "xterm");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["-qec", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("`script` of util-linux is needed"), shown: String::new() }
    }

    /// Reads until this is on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let mut bytes = [0; 4_096];
        while !self.shown.contains(text) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert!(count > 0, "`{text}` never came: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Ran {
        let ran = finish(self.child);
        Ran { out: self.shown + &ran.out, ..ran }.ends(code)
    }
}
