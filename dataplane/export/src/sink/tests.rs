//! Real files, sockets and TLS on the loopback address.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::time::SystemTime;

use secbeat_config::export::Severity;

use crate::readback::{export, origin};
use crate::{Exports, Kind, Record, SinkStatus};

use super::*;

/// How long anything may take that needs another thread.
const PATIENCE: Duration = Duration::from_secs(20);

fn record(number: usize) -> Record {
    let mut record = Record::new(SystemTime::now(), Severity::Warning, Kind::Request, "request_refused");
    record.add_detail("number", &number.to_string());
    record
}

fn exports(keys: &str) -> Exports {
    let exports = Exports::new(origin());
    exports.apply(&[export(keys)]).unwrap();
    exports
}

fn wait_for(exports: &Exports, what: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = exports.status().remove(0);
        if what(&status) {
            return status;
        }
        assert!(Instant::now() < until, "{status:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn lost(status: &SinkStatus, reason: &str) -> u64 {
    status.lost.iter().find(|(word, _)| *word == reason).map_or(0, |(_, count)| *count)
}

fn numbers(text: &str) -> Vec<usize> {
    let number = |line: &str| line.split("\"number\":\"").nth(1)?.split('"').next()?.parse().ok();
    text.lines().filter_map(number).collect()
}

#[test]
fn file_is_appended_rotated_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let keys = format!(
        "format = \"json\"\ntarget = \"file://{}\"\nmax_file_bytes = 1000\nfsync = \"always\"",
        path.display()
    );
    let exports = exports(&keys);
    (0..10).for_each(|number| exports.submit(record(number)));
    let status = wait_for(&exports, |status| status.sent + lost(status, "file_full") == 10);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.len() <= 1_000 && status.sent >= 2);
    assert_eq!(numbers(&text), (0..status.sent as usize).collect::<Vec<_>>());
    std::fs::rename(&path, dir.path().join("events.json.1")).unwrap();
    exports.apply(&[export(&keys)]).unwrap();
    exports.submit(record(10));
    wait_for(&exports, |after| after.sent == status.sent + 1);
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    assert!(
        first.contains(&format!("\"count\":{}", 10 - status.sent)) && first.contains("records_lost"),
        "{first}"
    );
    assert_eq!(numbers(&text), [10]);
}

/// CPU time of this process's threads of that name, clock ticks.
fn ticks(thread_name: &str) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        if let Some((head, rest)) = stat.rsplit_once(") ")
            && head.ends_with(thread_name)
        {
            sum += rest.split(' ').skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    sum
}

#[test]
fn full_file_costs_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let keys = format!("format = \"json\"\ntarget = \"file://{}/a\"\nmax_file_bytes = 1", dir.path().display());
    let exports = Exports::new(origin());
    let full = secbeat_config::export::Export { name: "fullfile".to_owned(), ..export(&keys) };
    exports.apply(&[full]).unwrap();
    exports.submit(record(0));
    wait_for(&exports, |status| lost(status, "file_full") == 1);
    thread::sleep(Duration::from_millis(1_500));
    assert!(ticks("export-fullfile") < 20, "{} ticks", ticks("export-fullfile"));
}

#[test]
fn full_queue_loses_the_newest_or_the_oldest_and_tells() {
    for (when_full, expected) in
        [("drop_new", (0..16).collect::<Vec<_>>()), ("drop_old", (84..100).collect())]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let exports = exports(&format!(
            "format = \"json\"\ntarget = \"tcp://{address}\"\nqueue_records = 16\nwhen_full = \"{when_full}\""
        ));
        // The first waits in the batch of the sink, outside the queue, and has failed.
        exports.submit(record(1_000));
        wait_for(&exports, |status| status.failures > 0 && status.waiting == 0);
        (0..100).for_each(|number| exports.submit(record(number)));
        let first = exports.status().remove(0);
        assert!(first.waiting <= 16 && first.waiting_bytes < 16 * 1_000, "{first:?}");
        let listener = TcpListener::bind(address).unwrap();
        let mut lines = BufReader::new(listener.accept().unwrap().0).lines().map(Result::unwrap);
        let mut all: Vec<String> = Vec::new();
        while !all.iter().any(|line| line.contains("records_lost")) || numbers(&all.join("\n")).len() < 17 {
            all.push(lines.next().unwrap());
        }
        let told: u64 = all
            .iter()
            .filter(|line| line.contains("records_lost"))
            .map(|line| {
                line.split("\"count\":").nth(1).unwrap().split(',').next().unwrap().parse::<u64>().unwrap()
            })
            .sum();
        let status = wait_for(&exports, |status| status.sent + lost(status, "queue_full") == 101);
        assert_eq!(told, lost(&status, "queue_full"));
        let mut got = numbers(&all.join("\n"));
        got.retain(|number| *number != 1_000);
        // While the sink tried again it may have taken some of the queue into its batch.
        if when_full == "drop_new" {
            assert_eq!(got[..16], expected);
        } else {
            assert_eq!(got[got.len() - 16..], expected);
        }
        drop(lines);
    }
}

#[test]
fn receiver_that_stops_reading_blocks_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let exports = exports(&format!("format = \"json\"\ntarget = \"tcp://{address}\"\nqueue_records = 100"));
    exports.submit(record(0));
    let (stream, _) = listener.accept().unwrap();
    let begin = Instant::now();
    let mut long = record(1);
    (0..20).for_each(|key| long.add_detail(&format!("key{key}"), &"x".repeat(200)));
    // Some 40 MB, far beyond what two sockets hold.
    (0..10_000).for_each(|_| exports.submit(long.clone()));
    assert!(begin.elapsed() < Duration::from_secs(5));
    let status = exports.status().remove(0);
    assert!(lost(&status, "queue_full") > 0 && status.waiting <= 100);
    let begin = Instant::now();
    exports.stop(Duration::from_millis(500));
    assert!(begin.elapsed() < Duration::from_secs(3));
    drop(stream);
}

#[test]
fn streams_count_octets_and_come_back_after_the_receiver_was_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let exports = exports(&format!("target = \"tcp://{address}\""));
    let take = |listener: &TcpListener| {
        let mut stream = listener.accept().unwrap().0;
        let mut length = Vec::new();
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && byte != *b" " {
            length.push(byte[0]);
        }
        let mut message = vec![0; String::from_utf8(length).unwrap().parse().unwrap()];
        stream.read_exact(&mut message).unwrap();
        crate::readback::parse_syslog(core::str::from_utf8(&message).unwrap()).unwrap()
    };
    exports.submit(record(1));
    assert_eq!(take(&listener).data[1].1["number"], "1");
    // The stream is closed now; the next record goes into a new one.
    thread::sleep(Duration::from_millis(50));
    exports.submit(record(2));
    assert_eq!(take(&listener).data[1].1["number"], "2");
    let status = wait_for(&exports, |status| status.sent == 2);
    assert_eq!((status.opened, status.failures), (2, 1));
}

#[test]
fn datagrams_wait_for_a_port_that_is_closed() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    drop(receiver);
    let exports = exports(&format!("target = \"udp://{address}\""));
    exports.submit(record(7));
    let status = wait_for(&exports, |status| status.failures > 0);
    assert_eq!(status.sent, 0);
    let receiver = UdpSocket::bind(address).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut datagram = [0; 4_096];
    let length = receiver.recv(&mut datagram).unwrap();
    let message = crate::readback::parse_syslog(core::str::from_utf8(&datagram[..length]).unwrap()).unwrap();
    assert_eq!(message.data[1].1["number"], "7");
}

/// An authority, and a certificate for 127.0.0.1 by it, as files.
fn certificates(dir: &std::path::Path) -> (Vec<u8>, Vec<u8>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
    std::fs::write(dir.join("own.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("own.key"), own.serialize_pem()).unwrap();
    (certificate.der().to_vec(), own.serialize_der())
}

#[test]
fn tls_verifies_the_receiver_and_shows_its_own_certificate() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificates(dir.path());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.path().join("ca.pem")).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let keys = |name: &str| {
        format!(
            "format = \"json\"\ntarget = \"tls://{address}\"\nca_path = \"{}\"\ncert_path = \"{}\"\nkey_path = \"{}\"\n{name}",
            path("ca.pem"),
            path("own.pem"),
            path("own.key"),
        )
    };
    let good = exports(&keys(""));
    good.submit(record(3));
    let tls = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
    let mut reader = BufReader::new(rustls::StreamOwned::new(tls, listener.accept().unwrap().0));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(numbers(&line), [3]);
    good.stop(Duration::from_secs(1));
    // Another name than the certificate's.
    let wrong = exports(&keys("server_name = \"siem.example.org\""));
    wrong.submit(record(4));
    let tls = rustls::ServerConnection::new(server).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, listener.accept().unwrap().0);
    assert!(stream.read(&mut [0; 64]).is_err());
    assert_eq!(wait_for(&wrong, |status| status.failures > 0).sent, 0);
}

#[test]
fn mistakes_are_found_before_anything_changes() {
    let dir = tempfile::tempdir().unwrap();
    let good = export(&format!("target = \"file://{}/a\"", dir.path().display()));
    let exports = Exports::new(origin());
    exports.apply(std::slice::from_ref(&good)).unwrap();
    let missing =
        export(&format!("target = \"tls://a:6514\"\nca_path = \"{}/none.pem\"", dir.path().display()));
    let error = exports.apply(&[missing]).unwrap_err().to_string();
    assert!(error.contains("[[export]] \"test\"") && error.contains("none.pem"), "{error}");
    assert_eq!(exports.status()[0].target, good.target.to_string());
}

#[test]
fn kinds_and_severities_are_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let keys = "severity_min = \"warning\"\nkinds = [\"ban\"]";
    let exports = exports(&format!("target = \"file://{}/a\"\n{keys}", dir.path().display()));
    let submit = |severity, kind| exports.submit(Record::new(SystemTime::now(), severity, kind, "something"));
    submit(Severity::Warning, Kind::Request);
    submit(Severity::Notice, Kind::Ban);
    assert_eq!(exports.status()[0].queued, 0);
    submit(Severity::Error, Kind::Ban);
    assert_eq!(exports.status()[0].queued, 1);
}

#[test]
fn what_waits_is_sent_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let exports = exports(&format!("format = \"json\"\ntarget = \"file://{}\"", path.display()));
    (0..1_000).for_each(|number| exports.submit(record(number)));
    exports.stop(PATIENCE);
    assert_eq!(numbers(&std::fs::read_to_string(path).unwrap()).len(), 1_000);
}
