use super::*;
use crate::api::tests::Place;

fn caller(scope: Scope) -> Caller {
    Caller { name: "alice".into(), source: "rest 127.0.0.1:1".into(), scopes: vec![scope] }
}

#[tokio::test]
async fn the_administrator_makes_lists_and_revokes_tokens() {
    let place = Place::new("");
    let (o, admin) = (&place.orchestrator, caller(Scope::Admin));
    let request =
        v1::CreateTokenRequest { name: "ci".into(), scopes: vec!["read".into()], ..Default::default() };
    let made = create_token(o, &admin, request.clone()).await.unwrap();
    let info = made.info.unwrap();
    assert_eq!((info.name.as_str(), info.created_by.as_str()), ("ci", "alice"));
    assert!(o.access.tokens.find(&made.token, now_ms()).is_some());
    let again = create_token(o, &admin, request).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
    let request = v1::RevokeTokenRequest { token_id: info.token_id.clone(), ..Default::default() };
    assert!(revoke_token(o, &admin, request).await.unwrap().info.unwrap().is_revoked);
    assert!(o.access.tokens.find(&made.token, now_ms()).is_none());
    let listed = list_tokens(o, &admin, v1::ListTokensRequest {}).await.unwrap().tokens;
    assert!(listed.iter().any(|token| token.token_id == info.token_id && token.is_revoked));
}

#[tokio::test]
async fn nobody_else_sees_or_changes_tokens() {
    let place = Place::new("");
    let o = &place.orchestrator;
    for scope in [Scope::Read, Scope::PolicyWrite, Scope::AuditRead, Scope::Join, Scope::Node] {
        let who = caller(scope);
        assert!(create_token(o, &who, v1::CreateTokenRequest::default()).await.is_err());
        assert!(list_tokens(o, &who, v1::ListTokensRequest {}).await.is_err());
        assert!(revoke_token(o, &who, v1::RevokeTokenRequest::default()).await.is_err());
    }
}
