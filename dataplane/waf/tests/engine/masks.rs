//! What is hidden from logs, and what is taken out of requests.
use secbeat_waf::variable::Variable;

use crate::world::{Exchange, get, post, world, world_that_cleans};

#[test]
fn values_are_hidden_by_name_and_by_match() {
    let mut world = world(
        r#"
SecAction "id:1,phase:1,pass,nolog,sanitiseArg:Password,sanitiseRequestHeader:authorization,sanitiseResponseHeader:Set-Cookie"
SecRule ARGS:card "@verifyCC \d{13,16}" "id:2,phase:2,pass,log,sanitiseMatched"
"#,
    );
    world.run(&post("password=p&card=5484605089158216&other=o"));
    let tx = &world.tx;
    assert!(tx.is_masked(Variable::ArgsPost, b"password", b"p"));
    assert!(tx.is_masked(Variable::Args, b"PASSWORD", b"any"));
    assert!(!tx.is_masked(Variable::ArgsPost, b"other", b"o"));
    assert!(tx.is_masked(Variable::ArgsPost, b"card", b"5484605089158216"));
    assert!(!tx.is_masked(Variable::ArgsPost, b"card", b"5484605089158217"));
    assert!(tx.is_masked(Variable::RequestHeaders, b"Authorization", b"Basic x"));
    assert!(!tx.is_masked(Variable::ResponseHeaders, b"Authorization", b"Basic x"));
    assert!(tx.is_masked(Variable::ResponseHeaders, b"set-cookie", b"a=b"));
    world.run(&get("/"));
    assert!(
        !world.tx.is_masked(Variable::ArgsPost, b"card", b"5484605089158216"),
        "only for that transaction"
    );
}

#[test]
fn what_matched_is_taken_out_until_nothing_is_left_to_match() {
    let mut world = world_that_cleans(
        r#"
SecRule ARGS|REQUEST_COOKIES "@rx <script>" "id:1,phase:2,pass,log"
SecRule REQUEST_FILENAME "@rx evil" "id:2,phase:1,pass,log"
SecRule ARGS:big "@rx (?i)UNION" "id:3,phase:2,t:urlDecode,pass,log"
"#,
    );
    assert_eq!(world.run(&get("/?a=1")), None);
    assert!(!world.tx.is_sanitized());
    let exchange = Exchange { target: "/?a=x%3Cscr%3Cscript%3Eipt%3Ey&b=2", ..post("c=%3Cscript%3E1") };
    assert_eq!(world.run(&exchange), None);
    assert!(world.tx.is_sanitized());
    let cleaned = world.tx.cleaned(&world.set).unwrap();
    let shown: Vec<_> = cleaned
        .iter()
        .map(|change| {
            (change.variable, String::from_utf8_lossy(change.name), String::from_utf8_lossy(&change.after))
        })
        .collect();
    assert_eq!(
        shown,
        [(Variable::ArgsGet, "a".into(), "xy".into()), (Variable::ArgsPost, "c".into(), "1".into())]
    );
    world.run(&Exchange { fields: &[("Cookie", "k=<script>z")], ..get("/") });
    let cleaned = world.tx.cleaned(&world.set).unwrap();
    assert_eq!((cleaned[0].variable, cleaned[0].after.as_slice()), (Variable::RequestCookies, &b"z"[..]));
    // What was found in another form than it was sent in cannot be taken out of what was sent.
    world.run(&get("/?big=%2555nion"));
    assert!(world.tx.is_sanitized());
    assert!(world.tx.cleaned(&world.set).is_none());
    // Nor out of a path.
    world.run(&get("/evil"));
    assert!(world.tx.is_sanitized());
    assert!(world.tx.cleaned(&world.set).is_none());
}
