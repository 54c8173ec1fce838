//! The head of a response.
use super::{Fields, Span, Version};
use crate::{error::Error, syntax};

/// The head of a response. Reuse it: `clear` keeps the room.
#[derive(Debug, Clone, Default)]
pub struct Response {
    fields: Fields,
    reason: Span,
    status: u16,
    version: Version,
}

impl Response {
    /// An empty head; it allocates when first filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// The status: 100-599, or 0 in an empty head.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.fields.bytes())
    }

    /// The version it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Its fields, to change.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Forgets everything but the room.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.reason = Span::default();
        self.status = 0;
        self.version = Version::default();
    }

    /// Sets the status and its usual reason phrase; refuses what is not 100-599.
    pub fn set_status(&mut self, status: u16) -> Result<(), Error> {
        if !(100..=599).contains(&status) {
            return Err(Error::Status);
        }
        self.status = status;
        self.reason = self.fields.push_bytes(syntax::reason_of(status).as_bytes());
        Ok(())
    }

    /// Sets the version it came in.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    pub(crate) fn set_parsed_status(&mut self, status: u16, reason: Span) {
        self.status = status;
        self.reason = reason;
    }
}
