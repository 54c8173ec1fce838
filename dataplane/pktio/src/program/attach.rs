//! Attaching to an interface: native, generic, or the better that works.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::pins::Pins;
use super::{AttachMode, Attached, InterfaceConfig, ProgramError};
use crate::kernel;

/// Attaches to an interface, or takes a pinned link over: the kernel replaces the program between two packets.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    interface: &InterfaceConfig,
    pins: Option<&Pins>,
) -> Result<(OwnedFd, Attached), ProgramError> {
    let InterfaceConfig { name, mode } = interface;
    let failed = |action: String| move |source| ProgramError::Kernel { action, source };
    let ifindex = kernel::ifindex(name).map_err(failed(format!("find the interface {name}")))?;
    let path = pins.map(|pins| pins.link(name));
    let mut notes = Vec::new();
    if let Some(path) = path.as_ref().filter(|path| path.exists()) {
        let link = kernel::open_pinned(path).map_err(failed(format!("open {}", path.display())))?;
        match take_over(&link, program, ifindex, *mode) {
            Ok(mode) => {
                let attached = Attached {
                    interface: name.clone(),
                    ifindex,
                    mode,
                    taken_over: true,
                    note: String::new(),
                };
                return Ok((link, attached));
            }
            Err(reason) => notes.push(reason),
        }
        // Of no use; an interface that is gone cannot be detached from.
        let _ = kernel::link_detach(link.as_fd());
        Pins::remove(path)?;
    }
    let (link, mode, note) = attach_link(program, ifindex, *mode).map_err(failed(occupied(name, ifindex)))?;
    if !note.is_empty() {
        notes.push(note);
    }
    if let Some(path) = path {
        kernel::pin(link.as_fd(), &path).map_err(failed(format!("pin {}", path.display())))?;
    }
    let attached =
        Attached { interface: name.clone(), ifindex, mode, taken_over: false, note: notes.join("; ") };
    Ok((link, attached))
}

/// Puts our program into a pinned link; the reason when the link cannot serve.
fn take_over(
    link: &OwnedFd,
    program: BorrowedFd<'_>,
    ifindex: u32,
    wanted: AttachMode,
) -> Result<AttachMode, String> {
    match kernel::link_ifindex(link.as_fd()) {
        Ok(found) if found == ifindex => {}
        Ok(0) => return Err("a pinned link of an interface that is gone was removed".into()),
        Ok(_) => return Err("a pinned link of another interface was removed".into()),
        Err(error) => return Err(format!("a pinned link was removed: {error}")),
    }
    let (native, _) = kernel::attached_ids(ifindex).map_err(|error| error.to_string())?;
    let mode = if native != 0 { AttachMode::Native } else { AttachMode::Generic };
    if wanted != AttachMode::Auto && wanted != mode {
        return Err("attached afresh to change the mode".into());
    }
    kernel::link_update(link.as_fd(), program)
        .map_err(|error| format!("a pinned link was removed: {error}"))?;
    Ok(mode)
}

/// What was attempted, and who is there already.
fn occupied(name: &str, ifindex: u32) -> String {
    match kernel::attached_ids(ifindex) {
        Ok((0, 0)) | Err(_) => format!("attach to {name}"),
        Ok((native, generic)) => {
            let id = if native != 0 { native } else { generic };
            format!(
                "attach to {name}: XDP program {id} is there (ip link set {name} xdp off, or bpftool link)"
            )
        }
    }
}

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
