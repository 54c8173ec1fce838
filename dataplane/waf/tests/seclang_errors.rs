//! Every mistake in a rule file is told with its file, its line, the word, and the nearest known word.
use secbeat_waf::limits;
use secbeat_waf::seclang::{Files, read, read_text};

/// Two files: one that includes itself, one with a mistake on its third line.
struct Memory;

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "loop.conf" => Ok(b"Include loop.conf".to_vec()),
            "dir/bad.conf" => Ok(b"SecMarker A\n\nSecMarkr B\n".to_vec()),
            "map" => Ok(b"20127\n00c0:41".to_vec()),
            "long" => Ok(vec![b'#'; limits::FILE_BYTES_MAX + 1]),
            "many.conf" => Ok("Include no.conf\n".repeat(limits::DIAGNOSTICS_MAX + 5).into_bytes()),
            "wide.conf" => Ok("Include empty.conf\n".repeat(limits::FILES_MAX).into_bytes()),
            "big.conf" => Ok("Include large.conf\n"
                .repeat(limits::SET_BYTES_MAX / limits::FILE_BYTES_MAX + 1)
                .into_bytes()),
            "large.conf" => Ok(vec![b'#'; limits::FILE_BYTES_MAX]),
            "empty.conf" => Ok(Vec::new()),
            _ => Err("not there".into()),
        }
    }

    fn expand(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn errors(text: &str) -> Vec<String> {
    match read_text("t.conf", text, &Memory) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// One rule or directive, one error on line 1.
#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, message) in cases {
        assert_eq!(errors(text), [format!("t.conf:1: {message}")], "{text}");
    }
}

#[test]
fn unknown_words_are_told_with_the_nearest_known_one() {
    check(&[
        ("SecRul ARGS a", "unknown directive 'SecRul', did you mean 'SecRule'?"),
        ("<IfModule x>", "unknown directive '<IfModule'"),
        ("SecRule ARG a id:1", "unknown variable 'ARG', did you mean 'ARGS'?"),
        (
            "SecRule REQUEST_HEADER:a b id:1",
            "unknown variable 'REQUEST_HEADER', did you mean 'REQUEST_HEADERS'?",
        ),
        ("SecRule ARGS \"@contians a\" id:1", "unknown operator '@contians', did you mean '@contains'?"),
        ("SecRule ARGS \"@ a\" id:1", "unknown operator '@'"),
        ("SecAction dney", "unknown action 'dney', did you mean 'deny'?"),
        ("SecAction t:lowrcase", "unknown transformation 'lowrcase', did you mean 'lowercase'?"),
        ("SecAction severity:CRITICL", "unknown severity 'CRITICL', did you mean 'CRITICAL'?"),
        ("SecAction ctl:ruleEngin=On", "unknown option of 'ctl' 'ruleEngin', did you mean 'ruleEngine'?"),
        (
            "SecAction ctl:requestBodyProcessor=JSN",
            "'ctl:requestBodyProcessor': unknown body processor 'JSN', did you mean 'JSON'?",
        ),
        ("SecAction setvar:tz.a=1", "unknown collection to write 'tz', did you mean 'TX'?"),
        ("SecAction initcol:ipp=a", "unknown persistent collection 'ipp', did you mean 'IP'?"),
        (
            "SecAction msg:'%{matched_vr}'",
            "unknown variable 'matched_vr', did you mean 'MATCHED_VAR'? in '%{matched_vr}'",
        ),
        (
            "SecRule ARGS \"@rx %{tz.a}\" id:1",
            "unknown variable 'tz', did you mean 'TX'? in '%{tz.a}' (a regular expression may write '%\\{')",
        ),
        ("SecAction id:1,skipAfter:EDN\nSecMarker END", "unknown SecMarker 'EDN', did you mean 'END'?"),
    ]);
}

#[test]
fn words_that_are_not_closed_or_too_many() {
    check(&[
        ("SecRule ARGS \"@rx a", "the double quote is not closed"),
        ("SecRule ARGS 'a", "the single quote is not closed"),
        ("SecRule ARGS \"a\"b id:1", "a closing quote must be followed by a blank or the end of the line"),
        ("SecRule ARGS a b id:1", "SecRule takes targets, an operator and actions, not 4 words"),
        ("SecRule ARGS", "SecRule takes targets, an operator and actions, not 1 words"),
        ("SecAction id:1 b", "SecAction takes actions and nothing else, not 2 words"),
        ("SecMarker", "SecMarker takes a name, not 0 words"),
        ("SecRuleUpdateTargetById 1", "SecRuleUpdateTargetById takes identifiers and targets, not 1 words"),
        ("SecRuleRemoveById", "SecRuleRemoveById takes identifiers, not 0 words"),
        ("Include a b", "Include takes one path, not 2 words"),
        ("SecRuleEngine On Off", "SecRuleEngine takes one value, not 2"),
        ("SecResponseBodyMimeTypesClear x", "SecResponseBodyMimeTypesClear takes no value"),
    ]);
}

#[test]
fn targets_that_are_wrong() {
    check(&[
        ("SecRule ARGS| a id:1", "a target is missing"),
        ("SecRule ARGS: a id:1", "ARGS is followed by ':' and no name"),
        ("SecRule ARGS:/a a id:1", "the pattern is not closed by '/'"),
        ("SecRule &!ARGS a id:1", "a target is excluded ('!') or counted ('&'), not both"),
        ("SecRule !!ARGS a id:1", "'!' stands twice"),
        ("SecRule !ARGS a id:1", "the rule looks at nothing: all its targets are excluded"),
        ("SecRule REMOTE_ADDR:a a id:1", "REMOTE_ADDR has no members to choose from"),
        ("SecRule \"ARGS REQUEST_URI\" a id:1", "targets must be parted by '|', found 'REQUEST_URI'"),
        (
            "SecRule WEBSERVER_ERROR_LOG a id:1",
            "WEBSERVER_ERROR_LOG is not supported: there is no web server's error log",
        ),
        (
            "SecRule MSC_PCRE_ERROR a id:1",
            "MSC_PCRE_ERROR is not supported: regular expressions run in linear time and cannot fail",
        ),
    ]);
}

#[test]
fn actions_that_are_wrong() {
    check(&[
        ("SecAction id:-1", "'-1' is not a rule id: a number from 1 to 9223372036854775807"),
        ("SecAction id:0", "'0' is not a rule id: a number from 1 to 9223372036854775807"),
        ("SecAction id:1',log", "'1\\'' is not a rule id: a number from 1 to 9223372036854775807"),
        ("SecAction \"id:'1,log\"", "the single quote is not closed"),
        ("SecAction \"msg:'a' b\"", "'msg' is followed by more after its quote"),
        ("SecAction log,,deny", "an action is missing"),
        ("SecAction log,", "an action is missing"),
        ("SecAction deny:1", "action 'deny' takes no value"),
        ("SecAction msg", "action 'msg' needs a value"),
        ("SecAction id:1,id:2", "the rule has two ids"),
        ("SecAction phase:1,phase:2", "the rule has two phases"),
        ("SecAction phase:6", "'6' is not a phase: 1 to 5, request, response or logging"),
        ("SecAction severity:8", "'severity' takes a number from 0 to 7, not '8'"),
        ("SecAction status:99", "'status' takes a number from 100 to 599, not '99'"),
        ("SecAction skip:abc", "'skip' takes a number from 1 to 1000000, not 'abc'"),
        ("SecAction tarpit:61", "'tarpit' takes a number from 1 to 60, not '61'"),
        ("SecAction allow:all", "'allow' takes 'phase' or 'request', not 'all'"),
        ("SecAction exec:/bin/true", "action 'exec' is not supported: scripts and programs are not run"),
        ("SecAction append:a", "action 'append' is not supported: responses are not changed"),
        ("SecAction pause:5", "action 'pause' is not supported: use 'tarpit:SECONDS'"),
        ("SecAction deprecatevar:ip.a=1/2", "action 'deprecatevar' is not supported: use 'expirevar'"),
        ("SecAction setvar:a=1", "'setvar' needs a collection and a name as in tx.name, not 'a'"),
        ("SecAction setvar:tx.=1", "'setvar' names no member of TX"),
        ("SecAction setvar:!tx.a=1", "'setvar' removes with '!' or sets with '=', not both: '!tx.a=1'"),
        ("SecAction expirevar:ip.a", "'expirevar' needs a life in seconds: 'ip.a'=60"),
        ("SecAction initcol:ip", "'initcol' needs a key: ip=%{REMOTE_ADDR}"),
        ("SecAction xmlns:soap", "'xmlns' needs an equals sign as in soap='http://...', found 'soap'"),
        ("SecAction xmlns:=", "'xmlns' needs a prefix and a name, found '='"),
        (
            "SecAction xmlns:a='b/c'",
            "'xmlns' needs a name that begins with http://, https:// or urn:, not 'b/c'",
        ),
        ("SecAction sanitiseMatchedBytes:1", "'sanitiseMatchedBytes' takes two numbers as in '1/4', not '1'"),
        (
            "SecAction ctl:ruleEngine",
            "'ctl' needs an option and a value as in ruleEngine=Off, not 'ruleEngine'",
        ),
        ("SecAction ctl:hashEngine=On", "'ctl:hashEngine' is not supported: links are not signed"),
        (
            "SecAction ctl:ruleRemoveById=5-1",
            "'ctl:ruleRemoveById': '5-1' is not a rule id or a range as in 100-199",
        ),
        (
            "SecAction ctl:auditLogParts=+X",
            "'ctl:auditLogParts': 'X' is not a part of the audit log: ABCDEFGHIJKZ",
        ),
        (
            "SecAction ctl:ruleRemoveTargetById=1",
            "'ctl:ruleRemoveTargetById': a rule and a target are needed as in '942100;ARGS:name', not '1'",
        ),
        (
            "SecAction \"ctl:'ruleRemoveTargetById=1;ARGS|XML'\"",
            "'ctl:ruleRemoveTargetById': one target is needed; write the action again for others",
        ),
        ("SecAction msg:'%{tx.a'", "the macro '%{' is not closed"),
        ("SecAction msg:'%{remote_addr.x}'", "REMOTE_ADDR has no members, as in '%{remote_addr.x}'"),
        ("SecAction msg:'%{tx.}'", "the macro '%{tx.}' names no member"),
    ]);
}

#[test]
fn rules_that_are_wrong_as_a_whole() {
    check(&[
        ("SecRule ARGS a", "the rule has no id"),
        ("SecRule ARGS a id:1,chain", "the chain ends without its last rule"),
        ("SecRule ARGS a id:1,chain\nSecMarker A\nSecMarker B", "the chain ends without its last rule"),
        ("SecAction phase:5,deny", "nothing can be blocked in phase 5"),
        ("SecDefaultAction phase:1,log", "SecDefaultAction needs a disruptive action (pass, deny, drop ...)"),
        (
            "SecDefaultAction phase:1,block",
            "SecDefaultAction needs a disruptive action (pass, deny, drop ...)",
        ),
        ("SecDefaultAction log,pass", "SecDefaultAction needs a phase"),
        ("SecDefaultAction phase:1,pass,id:1", "'id' cannot be a default action"),
        ("SecDefaultAction phase:1,pass,t:none", "'t:none' cannot be a default action"),
        ("SecDefaultAction phase:1,pass,chain", "'chain' cannot be a default action"),
        ("SecRuleUpdateActionById 1 id:2", "'id', 'phase' and 'chain' of a rule cannot be changed"),
        ("SecRuleUpdateActionById a pass", "'a' is not a rule id, or an id and a link as in 100:1"),
    ]);
    assert_eq!(
        errors(
            "SecRule ARGS a id:1\nSecRule ARGS b id:2,chain\nSecRule ARGS c \"t:none,\\\npass\"\nSecAction id:1"
        ),
        [
            "t.conf:4: only the first rule of a chain may block, pass, allow, deny, drop, redirect, proxy or challenge",
            "t.conf:5: rule id 1 is given twice, first on line 1",
        ]
    );
    assert_eq!(
        errors(
            "SecMarker A\nSecAction skipAfter:A\nSecDefaultAction phase:1,pass\nSecDefaultAction phase:1,pass"
        ),
        [
            "t.conf:4: phase 1 has its SecDefaultAction already",
            "t.conf:2: 'skipAfter' leads back: 'A' stands before this rule",
        ]
    );
    let links = "SecRule ARGS a chain\n".repeat(limits::CHAIN_LINKS_MAX);
    let last = limits::CHAIN_LINKS_MAX + 2;
    assert_eq!(
        errors(&format!("SecRule ARGS a id:1,chain\n{links}SecRule ARGS a")),
        [format!("t.conf:{last}: the chain has more than {} links", limits::CHAIN_LINKS_MAX)]
    );
}

#[test]
fn settings_that_are_wrong() {
    check(&[
        ("SecRuleEngine Maybe", "SecRuleEngine: On, Off or DetectionOnly is needed, not 'Maybe'"),
        ("SecRequestBodyAccess 1", "SecRequestBodyAccess: On or Off is needed, not '1'"),
        ("SecRequestBodyLimit 1M", "SecRequestBodyLimit: a number of bytes is needed, not '1M'"),
        (
            "SecRequestBodyLimitAction Drop",
            "SecRequestBodyLimitAction: Reject or ProcessPartial is needed, not 'Drop'",
        ),
        ("SecArgumentSeparator ab", "SecArgumentSeparator: one ASCII character is needed, not 'ab'"),
        ("SecCookieFormat 2", "SecCookieFormat: 'the format' takes a number from 0 to 1, not '2'"),
        ("SecAuditLogFormat OCSF", "SecAuditLogFormat: JSON or Native is needed, not 'OCSF'"),
        ("SecAuditLogType HTTPS", "SecAuditLogType: Serial or Parallel is needed, not 'HTTPS'"),
        ("SecAuditLog \"|/bin/log\"", "SecAuditLog: logs are not piped into programs"),
        ("SecUnicodeMapFile none 20127", "'none' cannot be read: not there"),
        ("SecUnicodeMapFile map 1252", "'map' has no code page 1252"),
        ("SecUnicodeMapFile map x", "'the code page' takes a number from 1 to 65535, not 'x'"),
    ]);
}

#[test]
fn directives_that_would_promise_protection_are_refused() {
    check(&[
        ("SecRuleScript a.lua id:1", "SecRuleScript is not supported: scripts are not run"),
        (
            "SecRemoteRules k https://a/",
            "SecRemoteRules is not supported: rules are not fetched, only files are read",
        ),
        ("SecHttpBlKey abc", "SecHttpBlKey is not supported: addresses are not looked up in the DNS"),
        ("SecGeoLookupDb a.dat", "SecGeoLookupDb is not supported: there is no geographic database"),
        (
            "SecXmlExternalEntity On",
            "SecXmlExternalEntity is not supported, only Off: external entities are never loaded",
        ),
        ("SecHashEngine On", "SecHashEngine is not supported, only Off: links are not signed"),
        ("SecGuardianLog |a", "SecGuardianLog is not supported: logs are not piped into programs"),
        (
            "SecRule REMOTE_ADDR \"@pmFromFile https://a/\" id:1",
            "@pmFromFile does not fetch 'https://a/': only files are read",
        ),
    ]);
    assert!(errors("SecXmlExternalEntity Off\nSecHashEngine off").is_empty());
}

#[test]
fn files_are_bounded_and_named_in_errors() {
    check(&[
        ("Include none.conf", "'none.conf' cannot be read: not there"),
        ("Include none/*.conf", "'none/*.conf' names no file"),
        ("Include long", "'long': more than 8388608 bytes"),
        ("SecRule ARGS \"@pmFromFile none.data\" id:1", "'none.data' cannot be read: not there"),
        ("SecRule ARGS \"@pmFromFile \" id:1", "@pmFromFile needs a file"),
    ]);
    let told = |path: &str| read(&[path], &Memory).unwrap_err();
    assert_eq!(
        told("dir/bad.conf").to_string(),
        "dir/bad.conf:3: unknown directive 'SecMarkr', did you mean 'SecMarker'?"
    );
    assert_eq!(told("absent.conf").to_string(), "absent.conf:0: 'absent.conf' cannot be read: not there");
    assert_eq!(told("loop.conf").to_string(), "loop.conf:1: more than 16 files include each other");
    assert_eq!(told("wide.conf").list[0].to_string(), "wide.conf:1024: 'empty.conf': more than 1024 files");
    assert_eq!(
        told("big.conf").list[0].message,
        format!("'large.conf': all files together have more than {} bytes", limits::SET_BYTES_MAX)
    );
    let many = told("many.conf");
    assert_eq!((many.list.len(), many.is_truncated), (limits::DIAGNOSTICS_MAX, true));
    assert!(many.to_string().ends_with("\nmore than 100 errors: the rest is not told"));
}

#[test]
fn one_rule_is_bounded() {
    let targets = vec!["ARGS"; limits::TARGETS_MAX + 1].join("|");
    let actions = vec!["log"; limits::ACTIONS_MAX + 1].join(",");
    let transformations = vec!["t:trim"; limits::TRANSFORMATIONS_MAX + 1].join(",");
    let pattern = "a".repeat(limits::PATTERN_BYTES_MAX + 1);
    let types: String = (0..=256).map(|number| format!(" a/{number}")).collect();
    check(&[
        (&format!("SecResponseBodyMimeType{types}"), "SecResponseBodyMimeType: more than 256 types"),
        (&format!("SecRule {targets} a id:1"), "more than 256 targets"),
        (&format!("SecAction {actions}"), "more than 256 actions"),
        (&format!("SecAction {transformations}"), "more than 32 transformations"),
        (&format!("SecRule ARGS {pattern} id:1"), "the argument of @rx has more than 65536 bytes"),
        (&format!("SecRule ARGS:/{pattern}/ a id:1"), "the pattern has more than 65536 bytes"),
    ]);
    let rules: String = (1..=limits::RULES_MAX + 1).map(|id| format!("SecRule ARGS a id:{id}\n")).collect();
    assert_eq!(errors(&rules), ["t.conf:20001: more than 20000 rules"]);
    let markers = "SecMarker a\n".repeat(limits::DIRECTIVES_MAX + 1);
    assert_eq!(errors(&markers), ["t.conf:20001: more than 20000 directives beside rules"]);
}

#[test]
fn a_line_that_is_not_utf8_is_told() {
    struct Bytes;
    impl Files for Bytes {
        fn read(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(b"# \xff is fine in a comment\nSecMarker \xff\n".to_vec())
        }

        fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
            Ok(vec![pattern.to_owned()])
        }
    }
    assert_eq!(read(&["a.conf"], &Bytes).unwrap_err().to_string(), "a.conf:2: the line is not UTF-8");
}
