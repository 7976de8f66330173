//! Says by `cfg(ring)` whether the target has io_uring and the `io-uring` crate its bindings.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ring)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, values: &[&str]| {
        std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
    };
    let architectures = ["x86_64", "aarch64", "riscv64", "loongarch64", "powerpc64"];
    if is("CARGO_CFG_TARGET_OS", &["linux"]) && is("CARGO_CFG_TARGET_ARCH", &architectures) {
        println!("cargo::rustc-cfg=ring");
    }
}
