//! The whole store to one file, and back.
//!
//! ```text
//!   magic (8) | schema u32 | id (16)
//!   record: table u8 | key length u32 | value length u32 | key | value      (little endian, any number)
//!   end:    0 u8     | records u64    | SHA-256 of all before it (32)
//! ```
//!
//! Values lie in it without their frame: they were verified when they were read. A file is written beside its
//! place and renamed, so that one with the right name is whole. A backup is read twice by `restore`: once to
//! verify all of it, before anything is touched, and once to use it. Memory is bounded by one record.

use super::check::NAMED_MAX;
use super::disk::Folder;
use super::error::{Error, Result};
use super::frame;
use super::reader::{Order, Reader};
use super::schema::{self, Facts};
use super::table::Table;
use super::writer::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use aws_lc_rs::digest::{Context, SHA256};
use redb::{Database, ReadableDatabase};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// First bytes of a backup; the last one is the version of its layout.
const MAGIC: &[u8; 8] = b"SBSTORE\x01";
const DIGEST_BYTES: usize = 32;
/// Records of one transaction while a backup is put back.
const RESTORE_BATCH: usize = 10_000;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The identity of the store.
    pub id: Uuid,
    /// The schema of its data.
    pub schema: u32,
    /// Records in the file.
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Records of the store that are damaged and were left out.
    pub damaged: u64,
    /// The first of them, as messages.
    pub damaged_named: Vec<String>,
}

/// Writes what `reader` sees to the file `path`, which must not exist.
pub(super) fn write(reader: &Reader<'_>, id: Uuid, path: &Path) -> Result<BackupReport> {
    if path.try_exists().map_err(|cause| Error::io("looking for", path, &cause))? {
        return Err(Error::Exists { path: path.to_owned(), advice: "give the backup another name" });
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = write_file(reader, Facts { schema: schema::SCHEMA, id }, &partial).and_then(|report| {
        let renamed = fs::rename(&partial, path).and_then(|()| sync_folder(path));
        renamed.map_err(|cause| Error::io("renaming to", path, &cause)).map(|()| report)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_file(reader: &Reader<'_>, facts: Facts, path: &Path) -> Result<BackupReport> {
    let fail = |cause: io::Error| Error::io("writing the backup", path, &cause);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut out = Summed::new(BufWriter::new(file.map_err(fail)?));
    let mut report = BackupReport {
        id: facts.id,
        schema: facts.schema,
        records: 0,
        bytes: 0,
        damaged: 0,
        damaged_named: vec![],
    };
    out.put(MAGIC).map_err(fail)?;
    out.put(&facts.schema.to_le_bytes()).map_err(fail)?;
    out.put(facts.id.as_bytes()).map_err(fail)?;
    for table in Table::ALL {
        for record in reader.range(*table, .., usize::MAX, Order::Up)? {
            match record {
                Ok((key, value)) => {
                    put_record(&mut out, *table, &key, &value).map_err(fail)?;
                    report.records += 1;
                }
                Err(Error::Corrupt { what }) if what.starts_with("table ") => {
                    report.damaged += 1;
                    if report.damaged_named.len() < NAMED_MAX {
                        report.damaged_named.push(what);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    out.put(&[0]).map_err(fail)?;
    out.put(&report.records.to_le_bytes()).map_err(fail)?;
    report.bytes = out.bytes + DIGEST_BYTES as u64;
    let Summed { inner: mut file, context, .. } = out;
    file.write_all(context.finish().as_ref()).map_err(fail)?;
    let file = file.into_inner().map_err(|cause| fail(cause.into_error()))?;
    file.sync_all().map_err(fail)?;
    Ok(report)
}

fn put_record<W: Write>(out: &mut Summed<W>, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
    let length = |len: usize| u32::try_from(len).map_err(io::Error::other);
    out.put(&[table.number()])?;
    out.put(&length(key.len())?.to_le_bytes())?;
    out.put(&length(value.len())?.to_le_bytes())?;
    out.put(key)?;
    out.put(value)
}

/// A file with the digest and the number of what went through it.
struct Summed<F> {
    inner: F,
    context: Context,
    bytes: u64,
}

impl<F> Summed<F> {
    fn new(inner: F) -> Self {
        Self { inner, context: Context::new(&SHA256), bytes: 0 }
    }

    fn count(&mut self, data: &[u8]) {
        self.context.update(data);
        self.bytes += data.len() as u64;
    }
}

impl<W: Write> Summed<W> {
    fn put(&mut self, data: &[u8]) -> io::Result<()> {
        self.count(data);
        self.inner.write_all(data)
    }
}

impl<R: Read> Summed<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut data = [0; N];
        self.inner.read_exact(&mut data)?;
        self.count(&data);
        Ok(data)
    }

    fn take_bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; len];
        self.inner.read_exact(&mut data)?;
        self.count(&data);
        Ok(data)
    }
}

/// Verifies the whole file and says what it holds.
///
/// # Errors
/// It is damaged, cut, no backup, or of a newer release.
pub fn verify_backup(path: &Path) -> Result<BackupReport> {
    read(path, |_, _, _| Ok(()))
}

/// Goes through a backup; `each` gets table, key and value, before the whole file is known to be sound.
fn read(path: &Path, mut each: impl FnMut(Table, &[u8], &[u8]) -> Result<()>) -> Result<BackupReport> {
    let fail = |cause: io::Error| match cause.kind() {
        io::ErrorKind::UnexpectedEof => damaged(path, "it ends too early"),
        _ => Error::io("reading the backup", path, &cause),
    };
    let mut file = Summed::new(BufReader::new(File::open(path).map_err(fail)?));
    if file.take::<8>().map_err(fail)? != *MAGIC {
        return Err(damaged(path, "it does not begin like a backup of this release"));
    }
    let schema = u32::from_le_bytes(file.take().map_err(fail)?);
    let id = Uuid::from_bytes(file.take().map_err(fail)?);
    if schema > schema::SCHEMA {
        return Err(Error::Schema { found: schema, known: schema::SCHEMA });
    }
    let mut records = 0;
    loop {
        let [number] = file.take().map_err(fail)?;
        if number == 0 {
            break;
        }
        let table =
            Table::by_number(number).ok_or_else(|| damaged(path, "it names a table that is not known"))?;
        let key_bytes = u32::from_le_bytes(file.take().map_err(fail)?) as usize;
        let value_bytes = u32::from_le_bytes(file.take().map_err(fail)?) as usize;
        if key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
            return Err(damaged(path, "a record is larger than records can be"));
        }
        let key = file.take_bytes(key_bytes).map_err(fail)?;
        let value = file.take_bytes(value_bytes).map_err(fail)?;
        each(table, &key, &value)?;
        records += 1;
    }
    let counted = u64::from_le_bytes(file.take().map_err(fail)?);
    let Summed { mut inner, context, bytes } = file;
    let mut digest = [0; DIGEST_BYTES];
    inner.read_exact(&mut digest).map_err(fail)?;
    if counted != records || digest != context.finish().as_ref() {
        return Err(damaged(path, "its checksum does not fit"));
    }
    if inner.read(&mut [0]).map_err(fail)? != 0 {
        return Err(damaged(path, "something follows its end"));
    }
    let bytes = bytes + DIGEST_BYTES as u64;
    Ok(BackupReport { id, schema, records, bytes, damaged: 0, damaged_named: vec![] })
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::Corrupt { what: format!("backup {}: {why}", path.display()) }
}

/// Writes a backup of the store in `dir`, which must not be in use, to the file `path`.
///
/// # Errors
/// It is in use or does not open, or as `Store::backup`.
pub fn backup_of(dir: &Path, path: &Path) -> Result<BackupReport> {
    let (store, _) = super::Store::open(dir)?;
    store.backup(path)
}

/// Makes a store in `dir` from the backup `path`. With `force` it takes the place of one that is there, which
/// is kept as `store.redb.replaced` (a second time, the older of both is gone).
///
/// # Errors
/// The backup is damaged or of a newer release, a store is there and `force` is not set, or it is in use. What
/// was there is as it was.
pub fn restore(path: &Path, dir: &Path, force: bool) -> Result<BackupReport> {
    let report = verify_backup(path)?;
    let folder = Folder::new(dir);
    folder.create()?;
    let _lock = folder.lock()?;
    let file = folder.file();
    let is_there = file.try_exists().map_err(|cause| Error::io("looking for", &file, &cause))?;
    if is_there && !force {
        let advice = "stop the orchestrator and repeat with force to replace it";
        return Err(Error::Exists { path: file, advice });
    }
    let db = folder.begin_new(Facts { schema: report.schema, id: report.id })?;
    let again = fill(&db, path, &folder.dir)?;
    // Between the two readings the file may have been changed.
    if again != report || count(&db, dir)? != report.records {
        return Err(damaged(path, "it changed while it was read"));
    }
    drop(db);
    if is_there {
        keep_replaced(&folder)?;
    }
    folder.put_in_place()?;
    Ok(report)
}

/// The old store gets a second name before the new one takes the first: at no time is there none.
fn keep_replaced(folder: &Folder) -> Result<()> {
    let kept = folder.replaced_file();
    match fs::remove_file(&kept) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("removing", &kept, &cause));
        }
        _ => {}
    }
    fs::hard_link(folder.file(), &kept).map_err(|cause| Error::io("keeping the old store as", &kept, &cause))
}

/// Puts the records of a backup into an empty database.
fn fill(db: &Database, path: &Path, dir: &Path) -> Result<BackupReport> {
    let put = |records: &mut Vec<(Table, Vec<u8>, Vec<u8>)>| {
        let run = || -> Result<(), redb::Error> {
            let transaction = schema::begin(db)?;
            for (table, key, framed) in records.iter() {
                transaction.open_table(table.definition())?.insert(key.as_slice(), framed.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        };
        run().map_err(|cause| Error::database("restoring to", dir, cause))?;
        records.clear();
        Ok(())
    };
    let (mut records, mut bytes) = (Vec::new(), 0);
    let report = read(path, |table, key, value| {
        records.push((table, key.to_vec(), frame::seal(table, key, value)));
        bytes += value.len();
        if records.len() >= RESTORE_BATCH || bytes >= VALUE_BYTES_MAX {
            put(&mut records)?;
            bytes = 0;
        }
        Ok(())
    })?;
    put(&mut records)?;
    Ok(report)
}

fn count(db: &Database, dir: &Path) -> Result<u64> {
    let counters = super::stats::Counters::default();
    let transaction = db.begin_read().map_err(|cause| Error::database("counting in", dir, cause))?;
    let reader = Reader::new(transaction, &counters, dir);
    Table::ALL.iter().map(|table| reader.len(*table)).sum()
}
