#!/usr/bin/env python3
"""Writes the Grafana dashboards beside it: node, fleet, attack.

    config/monitoring/grafana/dashboards.py           write dashboards/*.json
    config/monitoring/grafana/dashboards.py --check   exit 1 when a file is not what this writes

Owns: which panels there are, their queries, and where they stand. Does not own: rules (../rules) whose results some
panels show. The JSON files are committed, since that is what Grafana loads; whoever changes a panel changes this.
Order on every page: is it well, who is hit, by what, what does the node do about it, what limits it.
"""

import json
import pathlib
import sys

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RED, AMBER, GREEN, BLUE = "#c4162a", "#e0a800", "#2f7d4f", "#3274d9"
HERE = 'instance=~"$instance"'
PLACE = pathlib.Path(__file__).parent / "dashboards"


def target(number, query, legend, instant):
    """One query of a panel."""
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": query,
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
        "editorMode": "code",
    }


def panel(kind, title, queries, unit, about, width, height, instant=False):
    """What all panels share. queries: a query, or pairs of query and legend."""
    if isinstance(queries, str):
        queries = [(queries, "")]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "targets": [target(number, *pair, instant) for number, pair in enumerate(queries)],
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "gridPos": {"x": 0, "y": 0, "w": width, "h": height},
    }


def thresholds(bounds, first=GREEN):
    """Colours from a value on; words beside them say the same for those who see no colours."""
    steps = [{"color": first, "value": None}] + [{"color": color, "value": value} for value, color in bounds]
    return {"mode": "absolute", "steps": steps}


def stat(title, queries, unit="short", about="", bounds=(), words=None, width=4, first=GREEN):
    """One number now, coloured by bounds, with words for values where given."""
    made = panel("stat", title, queries, unit, about, width, 4, instant=True)
    defaults = made["fieldConfig"]["defaults"]
    defaults["thresholds"] = thresholds(bounds, first)
    defaults["color"] = {"mode": "thresholds"}
    if words:
        options = {value: {"text": text, "index": index} for index, (value, text) in enumerate(words.items())}
        defaults["mappings"] = [{"type": "value", "options": options}]
    made["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    return made


def graph(title, queries, unit="pps", about="", stacked=False, width=12, height=8, least=0):
    """A line over time, or areas on each other."""
    made = panel("timeseries", title, queries, unit, about, width, height)
    defaults = made["fieldConfig"]["defaults"]
    defaults["min"] = least
    defaults["custom"] = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    made["options"] = {
        "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def table(title, queries, about="", width=24, height=8, units=None, rename=None):
    """The newest value of several queries, joined by instance."""
    made = panel("table", title, [(query, "") for query, _ in queries], "short", about, width, height, instant=True)
    for each in made["targets"]:
        each["format"] = "table"
    names = {f"Value #{chr(ord('A') + number)}": name for number, (_, name) in enumerate(queries)}
    hidden = ["Time", "job", "site", "__name__"] + [f"Time {number}" for number in range(1, len(queries) + 1)]
    made["transformations"] = [
        {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {name: True for name in hidden},
                "renameByName": {**names, **(rename or {})},
            },
        },
    ]
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    for name, unit in (units or {}).items():
        made["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        )
    return made


def bars(title, query, legend, unit="short", about="", width=12, height=8):
    """The largest now, as bars."""
    made = panel("bargauge", title, [(query, legend)], unit, about, width, height, instant=True)
    made["fieldConfig"]["defaults"]["thresholds"] = thresholds((), BLUE)
    made["fieldConfig"]["defaults"]["color"] = {"mode": "thresholds"}
    made["fieldConfig"]["defaults"]["min"] = 0
    made["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 40,
    }
    return made


def row(title):
    """A heading."""
    place = {"x": 0, "y": 0, "w": 24, "h": 1}
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}


def rate(name, by="", match=HERE, window="$__rate_interval"):
    """Events per second, summed."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({name}{{{match}}}[{window}]))"


def visible(query):
    """Without what is nought: an attack shows five reasons out of fifty."""
    return f"{query} > 0"


STATE_WORDS = {"0": "STARTING", "1": "ACTIVE", "2": "DRAINING"}
OVERLOAD = "tx_full|no_frame|handover_full|backlog_full|flow_table_full|no_port|fragment_table_full|early_data_full"


def first_line():
    """Whether it is well: the same numbers on the node's and on the attack's page."""
    return [
        stat("Attacks now", f"sum(secbeat_attacks_active{{{HERE}}})", about="Attacks going on.", bounds=[(1, RED)]),
        stat(
            "Refused as attack",
            f"max(secbeat_threat_score{{{HERE}}})",
            "percent",
            "Share of offered packets refused as part of an attack; the worst node.",
            [(10, AMBER), (50, RED)],
        ),
        stat(
            "Lost to overload",
            rate("secbeat_drops_total", match=f'{HERE}, reason=~"{OVERLOAD}"', window="1m"),
            "pps",
            "Packets dropped because the node's tables or rings are full: honest clients are among them.",
            [(1, AMBER), (10, RED)],
        ),
        stat(
            "Server errors",
            f"max(instance:secbeat_server_errors:ratio_rate5m{{{HERE}}}) or vector(0)",
            "percentunit",
            "Share of requests that ended with 5xx in five minutes; the worst node.",
            [(0.01, AMBER), (0.05, RED)],
        ),
        stat(
            "Backends down",
            f"count(secbeat_backend_up{{{HERE}}} == 0) or vector(0)",
            about="Backends that take no connection.",
            bounds=[(1, RED)],
        ),
        stat(
            "Telemetry lost",
            f"sum(instance:secbeat_telemetry_lost:increase10m{{{HERE}}}) or vector(0)",
            about="Events and log lines lost in ten minutes. Above 0, figures about events are lower bounds.",
            bounds=[(1, AMBER)],
        ),
    ]


def offered():
    """What came and what became of it."""
    return [
        graph(
            "Packets: offered, dropped early, dropped by workers, sent",
            [
                (rate("secbeat_xdp_packets_total"), "offered to XDP"),
                (rate("secbeat_xdp_packets_total", match=f'{HERE}, reason=~"drop_.*"'), "dropped in XDP"),
                (rate("secbeat_packets_total", match=f'{HERE}, direction="in"'), "taken by workers"),
                (rate("secbeat_drops_total"), "dropped by workers"),
                (rate("secbeat_packets_total", match=f'{HERE}, direction="out"'), "sent"),
            ],
            about="On a node that runs on sockets the kernel has the packets, and only requests are counted.",
        ),
        graph(
            "Bandwidth",
            [(f'{rate("secbeat_bandwidth_bytes_total", "direction")} * 8', "{{direction}}")],
            "bps",
            "Compare with the link: a full link is lost before the node, and only the provider can help.",
        ),
    ]


def drops():
    """By reason: the names are those of events, logs and the command line."""
    return [
        graph(
            "Workers' drops by reason",
            [(visible(rate("secbeat_drops_total", "reason")), "{{reason}}")],
            about="docs/metrics.md explains each reason.",
            stacked=True,
        ),
        graph(
            "XDP program by reason",
            [(visible(rate("secbeat_xdp_packets_total", "reason")), "{{reason}}")],
            about="drop_*: gone at no cost for workers. pass_*: left to the kernel. worker*: handed to workers.",
            stacked=True,
        ),
    ]


def handshakes():
    """SYN floods and rushes of people look alike until somebody counts answers."""
    return [
        graph(
            "Handshakes",
            [
                (rate("secbeat_worker_syn_received_total"), "SYN received"),
                (rate("secbeat_worker_syn_ack_sent_total"), "SYN-ACK sent"),
                (rate("secbeat_syn_cookies_sent_total"), "of these with a cookie"),
                (rate("secbeat_syn_cookies_valid_total"), "valid cookies"),
                (rate("secbeat_worker_handshakes_completed_total"), "completed without a cookie"),
                (rate("secbeat_drops_total", match=f'{HERE}, reason="cookie_invalid"'), "invalid cookies"),
            ],
            about="Many SYN-ACKs and few completions: forged sources. Many of both: people.",
        ),
        graph(
            "Cookies answered",
            [(f"instance:secbeat_cookies_answered:ratio_rate1m{{{HERE}}}", "{{instance}}")],
            "percentunit",
            "Near 1: a rush of people. Near 0: a flood from forged sources.",
            width=6,
        ),
        graph(
            "Half-open, listeners on cookies",
            [
                (f"sum by (instance) (secbeat_worker_half_open{{{HERE}}})", "half-open {{instance}}"),
                (f"sum by (instance) (secbeat_worker_cookie_listeners{{{HERE}}})", "on cookies {{instance}}"),
            ],
            "short",
            "Listeners switch to cookies when too many connections are half open.",
            width=6,
        ),
    ]


def honest():
    """What visitors notice."""
    return [
        graph(
            "Requests by status",
            [(visible(rate("secbeat_requests_total", "status")), "{{status}}")],
            "reqps",
            "403: refused by rules, 429: over a limit, 499: the client went, 5xx: the server's side.",
            stacked=True,
        ),
        graph(
            "Response time",
            [
                (f"instance:secbeat_response_time_seconds:p50_5m{{{HERE}}}", "p50 {{instance}}"),
                (f"instance:secbeat_response_time_seconds:p99_5m{{{HERE}}}", "p99 {{instance}}"),
            ],
            "s",
            "From a request's head to the end of its response, over five minutes.",
        ),
        graph(
            "Connections opened, failed, refused",
            [
                (rate("secbeat_connections_total"), "opened"),
                (rate("secbeat_worker_connections_established_total"), "backend answered"),
                (rate("secbeat_worker_connections_failed_total"), "no backend answered"),
                (
                    rate("secbeat_drops_total", match=f'{HERE}, reason=~"connection_limit|connection_rate|draining"'),
                    "over a limit, or draining",
                ),
            ],
            "cps",
        ),
        graph(
            "Connections at once",
            [
                (f"sum by (instance) (secbeat_connections_active{{{HERE}}})", "{{instance}}"),
                (f"sum by (backend) (secbeat_backend_connections_active{{{HERE}}})", "to {{backend}}"),
            ],
            "short",
        ),
    ]


def web():
    """Refusals of requests, by what refused them."""
    return [
        graph(
            "Requests refused",
            [
                (rate("secbeat_requests_blocked_total"), "by inspection"),
                (visible(rate("secbeat_requests_limited_total", "limit")), "over limit {{limit}}"),
                (visible(rate("secbeat_request_errors_total", "error")), "malformed: {{error}}"),
                (visible(rate("secbeat_http2_violations_total", "violation")), "HTTP/2: {{violation}}"),
            ],
            "reqps",
            stacked=True,
        ),
        graph(
            "Clients too slow, by phase",
            [(visible(rate("secbeat_request_timeouts_total", "phase")), "{{phase}}")],
            "ops",
            "keep_alive is the ordinary end of an idle connection; request_head and request_body are slow clients.",
            stacked=True,
        ),
        bars(
            "Rules that matched most, in five minutes",
            f"topk(15, sum by (rule) (increase(secbeat_waf_rules_triggered_total{{{HERE}}}[5m])) > 0)",
            "{{rule}}",
            about="One rule far above all others after a release of the application: likely a false positive.",
        ),
        graph(
            "WAF: refused, would have refused, at a bound",
            [
                (rate("secbeat_waf_interrupted_total"), "refused"),
                (rate("secbeat_waf_detected_total"), "only looked, would have refused"),
                (rate("secbeat_waf_tarpitted_total"), "held back"),
                (visible(rate("secbeat_waf_limits_total", "limit")), "at bound {{limit}}"),
                (rate("secbeat_waf_held_full_total"), "no room to hold"),
            ],
            "reqps",
        ),
    ]


def attack_page():
    """The page for the worst day."""
    kinds = [
        graph(
            "Refused as attack, by type",
            [(visible(rate("secbeat_attacks_blocked_total", "type")), "{{type}}")],
            "ops",
            "Packets for floods, requests for what rules find.",
            stacked=True,
            width=16,
        ),
        bars(
            "Nodes hit most",
            f"topk(10, sum by (instance) (instance_type:secbeat_attacks_blocked:rate1m{{{HERE}}}))",
            "{{instance}}",
            "ops",
            "One node: its addresses are the target, or its path. All nodes: the service is.",
            width=8,
        ),
    ]
    bans = [
        graph(
            "Bans in force",
            [(f"sum by (instance) (secbeat_bans_active{{{HERE}}})", "{{instance}}")],
            "short",
            "Equal on all nodes of a fleet within seconds.",
        ),
        graph(
            "Bans set, ended, refused, pushed out",
            [
                (rate("secbeat_blocked_ips_total"), "set"),
                (rate("secbeat_bans_ended_total"), "ended"),
                (rate("secbeat_bans_refused_total"), "refused"),
                (rate("secbeat_bans_displaced_total"), "pushed out"),
                (rate("secbeat_drops_total", match=f'{HERE}, reason="blocklisted"'), "packets dropped by workers"),
            ],
            "ops",
        ),
    ]
    limits = [
        graph(
            "Lost to overload, by reason",
            [(visible(f"instance_reason:secbeat_overload_drops:rate1m{{{HERE}}}"), "{{instance}} {{reason}}")],
            about="The node's own limits. Anything here hits honest clients too.",
            stacked=True,
        ),
        graph("CPU time", [(f"secbeat_cpu_usage_percent{{{HERE}}}", "{{instance}}")], "percent", "100 is one core."),
    ]
    udp = [
        graph(
            "UDP and fragments",
            [
                (
                    visible(
                        rate("secbeat_drops_total", "reason", f'{HERE}, reason=~"udp_.*|fragment.*|icmp_unmatched"')
                    ),
                    "{{reason}}",
                ),
                (rate("secbeat_worker_reassembly_evicted_total"), "reassembly evicted"),
                (rate("secbeat_worker_udp_flows_opened_total"), "UDP flows opened"),
            ],
        ),
        graph(
            "Segments of no flow",
            [
                (
                    visible(
                        rate(
                            "secbeat_drops_total",
                            "reason",
                            f'{HERE}, reason=~"no_flow|tcp_flags|rst_out_of_window|out_of_window"',
                        )
                    ),
                    "{{reason}}",
                ),
                (rate("secbeat_worker_tcp_challenge_acks_total"), "challenge ACKs sent"),
            ],
            about="ACK and RST floods, and somebody who guesses sequence numbers.",
        ),
    ]
    return [
        *first_line(),
        row("What comes"), *offered(), *kinds,
        row("What visitors notice"), *honest(),
        row("What is refused, and why"), *drops(), *handshakes(), *udp,
        row("Requests"), *web(),
        row("Bans"), *bans,
        row("What limits the node"), *limits,
    ]  # fmt: skip


def node_page():
    """One node in depth."""
    line = [
        stat(
            "State",
            [(f"secbeat_phase{{{HERE}}}", "{{instance}}")],
            about="DRAINING takes no new connection.",
            words=STATE_WORDS,
            bounds=[(1, GREEN), (2, AMBER)],
            first=AMBER,
            width=8,
        ),
        stat("Up for", [(f"secbeat_uptime_seconds{{{HERE}}}", "{{instance}}")], "s", width=8, first=BLUE),
        stat(
            "Version",
            [(f"secbeat_build_info{{{HERE}}}", "{{instance}} {{version}}")],
            width=8,
            first=BLUE,
            words={"1": "runs"},
        ),
    ]
    workers = [
        graph(
            "Frames per worker",
            [(f"rate(secbeat_worker_frames_in_total{{{HERE}}}[$__rate_interval])", "{{instance}} worker {{worker}}")],
            about="Unequal: RSS spreads unevenly, or one flow is very large.",
        ),
        graph(
            "Busy passes",
            [
                (
                    f"1 - rate(secbeat_worker_turns_idle_total{{{HERE}}}[$__rate_interval])"
                    f" / (rate(secbeat_worker_turns_total{{{HERE}}}[$__rate_interval]) > 0)",
                    "{{instance}} worker {{worker}}",
                )
            ],
            "percentunit",
            "Share of passes that found work. Near 1 and no sleeps: the core is full.",
        ),
        graph(
            "Sleeps",
            [(f"rate(secbeat_worker_sleeps_total{{{HERE}}}[$__rate_interval])", "{{instance}} worker {{worker}}")],
            "ops",
            width=8,
        ),
        graph(
            "Receive depth, hand-over depth",
            [
                (f"secbeat_worker_rx_depth{{{HERE}}}", "received {{worker}}"),
                (f"secbeat_worker_handover_depth{{{HERE}}}", "handed over {{worker}}"),
            ],
            "short",
            width=8,
        ),
        graph(
            "Flow table",
            [
                (f"secbeat_worker_flows_used{{{HERE}}}", "flows {{worker}}"),
                (f"secbeat_worker_udp_flows{{{HERE}}}", "UDP {{worker}}"),
                (f"rate(secbeat_worker_flows_evicted_total{{{HERE}}}[$__rate_interval])", "evicted/s {{worker}}"),
            ],
            "short",
            width=8,
        ),
        graph("CPU time", [(f"secbeat_cpu_usage_percent{{{HERE}}}", "{{instance}}")], "percent", "100 is one core."),
        graph("Memory", [(f"secbeat_memory_usage_bytes{{{HERE}}}", "{{instance}}")], "bytes", "Huge pages included."),
    ]
    tcp = [
        graph(
            "TCP that ends here",
            [
                (rate("secbeat_worker_tcp_retransmitted_total"), "retransmitted"),
                (rate("secbeat_worker_tcp_timeouts_total"), "timeouts"),
                (rate("secbeat_worker_tcp_out_of_order_total"), "out of order"),
                (rate("secbeat_worker_tcp_memory_full_total"), "no memory"),
                (rate("secbeat_worker_tcp_resets_out_total"), "RST sent"),
            ],
        ),
        graph(
            "TLS handshakes by result",
            [(visible(rate("secbeat_tls_handshakes_total", "result")), "{{result}}")],
            "ops",
            stacked=True,
        ),
    ]
    backends = [
        graph(
            "Backends: up",
            [(f"secbeat_backend_up{{{HERE}}}", "{{instance}} {{backend}}")],
            "short",
            "1: takes connections.",
            width=8,
        ),
        graph(
            "Backends: failed connections",
            [(visible(rate("secbeat_backend_failures_total", "instance, backend")), "{{instance}} {{backend}}")],
            "cps",
            width=8,
        ),
        graph(
            "Requests to backends",
            [
                (rate("secbeat_worker_upstream_requests_total"), "requests"),
                (rate("secbeat_worker_upstream_connects_total"), "new connections"),
                (rate("secbeat_worker_upstream_retries_total"), "sent again"),
                (rate("secbeat_worker_upstream_failed_total"), "failed"),
                (rate("secbeat_worker_upstream_overloaded_total"), "no room"),
                (f"sum(secbeat_worker_upstream_waiting{{{HERE}}})", "wait now"),
            ],
            "short",
            width=8,
        ),
    ]
    control = [
        graph(
            "Lost telemetry",
            [
                (visible(rate("secbeat_events_lost_total", "instance")), "events {{instance}}"),
                (visible(rate("secbeat_log_lines_dropped_total", "instance")), "log lines {{instance}}"),
                (visible(rate("secbeat_waf_audit_lost_total", "instance")), "audit records {{instance}}"),
                (visible(rate("secbeat_agent_events_lost_total", "instance")), "to orchestrator {{instance}}"),
                (visible(rate("secbeat_saves_failed_total", "instance")), "bans not saved {{instance}}"),
            ],
            "ops",
            width=8,
        ),
        graph(
            "Management API",
            [
                (visible(rate("secbeat_api_requests_total", "result")), "{{result}}"),
                (rate("secbeat_api_connections_refused_total"), "connections refused"),
            ],
            "reqps",
            width=8,
        ),
        graph(
            "Policy in force",
            [
                (f"secbeat_policy_generation{{{HERE}}}", "generation {{instance}}"),
                (f"secbeat_agent_policy_revision{{{HERE}}}", "revision {{instance}}"),
                (f"secbeat_worker_policy_generation{{{HERE}}}", "worker {{worker}} {{instance}}"),
            ],
            "short",
            "Workers that lag behind the generation do not take it up.",
            width=8,
        ),
    ]
    return [
        *line, *first_line(),
        row("Traffic"), *offered(), *honest(),
        row("Refused"), *drops(), *handshakes(), *web(),
        row("Workers"), *workers,
        row("TCP, TLS, backends"), *tcp, *backends,
        row("Control"), *control,
    ]  # fmt: skip


def fleet_page():
    """All nodes, and whether they agree with the orchestrator."""
    word = {"0": "no", "1": "yes"}
    line = [
        stat(
            "Nodes that do not answer",
            'count(up{job="secbeat-node"} == 0) or vector(0)',
            about="To Prometheus.",
            bounds=[(1, RED)],
        ),
        stat(
            "Nodes dead",
            'sum(secbeat_orchestrator_nodes{state="dead"})',
            about="To the orchestrator.",
            bounds=[(1, RED)],
        ),
        stat(
            "Out of sync",
            "sum(secbeat_orchestrator_streams) - sum(secbeat_orchestrator_nodes_in_sync)",
            about="Connected nodes that hold something else than they should.",
            bounds=[(1, AMBER)],
        ),
        stat(
            "Resources refused",
            "sum(secbeat_orchestrator_resources_refused)",
            about="By nodes, now. secbeat node show NAME says why.",
            bounds=[(1, AMBER)],
        ),
        stat("Attacks now", "sum(secbeat_attacks_active)", bounds=[(1, RED)]),
        stat(
            "Rollout runs or waits",
            "max(secbeat_orchestrator_rollout_running)",
            words=word,
            bounds=[(1, AMBER)],
            about="secbeat policy status",
        ),
    ]
    nodes = [
        table(
            "Nodes",
            [
                ('up{job="secbeat-node"}', "answers"),
                ("secbeat_phase", "phase"),
                ("secbeat_attacks_active", "attacks"),
                ("secbeat_threat_score", "refused"),
                ("sum by (instance) (rate(secbeat_packets_total{direction=\"in\"}[1m]))", "packets in"),
                ("instance:secbeat_requests:rate1m", "requests"),
                ("sum by (instance) (instance_reason:secbeat_overload_drops:rate1m)", "overload"),
                ("secbeat_connections_active", "connections"),
                ("secbeat_bans_active", "bans"),
                ("secbeat_cpu_usage_percent", "CPU"),
                ("secbeat_agent_connected", "stream"),
                ("secbeat_agent_policy_revision", "revision"),
                ("secbeat_agent_resources_rejected", "rejected"),
                ("secbeat_uptime_seconds", "up for"),
            ],
            "phase: 0 starting, 1 active, 2 draining. A revision that differs from the others is a node left behind.",
            units={
                "refused": "percent",
                "packets in": "pps",
                "requests": "reqps",
                "overload": "pps",
                "CPU": "percent",
                "up for": "s",
            },
            rename={"instance": "node"},
            height=10,
        ),
    ]
    traffic = [
        graph(
            "Packets in, by node",
            [('sum by (instance) (rate(secbeat_packets_total{direction="in"}[$__rate_interval]))', "{{instance}}")],
            about="One node that falls while others rise: its traffic moved.",
        ),
        graph("Requests, by node", [("instance:secbeat_requests:rate1m", "{{instance}}")], "reqps"),
        graph(
            "Refused as attack, by node",
            [("sum by (instance) (instance_type:secbeat_attacks_blocked:rate1m)", "{{instance}}")],
            "ops",
            stacked=True,
        ),
        graph(
            "Bans in force, by node and in the fleet",
            [
                ("secbeat_bans_active", "{{instance}}"),
                ("secbeat_orchestrator_bans", "orchestrator"),
                ("secbeat_orchestrator_ban_entries", "entries of the list, ended ones too"),
            ],
            "short",
        ),
    ]
    control = [
        graph(
            "Nodes by state",
            [("sum by (state) (secbeat_orchestrator_nodes)", "{{state}}")],
            "short",
            stacked=True,
            width=8,
        ),
        graph(
            "Streams",
            [
                ("secbeat_orchestrator_streams", "open"),
                ("secbeat_orchestrator_nodes_in_sync", "in sync"),
                (
                    "sum by (reason) (rate(secbeat_orchestrator_streams_closed_total[$__rate_interval]))",
                    "closed: {{reason}}",
                ),
                ("rate(secbeat_orchestrator_streams_refused_total[$__rate_interval])", "refused"),
            ],
            "short",
            width=8,
        ),
        graph(
            "Policy",
            [
                ("secbeat_orchestrator_policy_revision", "newest revision"),
                ("secbeat_agent_policy_revision", "{{instance}}"),
                ("secbeat_orchestrator_policy_resources", "resources"),
            ],
            "short",
            width=8,
        ),
        graph(
            "Policy sent",
            [
                ("rate(secbeat_orchestrator_policy_deltas_total[$__rate_interval])", "deltas"),
                ("rate(secbeat_orchestrator_policy_rejections_total[$__rate_interval])", "rejections"),
                ("rate(secbeat_orchestrator_policy_wholes_total[$__rate_interval])", "patches that did not fit"),
            ],
            "ops",
            width=8,
        ),
        graph(
            "Events",
            [
                ("rate(secbeat_orchestrator_events_ingested_total[$__rate_interval])", "stored"),
                ("rate(secbeat_orchestrator_events_lost_total[$__rate_interval])", "lost by nodes"),
                ("secbeat_orchestrator_events_waiting", "wait now"),
            ],
            "ops",
            width=8,
        ),
        graph(
            "Store",
            [
                ("rate(secbeat_orchestrator_store_commits_total[$__rate_interval])", "transactions"),
                ("rate(secbeat_orchestrator_store_failed_total[$__rate_interval])", "failed"),
                ("rate(secbeat_orchestrator_store_refused_total[$__rate_interval])", "refused"),
                ("secbeat_orchestrator_store_queue_depth", "wait now"),
            ],
            "ops",
            width=8,
        ),
        graph("Store on the disk", [("secbeat_orchestrator_store_bytes", "{{instance}}")], "bytes", width=8),
        graph(
            "Tasks: failures and time",
            [
                (
                    "sum by (task) (rate(secbeat_orchestrator_task_failures_total[$__rate_interval]))",
                    "{{task}} failures/s",
                ),
                (
                    "sum by (task) (rate(secbeat_orchestrator_task_busy_seconds_total[$__rate_interval]))",
                    "{{task}} busy",
                ),
            ],
            "short",
            width=8,
        ),
        graph(
            "Refused callers",
            [("sum by (what) (rate(secbeat_orchestrator_api_refusals_total[$__rate_interval])) > 0", "{{what}}")],
            "ops",
            width=8,
        ),
    ]  # fmt: skip
    return [*line, row("Nodes"), *nodes, *traffic, row("Control plane"), *control]


def place(panels):
    """Left to right, a new line when the width is used up; ids in order."""
    x = y = tallest = 0
    for number, each in enumerate(panels, 1):
        spot = each["gridPos"]
        if x + spot["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        each["id"] = number
        spot["x"], spot["y"] = x, y
        x += spot["w"]
        tallest = max(tallest, spot["h"])
    return panels


def dashboard(uid, title, about, panels, by_instance):
    """The page around the panels."""
    variables = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    if by_instance:
        variables.append(
            {
                "name": "instance",
                "label": "Node",
                "type": "query",
                "datasource": SOURCE,
                "query": {"query": "label_values(secbeat_build_info, instance)", "refId": "instance"},
                "refresh": 2,
                "sort": 1,
                "multi": True,
                "includeAll": True,
                "current": {"text": "All", "value": "$__all"},
            }
        )
    marks = {
        "name": "Attack begins",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": RED,
        "target": {
            "refId": "attacks",
            "expr": "increase(secbeat_attacks_detected_total[1m]) > 0",
        },
        "titleFormat": "attack: {{instance}}",
    }
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["secbeat"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [marks]},
        "templating": {"list": variables},
        "links": [
            {
                "title": "SecBeat",
                "type": "dashboards",
                "tags": ["secbeat"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": place(panels),
    }


def pages():
    """All dashboards by file name."""
    return {
        "attack.json": dashboard(
            "secbeat-attack",
            "SecBeat: attack",
            "What comes, what visitors notice, what is refused and why, what limits the node.",
            attack_page(),
            True,
        ),
        "node.json": dashboard("secbeat-node", "SecBeat: node", "One node in depth.", node_page(), True),
        "fleet.json": dashboard(
            "secbeat-fleet", "SecBeat: fleet", "All nodes, and whether they agree.", fleet_page(), False
        ),
    }


def main():
    """Writes, or compares."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: dashboards.py [--check]")
    stale = []
    for name, page in pages().items():
        text = json.dumps(page, indent=1) + "\n"
        path = PLACE / name
        if check and (not path.exists() or path.read_text() != text):
            stale.append(name)
        elif not check:
            path.write_text(text)
    if stale:
        sys.exit(f"dashboards: {', '.join(stale)}: not what dashboards.py writes; run it and commit the result")


if __name__ == "__main__":
    main()
