//! Cases of ModSecurity v3's own regression tests, as far as they can be told at this level.
//!
//! A case is a request, rules and an expectation: a regular expression for the debug log, a status, or both. The
//! request is taken apart, everything found becomes a line of a log in ModSecurity's words, and rules that deny on
//! one variable with a simple operator are evaluated. Cases that need more (XPath, schemas, an external entity) are
//! named below. The vectors are data beside the repository, or where `SECLANG_VECTORS` says; without them a line is
//! printed.
use std::{fmt::Write as _, fs, ops::ControlFlow, path::PathBuf};

use regex::Regex;
use secbeat_waf::{
    body::{BodyError, Event, LIMIT_REACHED, Scratch, cookies, json, multipart, urlencoded, xml},
    variable::Variable,
};
use serde_json::Value;

const FILES: [&str; 26] = [
    "request-body-parser-json",
    "request-body-parser-multipart",
    "request-body-parser-multipart-crlf",
    "variable-MULTIPART_CRLF_LF_LINES",
    "variable-MULTIPART_FILENAME",
    "variable-MULTIPART_INVALID_HEADER_FOLDING",
    "variable-MULTIPART_NAME",
    "variable-MULTIPART_PART_HEADERS",
    "variable-MULTIPART_STRICT_ERROR",
    "variable-MULTIPART_UNMATCHED_BOUNDARY",
    "variable-FILES",
    "variable-FILES_COMBINED_SIZE",
    "variable-FILES_NAMES",
    "variable-FILES_SIZES",
    "variable-ARGS",
    "variable-ARGS_COMBINED_SIZE",
    "variable-ARGS_GET",
    "variable-ARGS_GET_NAMES",
    "variable-ARGS_NAMES",
    "variable-ARGS_POST",
    "variable-ARGS_POST_NAMES",
    "variable-REQUEST_COOKIES",
    "variable-REQUEST_COOKIES_NAMES",
    "variable-URLENCODED_ERROR",
    "variable-REQBODY_PROCESSOR_ERROR",
    "secargumentslimit",
];

/// Words of the log that are the engine's, or its own choice, and are not looked for; the status of these cases is.
const NOT_HERE: [&str; 6] = [
    // What a rule does, and how a transformation is told.
    " Running action deny",
    "T \\(0\\) t:trim: \"small_text_file",
    "T \\(0\\) t:trim: \"filedata",
    // One message for whatever is wrong; here it says what.
    "XML parsing error: XML: Failed parsing document",
    // Told of a `Content-Type` that is then read.
    "Multipart: Invalid parameter after boundary in C-T \\(tolerated\\).*Added data",
    // Line ends within a value are lost there, and kept here.
    "Adding request argument \\(BODY\\): name \"b\", value \"22.12.22.3\"",
];

/// What was found: variable, member, value.
#[derive(Default)]
struct Found {
    values: Vec<(String, String, String)>,
    log: String,
    size: usize,
    files_size: usize,
}

impl Found {
    fn add(&mut self, variable: &str, member: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.values.push((variable.to_owned(), text(member), text(value)));
    }

    fn argument(&mut self, source: &str, name: &[u8], value: &[u8]) {
        for variable in ["ARGS", source] {
            self.add(variable, name, value);
            self.add(&format!("{variable}_NAMES"), name, name);
        }
        self.size += name.len() + value.len();
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        writeln!(self.log, "Adding request argument (BODY): name \"{name}\", value \"{value}\"").unwrap();
        writeln!(self.log, "name: {name}, variable: {value} Added data to variable: {value}").unwrap();
    }

    fn event(&mut self, source: &str, body: &[u8], event: Event<'_>) {
        match event {
            Event::Argument { name, value } => self.argument(source, name, value),
            Event::Cookie { name, value } => {
                self.add("REQUEST_COOKIES", name, value);
                self.add("REQUEST_COOKIES_NAMES", name, name);
            }
            Event::PartName(name) => self.add("MULTIPART_NAME", name, name),
            Event::PartFilename(name) => self.add("MULTIPART_FILENAME", name, name),
            Event::PartHeader { part, line } => self.add("MULTIPART_PART_HEADERS", part, line),
            Event::File { field, filename, content } => {
                self.add("FILES", field, filename);
                self.add("FILES_NAMES", field, field);
                self.add("FILES_SIZES", field, content.len().to_string().as_bytes());
                self.add("FILES_TMP_CONTENT", field, content);
                self.files_size += content.len();
                let offset = content.as_ptr() as usize - body.as_ptr() as usize;
                let (field, file) = (String::from_utf8_lossy(field), String::from_utf8_lossy(filename));
                writeln!(
                    self.log,
                    "Added file part to the list: name \"{field}\" file name \"{file}\" (offset {offset}, length {})",
                    content.len()
                )
                .unwrap();
            }
            Event::XmlText(text) | Event::XmlContent(text) => self.add("XML", b"/*", text),
            Event::XmlAttribute(value) => self.add("XML", b"//@*", value),
        }
    }

    fn multipart(&mut self, report: &multipart::Report) {
        for variable in Variable::ALL {
            if let Some(value) = report.value(*variable) {
                self.add(variable.name(), b"", value.to_string().as_bytes());
            }
        }
        let warnings = [
            (report.has_boundary_whitespace, "boundary whitespace in C-T header"),
            (report.is_boundary_quoted, "boundary was quoted."),
            (report.has_data_before, "seen data before first boundary"),
            (report.has_data_after, "seen data after last boundary"),
            (report.has_lf_line && !report.has_crlf_line, "incorrect line endings used (LF)"),
            (report.has_invalid_quoting, "invalid quoting used"),
            (report.has_invalid_header_folding, "invalid header folding used"),
            (report.has_invalid_part, "invalid part parsing"),
        ];
        for (is_set, warning) in warnings {
            if is_set {
                writeln!(self.log, "Multipart: Warning: {warning}").unwrap();
            }
        }
        if report.is_file_limit_exceeded {
            writeln!(self.log, "Multipart: Upload file limit exceeded").unwrap();
        }
    }

    /// Values of what a rule names: `ARGS`, `ARGS:a`, `FILES_SIZES:/^x/`, `&FILES`.
    fn select(&self, target: &str) -> Vec<String> {
        let (is_count, target) = target.strip_prefix('&').map_or((false, target), |target| (true, target));
        let (variable, member) =
            target.split_once(':').map_or((target, None), |(name, member)| (name, Some(member)));
        let pattern = member
            .and_then(|member| member.strip_prefix('/')?.strip_suffix('/'))
            .map(|pattern| Regex::new(pattern).unwrap());
        let values: Vec<_> = self
            .values
            .iter()
            .filter(|(name, key, _)| {
                name == variable
                    && pattern.as_ref().map_or_else(
                        || member.is_none_or(|member| member.eq_ignore_ascii_case(key)),
                        |pattern| pattern.is_match(key),
                    )
            })
            .map(|(.., value)| value.clone())
            .collect();
        if is_count { vec![values.len().to_string()] } else { values }
    }

    /// What a rule with `t:trim` writes of each value, which is as it is when nothing is around it.
    fn whole_log(&self) -> String {
        let mut log = self.log.clone();
        for (variable, member, value) in &self.values {
            let member = if member.is_empty() { String::new() } else { format!(":{member}") };
            for value in [value, value.trim()] {
                writeln!(log, "Target value: \"{value}\" (Variable: {variable}{member}) Rule returned 1")
                    .unwrap();
            }
        }
        log
    }
}

/// The number of a directive among the rules.
fn setting(rules: &[&str], name: &str, default: usize) -> usize {
    rules.iter().find_map(|rule| rule.strip_prefix(name)?.trim().parse().ok()).unwrap_or(default)
}

fn header<'a>(request: &'a Value, name: &str) -> &'a str {
    let headers = request["headers"].as_object();
    let found = headers.and_then(|headers| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
    found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
}

fn take_apart(case: &Value, rules: &[&str]) -> Found {
    let request = &case["request"];
    let mut found = Found::default();
    let mut scratch = Scratch::default();
    let arguments_max = setting(rules, "SecArgumentsLimit", 1_000);
    let mut arguments = 0;
    let mut report = urlencoded::Report::default();
    let uri = request["uri"].as_str().unwrap_or_default();
    let query = uri.split_once('?').map_or("", |(_, query)| query).split('#').next().unwrap();
    urlencoded::parse(query.as_bytes(), b'&', &mut scratch, &mut report, &mut |event| {
        arguments += 1;
        found.event("ARGS_GET", &[], event);
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut is_invalid = report.is_encoding_invalid;
    cookies::parse(header(request, "cookie").as_bytes(), &mut |event| {
        found.event("", &[], event);
        ControlFlow::Continue(())
    })
    .unwrap();
    // The client of these tests ends every line with LF.
    let lines = request["body"].as_array().into_iter().flatten();
    let body: String = lines.map(|line| format!("{}\n", line.as_str().unwrap())).collect();
    let content_type = header(request, "content-type");
    let kind = content_type.to_ascii_lowercase();
    let mut multipart_report = multipart::Report::default();
    let result = {
        let mut sink = |event: Event<'_>| {
            if matches!(event, Event::Argument { .. }) {
                arguments += 1;
                if arguments > arguments_max {
                    return ControlFlow::Break(());
                }
            }
            found.event("ARGS_POST", body.as_bytes(), event);
            ControlFlow::Continue(())
        };
        if kind.starts_with("multipart/") {
            let files_max = setting(rules, "SecUploadFileLimit", 100);
            let report = &mut multipart_report;
            multipart::parse(
                content_type.as_bytes(),
                body.as_bytes(),
                files_max,
                &mut scratch,
                report,
                &mut sink,
            )
        } else if kind == "application/json" {
            let depth_max = setting(rules, "SecRequestBodyJsonDepthLimit", 1_000);
            json::parse(body.as_bytes(), depth_max, &mut scratch, &mut sink)
        } else if kind == "text/xml" {
            xml::parse(body.as_bytes(), &mut scratch, &mut sink)
        } else if kind == "application/x-www-form-urlencoded" {
            let result = urlencoded::parse(body.as_bytes(), b'&', &mut scratch, &mut report, &mut sink);
            is_invalid |= report.is_encoding_invalid;
            result
        } else {
            Ok(())
        }
    };
    // The order of lines in the log is no matter here: the warnings are before and after the error.
    found.multipart(&multipart_report);
    let warnings = found.log.clone();
    finish(&mut found, result, is_invalid);
    found.log.push_str(&warnings);
    found
}

/// What stands for the whole request.
fn finish(found: &mut Found, result: Result<(), BodyError>, is_invalid: bool) {
    for variable in ["REQBODY_ERROR", "REQBODY_PROCESSOR_ERROR"] {
        found.add(variable, b"", if result.is_err() { b"1" } else { b"0" });
    }
    if let Err(error) = result {
        if error.message == LIMIT_REACHED {
            writeln!(found.log, "Skipping request argument, over limit").unwrap();
        }
        writeln!(found.log, "Multipart parsing error: {}. Failed to parse request body", error.message)
            .unwrap();
    }
    found.add("URLENCODED_ERROR", b"", if is_invalid { b"1" } else { b"0" });
    let size = found.size.to_string();
    found.add("ARGS_COMBINED_SIZE", b"", size.as_bytes());
    let size = found.files_size.to_string();
    found.add("FILES_COMBINED_SIZE", b"", size.as_bytes());
}

/// The status that the first rule that denies gives, 200 without one; nothing when a rule needs more than is done
/// here.
fn status(rules: &[&str], found: &Found) -> Option<u64> {
    let shape = Regex::new(r#"^SecRule (\S+) "(!?)(?:@(\w+) )?(.*?)" "(.*)"$"#).unwrap();
    let status_of = Regex::new(r"status:(\d+)").unwrap();
    for rule in rules.iter().filter(|rule| rule.contains("deny")) {
        let parts = shape.captures(rule)?;
        let (operator, operand, actions) =
            (parts.get(3).map_or("rx", |word| word.as_str()), &parts[4], &parts[5]);
        let holds = |value: &String| {
            let value = if actions.contains("t:lowercase") { value.to_lowercase() } else { value.clone() };
            Some(
                match operator {
                    "eq" => value.parse::<i64>().unwrap_or(0) == operand.parse::<i64>().ok()?,
                    "streq" => value == operand,
                    "contains" => value.contains(operand),
                    "rx" => Regex::new(operand).ok()?.is_match(&value),
                    _ => return None,
                } != (&parts[2] == "!"),
            )
        };
        let mut is_match = false;
        for value in found.select(&parts[1]) {
            is_match |= holds(&value)?;
        }
        // A chain without a second link never denies here: the links are not followed.
        if is_match && !actions.contains("chain") {
            return Some(status_of.captures(actions).map_or(403, |status| status[1].parse().unwrap()));
        }
    }
    Some(200)
}

#[test]
fn cases_of_modsecurity_hold() {
    let folder = std::env::var_os("SECLANG_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/seclang-vectors"),
        PathBuf::from,
    );
    let folder = folder.join("modsecurity/test/test-cases/regression");
    if !folder.is_dir() {
        println!("skipped: no vectors at {}", folder.display());
        return;
    }
    let (mut checked, mut failed) = (0, Vec::new());
    for file in FILES {
        let Ok(text) = fs::read_to_string(folder.join(format!("{file}.json"))) else {
            continue;
        };
        let cases: Value = serde_json::from_str(&text).unwrap();
        for (index, case) in cases.as_array().unwrap().iter().enumerate() {
            let rules: Vec<_> = case["rules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let found = take_apart(case, &rules);
            let log = found.whole_log();
            let expected = &case["expected"];
            let mut problems = Vec::new();
            if let Some(pattern) = expected["debug_log"].as_str()
                && !NOT_HERE.contains(&pattern)
            {
                checked += 1;
                if !Regex::new(&format!("(?s){pattern}")).unwrap().is_match(&log) {
                    problems.push(format!("log without {pattern}\n{log}"));
                }
            }
            if let Some(code) = expected["http_code"].as_u64()
                && let Some(status) = status(&rules, &found)
            {
                checked += 1;
                if status != code {
                    problems.push(format!("status {status} instead of {code} {rules:?}\n{log}"));
                }
            }
            for problem in problems {
                failed.push(format!("{file} {index} {}: {problem}", case["title"]));
            }
        }
    }
    println!("{checked} expectations checked, {} failed", failed.len());
    assert!(failed.is_empty(), "{} of {checked}\n{}", failed.len(), failed.join("\n\n"));
}
