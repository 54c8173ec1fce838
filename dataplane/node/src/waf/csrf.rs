//! Requests that a page of another site made a browser send (`[waf] csrf_check`).
//!
//! Owns: the rules, written in SecLang. Browsers say where a request comes from, and pages cannot change it:
//! Sec-Fetch-Site in all current ones, Origin with every request that changes something, Referer in old ones. A
//! client that says none of them is no browser that somebody was lured into, and passes.
//!
//! Nothing of a request becomes part of an expression: authorities are captured and compared as texts, in lower case
//! and without the ports 80 and 443. Sources: Fetch Standard §3.2 (`Origin`), Fetch Metadata (`Sec-Fetch-Site`), RFC
//! 9110 §10.1.3.

use std::fmt::Write;

use secbeat_config::node::{CsrfCheck, Waf as Config};

/// Number of the first rule.
const FIRST_ID: u64 = 2_900_101;

/// Writes the rules, if they are wanted.
pub(super) fn write(config: &Config, out: &mut String) -> std::fmt::Result {
    let verdict = match config.csrf_check {
        CsrfCheck::Off => return Ok(()),
        CsrfCheck::Detect => "pass",
        CsrfCheck::Block => "deny,status:403",
    };
    let found = format!(
        "{verdict},log,auditlog,severity:2,tag:'attack-csrf',msg:'Request sent by a page of another site',\
         logdata:'%{{MATCHED_VAR_NAME}}: %{{MATCHED_VAR}}'"
    );
    let mut id = FIRST_ID;
    let mut rule = |out: &mut String, targets: &str, operator: &str, actions: &str| {
        let written = writeln!(out, "SecRule {targets} \"{operator}\" \"id:{id},phase:1,t:none,{actions}\"");
        id += 1;
        written
    };
    let over = "pass,nolog,skipAfter:END-CSRF";
    rule(out, "REQUEST_METHOD", "@rx ^(?:GET|HEAD|OPTIONS|TRACE|PROPFIND|REPORT|SEARCH)$", over)?;
    if !config.csrf_origins.is_empty() {
        let origins: Vec<String> = config.csrf_origins.iter().map(|origin| escaped(origin)).collect();
        let origins = origins.join("|");
        let lower = format!("t:lowercase,{over}");
        rule(out, "REQUEST_HEADERS:Origin", &format!("@rx ^(?:{origins})$"), &lower)?;
        rule(out, "&REQUEST_HEADERS:Origin", "@eq 0", "pass,nolog,chain")?;
        writeln!(
            out,
            "SecRule REQUEST_HEADERS:Referer \"@rx ^(?:{origins})(?:[/?#]|$)\" \"t:none,t:lowercase,skipAfter:END-CSRF\""
        )?;
    }
    rule(out, "REQUEST_HEADERS:Sec-Fetch-Site", "@rx ^(?:same-origin|none)$", over)?;
    rule(out, "REQUEST_HEADERS:Sec-Fetch-Site", "@streq cross-site", &found)?;
    rule(out, "REQUEST_HEADERS:Origin", "!@rx ^https?://[^/]+$", &format!("t:lowercase,{found}"))?;
    rule(
        out,
        "REQUEST_HEADERS:Host",
        "@rx ^(.*?)(?::(?:80|443))?$",
        "t:lowercase,pass,nolog,capture,setvar:'tx.csrf_host=%{tx.1}'",
    )?;
    rule(
        out,
        "REQUEST_HEADERS:Origin",
        "@rx ^https?://([^/]*?)(?::(?:80|443))?$",
        "t:lowercase,pass,nolog,capture,setvar:'tx.csrf_from=%{tx.1}'",
    )?;
    rule(out, "&REQUEST_HEADERS:Origin", "@eq 0", "pass,nolog,chain")?;
    writeln!(
        out,
        "SecRule REQUEST_HEADERS:Referer \"@rx ^https?://([^/?#]*?)(?::(?:80|443))?(?:[/?#]|$)\" \
         \"t:none,t:lowercase,capture,setvar:'tx.csrf_from=%{{tx.1}}'\""
    )?;
    rule(out, "TX:csrf_from", "!@streq %{tx.csrf_host}", &found)?;
    writeln!(out, "SecMarker END-CSRF")
}

/// An origin as an expression; it holds letters, digits and `-.:/[]` only.
fn escaped(origin: &str) -> String {
    origin.replace('.', "\\.").replace('[', "\\[").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use secbeat_waf::transaction::{Connection, Evaluator, RequestHead, Transaction};

    use super::super::load;

    fn passes(keys: &str, method: &str, fields: &[(&str, &str)]) -> bool {
        let config = secbeat_config::parse(&format!("[waf]\n{keys}")).expect("configuration").waf;
        let waf = load(&config, &[], &Arc::default()).expect("rules");
        let persistent = Arc::clone(&waf.lasting.persistent);
        let mut evaluator = Evaluator::new(Arc::clone(&waf.ruleset), persistent, waf.budget);
        let mut tx = Transaction::new();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let connection = Connection { client: here, client_port: 1, server: here, server_port: 443 };
        evaluator.begin(&mut tx, None, &connection, b"id", 0, 0);
        let head = RequestHead { method: method.as_bytes(), target: b"/transfer", protocol: b"HTTP/1.1" };
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        evaluator.request_head(&mut tx, &head, fields).is_none()
    }

    const BLOCK: &str =
        "csrf_check = \"block\"\ncsrf_origins = [\"https://app.example\", \"http://[::1]:3000\"]\n";

    #[test]
    fn requests_of_other_sites_are_refused() {
        for fields in [
            [("Host", "shop.example"), ("Origin", "https://evil.example")].as_slice(),
            &[("Host", "shop.example"), ("Origin", "null")],
            &[("Host", "shop.example"), ("Origin", "https://shop.example.evil.example")],
            &[("Host", "shop.example"), ("Origin", "https://shop.example@evil.example")],
            &[("Host", "shop.example"), ("Origin", "https://shop.example:8443")],
            &[("Host", "shop.example"), ("Origin", "https://appxexample")],
            &[("Host", "shop.example"), ("Sec-Fetch-Site", "cross-site")],
            &[
                ("Host", "shop.example"),
                ("Sec-Fetch-Site", "same-site"),
                ("Origin", "https://blog.shop.example"),
            ],
            &[("Host", "shop.example"), ("Referer", "https://evil.example/?https://shop.example/")],
            &[("Host", "shop.example"), ("Referer", "https://app.example.evil.example/")],
        ] {
            assert!(!passes(BLOCK, "POST", fields), "{fields:?}");
            assert!(passes(BLOCK, "GET", fields), "{fields:?}");
            assert!(passes("csrf_check = \"detect\"\n", "POST", fields), "{fields:?}");
            assert!(passes("rules_path = \"../../config/waf_rules.json\"\n", "POST", fields), "{fields:?}");
        }
    }

    #[test]
    fn the_site_itself_trusted_origins_and_other_programs_pass() {
        for fields in [
            [("Host", "shop.example"), ("Origin", "https://shop.example")].as_slice(),
            &[("Host", "Shop.Example:443"), ("Origin", "https://shop.example")],
            &[("Host", "shop.example:8443"), ("Origin", "https://shop.example:8443")],
            &[("Host", "shop.example"), ("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site")],
            &[("Host", "shop.example"), ("Origin", "http://[::1]:3000")],
            &[("Host", "shop.example"), ("Referer", "https://app.example/page")],
            &[("Host", "shop.example"), ("Referer", "https://shop.example/cart?x=1")],
            &[("Host", "inner.local"), ("Origin", "https://shop.example"), ("Sec-Fetch-Site", "same-origin")],
            &[("Host", "shop.example"), ("User-Agent", "curl/8")],
        ] {
            assert!(passes(BLOCK, "POST", fields), "{fields:?}");
        }
    }
}
