//! Phases 3, 4 and 5: what a response holds, and the end.

use super::data::Store;
use super::outcome::{Interruption, Limit};
use super::{Evaluator, Transaction};
use crate::seclang::ast::{EngineMode, Phase};
use crate::seclang::settings::LimitAction;
use crate::variable::Variable;

/// Most fields of a head that are looked at.
const FIELDS_MAX: usize = 1_024;

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// 100-599.
    pub status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a [u8],
}

impl Evaluator {
    /// Phase 3: the head of the response.
    pub fn response_head<'f>(
        &mut self,
        tx: &mut Transaction,
        head: &ResponseHead<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Option<Interruption> {
        if tx.outcome.engine == EngineMode::Off {
            return None;
        }
        let data = &mut tx.data;
        data.set_number(Variable::ResponseStatus, u64::from(head.status));
        data.set_single(Variable::Status, data.single(Variable::ResponseStatus));
        data.set_text(Variable::ResponseProtocol, head.protocol);
        for (name, value) in fields.take(FIELDS_MAX) {
            data.add_text(Store::ResponseHeaders, name, value);
            if name.eq_ignore_ascii_case(b"content-type") {
                data.set_text(Variable::ResponseContentType, media_type(value));
            } else if name.eq_ignore_ascii_case(b"content-length") {
                data.set_text(Variable::ResponseContentLength, value);
            }
        }
        tx.outcome.phase_now = Phase::ResponseHeaders as u8;
        self.run(tx, Phase::ResponseHeaders)
    }

    /// How many bytes of the response's body rules want to see; `None`: none of it.
    #[must_use]
    pub fn wants_response_body(&self, tx: &Transaction) -> Option<u64> {
        let outcome = &tx.outcome;
        if outcome.engine == EngineMode::Off
            || !outcome.response_body_access
            || !outcome.runs(Phase::ResponseBody)
        {
            return None;
        }
        let kind = tx.data.values.get(tx.data.single(Variable::ResponseContentType));
        let types = &self.set.settings.response_body_types;
        let is_listed = types.iter().any(|listed| {
            kind.eq_ignore_ascii_case(listed.as_bytes())
                || (kind.is_empty() && listed.eq_ignore_ascii_case("null"))
        });
        is_listed.then_some(outcome.response_body_bytes_max)
    }

    /// Whether a body beyond the limit passes, judged by its first bytes.
    #[must_use]
    pub fn passes_longer_response(&self, tx: &Transaction) -> bool {
        self.set.settings.response_body_limit_action == LimitAction::ProcessPartial
            || tx.outcome.engine == EngineMode::DetectionOnly
    }

    /// Phase 4: the body, whole, or its first bytes when it is longer than wanted (`is_whole` false). Also called for
    /// responses whose body is not wanted (with an empty one).
    pub fn response_body(
        &mut self,
        tx: &mut Transaction,
        bytes: &[u8],
        is_whole: bool,
    ) -> Option<Interruption> {
        if tx.outcome.engine == EngineMode::Off || !tx.outcome.runs(Phase::ResponseBody) {
            return None;
        }
        if !is_whole {
            tx.outcome.limits.insert(Limit::ResponseBody);
            tx.data.set_text(Variable::OutboundDataError, b"1");
        }
        tx.data.set_text(Variable::ResponseBody, bytes);
        if tx.data.single(Variable::ResponseContentLength) == super::value::ValueId::EMPTY {
            tx.data.set_number(Variable::ResponseContentLength, bytes.len() as u64);
        }
        tx.outcome.phase_now = Phase::ResponseBody as u8;
        self.run(tx, Phase::ResponseBody)
    }

    /// Phase 5: all is over. Nothing can be blocked any more.
    pub fn finish(&mut self, tx: &mut Transaction, now_us: u64) {
        tx.data.now_us = now_us;
        tx.outcome.phase_now = Phase::Logging as u8;
        self.run(tx, Phase::Logging);
    }
}

/// A content type without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value[..end].trim_ascii()
}
