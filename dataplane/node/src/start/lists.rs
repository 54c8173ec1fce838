//! Allowlist and blocklist as the configuration says, for the store of bans.
//!
//! Owns: reading the list files, and the addresses that must never be banned whatever is configured: our own and
//! the backends'. Does not own: the store (`crate::lists`).

use core::net::IpAddr;

use ipnet::IpNet;
use secbeat_config::NodeConfig;

use crate::lists::{Settings, read_prefixes};

/// Name of the file of bans in the state directory.
const BANS_FILE: &str = "bans.json";

/// The store's settings, and what is wrong with the list files.
pub fn settings(config: &NodeConfig, own: &[IpAddr]) -> (Settings, Vec<String>) {
    let lists = &config.lists;
    let mut warnings = Vec::new();
    let mut read = |path: &Option<std::path::PathBuf>| -> Vec<IpNet> {
        let Some(path) = path else { return Vec::new() };
        match read_prefixes(path) {
            Ok(list) => {
                let of_file = |mistake| format!("{}: {mistake}", path.display());
                warnings.extend(list.mistakes.into_iter().map(of_file));
                list.prefixes
            }
            Err(error) => {
                warnings.push(format!("{}: {error}", path.display()));
                Vec::new()
            }
        }
    };
    let (allow_file, mut block) = (read(&lists.allow_path), read(&lists.block_path));
    block.extend(&lists.block);
    let named = |reason: &'static str| move |net: IpNet| (net, reason.to_owned());
    let mut allow: Vec<(IpNet, String)> =
        own.iter().map(|&addr| (addr.into(), "own address".into())).collect();
    allow.extend(lists.allow.iter().copied().map(named("[lists] allow")));
    allow.extend(allow_file.into_iter().map(named("[lists] allow_path")));
    let backends = config.backends.iter().filter_map(|backend| {
        Some((IpNet::from(backend.address.address()?.ip()), format!("backend {}", backend.name)))
    });
    allow.extend(backends);
    let settings = Settings {
        path: Some(config.server.state_dir.join(BANS_FILE)),
        allow,
        block,
        entries_max: lists.entries_max as usize,
        ban_time: lists.ban_time,
        ban_time_max: lists.ban_time_max,
        manual_ban_time: lists.manual_ban_time,
    };
    (settings, warnings)
}
