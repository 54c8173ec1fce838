//! Enumerations whose variants have names in SecLang.
//!
//! Owns: the macro [`named`], which writes the names once: variants, `ALL`, `name`, `from_name` with aliases.

/// An enumeration of words: `Variant = "name" | "alias";` with its documentation.
macro_rules! named {
    (
        $(#[$outer:meta])* $type:ident;
        $($(#[$doc:meta])* $name:ident = $text:literal $(| $alias:literal)*;)*
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$doc])* $name,)*
        }

        impl $type {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As SecLang writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// By its name, in any case, or by another that is in use for it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                $(if name.eq_ignore_ascii_case($text) $(|| name.eq_ignore_ascii_case($alias))* {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

pub(crate) use named;
