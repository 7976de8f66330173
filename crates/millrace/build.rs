//! Makes the test card that `millrace demo` plays.

fn main() -> std::io::Result<()> {
    let out = std::env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?;
    println!("cargo::rerun-if-changed=build.rs");
    std::fs::write(std::path::Path::new(&out).join("testcard.flv"), testcard::flv())
}
