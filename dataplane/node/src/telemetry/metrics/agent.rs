//! Metrics of the agent: the connection with the orchestrator. Only a node in a fleet has them.

use super::Families;
use crate::agent::Link;
use crate::agent::link::Numbers;

/// Every metric of the agent.
pub(super) fn agent(list: &mut Families, link: &Link) {
    let status = link.status();
    let numbers = &link.numbers;
    let connected = if status.connected { 1.0 } else { 0.0 };
    list.gauge("secbeat_agent_connected", "1 while the stream with the orchestrator is open.", connected);
    list.gauge(
        "secbeat_agent_policy_revision",
        "Revision of the orchestrator's policy that was applied last.",
        status.revision as f64,
    );
    list.gauge(
        "secbeat_agent_resources_rejected",
        "Resources of the policy that are not in force because they do not fit this node.",
        status.rejected.len() as f64,
    );
    for (name, help, number) in [
        ("secbeat_agent_connections_total", "Streams opened with the orchestrator.", &numbers.connections),
        (
            "secbeat_agent_disconnections_total",
            "Streams that ended, and attempts to open one that failed.",
            &numbers.disconnections,
        ),
        (
            "secbeat_agent_events_sent_total",
            "Security events that the orchestrator acknowledged.",
            &numbers.events_sent,
        ),
        (
            "secbeat_agent_events_lost_total",
            "Security events lost because too many waited for the orchestrator.",
            &numbers.events_lost,
        ),
        (
            "secbeat_agent_deltas_applied_total",
            "Changes of policy that were taken in and acknowledged.",
            &numbers.deltas_applied,
        ),
        (
            "secbeat_agent_resources_refused_total",
            "Resources of changes that were refused.",
            &numbers.resources_refused,
        ),
        (
            "secbeat_agent_ban_merges_total",
            "Entries of the fleet's ban list that changed something here.",
            &numbers.ban_merges,
        ),
        (
            "secbeat_agent_messages_unknown_total",
            "Messages of kinds that this version does not know.",
            &numbers.messages_unknown,
        ),
        (
            "secbeat_agent_telemetry_skipped_total",
            "Reports of numbers left out because the connection was too slow.",
            &numbers.telemetry_skipped,
        ),
    ] {
        list.counter(name, help, Numbers::get(number));
    }
}
