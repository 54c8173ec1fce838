//! What a transaction holds, for logs: the request and response as rules saw them.
//!
//! Owns: reading access for those who write records. Does not own: what is hidden there ([`Transaction::is_masked`]).

use super::Transaction;
use super::data::Store;
use crate::seclang::ast::EngineMode;
use crate::variable::Variable;

impl Transaction {
    /// The fields of the request's head, in order.
    pub fn request_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields(Store::RequestHeaders)
    }

    /// The fields of the response's head, in order; none before phase 3.
    pub fn response_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields(Store::ResponseHeaders)
    }

    fn fields(&self, store: Store) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let values = &self.data.values;
        self.data.members(store).iter().map(|member| (values.get(member.name), values.get(member.value)))
    }

    /// A variable that holds one text; empty when it holds none.
    #[must_use]
    pub fn text(&self, variable: Variable) -> &[u8] {
        self.data.values.get(self.data.single(variable))
    }

    /// Whether rules may block it, as the set, its site and the rules themselves decided.
    #[must_use]
    pub const fn engine(&self) -> EngineMode {
        self.outcome.engine
    }

    /// The request's body as far as it was looked at.
    #[must_use]
    pub fn request_body(&self) -> &[u8] {
        self.data.values.get(self.data.body)
    }
}
