use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use secbeat_config::Secret;

use super::*;

const SECRET: &str = "3f9c1b7a5d2e8f604c1b7a5d2e8f6042";

fn actions(url: &str) -> Actions {
    Actions {
        webhook_url: Some(url.into()),
        webhook_secret: Some(Secret::new(SECRET)),
        webhook_timeout: Duration::from_secs(10),
        webhook_retries: 2,
    }
}

/// Answers requests with these statuses in turn, and hands on what it got.
fn receiver(statuses: &'static [u16]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/scale", listener.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4_096];
            while !String::from_utf8_lossy(&text).ends_with("}") {
                let read = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..read]);
            }
            let body = "done";
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
            sender.send(String::from_utf8(text).unwrap()).unwrap();
        }
    });
    (url, received)
}

fn header<'t>(request: &'t str, name: &str) -> &'t str {
    let lines = request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    lines.unwrap_or_else(|| panic!("no {name} in {request}"))
}

#[tokio::test]
async fn an_order_is_signed_and_repeated_under_the_same_number() {
    let (url, received) = receiver(&[503, 200]);
    let delivery = Delivery::new(&actions(&url), r#"{"nodes":3}"#.into(), 1_700_000_000).unwrap();
    let said = deliver(delivery.clone(), 2).await.unwrap();
    assert_eq!(said, Said { status: 200, text: "done".into() });
    for _ in 0..2 {
        let request = received.recv().unwrap();
        assert_eq!(header(&request, "webhook-id"), delivery.id);
        assert_eq!(header(&request, "webhook-timestamp"), "1700000000");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let signature = sign(SECRET.as_bytes(), &delivery.id, "1700000000", body);
        assert_eq!(header(&request, "webhook-signature"), signature);
    }
}

#[test]
fn the_signature_is_that_of_other_implementations() {
    // echo -n 'id.1.{}' | openssl dgst -sha256 -hmac key
    let expected = "v1=e4f5663f601f246c27a7d7e557e7e5af37ee90d580f73c9476abc8f8841a955b";
    assert_eq!(sign(b"key", "id", "1", "{}"), expected);
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_silence_is_an_error_after_all_attempts() {
    let (url, received) = receiver(&[400]);
    let delivery = Delivery::new(&actions(&url), "{}".into(), 1).unwrap();
    assert!(matches!(deliver(delivery, 2).await, Err(Failure::Refused(why)) if why.contains("status 400")));
    assert_eq!(received.iter().count(), 1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let delivery = Delivery::new(&actions(&format!("http://{closed}/")), "{}".into(), 1).unwrap();
    assert!(
        matches!(deliver(delivery, 1).await, Err(Failure::Unavailable(why)) if why.contains("2 attempts"))
    );
}

#[test]
fn without_a_webhook_it_says_what_to_configure() {
    let actions = Actions { webhook_url: None, webhook_secret: None, ..actions("") };
    let refused = Delivery::new(&actions, "{}".into(), 1).unwrap_err();
    assert!(matches!(refused, Failure::Refused(why) if why.contains("webhook_url")));
}

#[test]
fn the_wanted_number_has_bounds() {
    let ask = |nodes, delta| v1::ScaleRequest { nodes, delta, ..v1::ScaleRequest::default() };
    assert_eq!(wanted(3, &ask(5, 0), 10).unwrap(), 5);
    assert_eq!(wanted(3, &ask(0, -1), 10).unwrap(), 2);
    for (nodes, delta) in [(0, 0), (5, 1), (11, 0), (0, -3), (0, 8)] {
        assert!(matches!(wanted(3, &ask(nodes, delta), 10), Err(Failure::Invalid(_))), "{nodes} {delta}");
    }
}
