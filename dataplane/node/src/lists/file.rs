//! Bans on disk, and lists of prefixes that people write.
//!
//! A save never leaves less than one whole file: new file, sync, old one kept as `.old`, rename, sync of the
//! directory. A load takes the first of the two that reads, and sets a damaged one aside for inspection.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Ban, Past};

/// Longest file that is read: 4 million entries of about 60 bytes. Bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Format of the file. Another number is not read.
const FORMAT: u32 = 1;
/// Mistakes of a prefix list that are reported one by one.
const MISTAKES_NAMED_MAX: usize = 8;

/// What a file holds.
#[derive(Default, Deserialize)]
pub(super) struct Stored {
    format: u32,
    pub(super) bans: Vec<Ban>,
    pub(super) past: Vec<StoredPast>,
}

/// A source whose automatic ban is over.
#[derive(Deserialize)]
pub(super) struct StoredPast {
    pub(super) prefix: IpNet,
    #[serde(flatten)]
    pub(super) past: Past,
}

#[derive(Serialize)]
struct StoredPastRef<'a> {
    prefix: &'a IpNet,
    #[serde(flatten)]
    past: &'a Past,
}

/// Reads the bans at `path`. No file at all is an empty list.
pub(super) fn load(path: &Path, warnings: &mut Vec<String>) -> Stored {
    let old = beside(path, ".old");
    for candidate in [path, &old] {
        match read(candidate) {
            Ok(Some(stored)) => {
                if candidate != path {
                    warnings.push(format!("bans were taken from the older copy {}", old.display()));
                }
                return stored;
            }
            Ok(None) => {}
            Err(error) => {
                let aside = beside(candidate, ".damaged");
                let kept = match fs::rename(candidate, &aside) {
                    Ok(()) => format!("kept as {}", aside.display()),
                    Err(error) => format!("could not be set aside: {error}"),
                };
                warnings.push(format!("{} cannot be read ({error}); {kept}", candidate.display()));
            }
        }
    }
    Stored::default()
}

fn read(path: &Path) -> io::Result<Option<Stored>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let stored: Stored = serde_json::from_slice(&text).map_err(io::Error::other)?;
    if stored.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not {FORMAT}", stored.format)));
    }
    Ok(Some(stored))
}

/// Writes the bans to `path`.
pub(super) fn save<'a>(
    path: &Path,
    bans: impl Iterator<Item = &'a Ban>,
    past: &BTreeMap<IpNet, Past>,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Out<'a> {
        format: u32,
        bans: Vec<&'a Ban>,
        past: Vec<StoredPastRef<'a>>,
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = beside(path, ".new");
    let past = past.iter().map(|(prefix, past)| StoredPastRef { prefix, past }).collect();
    let mut writer = BufWriter::new(File::create(&new)?);
    serde_json::to_writer(&mut writer, &Out { format: FORMAT, bans: bans.collect(), past })?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    drop(writer);
    let old = beside(path, ".old");
    match fs::rename(path, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(suffix);
    name.into()
}

/// The prefixes of a list file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// What could be read.
    pub prefixes: Vec<IpNet>,
    /// What could not, for people: the first few mistakes and how many there are.
    pub mistakes: Vec<String>,
}

/// Reads a list that people or feeds write: one address or prefix per line; `#` and `;` start comments.
/// A line that is neither does not spoil the rest.
///
/// # Errors
/// When the file cannot be read or is longer than 256 MiB.
pub fn read_prefixes(path: &Path) -> io::Result<Prefixes> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let mut list = Prefixes::default();
    let mut mistakes = 0usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let parsed =
            line.parse::<IpNet>().or_else(|_| line.parse().map(|addr: core::net::IpAddr| addr.into()));
        match parsed {
            Ok(net) => list.prefixes.push(net.trunc()),
            Err(_) => {
                mistakes += 1;
                if mistakes <= MISTAKES_NAMED_MAX {
                    let shown: String = line.chars().take(60).collect();
                    list.mistakes.push(format!("{}:{}: `{shown}` is no prefix", path.display(), index + 1));
                }
            }
        }
    }
    if mistakes > MISTAKES_NAMED_MAX {
        list.mistakes.push(format!("{}: {mistakes} lines are no prefixes", path.display()));
    }
    Ok(list)
}

/// Points in time as whole seconds since 1970.
pub(super) mod seconds {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        // Rounded up: a ban must not end early because it was written down.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.serialize_u64(since.as_secs() + u64::from(since.subsec_nanos() > 0))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let count = u64::deserialize(from)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(count)).ok_or_else(|| D::Error::custom("no such time"))
    }
}

/// The same, or nothing.
pub(super) mod seconds_optional {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super::seconds")] SystemTime);

    pub(crate) fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        time.map(Wrapped).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(from)?.map(|wrapped| wrapped.0))
    }
}
