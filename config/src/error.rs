//! What is wrong with a configuration, and where.
//!
//! Every message names the key and the offending value, and says what would be allowed; all mistakes of a file
//! are reported at once.

use core::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// As the caller named it.
        name: String,
        /// Counted from 1.
        line: u32,
    },
    /// A variable of the environment.
    Environment(String),
    /// An option of the command line.
    CommandLine(String),
    /// A part of a policy: `listener/web`, `rules[id=deny-ssh]`.
    Part(String),
    /// The configuration as a whole: something is missing, or the default does not fit the rest.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine(option) => write!(f, "command line {option}"),
            Self::Part(name) => f.write_str(name),
            Self::Whole => f.write_str("configuration"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {key}: {problem}")]
pub struct ConfigError {
    /// Where the value came from.
    pub place: Place,
    /// The key, with its table: `[server] mode`.
    pub key: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key{}", suggestion.as_ref().map(|s| format!("; {s}")).unwrap_or_default())]
    UnknownKey {
        /// A hint, when some key is near.
        suggestion: Option<String>,
    },
    /// A value of another type.
    #[error("{found} is not {expected}")]
    WrongType {
        /// What the key takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A value outside the range.
    #[error("{value} is out of range: must be {allowed}")]
    OutOfRange {
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A value that is wrong otherwise.
    #[error("`{value}` {reason}")]
    Invalid {
        /// What was given.
        value: String,
        /// Why it is refused.
        reason: String,
    },
    /// A secret that is refused; its value is not shown.
    #[error("the secret {0}")]
    Secret(String),
    /// `${NAME}` and no such variable.
    #[error("environment variable `{0}` is not set")]
    MissingVariable(String),
    /// A required key is absent.
    #[error("is required: {0}")]
    Missing(String),
    /// Two keys that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// All mistakes of a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
