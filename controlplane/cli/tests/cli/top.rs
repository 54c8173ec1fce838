//! `top --once` by the built program; the screen itself is tested in the program.

use secbeat_proto::v1::*;

use crate::server::Server;

#[test]
fn once_is_for_scripts() {
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
    let value = server.run(&["top", "--once", "-o", "json"]).ends(0).json();
    assert_eq!(value["state"], "UNDER ATTACK");
    assert_eq!((&value["nodes"][0]["hostname"], &value["events"][0]["id"]), (&"edge-1".into(), &3.into()));
    assert_eq!(value["bans"], serde_json::json!([]));
    server.run(&["top", "--once"]).ends(0).says("UNDER ATTACK").says("edge-1").says("traffic");
    server.run(&["top"]).ends(2).warns("--once");
}
