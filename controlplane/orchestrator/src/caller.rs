//! Who asks, and what they may do.
//!
//! Owns: scopes and the check. Does not own: how a caller is recognised (`api::auth`).

use crate::failure::Failure;

/// What a token or certificate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything that only looks, except the audit log.
    Read,
    /// Policies, rules, rollouts.
    PolicyWrite,
    /// Bans.
    BanWrite,
    /// Acknowledging events.
    EventWrite,
    /// Orders to nodes, scaling, cleaning up.
    FleetWrite,
    /// The audit log.
    AuditRead,
    /// Enrolling one node.
    Join,
    /// Being a node: the stream of `NodeService`.
    Node,
    /// Everything, and tokens.
    Admin,
}

impl Scope {
    /// Every scope with its word.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Read, "read"),
        (Self::PolicyWrite, "policy:write"),
        (Self::BanWrite, "ban:write"),
        (Self::EventWrite, "event:write"),
        (Self::FleetWrite, "fleet:write"),
        (Self::AuditRead, "audit:read"),
        (Self::Join, "join"),
        (Self::Node, "node"),
        (Self::Admin, "admin"),
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(scope, _)| *scope == self).map_or("", |(_, word)| word)
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the token, common name of the certificate, `loopback`, `node <uuid>` or `internal`.
    pub name: String,
    /// Interface and address, for the audit log: `grpc 192.0.2.7:5000`.
    pub source: String,
    /// What they may do.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// The control plane itself: reconcilers, automatic rollback.
    pub fn internal(what: &str) -> Self {
        Self { name: "internal".into(), source: what.into(), scopes: vec![Scope::Admin] }
    }

    /// Whether the scope is among theirs. Whoever may write may read.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| {
            *held == scope
                || *held == Scope::Admin
                || (scope == Scope::Read && !matches!(held, Scope::Join | Scope::Node))
        })
    }

    /// Lets pass who may.
    ///
    /// # Errors
    /// [`Failure::Denied`], naming the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Failure> {
        if self.has(scope) {
            return Ok(());
        }
        Err(Failure::Denied(format!("{} lacks the scope `{}`", self.name, scope.word())))
    }
}
