//! Actions of the form `name=value`: `setvar`, `setenv`, `expirevar`, `initcol`, `xmlns`.
//!
//! Owns: their grammar. Does not own: collections.
//!
//! Sources: ModSecurity reference manual v3, "Actions"; ModSecurity's regression tests.

use super::action::{text, unquoted};
use super::ast::{Action, SetVar, SetVarOperation};
use super::diagnostics::{quoted, unknown};
use crate::variable::Variable;

/// Collections that a rule may write.
const WRITABLE: [Variable; 6] =
    [Variable::Tx, Variable::Ip, Variable::Global, Variable::Resource, Variable::Session, Variable::User];

/// `tx.score=+5`, `!tx.score`, `tx.seen`
pub(super) fn set_var(value: &str) -> Result<SetVar, String> {
    let (is_unset, rest) = match value.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (name, assigned) = split_assignment(rest);
    let (collection, name) = member("setvar", name)?;
    let name = text(name)?;
    let operation = match (is_unset, assigned) {
        (true, None) => SetVarOperation::Unset,
        (true, Some(_)) => {
            return Err(format!("'setvar' removes with '!' or sets with '=', not both: {}", quoted(value)));
        }
        (false, None) => SetVarOperation::Set(text("1")?),
        (false, Some(assigned)) => match (assigned.strip_prefix('+'), assigned.strip_prefix('-')) {
            (Some(more), _) => SetVarOperation::Add(text(&unquoted(more))?),
            (_, Some(less)) => SetVarOperation::Subtract(text(&unquoted(less))?),
            _ => SetVarOperation::Set(text(&unquoted(assigned))?),
        },
    };
    Ok(SetVar { collection, name, operation })
}

/// `name=value`
pub(super) fn set_env(value: &str) -> Result<Action, String> {
    match split_assignment(value) {
        ("", _) => Err("'setenv' needs a name".into()),
        (name, assigned) => Ok(Action::SetEnv(text(name)?, text(&unquoted(assigned.unwrap_or("1")))?)),
    }
}

/// `ip.counter=60`
pub(super) fn expire_var(value: &str) -> Result<Action, String> {
    let (name, life) = split_assignment(value);
    let (collection, name) = member("expirevar", name)?;
    let life = life.ok_or_else(|| format!("'expirevar' needs a life in seconds: {}=60", quoted(value)))?;
    Ok(Action::ExpireVar(collection, text(name)?, text(&unquoted(life))?))
}

/// `ip=%{REMOTE_ADDR}`
pub(super) fn init_col(value: &str) -> Result<Action, String> {
    let (name, key) = split_assignment(value);
    let persistent = || WRITABLE.iter().filter(|variable| variable.is_persistent());
    let Some(collection) = persistent().copied().find(|variable| variable.name().eq_ignore_ascii_case(name))
    else {
        return Err(unknown("persistent collection", name, persistent().map(|variable| variable.name())));
    };
    match key {
        None | Some("") => {
            Err(format!("'initcol' needs a key: {}=%{{REMOTE_ADDR}}", name.to_ascii_lowercase()))
        }
        Some(key) => Ok(Action::InitCol(collection, text(&unquoted(key))?)),
    }
}

/// `soap='http://schemas.xmlsoap.org/soap/envelope/'`
pub(super) fn xml_namespace(value: &str) -> Result<Action, String> {
    let (prefix, name) = value.split_once('=').ok_or_else(|| {
        format!("'xmlns' needs an equals sign as in soap='http://...', found {}", quoted(value))
    })?;
    let name = unquoted(name);
    if prefix.is_empty() || name.is_empty() {
        return Err(format!("'xmlns' needs a prefix and a name, found {}", quoted(value)));
    }
    let is_absolute = ["http://", "https://", "urn:"].iter().any(|scheme| name.starts_with(scheme));
    if !is_absolute {
        return Err(format!(
            "'xmlns' needs a name that begins with http://, https:// or urn:, not {}",
            quoted(&name)
        ));
    }
    Ok(Action::XmlNamespace(prefix.to_owned(), name))
}

/// Collection and member, parted by `.` or `:`.
fn member<'a>(action: &str, name: &'a str) -> Result<(Variable, &'a str), String> {
    let Some(cut) = name.find(['.', ':']) else {
        return Err(format!("'{action}' needs a collection and a name as in tx.name, not {}", quoted(name)));
    };
    let (collection, rest) = name.split_at(cut);
    let Some(variable) = WRITABLE.iter().copied().find(|known| known.name().eq_ignore_ascii_case(collection))
    else {
        let known = WRITABLE.iter().map(|variable| variable.name());
        return Err(unknown("collection to write", collection, known));
    };
    match rest.get(1..) {
        None | Some("") => Err(format!("'{action}' names no member of {}", variable.name())),
        Some(name) => Ok((variable, name)),
    }
}

/// At the first `=` that is not inside a macro.
fn split_assignment(text: &str) -> (&str, Option<&str>) {
    let mut is_macro = false;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text.as_bytes().get(offset.wrapping_sub(1)) == Some(&b'%') => is_macro = true,
            b'}' => is_macro = false,
            b'=' if !is_macro => {
                return (text.get(..offset).unwrap_or_default().trim_ascii(), text.get(offset + 1..));
            }
            _ => {}
        }
    }
    (text.trim_ascii(), None)
}
