//! A certificate of our own making, for a node that was given none.
//!
//! Owns: `tls/self-signed.pem` and `.key` in the state directory, made once and made again when other names are
//! wanted. Nobody trusts it, which is the point to make in the log; it lets a node be tried out on a laptop.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use secbeat_config::node::Certificate;

use super::certificate::LoadError;

/// First line of the certificate's file: what stands before the PEM block is a comment.
const NAMES_LINE: &str = "# names:";

/// The files, made if need be; true when they are new.
pub(super) fn ensure(state_dir: &Path, names: &[String]) -> Result<(Certificate, bool), LoadError> {
    let dir = state_dir.join("tls");
    let certificate = Certificate {
        cert_path: dir.join("self-signed.pem"),
        key_path: dir.join("self-signed.key"),
        ocsp_path: None,
    };
    let first_line = format!("{NAMES_LINE} {}\n", names.join(" "));
    let kept = fs::read_to_string(&certificate.cert_path);
    if kept.is_ok_and(|text| text.starts_with(&first_line)) && certificate.key_path.exists() {
        return Ok((certificate, false));
    }
    let fail = |reason: String| LoadError::SelfSigned { path: dir.clone(), reason };
    fs::create_dir_all(&dir).map_err(|error| fail(error.to_string()))?;
    let (pem, key) = make(names).map_err(|error| fail(error.to_string()))?;
    // The key first: a certificate without its key would be taken for complete.
    keep(&certificate.key_path, key.as_bytes(), 0o600).map_err(|error| fail(error.to_string()))?;
    let text = format!("{first_line}{pem}");
    keep(&certificate.cert_path, text.as_bytes(), 0o644).map_err(|error| fail(error.to_string()))?;
    Ok((certificate, true))
}

fn make(names: &[String]) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "SecBeat self-signed");
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes beside the place and renames: a crash leaves the old file or the new one.
fn keep(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
