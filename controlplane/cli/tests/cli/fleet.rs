//! The fleet as a whole and `explain` by the built program.

use secbeat_proto::v1::explain_response::Finding;
use secbeat_proto::v1::*;

use crate::server::Server;

#[test]
fn statistics_are_for_people_and_programs() {
    let server = Server::start();
    server.on("get_fleet_stats", |_: GetFleetStatsRequest| {
        Ok(FleetStats {
            nodes_total: 3,
            nodes_active: 2,
            nodes_dead: 1,
            policy_revision: 9,
            ..FleetStats::default()
        })
    });
    server.run(&["fleet", "stats"]).ends(0).says("3: 2 active").says("revision 9");
    assert_eq!(server.run(&["fleet", "stats", "-o", "json"]).ends(0).json()["nodes_dead"], 1);
}

#[test]
fn scaling_takes_a_number_or_a_difference_and_tells_what_the_receiver_said() {
    let server = Server::start();
    server.on("scale", |request: ScaleRequest| {
        let status = if request.delta == -1 { 500 } else { 202 };
        Ok(ScaleResponse {
            nodes_now: 3,
            nodes_wanted: 5,
            status,
            message: "no".into(),
            ..Default::default()
        })
    });
    server.run(&["fleet", "scale", "5"]).ends(0).says("3 nodes now, 5 wanted");
    server.run(&["fleet", "scale", "+2", "--node", "n1"]).ends(0);
    server.run(&["fleet", "scale", "-1"]).ends(9).warns("the webhook answered 500: no");
    server.run(&["fleet", "scale", "0"]).ends(2);
    let seen: Vec<ScaleRequest> = server.seen("scale");
    assert_eq!(seen.iter().map(|r| (r.nodes, r.delta)).collect::<Vec<_>>(), [(5, 0), (0, 2), (0, -1)]);
    assert_eq!(seen[1].node_id, "n1");
}

#[test]
fn cleaning_up_says_what_went() {
    let server = Server::start();
    server.on("cleanup", |request: CleanupRequest| {
        assert_eq!(request.dead_for_ms, 3_600_000);
        Ok(CleanupResponse { nodes_removed: 1, events_removed: 20, ..Default::default() })
    });
    server.run(&["fleet", "cleanup", "--dead-for", "1h"]).ends(0).says("1 nodes, 20 events");
}

#[test]
fn an_address_is_explained() {
    let server = Server::start();
    server.on("explain", |request: ExplainRequest| {
        let finding = Finding {
            what: "ban".into(),
            name: "203.0.113.0/24".into(),
            effect: "drop".into(),
            hits: 77,
            ..Finding::default()
        };
        let event = Event { id: 5, class: "attack".into(), name: "x".into(), ..Event::default() };
        Ok(ExplainResponse {
            target: request.target,
            summary: "banned".into(),
            findings: vec![finding],
            events: vec![event],
        })
    });
    server.run(&["explain", "203.0.113.7"]).ends(0).says("203.0.113.7: banned").says("77").says("attack/x");
    let value = server.run(&["explain", "203.0.113.0/24", "-o", "json"]).ends(0).json();
    assert_eq!((&value["target"], &value["findings"][0]["hits"]), (&"203.0.113.0/24".into(), &77.into()));
    server.run(&["explain", "nobody"]).ends(2);
}
