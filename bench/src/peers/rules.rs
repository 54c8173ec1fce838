//! The Core Rule Set as Debian ships it, for nginx with libmodsecurity and for SecBeat: the same files for both.
//!
//! Owns: where they lie, the engine's settings around them (what Debian's package of ModSecurity recommends, without
//! an audit log and with blocking on).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Connector of nginx to libmodsecurity.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
/// Folder of the rule set.
const FOLDER: &str = "/usr/share/modsecurity-crs";
/// Its settings.
const SETUP: &str = "/etc/modsecurity/crs/crs-setup.conf";
const ENGINE: &str = "SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml
SecResponseBodyLimit 524288
SecResponseBodyLimitAction ProcessPartial
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 131072
SecAuditEngine Off
";

/// Writes one file that includes the rule set, for libmodsecurity.
///
/// # Errors
/// When the connector or the rule set is not installed.
pub(super) fn write(path: &Path) -> Result<PathBuf> {
    for needed in [MODULE, FOLDER, SETUP] {
        ensure!(
            Path::new(needed).exists(),
            "no {needed}: packages libnginx-mod-http-modsecurity and modsecurity-crs (scripts/setup.sh)"
        );
    }
    let text = format!("{ENGINE}Include {SETUP}\nInclude {FOLDER}/rules/*.conf\n");
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path.to_owned())
}

/// What nginx needs for it: before everything else, and in `http`.
pub(super) fn nginx(rules: &Path) -> (String, String) {
    (
        format!("load_module {MODULE};\n"),
        format!("modsecurity on; modsecurity_rules_file {};", rules.display()),
    )
}

/// What SecBeat needs for it, in `[waf]`.
pub(super) fn secbeat() -> String {
    format!("enable = true\ncrs_path = \"{FOLDER}\"\nparanoia_level = 1\nblock_suspicious = true\n")
}
