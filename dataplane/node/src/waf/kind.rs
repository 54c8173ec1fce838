//! What a rule finds, by the tags of the Core Rule Set and the names of JSON rules.
//!
//! Owns: that table. Does not own: the kinds ([`AttackKind`]).

use crate::event::AttackKind;

/// Tags of the Core Rule Set: the longest beginning that fits decides.
const TAGS: &[(&str, AttackKind)] = &[
    ("attack-sqli", AttackKind::SqlInjection),
    ("attack-xss", AttackKind::CrossSiteScripting),
    ("attack-rce", AttackKind::CommandInjection),
    ("attack-lfi", AttackKind::FileInclusion),
    ("attack-rfi", AttackKind::FileInclusion),
    ("attack-ssrf", AttackKind::RequestForgery),
    ("attack-injection", AttackKind::CodeInjection),
    ("attack-multipart-header", AttackKind::ProtocolAbuse),
    ("attack-deserialization", AttackKind::CodeInjection),
    ("attack-ssti", AttackKind::CodeInjection),
    ("attack-ldap", AttackKind::CodeInjection),
    ("attack-fixation", AttackKind::SessionFixation),
    ("attack-protocol", AttackKind::ProtocolAbuse),
    ("attack-reputation", AttackKind::Scanner),
    ("attack-disclosure", AttackKind::Disclosure),
    ("attack-generic", AttackKind::WebAttack),
    ("attack-", AttackKind::WebAttack),
];

/// Beginnings of the names of JSON rules.
const NAMES: &[(&str, AttackKind)] = &[
    ("sqli", AttackKind::SqlInjection),
    ("xss", AttackKind::CrossSiteScripting),
    ("command", AttackKind::CommandInjection),
    ("rce", AttackKind::CommandInjection),
    ("traversal", AttackKind::PathTraversal),
    ("lfi", AttackKind::FileInclusion),
    ("rfi", AttackKind::FileInclusion),
    ("include", AttackKind::FileInclusion),
    ("ssrf", AttackKind::RequestForgery),
    ("xxe", AttackKind::CodeInjection),
    ("lookup", AttackKind::CodeInjection),
    ("header", AttackKind::ProtocolAbuse),
    ("scanner", AttackKind::Scanner),
    ("probe", AttackKind::Scanner),
];

/// By tags; `None` for rules that only count or set up.
pub(super) fn of_tags<'a>(tags: impl Iterator<Item = &'a str>) -> Option<AttackKind> {
    let mut found = None;
    for tag in tags.filter(|tag| tag.starts_with("attack-")) {
        let kind = TAGS.iter().find(|(start, _)| tag.starts_with(start)).map(|(_, kind)| *kind);
        // A rule may have a general tag beside its own.
        if kind.is_some_and(|kind| {
            found.is_none() || found == Some(AttackKind::WebAttack) && kind != AttackKind::WebAttack
        }) {
            found = kind;
        }
    }
    found
}

/// By the name of a JSON rule.
pub(super) fn of_json(id: &str) -> AttackKind {
    let lower = id.to_ascii_lowercase();
    NAMES.iter().find(|(start, _)| lower.starts_with(start)).map_or(AttackKind::WebAttack, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_from_tags_and_names() {
        let tags = |list: &[&'static str]| of_tags(list.iter().copied());
        assert_eq!(tags(&["application-multi", "attack-sqli", "OWASP_CRS"]), Some(AttackKind::SqlInjection));
        assert_eq!(tags(&["attack-generic", "attack-injection-php"]), Some(AttackKind::CodeInjection));
        assert_eq!(tags(&["attack-rce", "attack-lfi"]), Some(AttackKind::CommandInjection));
        assert_eq!(tags(&["anomaly-evaluation"]), None);
        assert_eq!(of_json("xss-001"), AttackKind::CrossSiteScripting);
        assert_eq!(of_json("shop-basket"), AttackKind::WebAttack);
    }
}
