//! `top` by the built program, once and on a terminal; what keys do is tested in the program.

use secbeat_proto::v1::*;

use crate::server::{Server, Terminal};

fn server() -> Server {
    let server = Server::start();
    server.on("get_fleet_stats", |_: GetFleetStatsRequest| {
        Ok(FleetStats { nodes_total: 1, attacks_active: 2, ..FleetStats::default() })
    });
    server.on("list_nodes", |_: ListNodesRequest| {
        let node = NodeInfo { hostname: "edge-1".into(), ..NodeInfo::default() };
        Ok(ListNodesResponse { nodes: vec![node], ..Default::default() })
    });
    server.on("list_bans", |_: ListBansRequest| Ok(ListBansResponse::default()));
    server.on("list_threats", |_: ListThreatsRequest| Ok(ListThreatsResponse::default()));
    server.on("list_events", |_: ListEventsRequest| {
        let event = Event { id: 3, ..Event::default() };
        Ok(ListEventsResponse { events: vec![event], ..Default::default() })
    });
    server
}

#[test]
fn once_is_for_scripts() {
    let server = server();
    let value = server.run(&["top", "--once", "-o", "json"]).ends(0).json();
    assert_eq!(value["state"], "UNDER ATTACK");
    assert_eq!((&value["nodes"][0]["hostname"], &value["events"][0]["id"]), (&"edge-1".into(), &3.into()));
    assert_eq!(value["bans"], serde_json::json!([]));
    server.run(&["top", "--once"]).ends(0).says("UNDER ATTACK").says("edge-1").says("traffic");
    server.run(&["top"]).ends(2).warns("--once");
}

#[test]
fn the_screen_opens_and_q_gives_the_terminal_back() {
    let server = server();
    server.on_stream("watch_events", true, |_: WatchEventsRequest| Ok(Vec::<WatchEventsResponse>::new()));
    let mut terminal = Terminal::start(&server, &["top"]);
    terminal.wait_for("edge-1");
    terminal.types("q");
    terminal.ends(0).says("\x1b[?1049l");
}

#[test]
fn an_interrupt_gives_the_terminal_back_too() {
    let server = server();
    let mut terminal = Terminal::start(&server, &["top"]);
    terminal.wait_for("edge-1");
    terminal.types("\x03");
    terminal.ends(130).says("\x1b[?1049l");
}

#[test]
fn what_takes_away_is_asked_for_on_a_terminal_and_only_there() {
    let server = Server::start();
    server.on("cleanup", |_: CleanupRequest| Ok(CleanupResponse::default()));
    let seen = || server.seen::<CleanupRequest>("cleanup").len();
    for (answer, exit, calls) in [("n\r", 9, 0), ("y\r", 0, 1)] {
        let mut terminal = Terminal::start(&server, &["fleet", "cleanup"]);
        terminal.wait_for("[y/N]");
        terminal.types(answer);
        terminal.ends(exit);
        assert_eq!(seen(), calls);
    }
    Terminal::start(&server, &["fleet", "cleanup", "--yes"]).ends(0);
    server.run(&["fleet", "cleanup"]).ends(0);
    assert_eq!(seen(), 3);
}
