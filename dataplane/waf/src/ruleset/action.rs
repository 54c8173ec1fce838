//! What the actions of one rule mean, with the defaults of its phase.
//!
//! Owns: [`Meaning`], the sum of a rule's actions. `block` is what `SecDefaultAction` says; so is a rule without any
//! disruptive action.

use super::compile::Compiler;
use super::rule::{Disruption, Effect, Operation, RuleControl, Skip, TxKey};
use super::selection::Wanted;
use super::text::Text;
use crate::seclang::ast::{
    self, Action, Control, DefaultAction, Phase, Position, SetVar, SetVarOperation, Target,
};
use crate::transform::Transformation;
use crate::variable::Variable;

/// What a refused request gets where no rule says.
const STATUS: u16 = 403;
/// What a redirected request gets where no rule says, or says a status that does not redirect.
const STATUS_REDIRECT: u16 = 302;

/// `SecDefaultAction` by phase.
#[derive(Debug, Default)]
pub(super) struct Defaults([Vec<Action>; 5]);

impl Defaults {
    pub(super) fn set(&mut self, default: &DefaultAction) {
        self.0[default.phase as usize - 1].clone_from(&default.actions);
    }

    fn of(&self, phase: Phase) -> &[Action] {
        &self.0[phase as usize - 1]
    }
}

/// The sum of a rule's actions.
pub(super) struct Meaning {
    pub(super) id: u64,
    pub(super) label: Option<Box<str>>,
    pub(super) steps: Vec<Transformation>,
    pub(super) is_multi_match: bool,
    pub(super) captures: bool,
    pub(super) effects: Vec<Effect>,
    pub(super) disruption: Disruption,
    pub(super) status: u16,
    pub(super) tarpit_s: u16,
    pub(super) skip: (Skip, Option<String>),
    pub(super) is_logged: bool,
    pub(super) is_audited: bool,
    pub(super) message: Option<Text>,
    pub(super) log_data: Option<Text>,
    pub(super) severity: Option<u8>,
    pub(super) tags: Vec<Text>,
    pub(super) version: Option<Box<str>>,
    pub(super) revision: Option<Box<str>>,
    pub(super) maturity: Option<u8>,
    pub(super) accuracy: Option<u8>,
}

impl Meaning {
    pub(super) fn of(compiler: &mut Compiler<'_>, rule: &ast::Rule, phase: Phase) -> Self {
        let mut meaning = Self {
            id: 0,
            label: None,
            steps: Vec::new(),
            is_multi_match: false,
            captures: false,
            effects: Vec::new(),
            disruption: Disruption::Pass,
            status: STATUS,
            tarpit_s: 0,
            skip: (Skip::No, None),
            is_logged: true,
            is_audited: true,
            message: None,
            log_data: None,
            severity: None,
            tags: Vec::new(),
            version: None,
            revision: None,
            maturity: None,
            accuracy: None,
        };
        let defaults = compiler.defaults().of(phase).to_vec();
        let disruptive = rule.actions.iter().rev().find(|action| action.is_disruptive());
        let is_default = matches!(disruptive, None | Some(Action::Block));
        for action in &defaults {
            // What the default says of blocking holds for those who leave it open.
            if !action.is_disruptive() || is_default {
                meaning.add(compiler, rule.position, action);
            }
        }
        for action in &rule.actions {
            meaning.add(compiler, rule.position, action);
        }
        if matches!(meaning.disruption, Disruption::Redirect(_)) && !matches!(meaning.status, 300..=399) {
            meaning.status = STATUS_REDIRECT;
        }
        meaning
    }

    fn add(&mut self, compiler: &mut Compiler<'_>, position: Position, action: &Action) {
        match action {
            Action::Id(id) => self.id = *id,
            Action::Label(label) => self.label = Some(label.as_str().into()),
            Action::Msg(text) => self.message = Some(compiler.text(text)),
            Action::LogData(text) => self.log_data = Some(compiler.text(text)),
            Action::Severity(severity) => self.severity = Some(*severity),
            Action::Tag(tag) => self.tags.push(compiler.text(tag)),
            Action::Rev(revision) => self.revision = Some(revision.as_str().into()),
            Action::Ver(version) => self.version = Some(version.as_str().into()),
            Action::Maturity(level) => self.maturity = Some(*level),
            Action::Accuracy(level) => self.accuracy = Some(*level),
            Action::TransformNone => self.steps.clear(),
            Action::Transform(step) => self.steps.push(*step),
            Action::Pass => self.disruption = Disruption::Pass,
            Action::Allow(scope) => self.disruption = Disruption::Allow(*scope),
            // Where requests go is the routes' affair: a rule that would proxy them refuses them.
            Action::Deny | Action::Proxy(_) => self.disruption = Disruption::Deny,
            Action::Drop => self.disruption = Disruption::Drop,
            Action::Redirect(url) => self.disruption = Disruption::Redirect(compiler.text(url)),
            Action::Challenge => self.disruption = Disruption::Challenge,
            Action::Sanitize => self.disruption = Disruption::Sanitize,
            Action::Status(status) => self.status = *status,
            Action::Tarpit(seconds) => self.tarpit_s = *seconds,
            Action::Log => (self.is_logged, self.is_audited) = (true, true),
            Action::NoLog => (self.is_logged, self.is_audited) = (false, false),
            Action::AuditLog => self.is_audited = true,
            Action::NoAuditLog => self.is_audited = false,
            Action::Capture => self.captures = true,
            Action::MultiMatch => self.is_multi_match = true,
            Action::Skip(count) => self.skip = (Skip::Rules(*count), None),
            Action::SkipAfter(name) => self.skip = (Skip::To(u32::MAX), Some(name.clone())),
            // The default was taken over above; phases are read apart; prefixes of XML paths name nothing here.
            Action::Block | Action::Phase(_) | Action::XmlNamespace(..) => {}
            _ => self.effects.extend(effect(compiler, position, action)),
        }
    }
}

/// What every match does.
fn effect(compiler: &mut Compiler<'_>, position: Position, action: &Action) -> Option<Effect> {
    Some(match action {
        Action::SetVar(set) => set_var(compiler, set),
        Action::SetEnv(name, value) => Effect::SetEnv(compiler.text(name), compiler.text(value)),
        Action::ExpireVar(variable, name, seconds) => {
            Effect::ExpireVar(*variable, compiler.text(name), compiler.text(seconds))
        }
        Action::InitCol(variable, key) => Effect::InitCol(*variable, compiler.text(key)),
        Action::SetSid(key) => Effect::SetSid(compiler.text(key)),
        Action::SetUid(key) => Effect::SetUid(compiler.text(key)),
        Action::SetRsc(key) => Effect::SetRsc(compiler.text(key)),
        Action::Control(control) => Effect::Control(self::control(compiler, position, control)?),
        Action::SanitiseArg(name) => Effect::SanitiseArg(name.to_ascii_lowercase().into()),
        // Which bytes of the value matched depends on transformations; the whole value is hidden in both cases.
        Action::SanitiseMatched | Action::SanitiseMatchedBytes(..) => Effect::SanitiseMatched,
        Action::SanitiseRequestHeader(name) => {
            Effect::SanitiseRequestHeader(name.to_ascii_lowercase().into())
        }
        Action::SanitiseResponseHeader(name) => {
            Effect::SanitiseResponseHeader(name.to_ascii_lowercase().into())
        }
        _ => return None,
    })
}

fn set_var(compiler: &mut Compiler<'_>, set: &SetVar) -> Effect {
    let operation = match &set.operation {
        SetVarOperation::Set(value) => Operation::Set(compiler.text(value)),
        SetVarOperation::Add(value) => Operation::Add(compiler.text(value)),
        SetVarOperation::Subtract(value) => Operation::Subtract(compiler.text(value)),
        SetVarOperation::Unset => Operation::Unset,
    };
    if set.collection != Variable::Tx {
        return Effect::SetMember(set.collection, compiler.text(&set.name), operation);
    }
    let key = match set.name.as_text().and_then(|name| compiler.names.intern(name.as_bytes())) {
        Some(id) => TxKey::Static(id),
        None => TxKey::Dynamic(compiler.text(&set.name)),
    };
    Effect::SetTx(key, operation)
}

fn control(compiler: &mut Compiler<'_>, position: Position, control: &Control) -> Option<RuleControl> {
    let mut untarget = |wanted: Wanted<'_>, target: &Target| {
        let rules = compiler.selection(&wanted);
        let target = Target { is_exclusion: true, is_count: false, ..target.clone() };
        RuleControl::RemoveTarget(rules, compiler.list(position, &[target]))
    };
    Some(match control {
        Control::RuleEngine(mode) => RuleControl::Engine(*mode),
        Control::AuditEngine(mode) => RuleControl::Audit(*mode),
        Control::AuditLogParts(change, parts) => RuleControl::AuditParts(*change, parts.as_str().into()),
        Control::RequestBodyAccess(on) => RuleControl::RequestBodyAccess(*on),
        Control::ResponseBodyAccess(on) => RuleControl::ResponseBodyAccess(*on),
        Control::ForceRequestBodyVariable(on) => RuleControl::ForceRequestBody(*on),
        Control::RequestBodyProcessor(processor) => RuleControl::Processor(*processor),
        Control::RequestBodyLimit(bytes) => RuleControl::RequestBodyLimit(*bytes),
        Control::ResponseBodyLimit(bytes) => RuleControl::ResponseBodyLimit(*bytes),
        Control::RuleRemoveTargetById(ids, target) => untarget(Wanted::Ids(ids), target),
        Control::RuleRemoveTargetByTag(tag, target) => untarget(Wanted::Tag(tag), target),
        Control::RuleRemoveTargetByMsg(message, target) => untarget(Wanted::Message(message), target),
        Control::RuleRemoveById(ids) => RuleControl::Remove(compiler.selection(&Wanted::Ids(ids))),
        Control::RuleRemoveByTag(tag) => RuleControl::Remove(compiler.selection(&Wanted::Tag(tag))),
        Control::RuleRemoveByMsg(message) => {
            RuleControl::Remove(compiler.selection(&Wanted::Message(message)))
        }
        Control::DebugLogLevel(_) => return None,
    })
}
