//! Where requests and responses are looked at before they pass.
//!
//! ```text
//!  head --request_head--> Body --pieces or the whole--> request_body --> backend
//!                                                                           |
//!  client <-- response_body <--pieces or the whole-- Body <--response_head--'
//! ```
//! Owns: [`Inspector`] (one per worker), the points at which it is asked, its verdicts, and [`Transaction`], what it
//! remembers of one request. Does not own: what becomes of a verdict, or the buffers of bodies that it wants
//! whole; the session has both. At each head it says how it wants the body: not at all, piece by piece as it
//! passes, or whole before the first byte passes, up to a limit.
//! It looks for targets that climb out of their root or hide what they mean, and asks the rules (`rules`). Rules are
//! asked first, so that their records have what is refused anyway. Sizes are held by the session's limits.
//! Cost: without rules a comparison per head, nothing per body.

mod audit;
mod clean;
mod rules;
mod told;

use secbeat_http::head::{Request, Response};
use secbeat_http::target::{Finding, Findings, Resolved};

use super::policy::Inspection;
use crate::event::AttackKind;
use crate::telemetry::counters::WorkerCounters;
pub(super) use clean::{Cleaning, clean};
pub(super) use rules::{End, Facts, NAME, Rules, Running};

/// What is to become of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes.
    Allow,
    /// The client gets this status with a page.
    Block(Block),
    /// The connection (HTTP/2: the stream) is reset without an answer.
    Reset(Block),
    /// The client is sent to [`Running::location`].
    Redirect(Block),
}

/// Why something does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What the client gets.
    pub(super) status: u16,
    /// The rule, for logs and events.
    pub(super) rule: &'static str,
    /// What it is an attack of.
    pub(super) attack: AttackKind,
    /// How late the answer is to be, seconds.
    pub(super) tarpit_s: u16,
}

/// How a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Not at all.
    Pass,
    /// Piece by piece, as it passes.
    #[cfg_attr(not(test), expect(dead_code, reason = "rules want bodies whole or not at all"))]
    Pieces,
    /// Whole, before any of it passes.
    Whole {
        /// Most bytes kept for it; the session's buffers hold them.
        bytes_max: usize,
        /// What becomes of a longer one: it passes, judged by its first bytes, or is refused (413, 502).
        pass_longer: bool,
    },
}

/// What the inspector remembers of one request.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) sees_request_body: bool,
    pub(super) sees_response_body: bool,
    pub(super) passes_longer_request: bool,
    pub(super) passes_longer_response: bool,
    /// What rules know of it; `None` = they are not asked.
    pub(super) running: Option<Box<Running>>,
}

/// Looks at the requests of one worker.
#[derive(Debug)]
pub(super) struct Inspector {
    pub(super) rules: Rules,
    /// What tests want to see of bodies.
    #[cfg(test)]
    pub(super) script: tests::Script,
}

impl Inspector {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            #[cfg(test)]
            script: tests::Script::default(),
        }
    }

    /// The head of a request, before limits of its body and before any backend.
    pub(super) fn request_head(
        &mut self,
        transaction: &mut Transaction,
        policy: &Inspection,
        facts: &Facts<'_>,
        head: &Request,
        target: &Resolved,
    ) -> (Verdict, Body) {
        let mut asked = (Verdict::Allow, Body::Pass);
        if let Some(waf) = &policy.waf {
            asked = self.rules.request_head(&mut transaction.running, waf, facts, head, target.path());
        }
        if policy.refuse_traversal && target.findings().is_hostile() && asked.0 == Verdict::Allow {
            if let (Some(running), Body::Whole { .. }) = (&mut transaction.running, asked.1) {
                // Its body is not waited for.
                asked.0 = self.rules.request_body(running, b"", true);
            }
            let hostile = target.findings().intersection(Findings::HOSTILE).iter().next();
            let rule = hostile.map_or("path_traversal", Finding::name);
            let block = Block { status: 400, rule, attack: AttackKind::PathTraversal, tarpit_s: 0 };
            let verdict = if asked.0 == Verdict::Allow { Verdict::Block(block) } else { asked.0 };
            return (verdict, Body::Pass);
        }
        #[cfg(test)]
        if transaction.running.is_none() {
            return (Verdict::Allow, self.script.request_body);
        }
        asked
    }

    /// A piece of a request's body, or all of it (`is_last`) when it was wanted whole. A longer one that may pass
    /// comes with its first bytes and `is_last` false.
    pub(super) fn request_body(
        &mut self,
        transaction: &mut Transaction,
        bytes: &[u8],
        is_last: bool,
    ) -> Verdict {
        if let Some(running) = &mut transaction.running {
            return self.rules.request_body(running, bytes, is_last);
        }
        #[cfg(test)]
        return self.script.see(bytes, is_last);
        #[cfg(not(test))]
        Verdict::Allow
    }

    /// The head of a response; its fields, the content type among them, decide how its body is wanted.
    pub(super) fn response_head(
        &mut self,
        transaction: &mut Transaction,
        head: &Response,
        page: &WorkerCounters,
    ) -> (Verdict, Body) {
        if let Some(running) = &mut transaction.running {
            return self.rules.response_head(running, head, page);
        }
        #[cfg(test)]
        return (Verdict::Allow, self.script.response_body);
        #[cfg(not(test))]
        (Verdict::Allow, Body::Pass)
    }

    /// A piece of a response's body, or all of it, as for requests. After the head has left, `Block` cuts it off.
    pub(super) fn response_body(
        &mut self,
        transaction: &mut Transaction,
        bytes: &[u8],
        is_last: bool,
    ) -> Verdict {
        if let Some(running) = &mut transaction.running {
            return self.rules.response_body(running, bytes, is_last);
        }
        #[cfg(test)]
        return self.script.see(bytes, is_last);
        #[cfg(not(test))]
        Verdict::Allow
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What an inspector under test wants, and what it was shown.
    #[derive(Debug)]
    pub(in super::super) struct Script {
        pub(in super::super) request_body: Body,
        pub(in super::super) response_body: Body,
        /// Blocks whatever holds these bytes.
        pub(in super::super) block: Option<&'static [u8]>,
        pub(in super::super) verdict: fn(Block) -> Verdict,
        pub(in super::super) seen: Vec<(Vec<u8>, bool)>,
    }

    impl Default for Script {
        fn default() -> Self {
            Self {
                request_body: Body::Pass,
                response_body: Body::Pass,
                block: None,
                verdict: Verdict::Block,
                seen: Vec::new(),
            }
        }
    }

    impl Script {
        pub(super) fn see(&mut self, bytes: &[u8], is_last: bool) -> Verdict {
            self.seen.push((bytes.to_vec(), is_last));
            match self.block {
                Some(word) if bytes.windows(word.len()).any(|window| window == word) => {
                    (self.verdict)(Block {
                        status: 403,
                        rule: "test_rule",
                        attack: AttackKind::ProtocolAbuse,
                        tarpit_s: 0,
                    })
                }
                _ => Verdict::Allow,
            }
        }
    }
}
