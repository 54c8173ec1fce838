//! NUMA policy: where pages come from. Raw system calls, since libc has no wrapper.

use std::io;

/// `MPOL_PREFERRED` of `linux/mempolicy.h`: this node first, others when it has none.
const MPOL_PREFERRED: libc::c_long = 1;
/// `MPOL_DEFAULT`.
const MPOL_DEFAULT: libc::c_long = 0;
/// `MPOL_F_NODE | MPOL_F_ADDR`: answer with the node of the page at the address.
const MPOL_F_NODE_OF_ADDR: libc::c_long = 1 | 2;
/// Nodes in a mask. Linux's `MAX_NUMNODES` is 1024 at most.
const NODES_MAX: u32 = 1024;

type Mask = [u64; NODES_MAX as usize / 64];

fn mask_of(node: u32) -> io::Result<Mask> {
    if node >= NODES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no NUMA node {node}")));
    }
    let mut mask = [0; NODES_MAX as usize / 64];
    mask[node as usize / 64] = 1 << (node % 64);
    Ok(mask)
}

/// Prefers `node` for pages of a mapping not touched yet. A kernel without NUMA is no error.
pub(super) fn prefer_for(address: *mut u8, bytes: usize, node: u32) -> io::Result<()> {
    let mask = mask_of(node)?;
    // SAFETY: mbind reads NODES_MAX bits from `mask`, which lives through the call, and changes only the policy
    // of the caller's own mapping.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            address,
            bytes,
            MPOL_PREFERRED,
            mask.as_ptr(),
            NODES_MAX as usize + 1,
            0,
        )
    };
    accept_no_numa(result)
}

fn accept_no_numa(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOSYS) { Ok(()) } else { Err(error) }
}

/// The node of the page at `address`; `None` when the kernel does not say.
pub(super) fn node_of(address: *const u8) -> Option<u32> {
    let mut node: libc::c_int = -1;
    // SAFETY: get_mempolicy writes one int to `node` and reads no mask (null, 0).
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut node,
            core::ptr::null_mut::<u64>(),
            0usize,
            address,
            MPOL_F_NODE_OF_ADDR,
        )
    };
    if result == 0 { u32::try_from(node).ok() } else { None }
}

/// While it lives, memory that the thread touches first comes from one node. For memory mapped by others
/// (AF_XDP's UMEM is mapped by its library).
#[derive(Debug)]
#[must_use = "the preference ends when this is dropped"]
pub struct NodePreference {
    /// The policy belongs to the thread.
    _not_send: core::marker::PhantomData<*mut ()>,
}

/// Prefers `node` for what the calling thread touches first.
///
/// # Errors
/// When there is no such node. A kernel without NUMA is no error.
pub fn prefer_node(node: u32) -> io::Result<NodePreference> {
    let mask = mask_of(node)?;
    // SAFETY: set_mempolicy reads NODES_MAX bits from `mask`, which lives through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_set_mempolicy, MPOL_PREFERRED, mask.as_ptr(), NODES_MAX as usize + 1)
    };
    accept_no_numa(result)?;
    Ok(NodePreference { _not_send: core::marker::PhantomData })
}

impl Drop for NodePreference {
    fn drop(&mut self) {
        // SAFETY: a null mask with MPOL_DEFAULT restores the default policy of the thread.
        unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_DEFAULT, core::ptr::null::<u64>(), 0usize) };
    }
}
