//! Every bound of the WAF, with its unit and reason.
//!
//! Owns: bounds that are fixed in code. Bounds an operator sets (`SecRequestBodyLimit` ...) are settings of a rule set.

/// Most bytes of one rule file: the largest data file of the Core Rule Set has 0.2 MB.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Most rule files of one set, includes counted: the Core Rule Set has 30 and 21 data files.
pub const FILES_MAX: usize = 1_024;
/// Deepest chain of `Include`.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Most rules of one set, links of chains counted: the Core Rule Set has 700.
pub const RULES_MAX: usize = 20_000;
/// Longest regular expression, bytes: the longest of the Core Rule Set has 12,126.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Largest compiled regular expression, bytes of its NFA.
pub const REGEX_BYTES_MAX: usize = 16 << 20;
/// Most phrases of one `@pm` or `@pmFromFile`.
pub const PHRASES_MAX: usize = 200_000;
/// Most links of one chain.
pub const CHAIN_LINKS_MAX: usize = 32;
/// Most transformations of one rule.
pub const TRANSFORMATIONS_MAX: usize = 32;
/// Most bytes of all files of one set together, data files counted: the Core Rule Set has 1 MB.
pub const SET_BYTES_MAX: usize = 64 << 20;
/// Most directives of one set that are neither rule nor setting (markers, changes of other rules): the Core Rule Set
/// has 90.
pub const DIRECTIVES_MAX: usize = 20_000;
/// Most targets of one rule: the Core Rule Set has 20.
pub const TARGETS_MAX: usize = 256;
/// Most actions of one rule: the Core Rule Set has 40.
pub const ACTIONS_MAX: usize = 256;
/// Most errors that are told about one set; reading stops there.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Most notes on what has no effect; later ones are dropped, since the same words repeat.
pub const NOTES_MAX: usize = 1_000;
