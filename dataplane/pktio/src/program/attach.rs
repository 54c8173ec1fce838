//! Attaching to an interface: native, generic, or the better that works.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{AttachMode, ProgramError};
use crate::kernel;

/// Attaches a program and says in which mode, and why not natively.
pub(super) fn attach_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: AttachMode,
) -> io::Result<(OwnedFd, AttachMode, String)> {
    let native = || kernel::link_create(program, ifindex, kernel::XDP_FLAGS_DRV_MODE);
    let generic = || kernel::link_create(program, ifindex, kernel::XDP_FLAGS_SKB_MODE);
    match mode {
        AttachMode::Native => Ok((native()?, AttachMode::Native, String::new())),
        AttachMode::Generic => Ok((generic()?, AttachMode::Generic, String::new())),
        AttachMode::Auto => match native() {
            Ok(link) => Ok((link, AttachMode::Native, String::new())),
            // Somebody else's program is there: generic would be refused too, and less clearly.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) => Err(error),
            Err(error) => Ok((generic()?, AttachMode::Generic, format!("not native: {}", explain(&error)))),
        },
    }
}

/// What the usual refusals of native mode mean.
fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "the driver has no XDP".into(),
        Some(libc::ERANGE) => "the MTU is too large for native XDP (lower it to 3500 or less)".into(),
        Some(libc::ENOSPC) => "the device has too few queues for XDP".into(),
        _ => error.to_string(),
    }
}

/// Turns an error of libbpf-rs into ours.
pub(super) fn kernel_error(action: &'static str) -> impl Fn(libbpf_rs::Error) -> ProgramError {
    move |error| ProgramError::Kernel { action: action.into(), source: io_error(&error) }
}

/// The system's error inside one of libbpf-rs, or its text.
pub(crate) fn io_error(error: &libbpf_rs::Error) -> io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        source = inner.source();
    }
    io::Error::other(format!("{error:#}"))
}
