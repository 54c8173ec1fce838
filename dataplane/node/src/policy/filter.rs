//! The packet path's filter, compiled from configuration and lists.
//!
//! Owns: the conversion. Does not own: the lists (`lists`), the look-up (`net::filter`). An expiry is turned into
//! the node's clock here, so that a ban ends on time even when no new policy comes.
//!
//! Cost: thousands of rules take milliseconds, so lists that change, as they do with each ban, are compiled with the
//! rules that the filter before had ([`with_lists`]).

use core::time::Duration;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_config::NodeConfig;
use secbeat_config::node::{FilterAction, FilterRule, Transport};
use secbeat_config::units::PortRange;
use secbeat_net::filter::{Action, Block, Error, Filter, Prefix, Rule, Rules};
use secbeat_net::limit::{Rate, RateLimit};
use secbeat_net::time::Instant;
use secbeat_net::wire::protocol;

use crate::lists;

/// Compiles the filter of a configuration and the lists as they are at `now`.
///
/// # Errors
/// When there are more prefixes or rules than a filter holds.
pub fn compile(config: &NodeConfig, lists: &lists::View, now: Instant) -> Result<Filter, Error> {
    let rules: Vec<Rule> = config.filter.rules.iter().map(rule).collect();
    with_lists(Arc::new(Rules::new(&rules)?), lists, now)
}

/// Compiles the lists as they are at `now`, with rules that are compiled already.
///
/// # Errors
/// When there are more prefixes than a filter holds.
pub fn with_lists(rules: Arc<Rules>, lists: &lists::View, now: Instant) -> Result<Filter, Error> {
    let allow: Vec<Prefix> = lists.allow.iter().copied().filter_map(prefix).collect();
    let numbers = lists.numbers.iter().copied().chain(core::iter::repeat(0));
    let blocks = lists.block.iter().zip(numbers);
    let block: Vec<Block> =
        blocks.filter_map(|((net, left), number)| block(*net, *left, number, now)).collect();
    Filter::with_rules(&allow, &block, rules)
}

fn block(net: IpNet, left: Option<Duration>, number: u32, now: Instant) -> Option<Block> {
    Some(Block { prefix: prefix(net)?, expires: left.map(|left| now + left), reason: number })
}

fn rule(rule: &FilterRule) -> Rule {
    Rule {
        action: match rule.action {
            FilterAction::Pass => Action::Allow,
            FilterAction::Drop => Action::Drop,
            FilterAction::Limit => Action::Limit(RateLimit::new(Rate {
                count: u64::from(rule.rate),
                interval: Duration::from_secs(1),
                burst: rule.burst,
            })),
        },
        protocol: rule.protocol.map(|transport| match transport {
            Transport::Tcp => protocol::TCP,
            Transport::Udp => protocol::UDP,
        }),
        sources: prefixes(&rule.sources),
        destinations: prefixes(&rule.destinations),
        source_ports: rule.source_ports.iter().map(range).collect(),
        destination_ports: rule.destination_ports.iter().map(range).collect(),
        fragment: rule.fragment,
    }
}

fn prefixes(nets: &[IpNet]) -> Vec<Prefix> {
    nets.iter().copied().filter_map(prefix).collect()
}

/// Never `None`: an `IpNet` has no more bits than its family.
fn prefix(net: IpNet) -> Option<Prefix> {
    Prefix::new(net.network(), net.prefix_len())
}

fn range(ports: &PortRange) -> core::ops::RangeInclusive<u16> {
    ports.low..=ports.high
}
