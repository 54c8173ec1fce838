//! `${NAME}` in a value stands for a variable of the environment, `$$` for a dollar sign.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why a text could not be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No such variable.
    Missing(String),
    /// `${` without `}`.
    Unclosed,
}

/// Expands `text`. A `$` before anything but `{` and `$` stands for itself.
pub(super) fn expand<'t>(
    text: &'t str,
    environment: &BTreeMap<String, String>,
) -> Result<Cow<'t, str>, Failure> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('{') {
            let (name, tail) = tail.split_once('}').ok_or(Failure::Unclosed)?;
            out.push_str(environment.get(name).ok_or_else(|| Failure::Missing(name.into()))?);
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        BTreeMap::from([("A".into(), "alpha".into()), ("E".into(), String::new())])
    }

    #[test]
    fn variables_are_replaced_and_dollars_escaped() {
        let expand = |text| expand(text, &environment());
        assert_eq!(expand("x${A}y${A}"), Ok("xalphayalpha".into()));
        assert_eq!(expand("$${A} $5 $"), Ok("${A} $5 $".into()));
        assert_eq!(expand("${E}"), Ok("".into()));
    }

    #[test]
    fn missing_variable_and_open_brace_are_refused() {
        assert_eq!(expand("${B}", &environment()), Err(Failure::Missing("B".into())));
        assert_eq!(expand("${A", &environment()), Err(Failure::Unclosed));
    }

    #[test]
    fn a_value_is_not_expanded_twice() {
        let environment = BTreeMap::from([("A".into(), "${B}".into())]);
        assert_eq!(expand("${A}", &environment), Ok("${B}".into()));
    }
}
