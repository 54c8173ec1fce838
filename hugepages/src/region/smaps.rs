//! What the kernel says about a mapping: `/proc/self/smaps`.

use std::fs;

/// Size in bytes of the pages that back the mapping at `address`; `None` when it is not mapped or the kernel
/// does not say. Transparent huge pages show as base pages here.
pub fn kernel_page_bytes(address: *const u8) -> Option<u64> {
    Some(field(&fs::read_to_string("/proc/self/smaps").ok()?, address as usize, "KernelPageSize:")? * 1024)
}

/// Whether the mapping at `address` has a transparent huge page.
pub(super) fn has_transparent(address: *const u8) -> bool {
    fs::read_to_string("/proc/self/smaps")
        .ok()
        .and_then(|text| field(&text, address as usize, "AnonHugePages:"))
        .is_some_and(|kilobytes| kilobytes > 0)
}

/// The number after `name` in the paragraph of the mapping that holds `address`.
fn field(text: &str, address: usize, name: &str) -> Option<u64> {
    let mut inside = false;
    for line in text.lines() {
        if let Some((start, end)) = range(line) {
            inside = (start..end).contains(&address);
        } else if inside && let Some(rest) = line.strip_prefix(name) {
            return rest.split_whitespace().next()?.parse().ok();
        }
    }
    None
}

/// The addresses of a paragraph's first line, `start-end perms ...` in hexadecimal.
fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_of_the_right_mapping_is_read() {
        let text = "1000-2000 rw-p 00000000 00:00 0 \nKernelPageSize:        4 kB\nAnonHugePages: 0 kB\n\
                    2000-400000 rw-p 00000000 00:00 0 \nKernelPageSize:     2048 kB\nAnonHugePages: 2048 kB\n";
        assert_eq!(field(text, 0x1fff, "KernelPageSize:"), Some(4));
        assert_eq!(field(text, 0x2000, "KernelPageSize:"), Some(2048));
        assert_eq!(field(text, 0x2000, "AnonHugePages:"), Some(2048));
        assert_eq!(field(text, 0x400000, "KernelPageSize:"), None);
        assert_eq!(field("nonsense", 1, "KernelPageSize:"), None);
    }
}
