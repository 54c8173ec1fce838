//! Text with macros, compiled.
//!
//! Owns: [`Text`]: names of `TX` as numbers, everything else as it stands. Does not own: what a macro holds.

use super::name::{Names, TxId};
use crate::seclang::ast::{Template, TemplatePart};
use crate::variable::Variable;

/// A compiled template.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// Without macros.
    Static(Box<str>),
    /// With some.
    Parts(Box<[Part]>),
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Static(Box<str>),
    Tx(TxId),
    /// A variable, or the member of this name (in lower case).
    Variable(Variable, Option<Box<str>>),
}

impl Text {
    pub(crate) fn compile(template: &Template, names: &mut Names) -> Self {
        if let Some(text) = template.as_text() {
            return Self::Static(text.into());
        }
        let parts = template.0.iter().map(|part| match part {
            TemplatePart::Text(text) => Part::Static(text.as_str().into()),
            TemplatePart::Macro(Variable::Tx, Some(name)) => match names.intern(name.as_bytes()) {
                Some(id) => Part::Tx(id),
                None => Part::Variable(Variable::Tx, Some(name.to_ascii_lowercase().into())),
            },
            TemplatePart::Macro(variable, name) => {
                Part::Variable(*variable, name.as_ref().map(|name| name.to_ascii_lowercase().into()))
            }
        });
        Self::Parts(parts.collect())
    }

    /// The text when there is no macro in it.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Static(text) => Some(text),
            Self::Parts(_) => None,
        }
    }
}
