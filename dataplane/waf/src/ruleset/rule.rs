//! A compiled rule.
//!
//! Owns: the types. Heads of chains stand before their links; what concerns the whole chain (verdict, logging,
//! skipping) is the head's.

use super::name::TxId;
use super::text::Text;
use crate::byte_set::ByteSet;
use crate::operator::Operator;
use crate::seclang::ast::{AllowScope, AuditMode, BodyProcessor, EngineMode, Phase, Position};
use crate::transform::Transformation;
use crate::variable::Variable;

/// A rule, or a link of a chain.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u64,
    pub(crate) label: Option<Box<str>>,
    pub(crate) position: Position,
    pub(crate) phase: Phase,
    /// Pair of targets and transformations; of a rule without an operator, unused.
    pub(crate) group: u32,
    /// For `multiMatch`: every step on the way.
    pub(crate) steps: Box<[Transformation]>,
    pub(crate) is_multi_match: bool,
    pub(crate) is_negated: bool,
    pub(crate) captures: bool,
    pub(crate) test: Test,
    /// Bytes of which a value must have one to match.
    pub(crate) needed: Option<ByteSet>,
    /// The hit bit without which nothing can match.
    pub(crate) hit: Option<u32>,
    /// What every match does.
    pub(crate) effects: Box<[Effect]>,
    /// How many links follow.
    pub(crate) links: u16,
    pub(crate) disruption: Disruption,
    pub(crate) status: u16,
    pub(crate) tarpit_s: u16,
    pub(crate) skip: Skip,
    pub(crate) is_logged: bool,
    pub(crate) is_audited: bool,
    pub(crate) message: Option<Text>,
    pub(crate) log_data: Option<Text>,
    pub(crate) severity: Option<u8>,
    pub(crate) tags: Box<[Text]>,
    pub(crate) version: Option<Box<str>>,
    pub(crate) revision: Option<Box<str>>,
    pub(crate) maturity: Option<u8>,
    pub(crate) accuracy: Option<u8>,
}

/// What a rule asks.
#[derive(Debug)]
pub(crate) enum Test {
    /// `SecAction`.
    Always,
    /// A `TX` number against a number: most rules that steer others.
    TxNumber { read: TxRead, comparison: Comparison, argument: Number },
    /// An expression, by its number in the set.
    Rx(u32),
    /// The same, noting every match.
    RxGlobal(u32),
    /// An expression with macros, compiled when it is asked.
    RxMacro(Text),
    /// Any other word.
    Operator(Box<Operator>, Text),
}

/// What of `TX` is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TxRead {
    Value(TxId),
    /// `&TX:name`: 1 or 0.
    Count(TxId),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    GreaterOrEqual,
    Greater,
    LessOrEqual,
    Less,
}

impl Comparison {
    pub(crate) const fn holds(self, value: i64, argument: i64) -> bool {
        match self {
            Self::Equal => value == argument,
            Self::GreaterOrEqual => value >= argument,
            Self::Greater => value > argument,
            Self::LessOrEqual => value <= argument,
            Self::Less => value < argument,
        }
    }
}

/// A number, or the `TX` variable that holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Static(i64),
    Tx(TxId),
}

/// What a match of the whole chain means for the request.
#[derive(Debug)]
pub(crate) enum Disruption {
    /// Nothing.
    Pass,
    Allow(AllowScope),
    Deny,
    Drop,
    Redirect(Text),
    Challenge,
    /// What matched is taken out (rules of a JSON set).
    Sanitize,
}

/// Which rules are passed over after a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    No,
    /// So many.
    Rules(u32),
    /// Go on at this place of the phase.
    To(u32),
}

/// Which `TX` variable is written.
#[derive(Debug)]
pub(crate) enum TxKey {
    Static(TxId),
    Dynamic(Text),
}

/// How a variable is written.
#[derive(Debug)]
pub(crate) enum Operation {
    Set(Text),
    Add(Text),
    Subtract(Text),
    Unset,
}

/// What a match does.
#[derive(Debug)]
pub(crate) enum Effect {
    SetTx(TxKey, Operation),
    SetMember(Variable, Text, Operation),
    SetEnv(Text, Text),
    ExpireVar(Variable, Text, Text),
    InitCol(Variable, Text),
    SetSid(Text),
    SetUid(Text),
    SetRsc(Text),
    Control(RuleControl),
    SanitiseArg(Box<str>),
    SanitiseMatched,
    SanitiseRequestHeader(Box<str>),
    SanitiseResponseHeader(Box<str>),
}

/// `ctl`, compiled.
#[derive(Debug)]
pub(crate) enum RuleControl {
    Engine(EngineMode),
    Audit(AuditMode),
    AuditParts(Option<bool>, Box<str>),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
    ForceRequestBody(bool),
    Processor(BodyProcessor),
    RequestBodyLimit(u64),
    ResponseBodyLimit(u64),
    /// The rules of this selection of the set.
    Remove(u32),
    /// For the rules of this selection, a target of this list's exclusions.
    RemoveTarget(u32, u32),
}
