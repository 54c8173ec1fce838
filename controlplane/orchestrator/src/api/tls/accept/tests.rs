use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;

use super::*;
use crate::access::authority::{Authority, IssuedPair};
use crate::access::identity::Holder;
use crate::api::tests::Place;
use crate::caller::Scope;
use crate::orchestrator::now_ms;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(30);

async fn listener(place: &Place) -> (SocketAddr, Arc<Tls>, ReceiverStream<io::Result<Connection>>) {
    let tls = Arc::new(Tls::open(&place.orchestrator).unwrap());
    let listener = Listener::bind(&place.orchestrator, Face::Rest, Some(tls.clone())).await.unwrap();
    (listener.address().unwrap(), tls, listener.connections())
}

fn connector(place: &Place, pair: Option<&IssuedPair>) -> TlsConnector {
    let authority = place.orchestrator.access.authority.as_ref().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    authority.bundle(now_ms()).into_iter().for_each(|der| roots.add(der).unwrap());
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::pem_slice_iter(pair.issued.chain_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
            config.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Whether a client gets a byte back from the server.
async fn speaks(place: &Place, pair: Option<&IssuedPair>) -> Option<Peer> {
    let (address, _tls, mut connections) = listener(place).await;
    let connector = connector(place, pair);
    let client = async {
        let tcp = TcpStream::connect(address).await.ok()?;
        let mut tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.ok()?;
        tls.write_all(b"a").await.ok()?;
        tls.read_u8().await.ok()
    };
    let server = async {
        let mut connection = connections.next().await?.ok()?;
        let byte = connection.read_u8().await.ok()?;
        connection.write_all(&[byte]).await.ok()?;
        connection.flush().await.ok()?;
        Some(connection)
    };
    let answered = async {
        tokio::pin!(server);
        tokio::pin!(client);
        let mut served = None;
        loop {
            tokio::select! {
                connection = &mut server, if served.is_none() => served = Some(connection?),
                byte = &mut client => {
                    byte?;
                    return served.map(|connection| connection.peer().clone());
                },
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap()
}

#[tokio::test]
async fn a_client_without_certificate_is_served_and_is_nobody() {
    let place = Place::with_authority("");
    let peer = speaks(&place, None).await.unwrap();
    assert!(peer.identity.is_none() && !peer.is_open_loopback);
}

#[tokio::test]
async fn a_certificate_of_the_authority_says_who_it_is() {
    let place = Place::with_authority("");
    let authority = place.orchestrator.access.authority.as_ref().unwrap();
    let pair = authority.issue_operator("alice", &[Scope::Read], now_ms()).unwrap();
    let peer = speaks(&place, Some(&pair)).await.unwrap();
    let scopes = vec![Scope::Read];
    assert_eq!(peer.identity.unwrap().holder, Holder::Operator { name: "alice".into(), scopes });
    authority.rotate(now_ms()).unwrap();
    assert!(speaks(&place, Some(&pair)).await.is_some(), "the old authority is trusted for a while");
}

#[tokio::test]
async fn certificates_of_others_ended_ones_and_servers_are_refused() {
    let place = Place::with_authority("");
    let authority = place.orchestrator.access.authority.as_ref().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = Authority::init(folder.path(), Duration::from_secs(86_400), now_ms()).unwrap();
    let foreign = other.issue_operator("alice", &[Scope::Admin], now_ms()).unwrap();
    assert!(speaks(&place, Some(&foreign)).await.is_none());
    let ended = authority.issue_operator("alice", &[Scope::Admin], now_ms() - 40 * 86_400_000).unwrap();
    assert!(speaks(&place, Some(&ended)).await.is_none());
    let server = authority.issue_server(&["localhost".into()], now_ms()).unwrap();
    assert!(speaks(&place, Some(&server)).await.is_none());
    assert!(place.orchestrator.access.counters.get(Counter::HandshakesFailed) >= 3);
}

#[tokio::test]
async fn plaintext_is_spoken_only_where_loopback_is_open() {
    let closed = Place::with_authority("");
    let (address, _tls, mut connections) = listener(&closed).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    drop(client);
    assert!(tokio::time::timeout(Duration::from_millis(50), connections.next()).await.is_err());

    let without = Place::new("");
    assert!(Listener::bind(&without.orchestrator, Face::Rest, None).await.is_err());

    let open = Place::new("[access]\nloopback_open = true\n");
    let listener = Listener::bind(&open.orchestrator, Face::Grpc, None).await.unwrap();
    let address = listener.address().unwrap();
    let mut connections = listener.connections();
    let _client = TcpStream::connect(address).await.unwrap();
    let connection = tokio::time::timeout(PATIENCE, connections.next()).await.unwrap().unwrap().unwrap();
    assert!(connection.peer().is_open_loopback);
}

#[tokio::test]
async fn one_address_has_a_quarter_of_the_places() {
    let place = Place::new("[access]\nloopback_open = true\n[api]\nconnections_max = 16\n");
    let listener = Listener::bind(&place.orchestrator, Face::Rest, None).await.unwrap();
    let address = listener.address().unwrap();
    let mut connections = listener.connections();
    let mut held = Vec::new();
    for _ in 0..4 {
        let client = TcpStream::connect(address).await.unwrap();
        let served = tokio::time::timeout(PATIENCE, connections.next()).await.unwrap().unwrap().unwrap();
        held.push((client, served));
    }
    let mut fifth = TcpStream::connect(address).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, fifth.read_u8()).await.unwrap();
    assert!(ended.is_err());
    assert_eq!(place.orchestrator.access.counters.get(Counter::ConnectionsRefused), 1);
    held.pop();
    let _sixth = TcpStream::connect(address).await.unwrap();
    tokio::time::timeout(PATIENCE, connections.next()).await.unwrap().unwrap().unwrap();
}
