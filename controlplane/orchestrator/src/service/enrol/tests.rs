use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::*;
use crate::access::identity::end_ms_of_pem;
use crate::api::tests::Place;

fn request(node_id: &str) -> v1::EnrollRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let certificate_request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    v1::EnrollRequest { node_id: node_id.into(), certificate_request }
}

fn caller(name: &str, scope: Scope) -> Caller {
    Caller { name: name.into(), source: "grpc 127.0.0.1:1".into(), scopes: vec![scope] }
}

#[tokio::test]
async fn a_join_token_gives_one_node_its_certificate() {
    let place = Place::with_authority("");
    let o = &place.orchestrator;
    place.token("rack", &["join"]).await;
    let rack = caller("rack", Scope::Join);
    let id = Uuid::new_v4().to_string();
    let bad = v1::EnrollRequest { certificate_request: vec![1], ..request(&id) };
    assert!(matches!(enroll(o, &rack, bad).await, Err(Failure::Invalid(_))), "which costs no token");
    assert!(matches!(enroll(o, &rack, request("x")).await, Err(Failure::Invalid(_))));
    let good = request(&id);
    let answer = enroll(o, &rack, good.clone()).await.unwrap();
    assert_eq!(end_ms_of_pem(&answer.certificate_chain).unwrap(), answer.not_after_ms);
    assert!(answer.certificate_chain.ends_with(&answer.authority));
    enroll(o, &rack, good).await.unwrap();
    let got = enroll(o, &rack, request(&Uuid::new_v4().to_string())).await;
    assert!(matches!(got, Err(Failure::Denied(_))), "{got:?}");
}

#[tokio::test]
async fn a_join_token_does_not_make_one_node_out_of_another() {
    let place = Place::with_authority("");
    let o = &place.orchestrator;
    place.token("rack", &["join"]).await;
    place.token("thief", &["join"]).await;
    let (rack, thief) = (caller("rack", Scope::Join), caller("thief", Scope::Join));
    let id = Uuid::new_v4().to_string();
    enroll(o, &rack, request(&id)).await.unwrap();
    let got = enroll(o, &thief, request(&id)).await;
    assert!(matches!(got, Err(Failure::Refused(_))), "{got:?}");
    let reopened = crate::access::Enrolled::open(o.store.clone()).unwrap();
    let id_now = Uuid::parse_str(&id).unwrap();
    assert!(reopened.is_taken(id_now, "another", now_ms()), "it is kept");
    assert!(
        !reopened.is_taken(id_now, "another", now_ms() + 31 * 86_400_000),
        "until the certificate has ended"
    );
    // Whoever was refused has its token still, and an administrator may give the id away.
    enroll(o, &thief, request(&Uuid::new_v4().to_string())).await.unwrap();
    enroll(o, &caller("alice", Scope::Admin), request(&id)).await.unwrap();
    let node = caller(&format!("node {id}"), Scope::Node);
    let renewal = v1::RenewRequest { certificate_request: request(&id).certificate_request };
    renew(o, &node, renewal).await.unwrap();
}

#[tokio::test]
async fn only_a_join_token_enrols_and_only_a_node_renews() {
    let place = Place::with_authority("");
    let o = &place.orchestrator;
    let id = Uuid::new_v4().to_string();
    let certificate_request = request(&id).certificate_request;
    for scope in [Scope::Read, Scope::FleetWrite, Scope::Node] {
        assert!(matches!(enroll(o, &caller("x", scope), request(&id)).await, Err(Failure::Denied(_))));
    }
    enroll(o, &caller("alice", Scope::Admin), request(&id)).await.unwrap();
    for scope in [Scope::Read, Scope::Join, Scope::Admin] {
        let request = v1::RenewRequest { certificate_request: certificate_request.clone() };
        assert!(matches!(renew(o, &caller("x", scope), request).await, Err(Failure::Denied(_))));
    }
    let node = caller(&format!("node {id}"), Scope::Node);
    let answer =
        renew(o, &node, v1::RenewRequest { certificate_request: certificate_request.clone() }).await.unwrap();
    assert!(answer.not_after_ms > now_ms());
}

#[tokio::test]
async fn a_revoked_node_gets_no_certificate() {
    let place = Place::with_authority("");
    let o = &place.orchestrator;
    let id = Uuid::new_v4();
    o.access.revoked.add(&What::Node(id), "stolen", 1).await.unwrap();
    let admin = caller("alice", Scope::Admin);
    assert!(matches!(enroll(o, &admin, request(&id.to_string())).await, Err(Failure::Refused(_))));
    let node = caller(&format!("node {id}"), Scope::Node);
    let request = v1::RenewRequest { certificate_request: request(&id.to_string()).certificate_request };
    assert!(matches!(renew(o, &node, request).await, Err(Failure::Refused(_))));
}

#[tokio::test]
async fn without_an_authority_it_is_said_how_to_make_one() {
    let place = Place::new("");
    let got =
        enroll(&place.orchestrator, &caller("alice", Scope::Admin), request(&Uuid::new_v4().to_string()))
            .await;
    assert!(matches!(got, Err(Failure::Refused(why)) if why.contains("ca init")));
}
