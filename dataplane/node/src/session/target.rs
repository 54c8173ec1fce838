//! What a request's path means: for routes, checks and limits. What is forwarded stays as it came.
//!
//! Owns: [`Target`], a buffer with the decoded path. Escapes are decoded twice, as a careless server might; `\` counts as
//! a slash. A path whose meaning is not what it says plainly (`%2e%2e/`, `..\`, one that leaves its root) is a traversal.
//! Plain `.` and `..` inside the root are resolved (RFC 3986 §5.2.4) for routing.
//! Cost: a scan; a copy of the path.

/// A path's meaning; one per worker, used again.
#[derive(Debug, Default)]
pub(super) struct Target {
    path: Vec<u8>,
    spare: Vec<u8>,
    is_traversal: bool,
}

impl Target {
    /// Reads a path. False when it cannot be decoded: a broken escape, or a NUL.
    pub(super) fn read(&mut self, path: &[u8]) -> bool {
        self.is_traversal = false;
        self.path.clear();
        let is_simple = |b: &u8| !matches!(b, b'%' | b'\\' | 0);
        if path.iter().all(is_simple) && !has_dot_segment(path) {
            self.path.extend_from_slice(path);
            return true;
        }
        if !decode(path, &mut self.path) {
            return false;
        }
        let had_dots = has_dot_segment(path);
        // Once more for servers that decode twice; a second escape that is broken is no escape.
        self.spare.clear();
        if !decode(&self.path, &mut self.spare) {
            self.spare.clear();
            self.spare.extend_from_slice(&self.path);
        }
        for byte in &mut self.spare {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
        let has_dots = self.spare.split(|b| *b == b'/').any(|segment| segment == b"..");
        self.path.clear();
        let climbs = !resolve(&self.spare, &mut self.path);
        self.is_traversal = climbs || (has_dots && !had_dots) || self.spare.contains(&0);
        true
    }

    /// The decoded path.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether it leaves its root, or hides that it goes up.
    pub(super) fn is_traversal(&self) -> bool {
        self.is_traversal
    }
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|segment| matches!(segment, b"." | b".."))
}

fn decode(path: &[u8], out: &mut Vec<u8>) -> bool {
    let mut bytes = path.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return false };
        let byte = (high << 4 | low) as u8;
        if byte == 0 {
            return false;
        }
        out.push(byte);
    }
    true
}

/// Resolves dot segments; false when they leave the root.
fn resolve(path: &[u8], out: &mut Vec<u8>) -> bool {
    let mut stays = true;
    let mut segments = path.split(|b| *b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let parent = out.iter().rposition(|b| *b == b'/');
                    stays &= parent.is_some();
                    out.truncate(parent.unwrap_or(0));
                }
                if segments.peek().is_none() {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, bool)> {
        let mut target = Target::default();
        target.path.extend_from_slice(b"left over");
        target
            .read(path.as_bytes())
            .then(|| (String::from_utf8_lossy(target.path()).into_owned(), target.is_traversal()))
    }

    #[test]
    fn plain_paths_mean_what_they_say() {
        for path in ["/", "/a/b", "/a//b", "/a.b/..c/d..", "*", "/..."] {
            assert_eq!(read(path), Some((path.to_owned(), false)));
        }
        assert_eq!(read("/a%20b/%41"), Some(("/a b/A".to_owned(), false)));
        assert_eq!(read("/a/./b/../c"), Some(("/a/c".to_owned(), false)), "inside the root");
        assert_eq!(read("/a/.."), Some(("/".to_owned(), false)));
        assert_eq!(read("/100%25"), Some(("/100%".to_owned(), false)));
    }

    #[test]
    fn whatever_climbs_or_hides_dots_is_a_traversal() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/a/../../etc",
            "/%2e%2e/etc",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/..%2fb",
            "/a/%252e%252e/b",
            "/a/..%5cb",
            "/a/..\\b",
            "/a/%2500",
        ] {
            assert!(read(path).is_none_or(|(_, is_traversal)| is_traversal), "{path}");
        }
    }

    #[test]
    fn broken_escapes_and_nul_cannot_be_read() {
        for path in ["/%", "/%4", "/%zz", "/a%00b"] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
