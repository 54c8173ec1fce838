//! An orchestrator in a folder of its own, for the tests of the faces.

use std::collections::BTreeMap;

use secbeat_config::orchestrator::OrchestratorConfig;
use tempfile::TempDir;

use crate::access::Authority;
use crate::access::token::NewToken;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::store::Store;

/// An orchestrator; the folder is removed with it.
pub(crate) struct Place {
    _folder: TempDir,
    pub(crate) orchestrator: Orchestrator,
}

impl Place {
    /// Without an authority, and with more lines of configuration.
    pub(crate) fn new(more: &str) -> Self {
        Self::open(tempfile::tempdir().unwrap(), more)
    }

    /// With an authority.
    pub(crate) fn with_authority(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Authority::init(folder.path(), core::time::Duration::from_secs(30 * 86_400), now_ms()).unwrap();
        Self::open(folder, more)
    }

    fn open(folder: TempDir, more: &str) -> Self {
        let text = format!(
            "[server]\nbind_address = \"127.0.0.1:0\"\ngrpc_address = \"127.0.0.1:0\"\nstate_dir = {:?}\n{more}",
            folder.path()
        );
        let config = OrchestratorConfig::parse("test", &text, &BTreeMap::new()).unwrap();
        let (store, _) = Store::open(&folder.path().join("store")).unwrap();
        let orchestrator = Orchestrator::open(config, store).unwrap();
        Self { _folder: folder, orchestrator }
    }

    /// A new token with these scopes.
    pub(crate) async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let scopes = scopes.iter().map(|word| (*word).to_owned()).collect();
        let new = NewToken { name: name.into(), scopes, lifetime_ms: 0, created_by: "test".into() };
        self.orchestrator.access.tokens.create(new, false, now_ms()).await.unwrap().1
    }
}
