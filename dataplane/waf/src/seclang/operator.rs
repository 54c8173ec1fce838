//! The operator of a rule as it stands in the file: `@rx ^a`, `!@eq 0`, `^a`.
//!
//! Owns: its syntax and the names that are known, and which operators name files. Does not own: what operators do,
//! whether each is carried out here, and whether its argument makes sense.
//!
//! Sources: ModSecurity reference manual v3, "Operators"; Coraza's list.

use super::ast::OperatorCall;
use super::diagnostics::{Fault, quoted, unknown};
use super::template::{self, Macros};
use crate::limits::PATTERN_BYTES_MAX;

/// Every name that rule files use.
const NAMES: &[&str] = &[
    "beginsWith",
    "contains",
    "containsWord",
    "detectSQLi",
    "detectXSS",
    "endsWith",
    "eq",
    "fuzzyHash",
    "ge",
    "geoLookup",
    "gsbLookup",
    "gt",
    "inspectFile",
    "ipMatch",
    "ipMatchF",
    "ipMatchFromDataset",
    "ipMatchFromFile",
    "le",
    "lt",
    "noMatch",
    "pm",
    "pmf",
    "pmFromDataset",
    "pmFromFile",
    "rbl",
    "restpath",
    "rsub",
    "rx",
    "rxGlobal",
    "streq",
    "strmatch",
    "unconditionalMatch",
    "validateByteRange",
    "validateDTD",
    "validateHash",
    "validateNid",
    "validateSchema",
    "validateUrlEncoding",
    "validateUtf8Encoding",
    "verifyCC",
    "verifyCPF",
    "verifySSN",
    "verifySVNR",
    "within",
];

/// Operators whose argument is names of files, parted by blanks.
const OF_FILES: [&str; 4] = ["ipMatchF", "ipMatchFromFile", "pmf", "pmFromFile"];

/// Takes an operator apart.
pub(super) fn parse(text: &str) -> Result<OperatorCall, Fault> {
    let trimmed = text.trim_ascii_start();
    let (is_negated, rest) = match trimmed.strip_prefix('!') {
        Some(rest) if rest.trim_ascii_start().starts_with('@') => (true, rest.trim_ascii_start()),
        Some(rest) => (true, rest),
        None => (false, trimmed),
    };
    let (name, argument) = match rest.strip_prefix('@') {
        Some(called) => {
            let end = called.find(|c: char| c.is_ascii_whitespace()).unwrap_or(called.len());
            let (name, argument) = called.split_at(end);
            (name, argument.trim_ascii_start())
        }
        // Blanks before a regular expression belong to it, unless '!' stands before.
        None => ("rx", if is_negated { rest } else { text }),
    };
    let at = text.len() - argument.len();
    let Some(known) = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        let message = unknown("operator", &format!("@{name}"), NAMES.iter().copied());
        return Err(Fault::new(0, message.replace("did you mean '", "did you mean '@")));
    };
    let macros = match *known {
        "rx" | "rxGlobal" | "rsub" => Macros::Pattern,
        "pm" => Macros::Known,
        _ => Macros::All,
    };
    if argument.len() > PATTERN_BYTES_MAX {
        return Err(Fault::new(
            at,
            format!("the argument of @{known} has more than {PATTERN_BYTES_MAX} bytes"),
        ));
    }
    let argument = template::parse(argument, macros).map_err(|fault| fault.shifted(at))?;
    Ok(OperatorCall { is_negated, name: name.to_owned(), argument })
}

/// The files that a call names, as written.
pub(super) fn files(call: &OperatorCall) -> Result<Vec<&str>, String> {
    if !OF_FILES.iter().any(|name| name.eq_ignore_ascii_case(&call.name)) {
        return Ok(Vec::new());
    }
    let Some(argument) = call.argument.as_text() else {
        return Err(format!("@{} takes names of files without macros", call.name));
    };
    let files: Vec<&str> = argument.split_ascii_whitespace().collect();
    if files.is_empty() {
        return Err(format!("@{} needs a file", call.name));
    }
    match files.iter().find(|file| file.contains("://")) {
        Some(remote) => Err(format!("@{} does not fetch {}: only files are read", call.name, quoted(remote))),
        None => Ok(files),
    }
}
