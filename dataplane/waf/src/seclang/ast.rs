//! What a rule file says, as values.
//!
//! Owns: the types that the parser yields and the compiler takes: rules with their targets, operator call and
//! actions, and directives that change other rules. Does not own: words (`Variable`, `Transformation`), text, or what
//! any of it does.

use crate::transform::Transformation;
use crate::variable::Variable;

/// Where something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Index into [`Configuration::files`].
    pub file: u16,
    /// Line, from 1.
    pub line: u32,
}

/// All that the operator's files say.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Names of the files read, in order.
    pub files: Vec<String>,
    /// What applies to the whole set; of a directive given twice, the later holds.
    pub settings: super::settings::Settings,
    /// Everything else, in the order read.
    pub directives: Vec<Directive>,
    /// Files that operators name (`@pmFromFile` ...), by path; see [`Configuration::data_file`].
    pub data: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Configuration {
    /// The bytes of a file that a rule at this position names.
    #[must_use]
    pub fn data_file(&self, position: Position, name: &str) -> Option<&[u8]> {
        let naming = self.files.get(usize::from(position.file))?;
        let found = super::candidates(naming, name).into_iter().find_map(|path| self.data.get(&path));
        found.map(Vec::as_slice)
    }
}

/// One directive that is no setting.
#[derive(Clone, Debug)]
pub enum Directive {
    /// `SecRule` with the links of its chain, or `SecAction` (no operator).
    Rule(Box<Rule>),
    /// `SecMarker`: where `skipAfter` lands.
    Marker(String),
    /// `SecDefaultAction`: holds for the rules of its phase that follow.
    DefaultAction(DefaultAction),
    /// `SecRuleRemoveById`.
    RemoveById(Vec<IdRange>),
    /// `SecRuleRemoveByTag`: rules with this tag.
    RemoveByTag(String),
    /// `SecRuleRemoveByMsg`: rules with this message.
    RemoveByMsg(String),
    /// `SecRuleUpdateTargetById`.
    UpdateTargetById(Vec<IdRange>, Vec<Target>),
    /// `SecRuleUpdateTargetByTag`.
    UpdateTargetByTag(String, Vec<Target>),
    /// `SecRuleUpdateTargetByMsg`.
    UpdateTargetByMsg(String, Vec<Target>),
    /// `SecRuleUpdateActionById`: the rule, which link of its chain (0 = head), and what replaces or joins its actions.
    UpdateActionById(u64, u16, Vec<Action>),
}

/// `SecDefaultAction`.
#[derive(Clone, Debug)]
pub struct DefaultAction {
    /// The phase it holds for.
    pub phase: Phase,
    /// Its actions, without `phase`; one of them is disruptive and not `block`.
    pub actions: Vec<Action>,
    /// Where it stands.
    pub position: Position,
}

/// Identifiers from first to last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
}

impl IdRange {
    /// Whether the identifier is in.
    #[must_use]
    pub const fn contains(&self, id: u64) -> bool {
        self.first <= id && id <= self.last
    }
}

/// When a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// 1: the head of the request is there.
    RequestHeaders = 1,
    /// 2: its body is there.
    RequestBody = 2,
    /// 3: the head of the response is there.
    ResponseHeaders = 3,
    /// 4: its body is there.
    ResponseBody = 4,
    /// 5: all is over; nothing can be blocked.
    Logging = 5,
}

/// `SecRule` or `SecAction`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it stands.
    pub position: Position,
    /// What it looks at; empty for `SecAction`.
    pub targets: Vec<Target>,
    /// What it asks; none for `SecAction`, which always matches.
    pub operator: Option<OperatorCall>,
    /// What it does, in the order written.
    pub actions: Vec<Action>,
    /// The other rules of its chain, in order. Links have none of their own.
    pub links: Vec<Self>,
}

/// One thing a rule looks at, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub variable: Variable,
    /// Which members.
    pub selector: Selector,
    /// `&`: how many there are, in place of what they hold.
    pub is_count: bool,
    /// `!`: not these.
    pub is_exclusion: bool,
}

/// Which members of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All.
    All,
    /// That of this name, in any case. For `XML` the path.
    Name(String),
    /// Those whose name matches this regular expression (`ARGS:/^id_/`).
    Pattern(String),
}

/// `@name argument`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCall {
    /// `!`: matches when the operator does not.
    pub is_negated: bool,
    /// Its name as written, without `@`; `rx` where none is written.
    pub name: String,
    /// Its argument, with macros.
    pub argument: Template,
}

/// Text with macros: `%{tx.score}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<TemplatePart>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it stands.
    Text(String),
    /// What this variable holds when the text is needed; for a collection, this member.
    Macro(Variable, Option<String>),
}

impl Template {
    /// The text, if there is no macro in it.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [TemplatePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Text without macros.
    #[must_use]
    pub fn text(text: &str) -> Self {
        if text.is_empty() { Self::default() } else { Self(vec![TemplatePart::Text(text.to_owned())]) }
    }
}

/// One action of a rule (ModSecurity reference manual, "Actions").
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `id`
    Id(u64),
    /// `phase`
    Phase(Phase),
    /// `msg`
    Msg(Template),
    /// `logdata`
    LogData(Template),
    /// `severity`, 0 (emergency) to 7 (debug)
    Severity(u8),
    /// `tag`
    Tag(Template),
    /// `rev`
    Rev(String),
    /// `ver`
    Ver(String),
    /// `maturity`
    Maturity(u8),
    /// `accuracy`
    Accuracy(u8),
    /// `t:none`: forgets the transformations before it.
    TransformNone,
    /// `t:...`
    Transform(Transformation),
    /// `block`: what the default action of the phase says.
    Block,
    /// `deny`
    Deny,
    /// `drop`: ends the connection without an answer.
    Drop,
    /// `pass`
    Pass,
    /// `allow`
    Allow(AllowScope),
    /// `redirect`
    Redirect(Template),
    /// `proxy`; treated as `deny`, since routes decide about backends.
    Proxy(Template),
    /// `status`
    Status(u16),
    /// `log`
    Log,
    /// `nolog`
    NoLog,
    /// `auditlog`
    AuditLog,
    /// `noauditlog`
    NoAuditLog,
    /// `capture`
    Capture,
    /// `multiMatch`
    MultiMatch,
    /// `skip`: this many rules are passed over.
    Skip(u32),
    /// `skipAfter`: goes on after this marker, or after the rule with this id.
    SkipAfter(String),
    /// `setvar`
    SetVar(SetVar),
    /// `setenv`: name and value.
    SetEnv(Template, Template),
    /// `expirevar`: the variable and its life, seconds.
    ExpireVar(Variable, Template, Template),
    /// `initcol`: the persistent collection and its key.
    InitCol(Variable, Template),
    /// `setsid`
    SetSid(Template),
    /// `setuid`
    SetUid(Template),
    /// `setrsc`
    SetRsc(Template),
    /// `ctl`
    Control(Control),
    /// `sanitiseArg`: the audit log shows stars in place of this argument.
    SanitiseArg(String),
    /// `sanitiseMatched`: likewise for what this rule matches.
    SanitiseMatched,
    /// `sanitiseMatchedBytes`: likewise, but for so many bytes at both ends.
    SanitiseMatchedBytes(u16, u16),
    /// `sanitiseRequestHeader`
    SanitiseRequestHeader(String),
    /// `sanitiseResponseHeader`
    SanitiseResponseHeader(String),
    /// `xmlns`: a prefix of XML paths and its name; kept for old rules.
    XmlNamespace(String, String),
    /// `tarpit`, SecBeat's own: a refused request is answered so many seconds late.
    Tarpit(u16),
    /// The name of a rule beside its number: rules of a JSON set have one.
    Label(String),
    /// What matched is taken out of the request: rules of a JSON set may want it.
    Sanitize,
    /// `challenge`, SecBeat's own: the client must solve a challenge first.
    Challenge,
}

impl Action {
    /// Whether it says what becomes of the request.
    #[must_use]
    pub const fn is_disruptive(&self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Deny
                | Self::Drop
                | Self::Pass
                | Self::Allow(_)
                | Self::Redirect(_)
                | Self::Proxy(_)
                | Self::Challenge
                | Self::Sanitize
        )
    }
}

/// What `allow` lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowScope {
    /// `allow`: the rest of the transaction.
    Transaction,
    /// `allow:phase`: the rest of the phase.
    Phase,
    /// `allow:request`: up to the response.
    Request,
}

/// `setvar`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVar {
    /// `TX`, or a persistent collection.
    pub collection: Variable,
    /// The member's name.
    pub name: Template,
    /// What becomes of it.
    pub operation: SetVarOperation,
}

/// What `setvar` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetVarOperation {
    /// `=value`, or `1` without a value.
    Set(Template),
    /// `=+number`
    Add(Template),
    /// `=-number`
    Subtract(Template),
    /// `!name`
    Unset,
}

/// On, off, or looking only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineMode {
    /// Rules are asked, and may block.
    On,
    /// Rules are not asked.
    #[default]
    Off,
    /// Rules are asked; nothing is blocked.
    DetectionOnly,
}

/// What goes into the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditMode {
    /// Every transaction.
    On,
    /// None.
    #[default]
    Off,
    /// Those with a match, or with a status that `SecAuditLogRelevantStatus` names.
    RelevantOnly,
}

/// What takes a request body apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProcessor {
    /// `URLENCODED`
    UrlEncoded,
    /// `MULTIPART`
    Multipart,
    /// `JSON`
    Json,
    /// `XML`
    Xml,
}

impl BodyProcessor {
    /// As rules write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UrlEncoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// `ctl`: changes this transaction only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `ruleEngine`
    RuleEngine(EngineMode),
    /// `auditEngine`
    AuditEngine(AuditMode),
    /// `auditLogParts`: parts added (`true`) or taken away; `None` replaces all.
    AuditLogParts(Option<bool>, String),
    /// `requestBodyAccess`
    RequestBodyAccess(bool),
    /// `responseBodyAccess`
    ResponseBodyAccess(bool),
    /// `forceRequestBodyVariable`
    ForceRequestBodyVariable(bool),
    /// `requestBodyProcessor`
    RequestBodyProcessor(BodyProcessor),
    /// `requestBodyLimit`, bytes
    RequestBodyLimit(u64),
    /// `responseBodyLimit`, bytes
    ResponseBodyLimit(u64),
    /// `ruleRemoveById`
    RuleRemoveById(Vec<IdRange>),
    /// `ruleRemoveByTag`
    RuleRemoveByTag(String),
    /// `ruleRemoveByMsg`
    RuleRemoveByMsg(String),
    /// `ruleRemoveTargetById`
    RuleRemoveTargetById(Vec<IdRange>, Target),
    /// `ruleRemoveTargetByTag`
    RuleRemoveTargetByTag(String, Target),
    /// `ruleRemoveTargetByMsg`
    RuleRemoveTargetByMsg(String, Target),
    /// `debugLogLevel`, without effect: there is no debug log.
    DebugLogLevel(u8),
}
