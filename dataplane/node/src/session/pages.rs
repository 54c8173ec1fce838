//! Pages the node answers with in its own name.

/// What error pages say besides status and request id.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// A line of the operator's under each page, HTML-escaped when the page is made; empty = none.
    pub notice: Box<str>,
}
