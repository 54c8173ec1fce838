//! Hosts and paths whose rules differ from those of the others.
//!
//! Owns: [`Sites`]: `[[waf.sites]]` as SecLang against the shared set, in each mode that a route or listener may want.
//! Cost: a look-up by host and path prefix per request; a site has a bit per rule, three times.

use std::fmt::Write;
use std::sync::Arc;

use secbeat_config::node::{Waf as Config, WafMode, WafSite};
use secbeat_waf::ruleset::{Ruleset, Site};
use secbeat_waf::seclang::read_text;

use super::files::Disk;
use super::{Error, Off};
use crate::session::policy::{RouteTable, Scope};

/// How a route or listener wants rules to be asked.
pub use secbeat_config::node::WafMode as Mode;

/// Number of the action that sets a site's paranoia level; it never joins a set.
const LEVEL_ID: u64 = 2_910_000;

/// A site in all modes.
#[derive(Debug)]
struct Modes {
    /// `None` = off.
    own: Option<Option<Arc<Site>>>,
    on: Arc<Site>,
    detect: Arc<Site>,
}

/// All sites.
#[derive(Debug)]
pub(super) struct Sites {
    /// The last is for requests to no site.
    modes: Vec<Modes>,
    table: RouteTable,
}

impl Sites {
    pub(super) fn compile(config: &Config, ruleset: &Ruleset) -> Result<Self, Error> {
        let mut modes = Vec::with_capacity(config.sites.len() + 1);
        let mut scopes = Vec::new();
        for (index, site) in config.sites.iter().enumerate() {
            let made = text(site).and_then(|text| compile(ruleset, &text, site.mode));
            modes.push(made.map_err(|message| Error::Site { number: index + 1, message })?);
            let root = [b"/".as_slice()];
            let own: Vec<&[u8]> = site.paths.iter().map(|path| path.as_str().as_bytes()).collect();
            for path in if own.is_empty() { root.as_slice() } else { own.as_slice() } {
                scopes.push(Scope { hosts: site.hosts.clone(), path: (*path).into(), route: index as u16 });
            }
        }
        let mut rest = compile(ruleset, "", None).map_err(|message| Error::Site { number: 0, message })?;
        rest.own = Some(None);
        modes.push(rest);
        Ok(Self { modes, table: RouteTable::new(&scopes) })
    }

    pub(super) fn find(
        &self,
        host: &[u8],
        path: &[u8],
        wanted: Option<WafMode>,
    ) -> Result<Option<&Arc<Site>>, Off> {
        let place = self.table.find(host, path).map_or(self.modes.len() - 1, usize::from);
        let modes = &self.modes[place];
        match wanted {
            None => modes.own.as_ref().map(Option::as_ref).ok_or(Off),
            Some(WafMode::Off) => Err(Off),
            Some(WafMode::On) => Ok(Some(&modes.on)),
            Some(WafMode::Detect) => Ok(Some(&modes.detect)),
        }
    }
}

/// A site in SecLang.
fn text(site: &WafSite) -> Result<String, String> {
    let mut out = String::new();
    if let Some(path) = &site.rules {
        let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
        let _ = writeln!(out, "Include \"{}\"", absolute.display());
    }
    for range in &site.remove_rules {
        let _ = writeln!(out, "SecRuleRemoveById {range}");
    }
    for tag in &site.remove_tags {
        let _ = writeln!(out, "SecRuleRemoveByTag \"{tag}\"");
    }
    if let Some(level) = site.paranoia_level {
        let _ = write!(out, "SecAction \"id:{LEVEL_ID},phase:1,nolog,pass,t:none");
        for name in [
            "blocking_paranoia_level",
            "detection_paranoia_level",
            "paranoia_level",
            "executing_paranoia_level",
        ] {
            let _ = write!(out, ",setvar:tx.{name}={level}");
        }
        let _ = writeln!(out, "\"");
    }
    Ok(out)
}

fn compile(ruleset: &Ruleset, text: &str, mode: Option<WafMode>) -> Result<Modes, String> {
    let site = |engine: &str| {
        let text =
            if engine.is_empty() { text.to_owned() } else { format!("{text}SecRuleEngine {engine}\n") };
        let read = read_text("[[waf.sites]]", &text, &Disk).map_err(|error| error.to_string())?;
        Site::compile(ruleset, &read).map(Arc::new).map_err(|error| error.to_string())
    };
    let (on, detect) = (site("On")?, site("DetectionOnly")?);
    let own = match mode {
        None => Some(Some(site("")?)),
        Some(WafMode::On) => Some(Some(Arc::clone(&on))),
        Some(WafMode::Detect) => Some(Some(Arc::clone(&detect))),
        Some(WafMode::Off) => None,
    };
    Ok(Modes { own, on, detect })
}
