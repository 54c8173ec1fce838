//! Where the table of a resource goes in the tree of a configuration.

use std::borrow::Cow;

use super::{Part, list, table};
use crate::node::NodeConfig;
use crate::policy::resource::Kind;
use crate::reader::tree::{Entries, Item, Tree};

/// The node's own configuration, as tree and as it is read.
pub(super) struct Base<'d> {
    tree: Entries<'d>,
    pub(super) config: NodeConfig,
}

impl<'d> Base<'d> {
    pub(super) const fn of(tree: Entries<'d>, config: NodeConfig) -> Self {
        Self { tree, config }
    }

    /// The tree to put `chosen` into. The short form of `[server]` is written out where there is something to stand
    /// beside it.
    pub(super) fn tree(&self, chosen: &[(usize, &Part<'_>)]) -> Entries<'d> {
        let mut tree = self.tree.clone();
        let brings = |kind: Kind| chosen.iter().any(|(_, part)| part.key.kind == kind);
        if brings(Kind::Listener) && self.is_given("bind_address") && is_empty(&tree, "listeners") {
            let address = self.config.server.bind_address.to_string();
            push(&mut tree, "listeners", "bind_address", address);
        }
        if brings(Kind::BackendGroup) && self.is_given("backend_address") && is_empty(&tree, "backends") {
            let address = self.config.server.backend_address.to_string();
            push(&mut tree, "backends", "address", address);
        }
        tree
    }

    /// Whether some layer says more than the default.
    fn is_given(&self, key: &str) -> bool {
        let is_written = match self.tree.get("server").map(|item| &item.tree) {
            Some(Tree::Table(server)) => server.get(key).is_some(),
            _ => false,
        };
        let (server, default) = (&self.config.server, NodeConfig::default().server);
        is_written
            || match key {
                "bind_address" => server.bind_address != default.bind_address,
                _ => server.backend_address != default.backend_address,
            }
    }
}

fn is_empty(tree: &Entries<'_>, key: &str) -> bool {
    match tree.get(key).map(|item| &item.tree) {
        Some(Tree::List(items)) => items.is_empty(),
        _ => true,
    }
}

/// The entry that the short form stands for.
fn push(tree: &mut Entries<'_>, key: &'static str, address_key: &'static str, address: String) {
    let text = |text: Cow<'static, str>| Item { at: 0, tree: Tree::Text(text) };
    let mut entry = Entries::default();
    entry.set("name".into(), text("default".into()));
    entry.set(address_key.into(), text(address.into()));
    if let Some(items) = list(tree, key, 0) {
        items.push(Item { at: 0, tree: Tree::Table(entry) });
    }
}

/// A body for a tree in which `$` is expanded: with `$` doubled, and everything at one place. JSON rules are taken as
/// they are written.
pub(super) fn literal(mut body: Entries<'_>, at: usize) -> Entries<'_> {
    for entry in &mut body.0 {
        entry.at = at;
        literal_item(&mut entry.item, at, entry.key != "rules");
    }
    body
}

fn literal_item(item: &mut Item<'_>, at: usize, is_expanded: bool) {
    item.at = at;
    match &mut item.tree {
        Tree::Text(text) if is_expanded && text.contains('$') => *text = Cow::Owned(text.replace('$', "$$")),
        Tree::List(items) => items.iter_mut().for_each(|item| literal_item(item, at, is_expanded)),
        Tree::Table(entries) => {
            for entry in &mut entries.0 {
                entry.at = at;
                literal_item(&mut entry.item, at, is_expanded);
            }
        }
        _ => {}
    }
}

/// Puts a resource into the tree.
pub(super) fn put<'d>(tree: &mut Entries<'d>, at: usize, part: &Part<'d>) {
    let name = || Item { at, tree: Tree::Text(Cow::Owned(part.key.name.to_string())) };
    match part.key.kind {
        Kind::Listener => {
            let mut body = part.body.clone();
            body.set("name".into(), name());
            let body = Item { at, tree: Tree::Table(body) };
            let Some(items) = list(tree, "listeners", at) else { return };
            match items.iter_mut().find(|item| is_called(item, &part.key.name)) {
                Some(item) => *item = body,
                None => items.push(body),
            }
        }
        Kind::BackendGroup => {
            let Some(Tree::List(backends)) = part.body.get("backends").map(|item| &item.tree) else { return };
            let Some(items) = list(tree, "backends", at) else { return };
            for backend in backends {
                let mut backend = backend.clone();
                if let Tree::Table(entries) = &mut backend.tree {
                    entries.set("group".into(), name());
                }
                items.push(backend);
            }
        }
        Kind::Limits => overlay(tree, "limits", at, &part.body),
        Kind::WafSet => {
            overlay(tree, "waf", at, &part.body);
            let Some(Tree::List(rules)) = part.body.get("rules").map(|item| &item.tree) else { return };
            let items = table(tree, "waf", at).and_then(|waf| list(waf, "rules", at));
            if let (Some(items), false) = (items, rules.is_empty()) {
                items.extend(rules.iter().cloned());
            }
        }
        Kind::FilterSet | Kind::List => {}
    }
}

/// Sets every key of a body but its rules.
fn overlay<'d>(tree: &mut Entries<'d>, section: &'static str, at: usize, body: &Entries<'d>) {
    let Some(table) = table(tree, section, at) else { return };
    for entry in body.0.iter().filter(|entry| entry.key != "rules") {
        table.set(entry.key.clone(), entry.item.clone());
        if let Some(own) = table.0.iter_mut().find(|own| own.key == entry.key) {
            own.at = at;
        }
    }
}

/// Whether a `[[listeners]]` entry has this name, be it written or not.
fn is_called(item: &Item<'_>, name: &str) -> bool {
    let Tree::Table(entries) = &item.tree else { return false };
    let text = |key: &str| match entries.get(key).map(|item| &item.tree) {
        Some(Tree::Text(text)) => Some(text.as_ref()),
        _ => None,
    };
    if let Some(written) = text("name") {
        return written == name;
    }
    let address: Option<core::net::SocketAddr> = text("bind_address").and_then(|text| text.parse().ok());
    address
        .is_some_and(|at| format!("{}-{}-{}", text("protocol").unwrap_or("tcp"), at.ip(), at.port()) == name)
}
