//! What directives set for a whole rule set.
//!
//! Owns: [`Settings`] with the defaults of ModSecurity 3. Does not own: text (the parser fills it), or effect.

use super::ast::{AuditMode, EngineMode};

/// What to do at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// The request is refused (413), the response replaced (502).
    Reject,
    /// What fits is judged, the rest passes.
    ProcessPartial,
}

/// Form of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFormat {
    /// One line of JSON per transaction.
    Json,
    /// ModSecurity's own, in parts.
    Native,
}

/// Settings of a rule set. Sizes in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether `SecRuleEngine` was given at all.
    pub is_engine_set: bool,
    /// `SecRuleEngine`
    pub engine: EngineMode,
    /// `SecRequestBodyAccess`
    pub request_body_access: bool,
    /// `SecRequestBodyLimit`: the longest body, files included.
    pub request_body_bytes_max: u64,
    /// `SecRequestBodyNoFilesLimit`: the longest body without files.
    pub request_body_no_files_bytes_max: u64,
    /// `SecRequestBodyLimitAction`
    pub request_body_limit_action: LimitAction,
    /// `SecRequestBodyJsonDepthLimit`
    pub request_body_json_depth_max: u32,
    /// `SecArgumentsLimit`
    pub arguments_max: u32,
    /// `SecArgumentSeparator`
    pub argument_separator: u8,
    /// `SecCookieFormat` 1: cookies of RFC 2109, with quotes; 0: of the web.
    pub cookie_format: u8,
    /// `SecUploadFileLimit`: most files of a multipart body.
    pub upload_files_max: u32,
    /// `SecResponseBodyAccess`
    pub response_body_access: bool,
    /// `SecResponseBodyMimeType`; `None` also for responses without a type when it holds `null`.
    pub response_body_types: Vec<String>,
    /// `SecResponseBodyLimit`
    pub response_body_bytes_max: u64,
    /// `SecResponseBodyLimitAction`
    pub response_body_limit_action: LimitAction,
    /// `SecAuditEngine`
    pub audit: AuditMode,
    /// `SecAuditLogRelevantStatus`, a regular expression.
    pub audit_relevant_status: Option<String>,
    /// `SecAuditLogParts`
    pub audit_parts: String,
    /// `SecAuditLogFormat`
    pub audit_format: AuditFormat,
    /// `SecAuditLog`: its file.
    pub audit_path: Option<String>,
    /// `SecComponentSignature`
    pub component_signatures: Vec<String>,
    /// `SecWebAppId`
    pub web_app_id: String,
    /// `SecServerSignature`: read and kept; the node's name is set elsewhere.
    pub server_signature: Option<String>,
    /// `SecCollectionTimeout`: life of a persistent collection that is not touched, seconds.
    pub collection_timeout_s: u32,
    /// `SecUnicodeMapFile`: best-fit mapping from code points (0-0xffff) to bytes for `t:urlDecodeUni`.
    pub unicode_map: Option<std::sync::Arc<UnicodeMap>>,
    /// `SecXmlExternalEntity`: always off in effect; a file that wants it on is refused.
    pub xml_external_entity: bool,
    /// What was read and has no effect here, `Word: reason`, with where it stands: told to the operator, never silent.
    pub without_effect: Vec<(super::ast::Position, &'static str)>,
}

/// Best-fit mapping of code points to bytes: what a server behind makes of full-width letters and the like.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UnicodeMap {
    /// Pairs of code point and byte, by code point.
    pub pairs: Vec<(u32, u8)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_engine_set: false,
            engine: EngineMode::Off,
            request_body_access: false,
            request_body_bytes_max: 134_217_728,
            request_body_no_files_bytes_max: 1_048_576,
            request_body_limit_action: LimitAction::Reject,
            request_body_json_depth_max: 512,
            arguments_max: 1_000,
            argument_separator: b'&',
            cookie_format: 0,
            upload_files_max: 100,
            response_body_access: false,
            response_body_types: vec!["text/plain".into(), "text/html".into()],
            response_body_bytes_max: 524_288,
            response_body_limit_action: LimitAction::ProcessPartial,
            audit: AuditMode::Off,
            audit_relevant_status: None,
            audit_parts: "ABCFHZ".into(),
            audit_format: AuditFormat::Json,
            audit_path: None,
            component_signatures: Vec::new(),
            web_app_id: String::new(),
            server_signature: None,
            collection_timeout_s: 3_600,
            unicode_map: None,
            xml_external_entity: false,
            without_effect: Vec::new(),
        }
    }
}
