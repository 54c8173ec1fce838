//! Rule sets that others wrote are read whole: the Core Rule Set 4, Debian's 3.3, ModSecurity's recommended settings.
#[path = "seclang/disk.rs"]
mod disk;

use std::path::Path;

use disk::{Disk, folder};
use secbeat_waf::seclang::ast::{Action, Configuration, Directive, EngineMode, Rule};
use secbeat_waf::seclang::read;

fn rules(configuration: &Configuration) -> impl Iterator<Item = &Rule> {
    configuration.directives.iter().filter_map(|directive| match directive {
        Directive::Rule(rule) => Some(rule.as_ref()),
        _ => None,
    })
}

fn all_rules(configuration: &Configuration) -> impl Iterator<Item = &Rule> {
    rules(configuration).flat_map(|rule| std::iter::once(rule).chain(&rule.links))
}

fn count(configuration: &Configuration, is_counted: impl Fn(&Directive) -> bool) -> usize {
    configuration.directives.iter().filter(|directive| is_counted(directive)).count()
}

#[test]
fn core_rule_set_4_is_read_whole() {
    let Some(folder) = folder("CRS_DIR", "crs") else { return };
    let files = Disk(folder.join("rules"));
    let configuration =
        read(&["crs-setup.conf.example", "*.conf"], &files).unwrap_or_else(|errors| panic!("{errors}"));
    let (with_operator, without): (Vec<&Rule>, Vec<&Rule>) =
        all_rules(&configuration).partition(|rule| rule.operator.is_some());
    assert_eq!((with_operator.len(), without.len()), (695, 8));
    assert_eq!(all_rules(&configuration).map(|rule| rule.links.len()).sum::<usize>(), 73);
    assert_eq!(count(&configuration, |directive| matches!(directive, Directive::Marker(_))), 30);
    assert_eq!(count(&configuration, |directive| matches!(directive, Directive::DefaultAction(_))), 5);
    assert_eq!(count(&configuration, |directive| matches!(directive, Directive::UpdateTargetById(..))), 55);
    let actions: Vec<&Action> = all_rules(&configuration).flat_map(|rule| &rule.actions).collect();
    let of = |is_counted: fn(&Action) -> bool| actions.iter().filter(|action| is_counted(action)).count();
    assert_eq!(of(|action| matches!(action, Action::Id(_))), 630);
    assert_eq!(of(|action| matches!(action, Action::Tag(_))), 3_089);
    assert_eq!(of(|action| matches!(action, Action::SetVar(_))), 684);
    assert_eq!(of(|action| matches!(action, Action::Transform(_) | Action::TransformNone)), 840);
    assert_eq!(of(|action| matches!(action, Action::LogData(_))), 331);
    assert_eq!(of(|action| matches!(action, Action::SkipAfter(_))), 206);
    assert_eq!(of(|action| matches!(action, Action::Control(_))), 10);
    assert_eq!(configuration.data.len(), 19);
    assert_eq!(configuration.settings.without_effect, []);
    assert_eq!(configuration.settings.component_signatures.len(), 1);
    let longest = with_operator
        .iter()
        .filter_map(|rule| rule.operator.as_ref()?.argument.as_text())
        .map(str::len)
        .max();
    assert_eq!(longest, Some(12_126));
}

#[test]
fn debian_core_rule_set_3_is_read_whole() {
    if !Path::new("/usr/share/modsecurity-crs/owasp-crs.load").exists() {
        println!("skipped: the package modsecurity-crs is not installed");
        return;
    }
    let configuration = read(&["/usr/share/modsecurity-crs/owasp-crs.load"], &Disk("/".into()))
        .unwrap_or_else(|errors| panic!("{errors}"));
    println!("{} rules, {} files", all_rules(&configuration).count(), configuration.files.len());
    assert!(all_rules(&configuration).count() > 600);
    for (position, note) in &configuration.settings.without_effect {
        println!("{}:{}: {note}", configuration.files[usize::from(position.file)], position.line);
    }
}

#[test]
fn recommended_settings_of_modsecurity_are_read_whole() {
    if !Path::new("/etc/nginx/modsecurity.conf").exists() {
        println!("skipped: the package libnginx-mod-http-modsecurity is not installed");
        return;
    }
    let configuration =
        read(&["/etc/nginx/modsecurity.conf"], &Disk("/".into())).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &configuration.settings;
    assert_eq!(settings.engine, EngineMode::DetectionOnly);
    assert_eq!(rules(&configuration).count(), 7);
    assert_eq!(settings.response_body_types, ["text/plain", "text/html", "text/xml"]);
    assert!(settings.unicode_map.as_ref().is_some_and(|map| map.pairs.len() > 300));
    let notes: Vec<&str> = settings.without_effect.iter().map(|(_, note)| *note).collect();
    assert_eq!(notes.len(), 5, "{notes:?}");
}
