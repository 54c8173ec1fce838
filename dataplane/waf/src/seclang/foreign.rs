//! Directives of other engines that do nothing here, or are refused.
//!
//! Owns: the list and the reasons. Refused is what would promise protection, or change traffic, without doing so; what
//! concerns files, logs and tuning of another engine is accepted and told.

/// What becomes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Read, told, without effect: `Word: reason`.
    WithoutEffect(&'static str),
    /// `Off` is what happens anyway; anything else is refused for this reason.
    OnlyOff(&'static str),
    /// Refused for this reason.
    Refused(&'static str),
}

use Fate::{OnlyOff, Refused, WithoutEffect};

/// Directives and what becomes of them.
pub(super) const DIRECTIVES: &[(&str, Fate)] = &[
    ("SecPcreMatchLimit", WithoutEffect("SecPcreMatchLimit: regular expressions run in linear time")),
    (
        "SecPcreMatchLimitRecursion",
        WithoutEffect("SecPcreMatchLimitRecursion: regular expressions run in linear time"),
    ),
    ("SecRxPreFilter", WithoutEffect("SecRxPreFilter: the engine chooses its own filters")),
    ("SecCacheTransformations", WithoutEffect("SecCacheTransformations: transformed values are always kept")),
    ("SecTmpDir", WithoutEffect("SecTmpDir: nothing is written to disk")),
    ("SecDataDir", WithoutEffect("SecDataDir: collections are kept in memory")),
    ("SecUploadDir", WithoutEffect("SecUploadDir: uploads are not written to disk")),
    ("SecUploadFileMode", WithoutEffect("SecUploadFileMode: uploads are not written to disk")),
    ("SecUploadKeepFiles", WithoutEffect("SecUploadKeepFiles: uploads are not written to disk")),
    ("SecTmpSaveUploadedFiles", WithoutEffect("SecTmpSaveUploadedFiles: uploads are not written to disk")),
    ("SecRequestBodyInMemoryLimit", WithoutEffect("SecRequestBodyInMemoryLimit: bodies never leave memory")),
    ("SecDebugLog", WithoutEffect("SecDebugLog: there is no debug log of rules")),
    ("SecDebugLogLevel", WithoutEffect("SecDebugLogLevel: there is no debug log of rules")),
    ("SecStatusEngine", WithoutEffect("SecStatusEngine: nothing is reported to anyone")),
    ("SecSensorId", WithoutEffect("SecSensorId: the node's name is set in its configuration")),
    ("SecRulePerfTime", WithoutEffect("SecRulePerfTime: the time of rules is always measured as a whole")),
    ("SecAuditLog2", WithoutEffect("SecAuditLog2: there is one audit log")),
    ("SecAuditLogDir", WithoutEffect("SecAuditLogDir: the audit log is one file")),
    ("SecAuditLogStorageDir", WithoutEffect("SecAuditLogStorageDir: the audit log is one file")),
    ("SecAuditLogDirMode", WithoutEffect("SecAuditLogDirMode: the audit log is one file")),
    ("SecAuditLogFileMode", WithoutEffect("SecAuditLogFileMode: the node's configuration decides")),
    ("SecAuditLogPrefix", WithoutEffect("SecAuditLogPrefix: lines of the audit log have no prefix")),
    ("SecXmlExternalEntity", OnlyOff("external entities are never loaded")),
    ("SecParseXmlIntoArgs", OnlyOff("XML is not turned into arguments, use XML:/*")),
    ("SecHashEngine", OnlyOff("links are not signed")),
    (
        "SecDisableBackendCompression",
        OnlyOff("fields sent to backends are set in the configuration of routes"),
    ),
    ("SecContentInjection", OnlyOff("responses are not changed")),
    ("SecStreamInBodyInspection", OnlyOff("use REQUEST_BODY")),
    ("SecStreamOutBodyInspection", OnlyOff("use RESPONSE_BODY")),
    ("SecInterceptOnError", OnlyOff("a rule that cannot be carried out is refused when it is read")),
    ("SecIgnoreRuleCompilationErrors", OnlyOff("a rule that cannot be carried out is never passed over")),
    ("SecConnEngine", OnlyOff("connections are limited in the configuration of the node")),
    ("SecConnReadStateLimit", Refused("connections are limited in the configuration of the node")),
    ("SecConnWriteStateLimit", Refused("connections are limited in the configuration of the node")),
    ("SecReadStateLimit", Refused("connections are limited in the configuration of the node")),
    ("SecWriteStateLimit", Refused("connections are limited in the configuration of the node")),
    ("SecHashKey", Refused("links are not signed")),
    ("SecHashParam", Refused("links are not signed")),
    ("SecHashMethodPm", Refused("links are not signed")),
    ("SecHashMethodRx", Refused("links are not signed")),
    ("SecRuleScript", Refused("scripts are not run")),
    ("SecRemoteRules", Refused("rules are not fetched, only files are read")),
    ("SecRemoteRulesFailAction", Refused("rules are not fetched, only files are read")),
    ("SecHttpBlKey", Refused("addresses are not looked up in the DNS")),
    ("SecGeoLookupDb", Refused("there is no geographic database")),
    ("SecGsbLookupDb", Refused("there is no database of Safe Browsing")),
    ("SecGuardianLog", Refused("logs are not piped into programs")),
    ("SecDataset", Refused("write the words into a file, for @pmFromFile or @ipMatchFromFile")),
    ("SecRuleInheritance", Refused("a rule set has one context")),
    ("SecChrootDir", Refused("the service manager confines the process")),
    ("SecCookieV0Separator", Refused("cookies are parted by ';'")),
    ("SecUnicodeCodePage", Refused("name the page in SecUnicodeMapFile")),
    ("SecPdfProtect", OnlyOff("responses are not changed")),
];
