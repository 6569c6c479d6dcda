//! Without std nobody else names the C library that holds start-up code, `exit` and `memcpy`.
fn main() {
    println!("cargo::rustc-link-lib=c");
    println!("cargo::rerun-if-changed=build.rs");
}
