//! The scenario format. Unknown keys are refused; every number has a bound.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::flood::{Engine, Kind, Rate, Sources};
use crate::lab;
use crate::node;

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Name of the result file: letters, digits, `-`.
    pub(crate) name: String,
    /// One sentence.
    pub(crate) description: String,
    /// How the lab is made.
    #[serde(default)]
    pub(crate) lab: lab::Options,
    /// How the node is configured.
    #[serde(default)]
    pub(crate) node: node::Settings,
    /// The honest clients of every phase.
    #[serde(default)]
    pub(crate) clients: Clients,
    /// What happens, in order.
    pub(crate) phases: Vec<Phase>,
}

/// Honest clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Clients {
    /// Fresh connections one after the other.
    pub(crate) sequential: u64,
    /// Fresh connections, several at a time.
    pub(crate) parallel: u64,
    /// How many at a time.
    pub(crate) concurrency: usize,
    /// Deadline of each, in milliseconds.
    pub(crate) deadline_ms: u64,
    /// The clients of a phase stop after so many seconds, each kind; a peer that answers nothing would take
    /// `deadline_ms` for each connection.
    pub(crate) seconds_max: u64,
}

impl Default for Clients {
    fn default() -> Self {
        Self { sequential: 500, parallel: 500, concurrency: 50, deadline_ms: 3000, seconds_max: 20 }
    }
}

/// One or several floods, one after the other: every rate in every family.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phase {
    /// What is sent; nothing when absent.
    pub(crate) flood: Option<Kind>,
    /// IP versions.
    #[serde(default = "both_families")]
    pub(crate) families: Vec<u8>,
    /// Rates like "500k", "2M", "max".
    #[serde(default)]
    pub(crate) rates: Vec<String>,
    /// Source addresses.
    #[serde(default)]
    pub(crate) sources: Sources,
    /// How packets are sent.
    #[serde(default)]
    pub(crate) engine: Engine,
    /// What the node must reach.
    #[serde(default)]
    pub(crate) expect: Expect,
}

fn both_families() -> Vec<u8> {
    vec![4, 6]
}

/// What must hold; what is absent is only reported.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    /// Least share of sequential and parallel connections that succeed, in percent.
    pub(crate) success_percent: Option<f64>,
    /// Largest p99 of connect + GET, in milliseconds.
    pub(crate) p99_ms: Option<u64>,
    /// The same for those several at a time, where it is another one: they wait for each other.
    pub(crate) parallel_p99_ms: Option<u64>,
    /// Most that the node's memory grows, in KiB.
    pub(crate) memory_growth_kib: Option<u64>,
    /// Least share of the asked rate that the generator offered, in percent: otherwise the run says nothing.
    pub(crate) offered_percent: Option<f64>,
}

/// One flood with its clients.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What is sent at which rate; `None` is silence.
    pub(crate) flood: Option<(Kind, Rate)>,
    /// IP version of flood and clients.
    pub(crate) family: u8,
    /// Source addresses.
    pub(crate) sources: Sources,
    /// How packets are sent.
    pub(crate) engine: Engine,
    /// What must hold.
    pub(crate) expect: Expect,
}

/// Steps of one scenario: each takes up to a minute.
const STEPS_MAX: usize = 100;

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the file's name, and the line and key when the text is wrong.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        let is_plain =
            |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        if scenario.name.is_empty() || !is_plain(&scenario.name) {
            bail!("name `{}`: letters, digits and `-`", scenario.name);
        }
        for phase in &scenario.phases {
            if phase.flood.is_some() == phase.rates.is_empty() {
                bail!("a phase has a flood with rates, or neither");
            }
            if phase.families.iter().any(|family| ![4, 6].contains(family)) {
                bail!("families are 4 and 6");
            }
            for rate in &phase.rates {
                rate.parse::<Rate>().map_err(anyhow::Error::msg)?;
            }
        }
        let count = scenario.steps().len();
        if count == 0 || count > STEPS_MAX {
            bail!("{count} steps; 1 to {STEPS_MAX} are possible");
        }
        Ok(scenario)
    }

    /// All steps in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for phase in &self.phases {
            let rates: Vec<Option<Rate>> = match phase.flood {
                Some(_) => phase.rates.iter().filter_map(|rate| rate.parse().ok()).map(Some).collect(),
                None => vec![None],
            };
            for rate in rates {
                for &family in &phase.families {
                    steps.push(Step {
                        flood: phase.flood.zip(rate),
                        family,
                        sources: phase.sources,
                        engine: phase.engine,
                        expect: phase.expect.clone(),
                    });
                }
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::load(&path).unwrap();
            assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
            count += 1;
        }
        assert!(count >= 5, "{count} scenarios");
    }

    #[test]
    fn rates_and_families_multiply_into_steps() {
        let text = "name = \"x\"\ndescription = \"y\"\n[[phases]]\n[[phases]]\nflood = \"syn\"\nrates = [\"1k\", \"max\"]\nfamilies = [6]\n";
        let steps = Scenario::parse(text).unwrap().steps();
        assert_eq!(steps.len(), 4);
        assert!(steps[0].flood.is_none());
        assert_eq!(steps[3].flood, Some((Kind::Syn, Rate::Max)));
        assert_eq!(steps[3].family, 6);
    }

    #[test]
    fn mistakes_are_refused() {
        let with =
            |phase: &str| Scenario::parse(&format!("name = \"x\"\ndescription = \"y\"\n[[phases]]\n{phase}"));
        assert!(with("").is_ok());
        for bad in [
            "flod = \"syn\"",
            "flood = \"syn\"",
            "rates = [\"1k\"]",
            "flood = \"syn\"\nrates = [\"fast\"]",
            "families = [5]",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(Scenario::parse("name = \"../x\"\ndescription = \"y\"\n[[phases]]\n").is_err());
    }
}
