//! Opening: packet memory, one socket per port, and a report of what was obtained.
//!
//! Owns: the order in which things must happen. Sockets are bound first and their fill rings primed at once: the
//! library makes a fill ring only together with its socket. No frame can be missed by that, since none is
//! directed to a socket before `Program::bind_queue`.

use core::num::NonZeroU32;
use core::ptr::NonNull;
use core::time::Duration;
use std::os::fd::AsRawFd;
use std::time::Instant;
use std::{error, fs, io, thread};

use secbeat_hugepages::{HugepagePolicy, kernel_page_bytes, prefer_node};
use xsk_rs::config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{Socket, Umem};

use super::port::{Scratch, XskPort};
use super::{XskConfig, XskError, XskInterface, XskIo, XskReport, ZeroCopy, options};
use crate::chunks::Chunks;
use crate::io::BURST_FRAMES_MAX;

/// Pause between two attempts to bind a queue that is still being closed.
const BIND_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Ports of one worker; a port number is a byte and XSKMAP keys count up to this.
const PORTS_MAX: usize = crate::program::INTERFACES_MAX;

/// Chunks of one UMEM: 2 GiB of 2048-byte chunks. More is a configuration error.
const FRAMES_MAX: u32 = 1 << 20;

/// The packet memory and what it lies on.
struct Memory {
    umem: Umem,
    descs: Vec<FrameDesc>,
    base: NonNull<u8>,
    page_note: String,
}

impl XskIo {
    /// Opens a socket per interface over one UMEM, fill rings primed.
    ///
    /// # Errors
    /// What could not be done and why.
    pub fn open(config: &XskConfig) -> Result<(Self, XskReport), XskError> {
        let frames = check(config)?;
        let _preference = match config.numa_node {
            Some(node) => Some(prefer_node(node).map_err(kernel("prefer the NUMA node"))?),
            None => None,
        };
        let mut report = XskReport::default();
        let (memory, ports) = open_best(config, frames, &mut report)?;
        Ok((assemble(config, memory, ports, &mut report), report))
    }
}

/// Opens in zero-copy or copy mode as configured, and notes why.
fn open_best(
    config: &XskConfig,
    frames: u32,
    report: &mut XskReport,
) -> Result<(Memory, Vec<XskPort>), XskError> {
    if config.zero_copy != ZeroCopy::Off {
        let memory = map_memory(config, frames)?;
        match open_ports(config, &memory.umem, BindFlags::XDP_ZEROCOPY) {
            Ok(ports) => return Ok((memory, ports)),
            Err(error) if config.zero_copy == ZeroCopy::Require => return Err(error),
            Err(error) => report.zero_copy_note = explain_copy(&error),
        }
        // Sockets already bound are closed here; the queue may be busy for a moment, hence the retries.
    }
    let memory = map_memory(config, frames)?;
    let ports = open_ports(config, &memory.umem, BindFlags::XDP_COPY)?;
    Ok((memory, ports))
}

fn assemble(config: &XskConfig, memory: Memory, ports: Vec<XskPort>, report: &mut XskReport) -> XskIo {
    let pollfds =
        ports.iter().map(|port| libc::pollfd { fd: port.fd, events: libc::POLLIN, revents: 0 }).collect();
    let chunk_shift = config.chunk_bytes.trailing_zeros();
    let frames = memory.descs.len() as u32;
    report.zero_copy = ports.iter().all(|port| port.zero_copy);
    report.page_bytes = kernel_page_bytes(memory.base.as_ptr()).unwrap_or_default();
    report.page_note = memory.page_note;
    report.umem_bytes = u64::from(frames) << chunk_shift;
    report.frames_spare = frames.saturating_sub(config.frames_min());
    let mut io = XskIo {
        frame_start: memory.descs.first().map_or(0, |desc| desc.addr() as u16),
        ports,
        umem: memory.umem,
        base: memory.base,
        chunks: Chunks::new(frames),
        descs: memory.descs,
        chunk_shift,
        scratch: Box::new([FrameDesc::default(); BURST_FRAMES_MAX]) as Box<Scratch>,
        pollfds,
    };
    if let Some(busy_poll) = config.busy_poll {
        report.busy_poll = !io.ports.is_empty();
        for port in &mut io.ports {
            let result = options::prefer_busy_poll(port.fd, busy_poll.timeout_us, busy_poll.budget_packets);
            port.busy_poll = matches!(result, Ok(true));
            report.busy_poll &= port.busy_poll;
            match result {
                Ok(true) => {}
                Ok(false) => report.busy_poll_note = "the driver names no NAPI for the queue".into(),
                Err(error) => report.busy_poll_note = error.to_string(),
            }
        }
    }
    for port in &mut io.ports {
        port.refill(&mut io.chunks, &mut io.scratch, &io.descs);
    }
    io
}

/// Refuses what cannot be, and answers the number of chunks.
fn check(config: &XskConfig) -> Result<u32, XskError> {
    let invalid = |text: String| Err(XskError::Config(text));
    if config.interfaces.is_empty() || config.interfaces.len() > PORTS_MAX {
        return invalid(format!("1 to {PORTS_MAX} interfaces, not {}", config.interfaces.len()));
    }
    if !matches!(config.chunk_bytes, 2048 | 4096) {
        return invalid(format!("a chunk of {} bytes: the kernel takes 2048 or 4096", config.chunk_bytes));
    }
    for (name, slots) in [("fill", config.fill_slots), ("rx", config.rx_slots), ("tx", config.tx_slots)] {
        if !slots.is_power_of_two() || !(64..=1 << 16).contains(&slots) {
            return invalid(format!("{name} ring of {slots} slots: a power of two from 64 to 65536"));
        }
    }
    if config.fill_slots < config.rx_slots {
        return invalid("the fill ring must have at least as many slots as the rx ring".into());
    }
    let frames = if config.frames == 0 { config.frames_default() } else { config.frames };
    if frames < config.frames_min() || frames > FRAMES_MAX {
        return invalid(format!(
            "{frames} frames: these rings need {} to {FRAMES_MAX}; twice the minimum is a good start",
            config.frames_min()
        ));
    }
    Ok(frames)
}

/// Maps the packet memory on huge pages where they are to be had.
fn map_memory(config: &XskConfig, frames: u32) -> Result<Memory, XskError> {
    let mut page_note = String::new();
    if config.hugepages != HugepagePolicy::Off {
        match map_huge(config, frames) {
            Ok(memory) => return Ok(memory),
            Err(error) if config.hugepages == HugepagePolicy::Require => return Err(error),
            Err(XskError::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOMEM) => {
                page_note = "no huge pages free (sysctl vm.nr_hugepages=N)".into();
            }
            Err(error) => page_note = format!("no huge pages: {error}"),
        }
    }
    Ok(Memory { page_note, ..map(config, frames, false)? })
}

/// The number of chunks is rounded up to whole huge pages, which must waste no more than a quarter.
fn map_huge(config: &XskConfig, frames: u32) -> Result<Memory, XskError> {
    let page = hugepage_bytes().ok_or_else(|| XskError::Config("the kernel has no huge pages".into()))?;
    let wanted = u64::from(frames) * u64::from(config.chunk_bytes);
    let rounded = wanted.next_multiple_of(page);
    if rounded - wanted > rounded / 4 {
        return Err(XskError::Config(format!(
            "{} KiB in pages of {} KiB wastes too much",
            wanted >> 10,
            page >> 10
        )));
    }
    let frames = u32::try_from(rounded / u64::from(config.chunk_bytes)).unwrap_or(u32::MAX);
    map(config, frames, true)
}

/// The default huge page size, which the library's mapping uses.
fn hugepage_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    (kilobytes > 0).then_some(kilobytes * 1024)
}

fn map(config: &XskConfig, frames: u32, huge: bool) -> Result<Memory, XskError> {
    let invalid = |error: &dyn error::Error| XskError::Config(error.to_string());
    let umem_config = UmemConfig::builder()
        .frame_size(FrameSize::new(config.chunk_bytes).map_err(|error| invalid(&error))?)
        .fill_queue_size(ring(config.fill_slots)?)
        .comp_queue_size(ring(config.tx_slots)?)
        .build()
        .map_err(|error| invalid(&error))?;
    let count = NonZeroU32::new(frames).ok_or_else(|| XskError::Config("no frames".into()))?;
    let (umem, descs) = Umem::new(umem_config, count, huge)
        .map_err(|error| XskError::Kernel { action: error.to_string(), source: os_error(&error) })?;
    let Some(first) = descs.first() else { return Err(XskError::Config("no frames".into())) };
    // SAFETY: the descriptor is of this UMEM and nothing else refers to it. Its headroom has length zero and
    // starts at the first byte of the first chunk: the start of the mapping.
    let base = unsafe { umem.headroom(first) }.contents().as_ptr();
    let base = NonNull::new(base.cast_mut()).ok_or_else(|| XskError::Config("no packet memory".into()))?;
    Ok(Memory { umem, descs, base, page_note: String::new() })
}

fn ring(slots: u32) -> Result<QueueSize, XskError> {
    QueueSize::new(slots).map_err(|error| XskError::Config(error.to_string()))
}

fn open_ports(config: &XskConfig, umem: &Umem, mode: BindFlags) -> Result<Vec<XskPort>, XskError> {
    config.interfaces.iter().map(|interface| open_port(config, umem, interface, mode)).collect()
}

fn open_port(
    config: &XskConfig,
    umem: &Umem,
    interface: &XskInterface,
    mode: BindFlags,
) -> Result<XskPort, XskError> {
    let XskInterface { name, queue } = interface;
    let mut bind_flags = mode;
    if config.need_wakeup {
        bind_flags |= BindFlags::XDP_USE_NEED_WAKEUP;
    }
    let socket_config = SocketConfig::builder()
        .rx_queue_size(ring(config.rx_slots)?)
        .tx_queue_size(ring(config.tx_slots)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(bind_flags)
        .build();
    let interface: Interface =
        name.parse().map_err(|_| XskError::Config(format!("{name:?} is no interface name")))?;
    let deadline = Instant::now() + config.bind_retry;
    let (tx, rx, rings) = loop {
        // SAFETY: every ring made here is used with descriptors of this one UMEM only.
        match unsafe { Socket::new(socket_config, umem, &interface, *queue) } {
            Ok(socket) => break socket,
            Err(error) => {
                let source = os_error(&error);
                if source.raw_os_error() != Some(libc::EBUSY) || Instant::now() >= deadline {
                    return Err(XskError::Kernel { action: format!("bind {name} queue {queue}"), source });
                }
                thread::sleep(BIND_RETRY_PAUSE);
            }
        }
    };
    let Some((fill, completion)) = rings else {
        return Err(XskError::Config(format!("{name} queue {queue} is listed twice")));
    };
    let fd = rx.fd().as_raw_fd();
    options::raise_transmit_budget(fd, config.tx_slots);
    Ok(XskPort {
        zero_copy: options::is_zero_copy(fd).map_err(kernel("read the socket's mode"))?,
        rx,
        tx,
        fill,
        completion,
        fd,
        queue: *queue,
        busy_poll: false,
        counters: super::XskCounters::default(),
        pending: Vec::with_capacity(config.tx_slots as usize),
        filled: 0,
        outstanding: 0,
        fill_slots: config.fill_slots,
        tx_slots: config.tx_slots,
        unsent: false,
    })
}

fn kernel(action: &'static str) -> impl Fn(io::Error) -> XskError {
    move |source| XskError::Kernel { action: action.into(), source }
}

/// The system's error inside one of the library.
fn os_error(error: &dyn error::Error) -> io::Error {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        source = inner.source();
    }
    io::Error::other(error.to_string())
}

fn explain_copy(error: &XskError) -> String {
    match error {
        XskError::Kernel { source, .. } if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            "a driver has no zero copy".into()
        }
        XskError::Kernel { source, .. } if source.raw_os_error() == Some(libc::EINVAL) => {
            "zero copy refused: the driver needs its program attached natively, or more queues".into()
        }
        _ => error.to_string(),
    }
}
