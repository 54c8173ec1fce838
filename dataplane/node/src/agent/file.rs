//! The last policy on disk, and files of the agent's state directory in general.
//!
//! Owns: atomic writing (new file, synced, renamed, directory synced), reading at start, setting a damaged file aside.
//! Does not own: the format (`secbeat_config::policy::file`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secbeat_config::policy::{Held, parse_file, write_file};

use super::policy::Restored;

/// Name of the policy file in the state directory.
pub const FILE_NAME: &str = "policy.json";

/// Longest policy file that is read, bytes: all resources at their largest would be more, but not what fits a node.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads the policy that was last in force in `state_dir`. No file: nothing is held, and nothing is wrong.
/// A file that cannot be read is set aside as `policy.json.damaged`; the node then asks for everything anew.
pub fn load(state_dir: &Path) -> Restored {
    let path = state_dir.join(FILE_NAME);
    let why = match read(&path) {
        Ok(None) => return Restored::default(),
        Ok(Some(text)) => match parse_file(&text) {
            Ok((held, revision, epoch)) => {
                return Restored { held, revision, epoch, ..Restored::default() };
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let aside = path.with_extension("json.damaged");
    let kept = match fs::rename(&path, &aside) {
        Ok(()) => format!("kept as {}", aside.display()),
        Err(error) => format!("it could not be set aside: {error}"),
    };
    let resync = Some(format!("{} cannot be used ({why}); {kept}", path.display()));
    Restored { resync, ..Restored::default() }
}

/// Writes the policy to `path`.
pub(super) fn save(path: &Path, held: &Held, revision: u64, epoch: u64) -> io::Result<()> {
    write(path, write_file(held, revision, epoch).as_bytes(), 0o640)
}

/// The text of a file; `None` when there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("not text"))
}

/// Writes a file so that after a crash either the old or the new content is there, never a part.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(new)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(new, path)?;
    File::open(directory)?.sync_all()
}
