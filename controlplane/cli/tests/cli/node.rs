//! Nodes and orders to them by the built program.

use secbeat_proto::v1::*;

use crate::server::Server;

fn node(id: &str, state: NodeState) -> NodeInfo {
    NodeInfo {
        node_id: format!("{id}-7f1b-4d3a-9a55-000000000001"),
        hostname: "edge\u{202e}1".into(),
        state: state as i32,
        is_connected: true,
        is_in_sync: true,
        applied_revision: 12,
        applied_hash: vec![0xab; 32],
        load: Some(NodeLoad { packets_per_second: 1_250_000.0, ..NodeLoad::default() }),
        ..NodeInfo::default()
    }
}

#[test]
fn nodes_are_listed_in_every_format() {
    let server = Server::start();
    server.on("list_nodes", |request: ListNodesRequest| {
        assert_eq!(request.states, [NodeState::Active as i32]);
        Ok(ListNodesResponse { nodes: vec![node("aaaaaaaa", NodeState::Active)], ..Default::default() })
    });
    let run = |format| server.run(&["node", "list", "--state", "active", "-o", format]).ends(0);
    let table = run("table").says("in sync @12").says("1.2M").says("edge\\u202e1");
    assert!(table.out.starts_with("NODE"), "{}", table.out);
    assert!(!table.out.contains('\x1b') && !table.out.contains('\u{202e}'));
    run("wide").says("aaaaaaaa-7f1b-4d3a-9a55-000000000001").says("SKEW");
    assert_eq!(run("name").out, "aaaaaaaa-7f1b-4d3a-9a55-000000000001\n");
    let value = run("json").json();
    assert_eq!(value[0]["state"], "active");
    assert_eq!(value[0]["applied_hash"], "ab".repeat(32));
    assert_eq!(value[0]["load"]["packets_per_second"], 1_250_000.0);
    assert_eq!(run("jsonl").out.lines().count(), 1);
    run("yaml").says("state: active");
}

#[test]
fn colours_come_only_when_asked_for() {
    let server = Server::start();
    server.on("list_nodes", |_: ListNodesRequest| {
        Ok(ListNodesResponse { nodes: vec![node("aaaaaaaa", NodeState::Dead)], ..Default::default() })
    });
    assert!(!server.run(&["node", "list"]).ends(0).out.contains('\x1b'));
    server.run(&["node", "list", "--color", "always"]).ends(0).says("\x1b[");
}

#[test]
fn one_node_is_shown_with_what_it_holds() {
    let server = Server::start();
    server.on("get_node", |request: GetNodeRequest| {
        assert_eq!(request.node_id, "edge-1");
        let result = ResourceResult {
            key: Some(ResourceKey { kind: ResourceKind::FilterSet as i32, name: "edge".into() }),
            state: ResourceState::Rejected as i32,
            error: "rules[3].port: 70000 is more than 65535".into(),
            ..Default::default()
        };
        let sample = Sample { name: "secbeat_packets_total".into(), value: 5.0 };
        let info = Some(node("aaaaaaaa", NodeState::Active));
        Ok(NodeDetail { info, resources: vec![result], samples: vec![sample] })
    });
    let ran = server
        .run(&["node", "show", "edge-1"])
        .ends(0)
        .says("filter-set/edge")
        .says("rejected")
        .says("70000");
    assert!(!ran.out.contains("secbeat_packets_total"));
    server.run(&["node", "show", "edge-1", "--metrics"]).ends(0).says("secbeat_packets_total");
    let value = server.run(&["node", "show", "edge-1", "-o", "json"]).ends(0).json();
    assert_eq!(value["resources"][0]["state"], "rejected");
}

#[test]
fn orders_go_to_the_named_nodes_and_refusals_are_partial() {
    let server = Server::start();
    server.on("order_nodes", |request: OrderNodesRequest| {
        let result = |id: &String| OrderResult {
            node_id: id.clone(),
            is_ok: id == "a",
            message: if id == "a" { String::new() } else { "no answer".into() },
        };
        Ok(OrderNodesResponse { results: request.node_ids.iter().map(result).collect() })
    });
    server.run(&["node", "drain", "a", "--stop", "--reason", "disk"]).ends(0).says("ok");
    server.run(&["node", "restart", "a", "b", "--now"]).ends(7).warns("b: no answer");
    server.run(&["node", "reload", "a", "--no-wait", "-o", "name"]).ends(0).says("a");
    let seen: Vec<OrderNodesRequest> = server.seen("order_nodes");
    let kinds: Vec<_> = seen.iter().map(|request| request.command.unwrap().kind.unwrap()).collect();
    assert_eq!(
        kinds,
        [
            command::Kind::Drain(command::Drain { stop: true }),
            command::Kind::Restart(command::Restart { now: true }),
            command::Kind::Reload(command::Reload {}),
        ]
    );
    assert_eq!(seen.iter().map(|request| request.wait_ms).collect::<Vec<_>>(), [10_000, 10_000, 0]);
    assert_eq!(seen[0].mutation.as_ref().unwrap().reason, "disk");
}

#[test]
fn a_watch_writes_every_change_and_says_when_it_is_over() {
    let server = Server::start();
    server.on_stream("watch_nodes", false, |_: WatchNodesRequest| {
        let event = |kind, lost| NodeEvent { kind: Some(kind), lost };
        Ok(vec![
            event(node_event::Kind::Node(node("aaaaaaaa", NodeState::Active)), 0),
            event(node_event::Kind::Bookmark(true), 0),
            event(node_event::Kind::RemovedNodeId("bbbbbbbb".into()), 4),
        ])
    });
    let ran = server.run(&["node", "watch", "-o", "jsonl"]).ends(6).warns("4 changes were lost");
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("\"is_removed\":true"));
}
