use core::time::Duration;

use super::*;
use crate::api::tests::Place;

fn kept(place: &Place) -> String {
    files::read_text(&kept_path(&place.orchestrator.config)).unwrap()
}

#[tokio::test]
async fn without_certificate_and_authority_it_is_said_what_to_do() {
    let place = Place::new("");
    let error = format!("{:#}", Tls::open(&place.orchestrator).unwrap_err());
    assert!(
        error.contains("cert_path") && error.contains("ca init") && error.contains("loopback_open"),
        "{error}"
    );
}

#[tokio::test]
async fn the_authority_issues_a_certificate_which_is_kept_while_it_is_good() {
    let place = Place::with_authority("");
    let tls = Tls::open(&place.orchestrator).unwrap();
    let first = kept(&place);
    let names = identity::names_of_pem(&first).unwrap();
    assert!(names.contains(&"localhost".into()) && names.contains(&"127.0.0.1".into()), "{names:?}");
    tls.reload(&place.orchestrator).unwrap();
    assert_eq!(kept(&place), first);
    let authority = place.orchestrator.access.authority.as_ref().unwrap();
    let day = 86_400_000;
    read(&place.orchestrator.config, Some(authority), now_ms() + 21 * day).unwrap();
    assert_ne!(kept(&place), first, "after two thirds of its life there is a new one");
    let second = kept(&place);
    authority.rotate(now_ms()).unwrap();
    tls.reload(&place.orchestrator).unwrap();
    assert_ne!(kept(&place), second, "a new authority signs a new one");
    std::fs::write(kept_path(&place.orchestrator.config), "-----BEGIN nonsense").unwrap();
    tls.reload(&place.orchestrator).unwrap();
}

#[tokio::test]
async fn a_configured_certificate_is_read_again_and_a_bad_one_changes_nothing() {
    let other = tempfile::tempdir().unwrap();
    let authority = Authority::init(other.path(), Duration::from_secs(86_400), now_ms()).unwrap();
    let pair = authority.issue_server(&["cp.example".into()], now_ms()).unwrap();
    let (cert, key) = (other.path().join("a.crt"), other.path().join("a.key"));
    std::fs::write(&cert, &pair.issued.chain_pem).unwrap();
    std::fs::write(&key, &pair.key_pem).unwrap();
    let place = Place::new(&format!("[tls]\ncert_path = {cert:?}\nkey_path = {key:?}\n"));
    let tls = Tls::open(&place.orchestrator).unwrap();
    let before = tls.config(Face::Rest);
    std::fs::write(&key, authority.issue_server(&["x.example".into()], now_ms()).unwrap().key_pem).unwrap();
    assert!(tls.reload(&place.orchestrator).is_err(), "the key of another certificate");
    assert!(Arc::ptr_eq(&before, &tls.config(Face::Rest)));
    std::fs::write(&key, &pair.key_pem).unwrap();
    tls.reload(&place.orchestrator).unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.config(Face::Rest)));
}
