//! The tables of the store: a fixed set, known by name in messages and by number in backups.
//!
//! A table maps keys of bytes to values of bytes. What they mean belongs to the part that owns the table; the
//! store only keeps them in order of their bytes.

use redb::TableDefinition;

/// Keys and values are bytes; values are in the frame of `frame`.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// One table. Names and numbers are for ever: they stand in files and backups.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table {
            $($(#[$doc])* $variant,)*
        }

        impl Table {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the file and in messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its number in backups.
            pub(super) const fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }
        }
    };
}

tables! {
    /// The resources of the current policy, one a record.
    Policy = 1, "policy";
    /// Earlier states of the policy, for history, comparison and rollback.
    Revisions = 2, "revisions";
    /// Known nodes.
    Nodes = 3, "nodes";
    /// Entries of the ban list, also those that say that a ban was taken back.
    Bans = 4, "bans";
    /// Bearer tokens, as hashes.
    Tokens = 5, "tokens";
    /// The audit log.
    Audit = 6, "audit";
    /// Blocks of security events.
    Events = 7, "events";
    /// Requests already answered, with their answers, so that repeating one changes nothing.
    Requests = 8, "requests";
    /// Rollouts under way and lately ended.
    Rollouts = 9, "rollouts";
    /// Single values of the orchestrator itself.
    Settings = 10, "settings";
}

impl Table {
    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    /// Its place in arrays with one element a table.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) fn by_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.number() == number)
    }
}
