//! Text with macros, `%{tx.score}`.
//!
//! Owns: the grammar of macros. Does not own: their values.
//!
//! Sources: ModSecurity reference manual v3, "Macro expansion"; name and member are parted by `.` or `:`.

use super::ast::{Template, TemplatePart};
use super::diagnostics::{Fault, quoted, unknown};
use crate::variable::{Kind, Variable};

/// How strictly `%{` is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macros {
    /// Every `%{` must be a macro that is known.
    All,
    /// A regular expression: `%{2}` is a repetition, `%{name` must be known.
    Pattern,
    /// Phrases and the like: what is not known stands for itself.
    Known,
}

/// Takes text apart.
pub(super) fn parse(text: &str, macros: Macros) -> Result<Template, Fault> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(open) = rest.find("%{") else {
            literal.push_str(rest);
            break;
        };
        let (before, from) = rest.split_at(open);
        literal.push_str(before);
        if macros != Macros::All && !from.contains('}') {
            literal.push_str(from);
            break;
        }
        match one(from, macros).map_err(|message| Fault::new(at + open, message))? {
            Some((part, len)) => {
                if !literal.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
                }
                parts.push(part);
                at += open + len;
            }
            None => {
                literal.push_str("%{");
                at += open + 2;
            }
        }
    }
    if !literal.is_empty() {
        parts.push(TemplatePart::Text(literal));
    }
    Ok(Template(parts))
}

/// The macro at the start of `%{...`, with its length; none where it stands for itself.
fn one(from: &str, macros: Macros) -> Result<Option<(TemplatePart, usize)>, String> {
    let inner_from = from.get(2..).unwrap_or_default();
    let Some(close) = inner_from.find('}') else {
        return match macros {
            Macros::All => Err("the macro '%{' is not closed".into()),
            Macros::Pattern | Macros::Known => Ok(None),
        };
    };
    let inner = inner_from.get(..close).unwrap_or_default();
    let (name, member) = match inner.find(['.', ':']) {
        Some(cut) => (inner.get(..cut).unwrap_or_default(), inner.get(cut + 1..)),
        None => (inner, None),
    };
    let Some(variable) = Variable::from_name(name) else {
        let is_literal = match macros {
            Macros::All => false,
            Macros::Pattern => !name.starts_with(|first: char| first.is_ascii_alphabetic()),
            Macros::Known => true,
        };
        if is_literal {
            return Ok(None);
        }
        let known = Variable::ALL.iter().map(|variable| variable.name());
        let hint = if macros == Macros::Pattern { " (a regular expression may write '%\\{')" } else { "" };
        let shown = quoted(&format!("%{{{inner}}}"));
        return Err(format!("{} in {shown}{hint}", unknown("variable", name, known)));
    };
    match (variable.kind(), member) {
        (_, Some("")) => Err(format!("the macro {} names no member", quoted(&format!("%{{{inner}}}")))),
        (Kind::Single, Some(_)) => {
            Err(format!("{} has no members, as in {}", variable.name(), quoted(&format!("%{{{inner}}}"))))
        }
        (_, member) => {
            let part = TemplatePart::Macro(variable, member.map(str::to_owned));
            // '%{', the inner text, '}'
            Ok(Some((part, close + 3)))
        }
    }
}
