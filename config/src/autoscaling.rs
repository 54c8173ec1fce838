//! `config/autoscaling.toml`: when the fleet grows and shrinks.

use core::time::Duration;

use toml::de::DeTable;

use crate::error::ConfigErrors;
use crate::layers::Layers;
use crate::node::syntax_errors;
use crate::reader::{Document, Table, Unit};

/// The policy, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaling {
    /// `[bounds]`
    pub bounds: Bounds,
    /// `[targets]`
    pub targets: Targets,
    /// `[thresholds]`
    pub thresholds: Thresholds,
    /// `[timing]`
    pub timing: Timing,
    /// `[prediction]`
    pub prediction: Prediction,
    /// `[healing]`
    pub healing: Healing,
}

/// `[bounds]`: how far and how fast.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Fewest nodes.
    pub nodes_min: u32,
    /// Most nodes; not below `nodes_min`.
    pub nodes_max: u32,
    /// Nodes asked for at once.
    pub added_max: u32,
    /// Nodes let go at once.
    pub removed_max: u32,
}

/// `[targets]`: the load that the fleet is sized for, percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// CPU.
    pub cpu_percent: u8,
    /// Memory.
    pub memory_percent: u8,
    /// Connections, of the limit of a node.
    pub connections_percent: u8,
}

/// `[thresholds]`: when something is done, percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Load above which nodes are added.
    pub scale_up_percent: u8,
    /// Load below which nodes are let go; below `scale_up_percent`.
    pub scale_down_percent: u8,
    /// Samples in a row beyond a threshold.
    pub samples: u8,
}

/// `[timing]`
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Time between two looks.
    pub evaluation_interval: Duration,
    /// Quiet time after growing.
    pub cooldown_up: Duration,
    /// Quiet time after shrinking.
    pub cooldown_down: Duration,
    /// How long a node that is let go may take to drain.
    pub drain_timeout: Duration,
    /// Time from asking for a node until it works.
    pub boot_time: Duration,
}

/// `[prediction]`
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Look ahead at all.
    pub enable: bool,
    /// Time between two fits of the model.
    pub model_update_interval: Duration,
    /// How far back it looks.
    pub history: Duration,
    /// How far ahead.
    pub horizon: Duration,
    /// Fit below which a prediction is ignored, 0 to 1.
    pub confidence_min: f64,
}

/// `[healing]`
#[derive(Clone, Debug, PartialEq)]
pub struct Healing {
    /// Replace nodes that are lost.
    pub enable: bool,
    /// How long a node must be gone.
    pub replace_after: Duration,
    /// Replacements per hour, so that a fault that kills every node does not order machines for ever.
    pub replacements_per_hour_max: u16,
}

impl Autoscaling {
    /// Reads the file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        read_document(name, text, &Layers::default(), Self::read)
    }

    fn read(t: &mut Table<'_>) -> Self {
        let thresholds = t.section("thresholds", Thresholds::read);
        let prediction = t.section("prediction", Prediction::read);
        let timing = t.section("timing", Timing::read);
        if prediction.enable && prediction.horizon < timing.boot_time {
            t.conflict(
                "prediction",
                "horizon is shorter than [timing] boot_time: a new node would come too late",
            );
        }
        Self {
            bounds: t.section("bounds", Bounds::read),
            targets: t.section("targets", Targets::read),
            healing: t.section("healing", Healing::read),
            thresholds,
            timing,
            prediction,
        }
    }
}

/// Reads a whole document with `read`, for files other than a node's.
pub(crate) fn read_document<T>(
    name: &str,
    text: &str,
    layers: &Layers,
    read: impl for<'d> FnOnce(&mut Table<'d>) -> T,
) -> Result<T, ConfigErrors> {
    let layers = Layers { file: Some((name.into(), text.into())), ..layers.clone() };
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(syntax_errors(name, text, &syntax));
    }
    let document = Document::new(&layers, Some(root.get_ref()), false);
    let mut top = document.top();
    let value = read(&mut top);
    top.end();
    document.finish().1.map(|()| value)
}

impl Bounds {
    fn read(t: &mut Table<'_>) -> Self {
        let bounds = Self {
            nodes_min: t.integer("min_nodes", 1, 1..=10_000, "nodes", "Fewest nodes."),
            nodes_max: t.integer("max_nodes", 10, 1..=10_000, "nodes", "Most nodes."),
            added_max: t.integer("max_added_at_once", 2, 1..=1_000, "nodes", "Nodes asked for at once."),
            removed_max: t.integer("max_removed_at_once", 1, 1..=1_000, "nodes", "Nodes let go at once."),
        };
        if bounds.nodes_min > bounds.nodes_max {
            t.conflict("min_nodes", "is above max_nodes");
        }
        bounds
    }
}

impl Targets {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            cpu_percent: t.integer("cpu_percent", 60, 1..=100, "percent", "CPU."),
            memory_percent: t.integer("memory_percent", 70, 1..=100, "percent", "Memory."),
            connections_percent: t.integer("connections_percent", 70, 1..=100, "percent", "Connections."),
        }
    }
}

impl Thresholds {
    fn read(t: &mut Table<'_>) -> Self {
        let thresholds = Self {
            scale_up_percent: t.integer(
                "scale_up_percent",
                80,
                1..=100,
                "percent",
                "Load above which nodes are added.",
            ),
            scale_down_percent: t.integer(
                "scale_down_percent",
                30,
                0..=99,
                "percent",
                "Load below which nodes are let go.",
            ),
            samples: t.integer("samples", 5, 1..=100, "samples", "Samples in a row beyond a threshold."),
        };
        if thresholds.scale_down_percent >= thresholds.scale_up_percent {
            t.conflict("scale_down_percent", "is not below scale_up_percent: the fleet would swing");
        }
        thresholds
    }
}

impl Timing {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
        let mut seconds = |key, default, text| {
            t.duration(key, Duration::from_secs(default), range.clone(), Unit::Seconds, text)
        };
        Self {
            evaluation_interval: seconds("evaluation_interval", 30, "Time between two looks."),
            cooldown_up: seconds("cooldown_up", 120, "Quiet time after growing."),
            cooldown_down: seconds("cooldown_down", 600, "Quiet time after shrinking."),
            drain_timeout: seconds("drain_timeout", 300, "How long a node that is let go may take to drain."),
            boot_time: seconds("boot_time", 180, "Time from asking for a node until it works."),
        }
    }
}

impl Prediction {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(60)..=Duration::from_secs(90 * 86_400);
        let enable = t.boolean("enable", true, "Look ahead.");
        let confidence_min = t.fraction("min_confidence", 0.8, "Fit below which a prediction is ignored.");
        let mut seconds = |key, default, text| {
            t.duration(key, Duration::from_secs(default), range.clone(), Unit::Seconds, text)
        };
        let model_update_interval =
            seconds("model_update_interval", 300, "Time between two fits of the model.");
        let history = seconds("history", 86_400, "How far back it looks.");
        let horizon = seconds("horizon", 600, "How far ahead.");
        if horizon > history {
            t.conflict("horizon", "is longer than history: nothing can be known about it");
        }
        Self { enable, model_update_interval, history, horizon, confidence_min }
    }
}

impl Healing {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(10)..=Duration::from_secs(86_400);
        Self {
            enable: t.boolean("enable", true, "Replace nodes that are lost."),
            replace_after: t.duration(
                "replace_after",
                Duration::from_secs(90),
                range,
                Unit::Seconds,
                "How long a node must be gone.",
            ),
            replacements_per_hour_max: t.integer(
                "max_replacements_per_hour",
                4,
                1..=1_000,
                "nodes",
                "Replacements per hour.",
            ),
        }
    }
}
