//! What rule files say arrives as it was meant: lines, settings, targets, operators, macros, actions, includes.
use std::collections::BTreeMap;

use secbeat_waf::seclang::ast::{
    Action, AllowScope, AuditMode, BodyProcessor, Configuration, Control, Directive, EngineMode, IdRange,
    Phase, Rule, Selector, SetVarOperation, Target, Template, TemplatePart,
};
use secbeat_waf::seclang::settings::{AuditFormat, LimitAction};
use secbeat_waf::seclang::{Files, read, read_text};
use secbeat_waf::transform::Transformation;
use secbeat_waf::variable::Variable;

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "not there".to_owned())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let is_match = |path: &&&str| path.starts_with(start) && path.ends_with(end);
        Ok(self.0.keys().filter(is_match).map(|path| (*path).to_owned()).collect())
    }
}

fn configuration(text: &str) -> Configuration {
    read_text("test.conf", text, &Memory::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn rule(text: &str) -> Rule {
    let Some(Directive::Rule(rule)) = configuration(text).directives.into_iter().next() else {
        panic!("no rule in {text}");
    };
    *rule
}

fn actions(text: &str) -> Vec<Action> {
    rule(&format!("SecAction \"{text}\"")).actions
}

fn action(text: &str) -> Action {
    let mut found = actions(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn targets(text: &str) -> Vec<Target> {
    rule(&format!("SecRule {text} \"@rx a\" \"id:1\"")).targets
}

fn text(text: &str) -> Template {
    Template::text(text)
}

fn one_macro(variable: Variable, member: Option<&str>) -> Template {
    Template(vec![TemplatePart::Macro(variable, member.map(str::to_owned))])
}

#[test]
fn lines_go_on_and_comments_do_not() {
    let source = "\u{feff}# a comment \\\r\nSecRule ARGS \"@rx a\\\"b\\\\\" \\\r\n   \"id:1,\\\r\n    msg:'two \\\r\n  words',deny\"\r\n\r\nSecMarker END\r\n";
    let configuration = configuration(source);
    let Some(Directive::Rule(rule)) = configuration.directives.first() else { panic!("no rule") };
    assert_eq!(rule.position.line, 2);
    assert_eq!(rule.operator.as_ref().unwrap().argument.as_text(), Some("a\"b\\\\"));
    assert_eq!(rule.actions, [Action::Id(1), Action::Msg(text("two words")), Action::Deny]);
    assert!(matches!(configuration.directives.get(1), Some(Directive::Marker(name)) if name == "END"));
}

#[test]
fn every_setting_is_set() {
    let source = "secruleengine detectiononly
SecRequestBodyAccess On
SecRequestBodyLimit 100
SecRequestBodyNoFilesLimit 50
SecRequestBodyLimitAction ProcessPartial
SecRequestBodyJsonDepthLimit 7
SecArgumentsLimit 9
SecArgumentSeparator ;
SecCookieFormat 1
SecUploadFileLimit 3
SecResponseBodyAccess On
SecResponseBodyMimeType text/a text/b
SecResponseBodyMimeType \"text/c\" text/a
SecResponseBodyLimit 77
SecResponseBodyLimitAction Reject
SecAuditEngine RelevantOnly
SecAuditLogRelevantStatus \"^(?:5|4(?!04))\"
SecAuditLogParts abZ
SecAuditLogFormat Native
SecAuditLogType Serial
SecAuditLog /var/log/audit.log
SecComponentSignature \"one\"
SecComponentSignature two
SecWebAppId shop
SecServerSignature \"none of your business\"
SecCollectionTimeout 60
SecXmlExternalEntity Off
";
    let settings = configuration(source).settings;
    assert_eq!(settings.engine, EngineMode::DetectionOnly);
    assert!(settings.request_body_access && settings.response_body_access && !settings.xml_external_entity);
    assert_eq!((settings.request_body_bytes_max, settings.request_body_no_files_bytes_max), (100, 50));
    assert_eq!(settings.request_body_limit_action, LimitAction::ProcessPartial);
    assert_eq!((settings.request_body_json_depth_max, settings.arguments_max), (7, 9));
    assert_eq!(
        (settings.argument_separator, settings.cookie_format, settings.upload_files_max),
        (b';', 1, 3)
    );
    assert_eq!(settings.response_body_types, ["text/a", "text/b", "text/c"]);
    assert_eq!(settings.response_body_bytes_max, 77);
    assert_eq!(settings.response_body_limit_action, LimitAction::Reject);
    assert_eq!((settings.audit, settings.audit_format), (AuditMode::RelevantOnly, AuditFormat::Native));
    assert_eq!(settings.audit_relevant_status.as_deref(), Some("^(?:5|4(?!04))"));
    assert_eq!(
        (settings.audit_parts.as_str(), settings.audit_path.as_deref()),
        ("ABZ", Some("/var/log/audit.log"))
    );
    assert_eq!(settings.component_signatures, ["one", "two"]);
    assert_eq!((settings.web_app_id.as_str(), settings.collection_timeout_s), ("shop", 60));
    assert_eq!(settings.server_signature.as_deref(), Some("none of your business"));
    assert_eq!(settings.without_effect, []);
    assert!(configuration("SecResponseBodyMimeTypesClear").settings.response_body_types.is_empty());
}

#[test]
fn targets_have_selectors_counts_and_exclusions() {
    let target =
        |variable, selector, is_count, is_exclusion| Target { variable, selector, is_count, is_exclusion };
    let name = |name: &str| Selector::Name(name.to_owned());
    let pattern = |pattern: &str| Selector::Pattern(pattern.to_owned());
    assert_eq!(
        targets("ARGS|!ARGS:foo|&ARGS,args:bar"),
        [
            target(Variable::Args, Selector::All, false, false),
            target(Variable::Args, name("foo"), false, true),
            target(Variable::Args, Selector::All, true, false),
            target(Variable::Args, name("bar"), false, false),
        ]
    );
    assert_eq!(
        targets(r"ARGS:/a|b\/c/|REQUEST_COOKIES:'/^x y/'|TX:'/^a/'|TX:'b|c'|ip.count"),
        [
            target(Variable::Args, pattern(r"a|b\/c"), false, false),
            target(Variable::RequestCookies, pattern("^x y"), false, false),
            target(Variable::Tx, pattern("^a"), false, false),
            target(Variable::Tx, name("b|c"), false, false),
            target(Variable::Ip, name("count"), false, false),
        ]
    );
    assert_eq!(
        targets("\"XML:/*|XML://@*|XML:/a/b[c='d|e']/f|REQUEST_LINE\""),
        [
            target(Variable::Xml, name("/*"), false, false),
            target(Variable::Xml, name("//@*"), false, false),
            target(Variable::Xml, name("/a/b[c='d|e']/f"), false, false),
            target(Variable::RequestLine, Selector::All, false, false),
        ]
    );
}

#[test]
fn operators_are_named_negated_or_regular_expressions() {
    let call = |text: &str| {
        let call = rule(&format!("SecRule ARGS \"{text}\" \"id:1\"")).operator.unwrap();
        (call.is_negated, call.name.clone(), call.argument.as_text().unwrap().to_owned())
    };
    let is = |negated, name: &str, argument: &str| (negated, name.to_owned(), argument.to_owned());
    assert_eq!(call("@eq 5"), is(false, "eq", "5"));
    assert_eq!(call("!@Streq  a b "), is(true, "Streq", "a b "));
    assert_eq!(call("^a b"), is(false, "rx", "^a b"));
    assert_eq!(call("!^a"), is(true, "rx", "^a"));
    assert_eq!(call("@detectSQLi"), is(false, "detectSQLi", ""));
    assert_eq!(call(r"@rx a%{2}%\{tx.b}"), is(false, "rx", r"a%{2}%\{tx.b}"));
    assert_eq!(call("@pm a %{b} %{c"), is(false, "pm", "a %{b} %{c"));
}

#[test]
fn macros_are_found_in_text() {
    let parts = |text: &str| match action(&format!("msg:'{text}'")) {
        Action::Msg(template) => template,
        other => panic!("{other:?}"),
    };
    assert_eq!(parts("%{tx.a-b}"), one_macro(Variable::Tx, Some("a-b")));
    assert_eq!(parts("%{MATCHED_VAR}"), one_macro(Variable::MatchedVar, None));
    assert_eq!(parts("%{time_epoch}"), one_macro(Variable::TimeEpoch, None));
    assert_eq!(parts("%{rule.id}"), one_macro(Variable::Rule, Some("id")));
    assert_eq!(parts("%{ARGS:/^x$/}"), one_macro(Variable::Args, Some("/^x$/")));
    assert_eq!(
        parts("100% %{REQUEST_HEADERS.host}%"),
        Template(vec![
            TemplatePart::Text("100% ".into()),
            TemplatePart::Macro(Variable::RequestHeaders, Some("host".into())),
            TemplatePart::Text("%".into()),
        ])
    );
    let operator = rule("SecRule ARGS \"@rx ^%{tx.words}$\" \"id:1\"").operator.unwrap();
    assert_eq!(operator.argument.0.len(), 3);
}

#[test]
fn every_action_is_read() {
    let control = |text: &str| match action(text) {
        Action::Control(control) => control,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        actions(
            "id:'7',phase:request,rev:2,ver:'a/1',maturity:9,accuracy:0,severity:CRITICAL,severity:'3',tag:'x, y'"
        ),
        [
            Action::Id(7),
            Action::Phase(Phase::RequestBody),
            Action::Rev("2".into()),
            Action::Ver("a/1".into()),
            Action::Maturity(9),
            Action::Accuracy(0),
            Action::Severity(2),
            Action::Severity(3),
            Action::Tag(text("x, y")),
        ]
    );
    assert_eq!(
        actions(
            "t:none , t:lowercase,t:normalisePath,block,deny,drop,pass,allow,allow:phase,allow:REQUEST,status:403"
        ),
        [
            Action::TransformNone,
            Action::Transform(Transformation::Lowercase),
            Action::Transform(Transformation::NormalizePath),
            Action::Block,
            Action::Deny,
            Action::Drop,
            Action::Pass,
            Action::Allow(AllowScope::Transaction),
            Action::Allow(AllowScope::Phase),
            Action::Allow(AllowScope::Request),
            Action::Status(403),
        ]
    );
    assert_eq!(
        actions(
            "log,nolog,auditlog,noauditlog,capture,multimatch,skip:2,tarpit:60,challenge,logdata:'it\\'s'"
        ),
        [
            Action::Log,
            Action::NoLog,
            Action::AuditLog,
            Action::NoAuditLog,
            Action::Capture,
            Action::MultiMatch,
            Action::Skip(2),
            Action::Tarpit(60),
            Action::Challenge,
            Action::LogData(text("it's")),
        ]
    );
    assert_eq!(
        actions(
            "redirect:'https://a/?b,c',proxy:http://b/,setsid:a,setuid:b,setrsc:%{TX.1},setenv:'a=b=c',initcol:ip=%{REMOTE_ADDR},expirevar:'ip.a=60'"
        ),
        [
            Action::Redirect(text("https://a/?b,c")),
            Action::Proxy(text("http://b/")),
            Action::SetSid(text("a")),
            Action::SetUid(text("b")),
            Action::SetRsc(one_macro(Variable::Tx, Some("1"))),
            Action::SetEnv(text("a"), text("b=c")),
            Action::InitCol(Variable::Ip, one_macro(Variable::RemoteAddr, None)),
            Action::ExpireVar(Variable::Ip, text("a"), text("60")),
        ]
    );
    assert_eq!(
        actions(
            "sanitiseArg:a,sanitizeMatched,sanitiseMatchedBytes,sanitiseMatchedBytes:1/4,sanitiseRequestHeader:b,sanitizeResponseHeader:c,xmlns:s='http://x/'"
        ),
        [
            Action::SanitiseArg("a".into()),
            Action::SanitiseMatched,
            Action::SanitiseMatchedBytes(0, 0),
            Action::SanitiseMatchedBytes(1, 4),
            Action::SanitiseRequestHeader("b".into()),
            Action::SanitiseResponseHeader("c".into()),
            Action::XmlNamespace("s".into(), "http://x/".into()),
        ]
    );
    let range = |first, last| IdRange { first, last };
    let foo = Target {
        variable: Variable::Args,
        selector: Selector::Name("foo".into()),
        is_count: false,
        is_exclusion: false,
    };
    for (written, meant) in [
        ("ctl:ruleEngine=DetectionOnly", Control::RuleEngine(EngineMode::DetectionOnly)),
        ("ctl:auditEngine=RelevantOnly", Control::AuditEngine(AuditMode::RelevantOnly)),
        ("ctl:auditLogParts=+E", Control::AuditLogParts(Some(true), "E".into())),
        ("ctl:auditLogParts=-E", Control::AuditLogParts(Some(false), "E".into())),
        ("ctl:auditLogParts=AZ", Control::AuditLogParts(None, "AZ".into())),
        ("ctl:requestBodyAccess=Off", Control::RequestBodyAccess(false)),
        ("ctl:responseBodyAccess=on", Control::ResponseBodyAccess(true)),
        ("ctl:forceRequestBodyVariable=On", Control::ForceRequestBodyVariable(true)),
        ("ctl:requestBodyProcessor=xml", Control::RequestBodyProcessor(BodyProcessor::Xml)),
        ("ctl:requestBodyLimit=5", Control::RequestBodyLimit(5)),
        ("ctl:responseBodyLimit=6", Control::ResponseBodyLimit(6)),
        ("ctl:'ruleRemoveById=1-5,7'", Control::RuleRemoveById(vec![range(1, 5), range(7, 7)])),
        ("ctl:ruleRemoveByTag=a/b", Control::RuleRemoveByTag("a/b".into())),
        ("ctl:ruleRemoveByMsg=a b", Control::RuleRemoveByMsg("a b".into())),
        (
            "ctl:ruleRemoveTargetById=9;ARGS:foo",
            Control::RuleRemoveTargetById(vec![range(9, 9)], foo.clone()),
        ),
        ("ctl:ruleRemoveTargetByTag=x;ARGS:foo", Control::RuleRemoveTargetByTag("x".into(), foo.clone())),
        ("ctl:ruleRemoveTargetByMsg=x y;ARGS:foo", Control::RuleRemoveTargetByMsg("x y".into(), foo)),
        ("ctl:debugLogLevel=9", Control::DebugLogLevel(9)),
    ] {
        assert_eq!(control(written), meant, "{written}");
    }
}

#[test]
fn setvar_sets_adds_subtracts_and_removes() {
    let set = |written: &str| match action(written) {
        Action::SetVar(set) => (set.collection, set.name, set.operation),
        other => panic!("{other:?}"),
    };
    let score = || one_macro(Variable::Tx, Some("y"));
    assert_eq!(set("setvar:tx.x"), (Variable::Tx, text("x"), SetVarOperation::Set(text("1"))));
    assert_eq!(set("setvar:'tx.x=a=b'"), (Variable::Tx, text("x"), SetVarOperation::Set(text("a=b"))));
    assert_eq!(set("setvar:'tx.x=+%{tx.y}'"), (Variable::Tx, text("x"), SetVarOperation::Add(score())));
    assert_eq!(set("setvar:ip.x=-5"), (Variable::Ip, text("x"), SetVarOperation::Subtract(text("5"))));
    assert_eq!(set("setvar:!session.x"), (Variable::Session, text("x"), SetVarOperation::Unset));
    assert_eq!(set("setvar:'!tx.x'"), (Variable::Tx, text("x"), SetVarOperation::Unset));
    assert_eq!(set("setvar:tx.x="), (Variable::Tx, text("x"), SetVarOperation::Set(text(""))));
    let (_, name, operation) = set("setvar:'tx.%{rule.id}-a=%{matched_var}'");
    assert_eq!(name.0.len(), 2);
    assert_eq!(operation, SetVarOperation::Set(one_macro(Variable::MatchedVar, None)));
}

#[test]
fn chains_are_links_of_their_first_rule() {
    let rule = rule(
        "SecRule ARGS \"@rx a\" \"id:1,deny,chain\"\nSecRule ARGS b \"chain\"\n# between\nSecRule ARGS c\n",
    );
    assert_eq!(rule.links.iter().map(|link| link.position.line).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(rule.actions, [Action::Id(1), Action::Deny]);
    assert!(rule.links.iter().all(|link| link.links.is_empty()));
}

#[test]
fn directives_that_change_rules_are_kept_in_order() {
    let source = "SecRuleRemoveById 1 2-3 \"4,5\"
SecRuleRemoveByTag \"a b\"
SecRuleRemoveByMsg msg
SecRuleUpdateTargetById 1-2 \"!ARGS:/x|y/,ARGS:z\"
SecRuleUpdateTargetByTag t !ARGS:'/a b/'
SecRuleUpdateTargetByMsg m !ARGS
SecRuleUpdateActionById 9:1 \"pass,t:none\"
SecDefaultAction \"phase:2,log,deny,status:418\"
SecMarker 'END OF IT'
";
    let directives = configuration(source).directives;
    let [
        Directive::RemoveById(ids),
        Directive::RemoveByTag(tag),
        Directive::RemoveByMsg(msg),
        Directive::UpdateTargetById(range, by_id),
        Directive::UpdateTargetByTag(_, by_tag),
        Directive::UpdateTargetByMsg(..),
        Directive::UpdateActionById(9, 1, changed),
        Directive::DefaultAction(default),
        Directive::Marker(marker),
    ] = directives.as_slice()
    else {
        panic!("{directives:?}");
    };
    assert_eq!((ids.len(), tag.as_str(), msg.as_str(), marker.as_str()), (4, "a b", "msg", "END OF IT"));
    assert!(range[0].contains(2) && !range[0].contains(3) && by_id.len() == 2);
    assert_eq!(by_tag[0].selector, Selector::Pattern("a b".into()));
    assert_eq!(changed, &[Action::Pass, Action::TransformNone]);
    assert_eq!((default.phase, default.actions.len(), default.position.line), (Phase::RequestBody, 3, 8));
}

#[test]
fn files_are_looked_for_beside_the_file_that_names_them() {
    let files = Memory(BTreeMap::from([
        ("etc/main.conf", b"Include rules/*.conf\nIncludeOptional rules/none.conf\nIncludeOptional no/*.conf\nInclude top.conf\nSecUnicodeMapFile map 20127".to_vec()),
        ("etc/rules/a.conf", b"SecRule ARGS \"@pmFromFile a.data\" \"id:1\"".to_vec()),
        ("etc/rules/b.conf", b"SecRule REMOTE_ADDR \"@ipMatchFromFile other.data a.data\" \"id:2\"".to_vec()),
        ("etc/rules/a.data", b"beside".to_vec()),
        ("other.data", b"as written".to_vec()),
        ("top.conf", b"SecMarker A".to_vec()),
        ("etc/map", b"20127 (US-ASCII)\n00c0:41".to_vec()),
    ]));
    let configuration = read(&["etc/main.conf"], &files).unwrap();
    assert_eq!(configuration.files, ["etc/main.conf", "etc/rules/a.conf", "etc/rules/b.conf", "top.conf"]);
    let positions: Vec<_> = configuration
        .directives
        .iter()
        .filter_map(|directive| match directive {
            Directive::Rule(rule) => Some(rule.position),
            _ => None,
        })
        .collect();
    assert_eq!(configuration.data_file(positions[0], "a.data"), Some(b"beside".as_slice()));
    assert_eq!(configuration.data_file(positions[1], "other.data"), Some(b"as written".as_slice()));
    assert_eq!(configuration.data_file(positions[1], "absent.data"), None);
    assert_eq!(configuration.settings.unicode_map.unwrap().pairs, [(0xc0, 0x41)]);
}

#[test]
fn what_has_no_effect_is_told() {
    let source = "SecPcreMatchLimit 1000\nSecTmpDir /tmp\nSecRule GEO:COUNTRY_CODE \"@streq XX\" \"id:1\"\nSecAuditLogType Parallel\nSecAction \"ctl:debugLogLevel=3\"";
    let notes = configuration(source).settings.without_effect;
    let told: Vec<_> = notes.iter().map(|(position, note)| (position.line, *note)).collect();
    assert_eq!(
        told,
        [
            (1, "SecPcreMatchLimit: regular expressions run in linear time"),
            (2, "SecTmpDir: nothing is written to disk"),
            (3, "GEO: holds nothing, there is no geographic database"),
            (4, "SecAuditLogType Parallel: the audit log is one file, as with Serial"),
            (5, "ctl:debugLogLevel: there is no debug log of rules"),
        ]
    );
}
