//! Compiles the XDP programs and generates their skeletons: map, constant and type definitions are written once,
//! in C.

use libbpf_cargo::SkeletonBuilder;
use std::path::PathBuf;
use std::{env, fs};

const PROGRAMS: [&str; 3] = ["bare", "generator", "xdp"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    // Debian keeps <asm/types.h> in the multiarch directory, where clang's BPF target does not look.
    let include = format!("-idirafter/usr/include/{arch}-linux-gnu");
    for program in PROGRAMS {
        let source = format!("src/bpf/{program}.bpf.c");
        SkeletonBuilder::new()
            .source(&source)
            .clang_args([
                include.as_str(),
                "-mcpu=v3",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-Wno-unused-parameter",
            ])
            .build_and_generate(out.join(format!("{program}.skel.rs")))
            .unwrap_or_else(|error| {
                panic!("{source}: {error:#}\nclang, libelf-dev and linux-libc-dev are needed: see the README")
            });
    }
    // Each file by name: a directory's time does not change with the files in it.
    for entry in fs::read_dir("src/bpf").expect("src/bpf is here") {
        println!("cargo:rerun-if-changed={}", entry.expect("a readable directory").path().display());
    }
    println!("cargo:rerun-if-changed=src/bpf");
}
