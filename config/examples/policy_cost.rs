//! What a filter set of 10,000 rules costs: `cargo run --release -p secbeat-config --example policy_cost`.
//!
//! Prints the mean of 50 runs in milliseconds of processor time (other programs' load does not count): reading and
//! hashing it whole, a patch of one rule on both sides, the configuration made of it.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::sync::Arc;

use secbeat_config::Layers;
use secbeat_config::policy::{Held, Key, Kind, Resource, Set, compose, delta};

const RULES: usize = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut body = String::from("{\"priority\":10,\"rules\":[");
    for index in 0..RULES {
        let comma = if index > 0 { "," } else { "" };
        let (a, b) = (index / 256, index % 256);
        write!(
            body,
            "{comma}{{\"action\":\"drop\",\"destination_ports\":[\"22\",\"8000-8100\"],\"id\":\"rule-{index}\",\
             \"protocol\":\"tcp\",\"sources\":[\"10.{a}.{b}.0/24\"]}}"
        )?;
    }
    body.push_str("]}");
    let key = Key::new(Kind::FilterSet, "edge")?;
    println!("{RULES} rules, {} bytes", body.len());
    let whole = Resource::parse(key.clone(), &body)?;
    report("read, check and hash a body", || Resource::parse(key.clone(), &body).is_ok());
    let rule = "{\"action\":\"pass\",\"id\":\"rule-5000\",\"sources\":[\"10.19.136.0/24\"]}";
    let changed = Arc::new(whole.with_rules(&[rule], &[], false)?);
    let (mut old, mut new) = (Set::new(), Set::new());
    old.insert(whole)?;
    new.insert(Arc::clone(&changed))?;
    let held = Held::new(old.clone(), BTreeMap::new());
    let digests: BTreeMap<_, _> = held.digests().map(|(key, _, hash)| (key, hash)).collect();
    let make = || delta(&digests, &new, |_| 2, |key, _| old.get(key).cloned());
    report("make a patch of one rule", || make().updates.len() == 1);
    let patch = make();
    report("apply it", || held.stage(&patch).1.is_empty());
    let layers = Layers::default();
    report("compose a configuration", || compose(&layers, &new).is_ok());
    Ok(())
}

/// How long this thread ran.
fn on_processor_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

fn report(what: &str, mut run: impl FnMut() -> bool) {
    // The kernel counts in ticks of some milliseconds: one run is too short.
    const RUNS: u32 = 50;
    let begin = on_processor_ms();
    (0..RUNS).for_each(|_| assert!(run(), "{what} fails"));
    println!("{what:32} {:7.2} ms", (on_processor_ms() - begin) / f64::from(RUNS));
}
