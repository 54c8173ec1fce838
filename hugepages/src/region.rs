//! One mapping of memory, on the largest pages that can be had.
//!
//! Owns: the mapping. Does not own: what is stored in it, nor the number of huge pages the host keeps
//! (README: how to size). Cost: at start only; every page is touched, so nothing faults later.
//!
//! ```text
//!   1 GiB hugetlb -> 2 MiB hugetlb -> transparent 2 MiB -> 4 KiB      (Auto)
//!   1 GiB hugetlb -> 2 MiB hugetlb -> error                           (Require)
//!                                                          4 KiB      (Off)
//! ```

use core::ptr::NonNull;
use std::{fs, io};

mod numa;
mod smaps;

pub use numa::{NodePreference, prefer_node};
pub use smaps::kernel_page_bytes;

/// 1 GiB page. Used when rounding the length up to it wastes at most a quarter.
const PAGE_1G_BYTES: usize = 1 << 30;
/// 2 MiB page: the common huge page of x86-64 and of arm64 with 4 KiB pages.
const PAGE_2M_BYTES: usize = 2 << 20;
/// Base page assumed for rounding; the kernel's may be larger, which only rounds again.
const PAGE_4K_BYTES: usize = 4 << 10;

/// How hard to try for huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugepagePolicy {
    /// The largest that can be had, down to 4 KiB.
    #[default]
    Auto,
    /// Reserved huge pages (1 GiB or 2 MiB), or an error.
    Require,
    /// 4 KiB pages.
    Off,
}

/// The pages behind a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Reserved 1 GiB pages.
    Huge1G,
    /// Reserved 2 MiB pages.
    Huge2M,
    /// Transparent huge pages, at least in part.
    Transparent,
    /// The kernel's base pages, 4 KiB.
    Base,
}

impl PageKind {
    /// Size of the page in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Huge1G => PAGE_1G_BYTES,
            Self::Huge2M | Self::Transparent => PAGE_2M_BYTES,
            Self::Base => PAGE_4K_BYTES,
        }
    }
}

impl core::fmt::Display for PageKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Huge1G => "1 GiB pages",
            Self::Huge2M => "2 MiB pages",
            Self::Transparent => "transparent 2 MiB pages",
            Self::Base => "4 KiB pages",
        })
    }
}

/// Why no memory was given.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// A length of zero, or one that cannot be rounded up to a page.
    #[error("a region of {0} bytes cannot be mapped")]
    Length(usize),
    /// Every kind of page that the policy allows failed.
    #[error("cannot map {len} bytes: {reasons}")]
    Refused {
        /// Bytes asked for.
        len: usize,
        /// What was tried and what the kernel said.
        reasons: String,
    },
}

/// What a region got, for one line of log.
#[derive(Clone, Debug)]
pub struct RegionReport {
    /// The pages obtained.
    pub kind: PageKind,
    /// Bytes mapped, rounding included.
    pub mapped_bytes: usize,
    /// NUMA node of the first page; `None` when the kernel does not say.
    pub numa_node: Option<u32>,
    /// Why larger pages were not obtained, or why the node is another one. Empty when there is nothing to say.
    pub note: String,
}

/// Zeroed memory, mapped, touched, and unmapped on drop.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    mapped_bytes: usize,
    report: RegionReport,
}

// SAFETY: the region owns its mapping exclusively; nothing in it is bound to a thread.
unsafe impl Send for Region {}
// SAFETY: shared access gives only `&[u8]`; writing needs `&mut Region`.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes by `policy`, preferring memory of `numa_node`, and touches every page.
    ///
    /// The node is a preference: a node without free pages falls back to another and the report says so, where
    /// a strict binding would end in SIGBUS at the first touch.
    ///
    /// # Errors
    /// [`RegionError`] with every reason.
    pub fn map(len: usize, policy: HugepagePolicy, numa_node: Option<u32>) -> Result<Self, RegionError> {
        if len == 0 || len > isize::MAX as usize / 2 {
            return Err(RegionError::Length(len));
        }
        let mut reasons = Vec::new();
        for &kind in candidates(len, policy) {
            match Self::try_map(len, kind, numa_node) {
                Ok(mut region) => {
                    if kind == PageKind::Transparent && !smaps::has_transparent(region.base.as_ptr()) {
                        region.report.kind = PageKind::Base;
                        reasons.push(format!("{kind}: {}", transparent_reason()));
                    }
                    if let (Some(wanted), Some(got)) = (numa_node, region.report.numa_node)
                        && wanted != got
                    {
                        reasons.push(format!("node {wanted} had no such memory, got node {got}"));
                    }
                    region.report.note = reasons.join("; ");
                    return Ok(region);
                }
                Err(error) => reasons.push(format!("{kind}: {}", explain(kind, &error))),
            }
        }
        Err(RegionError::Refused { len, reasons: reasons.join("; ") })
    }

    /// What was obtained.
    pub fn report(&self) -> &RegionReport {
        &self.report
    }

    /// Bytes asked for.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `base` is a live mapping of at least `len` readable bytes, owned by `self`, initialised to
        // zero by the kernel; no `&mut` exists while `self` is borrowed.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// The memory, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, writable, and `&mut self` excludes every other reference.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    fn try_map(len: usize, kind: PageKind, numa_node: Option<u32>) -> io::Result<Self> {
        let page = kind.bytes();
        let mapped_bytes = len.checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let base = map_aligned(mapped_bytes, kind)?;
        // From here the value unmaps on every way out.
        let report = RegionReport { kind, mapped_bytes, numa_node: None, note: String::new() };
        let mut region = Self { base, len, mapped_bytes, report };
        if kind != PageKind::Huge1G && kind != PageKind::Huge2M {
            advise(region.base, mapped_bytes, kind);
        }
        if let Some(node) = numa_node {
            numa::prefer_for(region.base.as_ptr(), mapped_bytes, node)?;
        }
        region.touch()?;
        region.report.numa_node = numa::node_of(region.base.as_ptr());
        Ok(region)
    }

    /// Faults every page in, without the SIGBUS that a plain write to a missing huge page would raise.
    fn touch(&mut self) -> io::Result<()> {
        // SAFETY: the range is our own mapping; MADV_POPULATE_WRITE keeps contents and faults pages in.
        let result =
            unsafe { libc::madvise(self.base.as_ptr().cast(), self.mapped_bytes, libc::MADV_POPULATE_WRITE) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        // Kernels before 5.14 do not know the advice.
        for offset in (0..self.mapped_bytes).step_by(PAGE_4K_BYTES) {
            // SAFETY: `offset` lies inside the mapping; a volatile write of the value already there (zero).
            unsafe { self.base.as_ptr().add(offset).write_volatile(0) };
        }
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, not used after.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// The kinds to try, best first.
fn candidates(len: usize, policy: HugepagePolicy) -> &'static [PageKind] {
    use PageKind::{Base, Huge1G, Huge2M, Transparent};
    let wasted = len.next_multiple_of(PAGE_1G_BYTES) - len;
    let gigabyte = wasted <= len.next_multiple_of(PAGE_1G_BYTES) / 4;
    match (policy, gigabyte) {
        (HugepagePolicy::Auto, true) => &[Huge1G, Huge2M, Transparent, Base],
        (HugepagePolicy::Auto, false) if len >= PAGE_2M_BYTES / 2 => &[Huge2M, Transparent, Base],
        (HugepagePolicy::Auto, false) | (HugepagePolicy::Off, _) => &[Base],
        (HugepagePolicy::Require, true) => &[Huge1G, Huge2M],
        (HugepagePolicy::Require, false) => &[Huge2M],
    }
}

/// Maps `bytes` (a multiple of the page), aligned to the page.
fn map_aligned(bytes: usize, kind: PageKind) -> io::Result<NonNull<u8>> {
    let base_flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let (flags, slack) = match kind {
        PageKind::Huge1G => (base_flags | libc::MAP_HUGETLB | libc::MAP_HUGE_1GB, 0),
        PageKind::Huge2M => (base_flags | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB, 0),
        PageKind::Transparent => (base_flags, PAGE_2M_BYTES),
        PageKind::Base => (base_flags, 0),
    };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice; nothing else is affected.
    let address = unsafe { libc::mmap(core::ptr::null_mut(), bytes + slack, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let address = address.cast::<u8>();
    let front = if slack == 0 { 0 } else { address.align_offset(slack) };
    // SAFETY: `front < slack`, so `front..front + bytes` lies inside the mapping; the two ends given back are
    // ours and no longer used.
    unsafe {
        if front > 0 {
            libc::munmap(address.cast(), front);
        }
        if slack > front {
            libc::munmap(address.add(front + bytes).cast(), slack - front);
        }
        Ok(NonNull::new_unchecked(address.add(front)))
    }
}

/// Asks for or forbids transparent huge pages. A refusal shows in what the kernel reports afterwards.
fn advise(base: NonNull<u8>, bytes: usize, kind: PageKind) {
    let advice = if kind == PageKind::Transparent { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: our own mapping; the advice changes no contents.
    unsafe { libc::madvise(base.as_ptr().cast(), bytes, advice) };
}

fn explain(kind: PageKind, error: &io::Error) -> String {
    match (kind, error.raw_os_error()) {
        (PageKind::Huge1G, Some(libc::ENOMEM | libc::EFAULT)) => {
            "none free (boot with hugepagesz=1G hugepages=N)".into()
        }
        (PageKind::Huge2M, Some(libc::ENOMEM | libc::EFAULT)) => {
            "none free (sysctl vm.nr_hugepages=N)".into()
        }
        (PageKind::Huge1G | PageKind::Huge2M, Some(libc::EINVAL | libc::ENODEV)) => {
            "not supported by this machine".into()
        }
        _ => error.to_string(),
    }
}

/// Why the kernel gave no transparent huge page although asked.
fn transparent_reason() -> String {
    match fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled") {
        Ok(text) if text.contains("[never]") => "switched off (transparent_hugepage/enabled is never)".into(),
        Ok(_) => "no contiguous memory".into(),
        Err(_) => "not in this kernel".into(),
    }
}

#[cfg(test)]
mod tests;
