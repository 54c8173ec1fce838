//! Rule sets of the node, from files to a compiled set.

use std::fs;
use std::path::Path;

use super::*;

fn config(text: &str) -> Config {
    secbeat_config::parse(&format!("[waf]\n{text}")).expect("configuration").waf
}

fn load(text: &str) -> Result<Arc<Waf>, Error> {
    super::load(&config(text), &[], &Arc::default())
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

const RULE: &str = "SecRule ARGS \"@contains evil\" \"id:1,phase:2,deny\"\n";

#[test]
fn a_checkout_is_read_with_its_setup_and_levels_come_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write(root, "crs-setup.conf.example", "SecAction \"id:900,phase:1,nolog,pass,setvar:tx.seen=1\"\n");
    write(root, "rules/REQUEST-1.conf", RULE);
    write(root, "rules/notes.txt", "no SecLang");
    write(root, "before.conf", "SecAction \"id:800,phase:1,nolog,pass\"\n");
    write(root, "after.conf", "SecRuleUpdateTargetById 1 \"!ARGS:free\"\n");
    let keys = format!(
        "crs_path = \"{0}\"\nbefore_path = \"{0}/before.conf\"\nafter_path = \"{0}/after.conf\"\ninbound_threshold = 7\n",
        root.display()
    );
    let waf = load(&keys).expect("rules");
    let ids: Vec<u64> =
        waf.ruleset.rules().filter(|rule| rule.phase as u8 == 1).map(|rule| rule.id).collect();
    assert_eq!(ids, [200_000, 200_001, 2_900_001, 2_900_002, 900, 800]);
    assert!(waf.ruleset.rule_by_id(1).is_some_and(|rule| rule.file.ends_with("rules/REQUEST-1.conf")));
    // The folder of the rules themselves means the same.
    let inner = load(&format!("crs_path = \"{}/rules\"\n", root.display())).expect("rules");
    assert!(inner.ruleset.rule_by_id(900).is_some());
}

#[test]
fn a_single_file_is_all_that_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "own.conf", "SecRequestBodyLimit 5000\nInclude more/*.conf\n");
    write(folder.path(), "more/a.conf", RULE);
    let waf = load(&format!("crs_path = \"{}/own.conf\"\n", folder.path().display())).expect("rules");
    assert_eq!(waf.ruleset.rules_len(), 1);
    let settings = waf.ruleset.settings();
    assert_eq!((settings.request_body_bytes_max, settings.response_body_bytes_max), (5_000, 524_288));
}

#[test]
fn mistakes_name_file_and_line_and_missing_files_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "bad.conf", "\nSecRule ARGS \"@contians x\" \"id:1,phase:2,deny\"\n");
    let error = |keys: &str| load(keys).expect_err("refused").to_string();
    let told = error(&format!("crs_path = \"{}/bad.conf\"\n", folder.path().display()));
    assert!(told.contains("bad.conf:2:") && told.contains("contains"), "{told}");
    assert!(error("crs_path = \"/nonexistent/crs\"\n").contains("/nonexistent/crs"));
    assert!(error("rules_path = \"/nonexistent/rules.json\"\n").contains("/nonexistent/rules.json"));
    let empty = error(&format!("crs_path = \"{}\"\n", folder.path().display()));
    assert!(empty.contains("no rules/*.conf"), "{empty}");
    write(folder.path(), "rules.json", "{\"rules\":[{\"id\":1}]}");
    assert!(
        error(&format!("rules_path = \"{}/rules.json\"\n", folder.path().display())).contains("rules.json")
    );
    write(folder.path(), "good.conf", RULE);
    write(folder.path(), "site.conf", RULE);
    let site = error(&format!(
        "crs_path = \"{0}/good.conf\"\n[[waf.sites]]\n[[waf.sites]]\nrules = \"{0}/site.conf\"\n",
        folder.path().display()
    ));
    assert!(site.contains("[[waf.sites]] 2:"), "{site}");
}

#[test]
fn rules_in_place_replace_those_of_the_file_and_are_replaced_by_the_apis() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/waf_rules.json");
    let file =
        super::load(&config(&format!("rules_path = \"{path}\"\n")), &[], &Arc::default()).expect("rules");
    let id = &file.json[0].id;
    let rule = |id: &str, pattern: &str| {
        format!(
            "[[waf.rules]]\nid = \"{id}\"\nname = \"{id}\"\npattern = \"{pattern}\"\naction = \"block\"\n\
             severity = \"high\"\n"
        )
    };
    let keys =
        config(&format!("rules_path = \"{path}\"\n{}{}", rule(id, "in-place"), rule("fleet-1", "fleet")));
    let mut of_api = keys.rules[1].clone();
    of_api.pattern = "of-the-api".into();
    let waf = super::load(&keys, &[of_api], &Arc::default()).expect("rules");
    let patterns = |id: &str| -> Vec<&str> {
        waf.json.iter().filter(|rule| rule.id == id).map(|rule| &*rule.pattern).collect()
    };
    assert_eq!((patterns(id), patterns("fleet-1")), (vec!["in-place"], vec!["of-the-api"]));
    assert_eq!(waf.json.len(), file.json.len() + 1);
    let last = JSON_FIRST_ID + waf.json.len() as u64 - 1;
    assert_eq!(waf.rule(last).map(|known| &*known.name), Some("fleet-1"));
}

#[test]
fn rules_of_the_api_stand_beside_those_of_the_file_and_replace_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/waf_rules.json");
    let keys = config(&format!("rules_path = \"{path}\"\n"));
    let file = super::load(&keys, &[], &Arc::default()).expect("the rules we ship");
    let mut rule = file.json[0].clone();
    rule.pattern = "replaced".into();
    let mut other = rule.clone();
    other.id = "own-1".into();
    let waf = super::load(&keys, &[rule.clone(), other], &Arc::default()).expect("rules");
    assert_eq!((waf.json.len(), waf.added), (file.json.len() + 1, 2));
    assert_eq!(waf.json.iter().filter(|known| known.id == rule.id).count(), 1);
    let last = JSON_FIRST_ID + waf.json.len() as u64 - 1;
    assert_eq!(waf.rule(last).map(|known| &*known.name), Some("own-1"));
    rule.pattern = "(".into();
    let refused = super::load(&keys, &[rule], &Arc::default()).expect_err("no expression");
    assert!(matches!(refused, Error::Rules(_)), "{refused}");
}

#[test]
fn explaining_names_rule_place_and_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "own.conf",
        "SecRule ARGS \"@contains evil\" \"id:1,phase:2,deny,t:lowercase,msg:'found'\"\n",
    );
    let waf = load(&format!("crs_path = \"{}/own.conf\"\n", folder.path().display())).expect("rules");
    let told = explain::request(&waf, b"GET /?a=EVIL HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    for part in ["1 found", "ARGS:a", "evil", "own.conf:1", "Deny with status 403 by rule 1"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(explain::request(&waf, b"nothing").is_err());
    assert!(explain::summary(&waf).starts_with("ok: 1 rules"));
}
