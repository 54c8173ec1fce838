//! `secbeat rules`: single rules of a filter set or WAF set.
//!
//! Owns: reading files of rules (JSON or TOML) and finding their ids. Does not own: what a rule may say: the
//! orchestrator reads it with the code that nodes run, and answers with every mistake.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use secbeat_config::policy::{DOCUMENT_BYTES_MAX, RULES_MAX};
use secbeat_proto::v1::{ChangeRulesRequest, GetPolicyRequest, ResourceKey};
use serde_json::Value;

use crate::args::ms;
use crate::client::{App, Client};
use crate::command::policy::rollout::{Spread, Timed};
use crate::command::policy::{body, change};
use crate::command::read_text;
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, plain};
use crate::output::text::or_dash;
use crate::word::{self, parse_rules_key};

/// What is done with rules.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Add rules, or replace those of the same id
    Push(PushArgs),
    /// Rules of a set
    List {
        /// filter-set/NAME or waf-set/NAME
        #[arg(value_parser = parse_rules_key)]
        set: ResourceKey,
    },
    /// Remove rules
    Remove {
        /// filter-set/NAME or waf-set/NAME
        #[arg(value_parser = parse_rules_key)]
        set: ResourceKey,
        /// As in `rules list`
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        spread: Spread,
        #[command(flatten)]
        timed: Timed,
    },
}

/// Arguments of `rules push`.
#[derive(Args)]
pub(crate) struct PushArgs {
    /// JSON (a list of rules, or {"rules": [...]}) or TOML ([[rules]]), or - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: String,
    /// filter-set/NAME or waf-set/NAME; made when there is none
    #[arg(long, value_parser = parse_rules_key)]
    set: ResourceKey,
    /// Remove every other rule of the set
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    timed: Timed,
}

const RULES: Sheet<Value> = Sheet {
    columns: &[
        column("ID", |rule, _| plain(or_dash(id(rule).unwrap_or_default()))),
        column("ACTION", |rule, _| plain(rule["action"].as_str().unwrap_or("-"))),
        column("RULE", |rule, _| plain(rest(rule))),
    ],
    json: Clone::clone,
    name: |rule| id(rule).unwrap_or_default().to_owned(),
};

fn id(rule: &Value) -> Option<&str> {
    rule["id"].as_str().filter(|id| !id.is_empty())
}

/// Everything else a rule says, as `key=value`.
fn rest(rule: &Value) -> String {
    let Some(map) = rule.as_object() else { return rule.to_string() };
    let rest = map.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "action"));
    let words: Vec<_> = rest
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
        .collect();
    or_dash(&words.join(" ")).to_owned()
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Push(args) => push(app, args).await,
        Verb::List { set } => list(app, &app.connect().await?, set).await,
        Verb::Remove { set, ids, spread, timed } => {
            let mut request = request(app, set, &spread, &timed);
            request.removals = ids;
            send(app, "rules remove", request, &spread).await
        }
    }
}

async fn push(app: &App, args: PushArgs) -> Result<Exit, Failure> {
    let name = if args.file == "-" { "stdin" } else { &args.file };
    let rules = parse(name, &read_text(&args.file, DOCUMENT_BYTES_MAX)?)?;
    if rules.is_empty() && !args.replace {
        let what = format!("{name}: there is no rule in it");
        return Err(Failure::new(Exit::Invalid, what, "--replace with an empty list removes every rule"));
    }
    if args.replace && !app.is_dry_run {
        let set = word::key(Some(&args.set));
        app.output.confirm(&format!("make these {} rules the only ones of {set}?", rules.len())).await?;
    }
    let mut request = request(app, args.set, &args.spread, &args.timed);
    request.upserts = rules.iter().map(|rule| rule.to_string().into_bytes()).collect();
    request.replace = args.replace;
    send(app, "rules push", request, &args.spread).await
}

fn request(app: &App, set: ResourceKey, spread: &Spread, timed: &Timed) -> ChangeRulesRequest {
    let mut mutation = app.mutation();
    mutation.expected_revision = timed.expected_revision;
    ChangeRulesRequest {
        mutation: Some(mutation),
        set: Some(set),
        upserts: Vec::new(),
        removals: Vec::new(),
        replace: false,
        rollout: spread.rollout(),
        rollback_after_ms: ms(timed.rollback_after),
    }
}

async fn send(app: &App, what: &str, request: ChangeRulesRequest, spread: &Spread) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    let answer = client.change(what, Duration::ZERO, client.policy().change_rules(request)).await?;
    change::finish(app, &client, &answer, spread, &[]).await
}

async fn list(app: &App, client: &Client, set: ResourceKey) -> Result<Exit, Failure> {
    let request = GetPolicyRequest { keys: vec![set.clone()], revision: 0 };
    let answer = client.ask("rules list", client.policy().get(request)).await?;
    let Some(resource) = answer.resources.iter().find(|resource| resource.key.as_ref() == Some(&set)) else {
        let what = format!("not found: {}", word::key(Some(&set)));
        return Err(Failure::new(Exit::NotFound, what, "`secbeat policy get -o name` shows what there is"));
    };
    let rules = match body(resource)["rules"].take() {
        Value::Array(rules) => rules,
        _ => Vec::new(),
    };
    RULES.list(&app.output, &rules, "rules")?;
    Ok(Exit::Done)
}

/// Rules of a file, each an object with an id of its own.
fn parse(name: &str, text: &str) -> Result<Vec<Value>, Failure> {
    let invalid = |why: String| {
        let hint = "a JSON list of rules, {\"rules\": [...]}, or [[rules]] in TOML";
        Failure::new(Exit::Invalid, format!("{name}: {why}"), hint)
    };
    let is_json = text.trim_start().starts_with(['[', '{']) && !text.trim_start().starts_with("[[");
    let value: Value = if is_json {
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?
    } else {
        toml::from_str(text).map_err(|error| invalid(error.message().to_owned()))?
    };
    let rules = match value {
        Value::Array(rules) => rules,
        Value::Object(mut map) => match map.remove("rules") {
            Some(Value::Array(rules)) if map.is_empty() => rules,
            _ => return Err(invalid("it is not a list of rules".to_owned())),
        },
        _ => return Err(invalid("it is not a list of rules".to_owned())),
    };
    if rules.len() > RULES_MAX {
        return Err(invalid(format!("{} rules are more than the {RULES_MAX} of one set", rules.len())));
    }
    let mut ids = BTreeSet::new();
    let mut mistakes = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        match id(rule) {
            None => mistakes.push(format!("rule {}: it has no `id`, a text", index + 1)),
            Some(id) if !ids.insert(id) => {
                mistakes.push(format!("rule {}: `{id}` is there twice", index + 1));
            }
            Some(_) => {}
        }
    }
    if mistakes.is_empty() {
        return Ok(rules);
    }
    Err(invalid(format!("{} mistakes", mistakes.len())).with_details(mistakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_json_and_toml() {
        let rule = serde_json::json!({ "id": "a", "action": "drop" });
        for text in [
            r#"[{"id":"a","action":"drop"}]"#,
            r#"{"rules":[{"id":"a","action":"drop"}]}"#,
            "[[rules]]\nid = \"a\"\naction = \"drop\"\n",
        ] {
            assert_eq!(parse("f", text).unwrap(), std::slice::from_ref(&rule), "{text}");
        }
    }

    #[test]
    fn rules_need_an_id_of_their_own() {
        let failure = parse("f", r#"[{"id":"a"},{"action":"drop"},{"id":"a"},3]"#).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(failure.details.len(), 3);
        assert!(parse("f", r#"{"rules":[],"more":1}"#).is_err());
        assert!(parse("f", "x = ").is_err());
    }

    #[test]
    fn a_rule_is_shown_with_all_it_says() {
        let rule = serde_json::json!({ "id": "a", "action": "drop", "ports": [1, 2], "proto": "udp" });
        assert_eq!(rest(&rule), "ports=[1,2] proto=udp");
    }
}
