//! Contexts: which orchestrator is meant, and with what one shows who one is.
//!
//! Owns: the context file (`~/.config/secbeat/contexts.toml`, readable by its owner only) and what comes of it, the
//! command line and the environment. Does not own: the connection (`client`).
//!
//! A token goes only to the server it was stored with: when `--server` names another one, nothing of the context is
//! used.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::exit::{Exit, Failure};

/// Where an orchestrator listens unless it is told otherwise.
pub(crate) const SERVER_DEFAULT: &str = "http://127.0.0.1:9443";
/// The context that `login` writes and every command reads, unless `--context` names another.
pub(crate) const CONTEXT_DEFAULT: &str = "default";
/// Bytes of the context file: thousands of contexts. A longer one is refused.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The context file.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One orchestrator and what opens it.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
}

/// Where the context file lies.
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set",
            "set one",
        )
    })?;
    Ok(base.join("secbeat").join("contexts.toml"))
}

impl Contexts {
    /// Reads the file. A missing one is an empty one.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let failed = |what: String| {
            Failure::new(
                Exit::Failed,
                format!("{}: {what}", path.display()),
                "correct it, or `secbeat login` anew",
            )
        };
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        if meta.len() > FILE_BYTES_MAX {
            return Err(failed(format!("{} bytes are more than the {FILE_BYTES_MAX} allowed", meta.len())));
        }
        if meta.permissions().mode() & 0o077 != 0 {
            let hint = format!("it holds tokens: chmod 600 {}", path.display());
            return Err(Failure::new(Exit::Failed, format!("{} is open to others", path.display()), hint));
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        toml::from_str(&text).map_err(|error| failed(error.message().to_owned()))
    }

    /// Writes the file anew, so that a crash leaves the old one or the new one; mode 0600 from the first byte.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let text = toml::to_string(self).map_err(io::Error::other)?;
            let draft = path.with_extension(format!("toml.{}", std::process::id()));
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            let moved = written.and_then(|()| fs::rename(&draft, path));
            if moved.is_err() {
                // The first error is the one to tell.
                let _ = fs::remove_file(&draft);
            }
            moved
        };
        write().map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot write {}: {error}", path.display()),
                "is the folder yours?",
            )
        })
    }
}

/// What a command connects with: the command line and the environment, then the context, then the default.
pub(crate) fn resolve(global: &Global) -> Result<Context, Failure> {
    let given = Context {
        server: global.server.clone().unwrap_or_default(),
        token: global.token.clone(),
        ca: global.ca.clone(),
        cert: global.cert.clone(),
        key: global.key.clone(),
    };
    // Complete without the file: a broken one does not matter then.
    if !given.server.is_empty() && given.token.is_some() && global.context.is_none() {
        return Ok(given);
    }
    let name = global.context.as_deref().unwrap_or(CONTEXT_DEFAULT);
    let contexts = match path() {
        Ok(path) => Contexts::load(&path)?,
        Err(_) if global.context.is_none() => Contexts::default(),
        Err(failure) => return Err(failure),
    };
    match contexts.contexts.get(name) {
        Some(stored) => Ok(merge(given, stored)),
        None if global.context.is_some() => {
            let known: Vec<_> = contexts.contexts.keys().map(String::as_str).collect();
            Err(Failure::usage(
                format!("there is no context `{name}`"),
                format!("known: {}; make it with `secbeat login --context {name}`", known.join(", ")),
            ))
        }
        None => Ok(merge(given, &Context { server: SERVER_DEFAULT.to_owned(), ..Context::default() })),
    }
}

fn merge(given: Context, stored: &Context) -> Context {
    if !given.server.is_empty() && given.server.trim_end_matches('/') != stored.server.trim_end_matches('/') {
        return given;
    }
    Context {
        server: stored.server.clone(),
        token: given.token.or_else(|| stored.token.clone()),
        ca: given.ca.or_else(|| stored.ca.clone()),
        cert: given.cert.or_else(|| stored.cert.clone()),
        key: given.key.or_else(|| stored.key.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Context {
        Context { server: "https://a:1".into(), token: Some("secret".into()), ..Context::default() }
    }

    #[test]
    fn a_token_does_not_go_to_another_server() {
        let given = Context { server: "https://b:1".into(), ..Context::default() };
        assert_eq!(merge(given, &stored()).token, None);
        let same = Context { server: "https://a:1/".into(), ..Context::default() };
        assert_eq!(merge(same, &stored()).token.as_deref(), Some("secret"));
    }

    #[test]
    fn the_file_is_the_owners_alone_and_comes_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secbeat/contexts.toml");
        let mut contexts = Contexts::default();
        contexts.contexts.insert("prod".into(), stored());
        contexts.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Contexts::load(&path).unwrap();
        assert_eq!(read.contexts["prod"].token.as_deref(), Some("secret"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let failure = Contexts::load(&path).err().unwrap();
        assert!(failure.hint.contains("chmod 600"));
    }
}
