//! Changes of the WAF's rules while the node runs.
//!
//! Owns: adding and removing JSON rules for the API: compiled outside the node's lock, kept on disk, then exchanged
//! whole. Does not own: the file (`crate::waf::added`), compiling (`crate::waf`), the JSON of answers (`crate::api`).

use std::sync::{Arc, PoisonError};

use secbeat_config::waf_rules::Rule;

use super::node::Node;
use crate::api::events::{Class, Level};
use crate::api::{SecurityEvent, WafFailure, WafRules};
use crate::waf::added::{ADDED_MAX, load, save};
use crate::waf::{self, Waf};

impl Node {
    /// The rules in force.
    pub fn waf_rules(&self) -> Option<WafRules> {
        let waf = self.state().resources.waf.clone()?;
        let own = waf.json.len() - waf.added;
        let rules = waf.json.iter().enumerate();
        Some(WafRules {
            rules: rules.map(|(index, rule)| (rule.clone(), index >= own)).collect(),
            count: waf.ruleset.rules_len(),
            bytes: waf.ruleset.bytes(),
            hits: waf.lasting.hits.counts(),
            engine: waf.ruleset.settings().engine,
        })
    }

    /// Adds a rule, or replaces the one that the API added under its id.
    ///
    /// # Errors
    /// Why it is refused; nothing is changed then.
    pub fn add_waf_rule(&self, rule: Rule) -> Result<(), WafFailure> {
        let id = rule.id.clone();
        self.change_rules(|added, _| {
            added.retain(|other| other.id != rule.id);
            if added.len() >= ADDED_MAX {
                return Err(WafFailure::Full { max: ADDED_MAX });
            }
            added.push(rule);
            Ok(())
        })?;
        self.record(
            SecurityEvent::new(Class::Node, Level::Info, "control", "waf_rule_added").with("rule", id),
        );
        Ok(())
    }

    /// Removes a rule that the API added.
    ///
    /// # Errors
    /// Why it is refused; nothing is changed then.
    pub fn remove_waf_rule(&self, id: &str) -> Result<(), WafFailure> {
        self.change_rules(|added, waf| {
            let before = added.len();
            added.retain(|rule| rule.id != id);
            match (added.len() < before, waf.json.iter().any(|rule| rule.id == id)) {
                (true, _) => Ok(()),
                (false, true) => Err(WafFailure::Configured { id: id.to_owned() }),
                (false, false) => Err(WafFailure::NotThere { id: id.to_owned() }),
            }
        })?;
        self.record(
            SecurityEvent::new(Class::Node, Level::Info, "control", "waf_rule_removed").with("rule", id),
        );
        Ok(())
    }

    fn change_rules(
        &self,
        change: impl FnOnce(&mut Vec<Rule>, &Waf) -> Result<(), WafFailure>,
    ) -> Result<(), WafFailure> {
        // One change at a time: each begins with what the one before it left. Compiling is not under the node's lock.
        let _turn = self.rules_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, state_dir, lasting, old) = {
            let state = self.state();
            let old = state.resources.waf.clone().ok_or(WafFailure::Off)?;
            let lasting = Arc::clone(&state.resources.lasting);
            (state.config.waf.clone(), state.config.server.state_dir.clone(), lasting, old)
        };
        let mut added = load(&state_dir);
        change(&mut added, &old)?;
        let new =
            waf::load(&config, &added, &lasting).map_err(|error| WafFailure::Wrong(error.to_string()))?;
        save(&state_dir, &added).map_err(|error| WafFailure::Unsaved(error.to_string()))?;
        let mut state = self.state();
        state.resources.waf = Some(new);
        self.adopt_policy(&mut state).map_err(|error| WafFailure::Wrong(error.to_string()))
    }
}
