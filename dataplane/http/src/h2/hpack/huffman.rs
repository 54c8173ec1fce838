//! The Huffman code of RFC 7541 Appendix B, four bits at a time.
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, shorter ones come
//! first. So the lengths alone are the table; the decoder's states are computed from them by the compiler.
//! Cost: two table look-ups per byte; 16 KiB of constant tables.

use super::Malformed;

/// Code lengths in bits by symbol; 256 is EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, //
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, //
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, //
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, //
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, //
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, //
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, //
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, //
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS: usize = 256;
const LENGTH_MAX: u8 = 30;
/// Inner nodes of the code's tree: one less than it has leaves.
const NODES: usize = 256;
/// In a child: the rest is a symbol.
const LEAF: u16 = 0x8000;

/// Codes by symbol, right-aligned.
const CODES: [u32; 257] = {
    let mut codes = [0; 257];
    let mut code = 0u32;
    let mut length = 1;
    while length <= LENGTH_MAX {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
};

/// The tree: both children of each inner node; 0 is the root and nobody's child, so it also means "none yet".
const TREE: [[u16; 2]; NODES] = {
    let mut tree = [[0u16; 2]; NODES];
    let mut count = 1;
    let mut symbol = 0;
    while symbol < 257 {
        let mut node = 0;
        let mut left = LENGTHS[symbol];
        while left > 0 {
            left -= 1;
            let bit = (CODES[symbol] >> left & 1) as usize;
            if left == 0 {
                tree[node][bit] = LEAF | symbol as u16;
            } else {
                if tree[node][bit] == 0 {
                    tree[node][bit] = count;
                    count += 1;
                }
                node = tree[node][bit] as usize;
            }
        }
        symbol += 1;
    }
    tree
};

/// One step of the decoder: four bits from a node.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    symbol: u8,
    /// Whether `symbol` was completed.
    emits: bool,
    /// EOS within the string (RFC 7541 §5.2).
    fails: bool,
}

static STEPS: [[Step; 16]; NODES] = {
    let mut steps = [[Step { next: 0, symbol: 0, emits: false, fails: false }; 16]; NODES];
    let mut node = 0;
    while node < NODES {
        let mut nibble = 0;
        while nibble < 16 {
            steps[node][nibble] = step(node, nibble);
            nibble += 1;
        }
        node += 1;
    }
    steps
};

const fn step(from: usize, nibble: usize) -> Step {
    let mut step = Step { next: 0, symbol: 0, emits: false, fails: false };
    let mut node = from;
    let mut left = 4;
    while left > 0 {
        left -= 1;
        let child = TREE[node][nibble >> left & 1];
        if child & LEAF == 0 {
            node = child as usize;
            continue;
        }
        let symbol = (child & !LEAF) as usize;
        if symbol == EOS {
            step.fails = true;
            return step;
        }
        step.symbol = symbol as u8;
        step.emits = true;
        node = 0;
    }
    step.next = node as u8;
    step
}

/// Nodes where a string may end: the root, and up to seven ones behind it, which are padding (RFC 7541 §5.2).
static ENDS: [bool; NODES] = {
    let mut ends = [false; NODES];
    let mut node = 0;
    let mut depth = 0;
    while depth <= 7 {
        ends[node] = true;
        node = TREE[node][1] as usize;
        depth += 1;
    }
    ends
};

/// Appends the string that `coded` holds.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut node = 0u8;
    for byte in coded {
        for nibble in [byte >> 4, byte & 0x0f] {
            // Both indexes are in range: a node is a byte, a nibble is below 16.
            let step = STEPS[usize::from(node)][usize::from(nibble)];
            if step.fails {
                return Err(Malformed);
            }
            if step.emits {
                out.push(step.symbol);
            }
            node = step.next;
        }
    }
    if ENDS[usize::from(node)] { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0);
    for byte in text {
        let symbol = usize::from(*byte);
        bits = bits << LENGTHS[symbol] | u64::from(CODES[symbol]);
        count += u32::from(LENGTHS[symbol]);
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | (0xff >> count) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_rfc_7541_c4() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(
            decoded(&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]).unwrap(),
            b"custom-value"
        );
    }

    #[test]
    fn codes_of_the_appendix_at_its_ends() {
        assert_eq!(CODES[usize::from(b'0')], 0x0);
        assert_eq!(CODES[0], 0x1ff8);
        assert_eq!(CODES[249], 0xfff_fffe);
        assert_eq!(CODES[EOS], 0x3fff_ffff);
    }

    #[test]
    fn every_byte_survives_the_way_there_and_back() {
        let text: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut coded = Vec::new();
        encode(&text, &mut coded);
        assert_eq!(decoded(&coded).unwrap(), text);
    }

    #[test]
    fn padding_is_ones_and_shorter_than_a_byte() {
        assert_eq!(decoded(&[0x07]).unwrap(), b"0");
        assert_eq!(decoded(&[0x00]), Err(Malformed));
        assert_eq!(decoded(&[0x07, 0xff]), Err(Malformed));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Malformed));
    }
}
