//! `vend-core` links, and sells, where there is no std.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn the_machine_links_and_sells_without_std() {
    let proof = Path::new(env!("CARGO_MANIFEST_DIR")).join("no-std-proof");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std-proof");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(proof.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // The proof is built as it stands, whatever this run was started with.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let sold = Command::new(target.join("release/no-std-proof")).status().unwrap();
    assert!(sold.success(), "{sold}");
}
