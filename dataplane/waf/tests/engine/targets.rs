//! What rules look at: members, counts, exclusions, selectors, single variables.
use crate::world::{Exchange, FORM, get, post, world};

#[test]
fn members_are_selected_in_any_case_and_by_expression() {
    let mut world = world(
        r#"
SecRule ARGS:Key "@streq v" "id:1,phase:1,pass,log"
SecRule ARGS:/^ID_\d/ "@streq v" "id:2,phase:1,pass,log"
SecRule REQUEST_HEADERS:x-probe "@streq v" "id:3,phase:1,pass,log"
SecRule ARGS_NAMES "@streq Key" "id:4,phase:1,pass,log"
SecRule REQUEST_COOKIES:sid "@streq 9" "id:5,phase:1,pass,log"
SecRule REQUEST_COOKIES_NAMES "@streq sid" "id:6,phase:1,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&get("/?key=v")), [1]);
    assert_eq!(world.matches_of(&get("/?Key=w")), [4]);
    assert_eq!(world.matches_of(&get("/?id_7=v")), [2]);
    assert_eq!(world.matches_of(&get("/?xid_7=v")), [0_u64; 0]);
    assert_eq!(world.matches_of(&Exchange { fields: &[("X-PROBE", "v")], ..get("/") }), [3]);
    assert_eq!(world.matches_of(&Exchange { fields: &[("Cookie", "a=1; sid=9")], ..get("/") }), [5, 6]);
}

#[test]
fn what_is_excluded_is_not_seen() {
    let mut world = world(
        r#"
SecRule ARGS|!ARGS:a "@contains x" "id:1,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}'"
SecRule ARGS|!ARGS:/^a/ "@contains x" "id:2,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}'"
SecRule REQUEST_HEADERS|!REQUEST_HEADERS:Host "@contains x" "id:3,phase:1,pass,log"
SecRule ARGS|!ARGS "@contains x" "id:4,phase:1,pass,log"
SecRule ARGS_NAMES|!ARGS_NAMES:a "@rx ." "id:5,phase:1,pass,log"
"#,
    );
    let with_host = |target| Exchange { fields: &[("Host", "x")], ..get(target) };
    assert_eq!(world.matches_of(&with_host("/?a=x")), [0_u64; 0]);
    assert_eq!(world.messages_of(&with_host("/?a=x&ab=x")), ["ARGS:ab", ""]);
    assert_eq!(world.messages_of(&with_host("/?a=x&ab=x&c=x")), ["ARGS:c", "ARGS:c", ""]);
}

#[test]
fn counts_are_of_what_is_left() {
    let mut world = world(
        r#"
SecRule &ARGS "@eq 3" "id:1,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule &ARGS:a "@eq 2" "id:2,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule &ARGS:/^[ab]$/ "@eq 3" "id:3,phase:1,pass,log"
SecRule &REQUEST_HEADERS:Cookie "@eq 0" "id:4,phase:1,pass,log"
SecRule &ARGS_GET_NAMES "@gt 2" "id:5,phase:1,pass,log"
SecRule &TX:none "@eq 0" "id:6,phase:1,pass,log"
SecRule &TX:none "!@eq 0" "id:7,phase:1,pass,log"
SecRule &MULTIPART_NAME "@eq 0" "id:8,phase:1,pass,log"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=1&a=2&b=3"))[..2], ["&ARGS 3", "&ARGS:a 2"]);
    assert_eq!(world.matched(), [1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(world.matches_of(&Exchange { fields: &[("Cookie", "a=1")], ..get("/?a=1") }), [6, 8]);
}

#[test]
fn the_parts_of_a_target() {
    let mut world = world(
        r#"SecAction "id:1,phase:1,pass,log,msg:'%{REQUEST_URI}|%{REQUEST_URI_RAW}|%{REQUEST_FILENAME}|%{REQUEST_BASENAME}|%{QUERY_STRING}|%{REQUEST_LINE}'""#,
    );
    for (target, parts) in [
        ("/a/b%20c?d=%20", "/a/b%20c?d=%20|/a/b%20c?d=%20|/a/b c|b c|d=%20|GET /a/b%20c?d=%20 HTTP/1.1"),
        ("/", "/|/|/|||GET / HTTP/1.1"),
        ("http://h.example/x?y", "/x?y|http://h.example/x?y|/x|x|y|GET http://h.example/x?y HTTP/1.1"),
        ("/a?b?c", "/a?b?c|/a?b?c|/a|a|b?c|GET /a?b?c HTTP/1.1"),
        ("/%zz%4", "/%zz%4|/%zz%4|/%zz%4|%zz%4||GET /%zz%4 HTTP/1.1"),
        ("*", "*|*|*|*||GET * HTTP/1.1"),
    ] {
        assert_eq!(world.messages_of(&get(target)), [parts], "{target}");
    }
}

#[test]
fn heads_and_peers() {
    let mut world = world(
        r#"SecAction "id:1,phase:1,pass,log,msg:'%{REMOTE_ADDR} %{REMOTE_PORT} %{SERVER_ADDR} %{SERVER_PORT} %{SERVER_NAME} %{AUTH_TYPE} %{REQUEST_PROTOCOL}'""#,
    );
    let fields = &[("Host", "[2001:db8::1]:8443"), ("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")];
    let told = world.messages_of(&Exchange { fields, ..get("/") });
    assert_eq!(told, ["192.0.2.7 40000 198.51.100.1 443 [2001:db8::1] Basic HTTP/1.1"]);
}

#[test]
fn forms_files_and_their_sizes() {
    let mut world = world(
        r#"
SecAction "id:1,phase:2,pass,log,msg:'%{ARGS_COMBINED_SIZE} %{FILES_COMBINED_SIZE} %{REQUEST_BODY_LENGTH}'"
SecRule FILES "@rx ." "id:2,phase:2,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule FILES_NAMES "@rx ." "id:3,phase:2,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule FILES_SIZES "@rx ." "id:4,phase:2,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule MULTIPART_PART_HEADERS:up "@contains form-data" "id:5,phase:2,pass,log,msg:headers"
SecRule ARGS_POST "@rx ." "id:6,phase:2,pass,log,msg:'%{MATCHED_VAR_NAME} %{MATCHED_VAR}'"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:7,phase:2,pass,log,msg:strict"
"#,
    );
    let body = "--q\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nxyz\r\n--q\r\n\
        Content-Disposition: form-data; name=\"up\"; filename=\"f.txt\"\r\n\r\n12345\r\n--q--\r\n";
    let fields = &[("Host", "h"), ("Content-Type", "multipart/form-data; boundary=q")];
    let told = world.messages_of(&Exchange { fields, ..post(body) });
    let length = format!("4 5 {}", body.len());
    assert_eq!(
        told,
        [&length, "FILES:up f.txt", "FILES_NAMES:up up", "FILES_SIZES:up 5", "headers", "ARGS_POST:a xyz"]
    );
    let told = world.messages_of(&Exchange { fields: FORM, ..post("a=xyz&b=%zz") });
    assert_eq!(told, ["8 0 11", "ARGS_POST:b %zz"]);
}

#[test]
fn the_whole_request_as_one_text() {
    let mut world = world(
        r#"
SecRule FULL_REQUEST "@rx ^POST /form HTTP/1.1\n[\s\S]*a=1$" "id:1,phase:2,pass,log"
SecRule FULL_REQUEST_LENGTH "@gt 20" "id:2,phase:2,pass,log"
SecRule FULL_REQUEST "@contains a=1" "id:3,phase:1,pass,log"
SecRule FULL_REQUEST "@contains POST" "id:4,phase:1,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&post("a=1")), [4, 1, 2]);
}

#[test]
fn addresses_are_told_in_their_shortest_form() {
    use secbeat_waf::transaction::Connection;
    let mut world = world("SecAction \"id:1,phase:1,pass,log,msg:'%{REMOTE_ADDR} %{SERVER_ADDR}'\"");
    for (client, server, told) in [
        ("2001:db8:0:0:0:0:0:1", "::ffff:192.0.2.1", "2001:db8::1 192.0.2.1"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::"),
    ] {
        let connection = Connection {
            client: client.parse().unwrap(),
            client_port: 1,
            server: server.parse().unwrap(),
            server_port: 65_535,
        };
        world.evaluator.begin(&mut world.tx, None, &connection, b"id", 1, 1);
        assert_eq!(crate::world::head(&mut world.evaluator, &mut world.tx, &get("/")), None);
        assert_eq!(world.told(), [format!("{told}|||")]);
    }
}
