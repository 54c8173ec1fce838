use std::os::unix::fs::PermissionsExt as _;

use rcgen::PKCS_RSA_SHA256;

use super::*;
use crate::access::identity::{Holder, Identity};

const DAY: u64 = 86_400_000;
const NOW: u64 = 1_800_000_000_000;
const LIFE: Duration = Duration::from_secs(30 * 86_400);

fn request(name: &str, key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.serialize_request(key).unwrap().der().to_vec()
}

fn leaf(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()
}

#[test]
fn the_key_is_readable_by_its_owner_only_and_there_is_one_authority() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Authority::open(folder.path(), LIFE).unwrap().is_none());
    Authority::init(folder.path(), LIFE, NOW).unwrap();
    let mode =
        |name: &str| fs::metadata(folder.path().join("ca").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("0001.key")), (0o700, 0o600));
    let error = Authority::init(folder.path(), LIFE, NOW).unwrap_err();
    assert!(error.to_string().contains("rotate"), "{error}");
    fs::remove_file(folder.path().join("ca/0001.key")).unwrap();
    assert!(matches!(Authority::open(folder.path(), LIFE), Err(AuthorityError::KeyMissing(_))));
}

#[test]
fn certificates_say_who_holds_them_and_until_when() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), LIFE, NOW).unwrap();
    let pair = authority.issue_operator("alice", &[Scope::BanWrite, Scope::Read], NOW).unwrap();
    let identity = Identity::read(&leaf(&pair.issued)).unwrap();
    let scopes = vec![Scope::BanWrite, Scope::Read];
    assert_eq!(identity.holder, Holder::Operator { name: "alice".into(), scopes });
    assert_eq!(identity.serial, pair.issued.serial);
    assert_eq!(identity.not_after_ms, NOW + 30 * DAY);

    let id = Uuid::new_v4();
    let key = KeyPair::generate().unwrap();
    let issued = authority.issue_node(id, &request(&id.to_string(), &key), NOW).unwrap();
    assert_eq!(Identity::read(&leaf(&issued)).unwrap().holder, Holder::Node(id));
    assert_eq!(issued.not_after_ms, NOW + 30 * DAY);

    let server = authority.issue_server(&["cp.example".into(), "192.0.2.1".into()], NOW).unwrap();
    let names = crate::access::identity::names_of_pem(&server.issued.chain_pem).unwrap();
    assert_eq!(names, ["cp.example", "192.0.2.1"]);
    assert!(Identity::read(&leaf(&server.issued)).is_err(), "a server is nobody who asks");
}

#[test]
fn a_certificate_of_an_operator_never_makes_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), LIFE, NOW).unwrap();
    for scopes in [&[][..], &[Scope::Node], &[Scope::Join, Scope::Read]] {
        assert!(authority.issue_operator("alice", scopes, NOW).is_err(), "{scopes:?}");
    }
    for name in ["", "node", "loopback", "internal", "node 5", "a/b", &"x".repeat(64)] {
        assert!(authority.issue_operator(name, &[Scope::Read], NOW).is_err(), "{name:?}");
    }
}

#[test]
fn a_request_must_be_signed_small_of_the_same_node_and_of_a_usual_key() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), LIFE, NOW).unwrap();
    let id = Uuid::new_v4();
    let key = KeyPair::generate().unwrap();
    let good = request(&id.to_string(), &key);
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let long = vec![0x30; REQUEST_BYTES_MAX + 1];
    let other = request(&Uuid::new_v4().to_string(), &key);
    let unusual = request(&id.to_string(), &rsa);
    for (bad, why) in [
        (&forged, "ignature"),
        (&long, "bytes"),
        (&other, "common name"),
        (&unusual, "ECDSA"),
        (&vec![], "arse"),
    ] {
        let error = authority.issue_node(id, bad, NOW).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    assert!(authority.issue_node(id, &good, NOW).is_ok());
}

#[test]
fn after_a_rotation_the_old_authority_stays_trusted_until_all_it_signed_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), LIFE, NOW).unwrap();
    let first = authority.bundle(NOW);
    let later = NOW + 100 * DAY;
    authority.rotate(later).unwrap();
    let both = authority.bundle(later);
    assert_eq!(both.len(), 2);
    assert_eq!(both[1], first[0]);
    assert!(!folder.path().join("ca/0001.key").exists(), "the old key signs nothing more");
    assert!(
        authority
            .issue_operator("a", &[Scope::Read], later)
            .unwrap()
            .issued
            .chain_pem
            .contains(authority.bundle_pem(later + 40 * DAY).trim())
    );
    let reopened = Authority::open(folder.path(), LIFE).unwrap().unwrap();
    assert_eq!(reopened.bundle(later), both);
    reopened.rotate(later).unwrap();
    authority.reload().unwrap();
    let all = authority.bundle(later);
    assert_eq!(all, reopened.bundle(later), "another process rotated");
    let both = all[..1].to_vec();
    assert_eq!(authority.bundle(later + 32 * DAY), both);
    authority.rotate(later + 32 * DAY).unwrap();
    assert!(!folder.path().join("ca/0001.crt").exists(), "what is trusted no more is removed");
    assert_eq!(authority.bundle(later + 32 * DAY).len(), 2);
}
