//! The bpf(2) and interface calls that `libbpf-rs` does not offer, one safe function each.
//!
//! Owns: nothing. Does not own: what the descriptors mean. libbpf-rs attaches XDP without flags, which hides
//! whether a program runs in the driver, and cannot open a pinned link as a plain descriptor.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64};
use core::time::Duration;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libbpf_rs::{AsRawLibbpf as _, libbpf_sys};

/// `XDP_FLAGS_SKB_MODE` of `linux/if_link.h`.
pub(crate) const XDP_FLAGS_SKB_MODE: u32 = 2;
/// `XDP_FLAGS_DRV_MODE` of `linux/if_link.h`.
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 4;
/// `BPF_F_TEST_XDP_LIVE_FRAMES` of `linux/bpf.h`.
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// libbpf's low-level calls answer with a negative errno.
fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the call just returned this descriptor to us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn path_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Attaches an XDP program to an interface as a link, with `XDP_FLAGS_*`.
pub(crate) fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `options` is a valid struct of the size it states and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, libbpf_sys::BPF_XDP, &raw const options)
    })
}

/// Replaces the program of a link atomically: each packet sees the old or the new one.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: null options are allowed.
    check(unsafe { libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), core::ptr::null()) })
        .map(drop)
}

/// Ends the attachment now, whoever else holds the link: the last reference would do it some time later.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a call on a descriptor, no memory involved.
    check(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }).map(drop)
}

/// The interface a link is attached to; 0 when the interface has gone.
pub(crate) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` has room for `len` bytes and the kernel writes no more than that.
    check(unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(link.as_raw_fd(), (&raw mut info).cast(), &raw mut len)
    })?;
    if info.type_ != libbpf_sys::BPF_LINK_TYPE_XDP {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the pinned link is not an XDP link"));
    }
    // SAFETY: `type_` says that the union holds an XDP link's information; all its fields are plain numbers.
    Ok(unsafe { info.__bindgen_anon_1.xdp.ifindex })
}

/// What is attached to an interface: program id in the driver and in the stack, 0 for none.
pub(crate) fn attached_ids(ifindex: u32) -> io::Result<(u32, u32)> {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `options` states its size and is written within it.
    check(unsafe { libbpf_sys::bpf_xdp_query(ifindex, 0, &raw mut options) })?;
    Ok((options.drv_prog_id, options.skb_prog_id))
}

/// Pins a descriptor of a map, program or link.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_string(path)?;
    // SAFETY: a valid C string that outlives the call.
    check(unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Opens a pinned object.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = path_string(path)?;
    // SAFETY: a valid C string that outlives the call.
    owned(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

/// Key and value size in bytes of a map that is not made yet.
pub(crate) fn map_sizes(map: &libbpf_rs::OpenMapMut<'_>) -> (u32, u32) {
    let map = map.as_libbpf_object();
    // SAFETY: the pointer is that of a live map of an open object; the calls only read it.
    unsafe { (libbpf_sys::bpf_map__key_size(map.as_ptr()), libbpf_sys::bpf_map__value_size(map.as_ptr())) }
}

/// The values of an array map with `BPF_F_MMAPABLE`, one behind the other, as shared memory of 32-bit words.
#[derive(Debug)]
pub(crate) struct SharedWords {
    base: NonNull<AtomicU32>,
    words: usize,
}

// SAFETY: the memory is shared with the kernel anyway; every access is atomic.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `words` words of the map's values.
    pub(crate) fn map(map: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it fails when the map is shorter.
        let base = unsafe {
            libc::mmap(core::ptr::null_mut(), words * 4, protection, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, words })
    }

    /// All words.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: `words` aligned words are mapped until drop, and only accessed atomically.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }

    /// All words, in pairs. Each place is to be accessed in one of the two sizes only.
    pub(crate) fn long_words(&self) -> &[AtomicU64] {
        // SAFETY: as above; a mapping begins at a page, so pairs are aligned.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr().cast(), self.words / 2) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, not used after.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * 4) };
    }
}

/// Runs an XDP program over live frames: `repeat` copies of `frame`, `batch` at a time.
pub(crate) fn run_live(program: BorrowedFd<'_>, frame: &[u8], repeat: u32, batch: u32) -> io::Result<()> {
    let mut context = libbpf_sys::xdp_md { data_end: frame.len() as u32, ..Default::default() };
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        ctx_in: (&raw mut context).cast(),
        ctx_size_in: size_of_val(&context) as u32,
        repeat: i32::try_from(repeat).unwrap_or(i32::MAX),
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: batch,
        ..Default::default()
    };
    // SAFETY: `options` states its size; input pointers and lengths describe live memory; no output is asked for.
    check(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) }).map(drop)
}

/// What became of a frame in a run of an XDP program.
pub(crate) struct Ran {
    /// The last verdict.
    pub(crate) action: u32,
    /// The mean time of a run.
    pub(crate) time: Duration,
    /// The frame after the last run.
    pub(crate) frame: Vec<u8>,
}

/// Runs an XDP program `repeat` times over one frame. Each run sees the frame as the one before left it.
pub(crate) fn run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<Ran> {
    let mut out = vec![0u8; frame.len() + 512];
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        data_out: out.as_mut_ptr().cast(),
        data_size_out: out.len() as u32,
        repeat: i32::try_from(repeat).unwrap_or(i32::MAX),
        ..Default::default()
    };
    // SAFETY: `options` states its size; its pointers and lengths describe live memory.
    check(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) })?;
    out.truncate(options.data_size_out as usize);
    let time = Duration::from_nanos(options.duration.into());
    Ok(Ran { action: options.retval, time, frame: out })
}

/// Looks an interface up by name in this thread's network namespace.
pub(crate) fn ifindex(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: a valid C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Whether `path` lies on a mounted bpffs.
pub(crate) fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = path_string(path)?;
    let mut stat = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a valid C string, and room for one `statfs`.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed and then filled in by the call.
    Ok(unsafe { stat.assume_init() }.f_type == BPF_FS_MAGIC)
}

/// Mounts a bpffs on `directory`.
pub(crate) fn mount_bpffs(directory: &Path) -> io::Result<()> {
    let target = path_string(directory)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: valid C strings that outlive the call; no data.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0700".as_ptr().cast())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds: the clock of `bpf_ktime_get_coarse_ns`.
pub(crate) fn monotonic_coarse_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for one timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Random bytes for a secret.
pub(crate) fn random_words() -> io::Result<[u64; 2]> {
    let mut words = [0u64; 2];
    let bytes = size_of_val(&words);
    // SAFETY: room for `bytes` bytes. So few are never answered in part.
    let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), bytes, 0) };
    if got == bytes as isize { Ok(words) } else { Err(io::Error::last_os_error()) }
}

/// Cores that the kernel may ever use: cores are numbered below it.
pub(crate) fn cores_possible() -> usize {
    libbpf_rs::num_possible_cpus().unwrap_or(usize::MAX)
}
