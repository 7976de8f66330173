//! The foreign programs that the tests drive, and how to get them.
//!
//! On Debian and its kin, as root, missing ones are installed; anywhere else the reader is told
//! exactly what to type.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{ask, call, command, on_path, root};

/// A program, or a part of one, and the Debian packages that bring it.
struct Tool {
    name: &'static str,
    packages: &'static [&'static str],
    present: fn() -> bool,
}

const BUILD: &[Tool] = &[
    Tool { name: "cc", packages: &["gcc", "libc6-dev"], present: || on_path("cc") },
    // The allocator's own build.
    Tool { name: "make", packages: &["make"], present: || on_path("make") },
    Tool { name: "git", packages: &["git"], present: || on_path("git") },
];

const COUNTS: &[Tool] =
    &[Tool { name: "valgrind", packages: &["valgrind"], present: || on_path("valgrind") }];

const E2E: &[Tool] = &[
    Tool {
        name: "ffmpeg and ffprobe",
        packages: &["ffmpeg"],
        present: || on_path("ffmpeg") && on_path("ffprobe"),
    },
    Tool { name: "rtmpdump", packages: &["rtmpdump"], present: || on_path("rtmpdump") },
    Tool {
        name: "gst-launch-1.0 with flvmux, rtmp2sink, x264enc and voaacenc",
        packages: &[
            "gstreamer1.0-tools",
            "gstreamer1.0-plugins-base",
            "gstreamer1.0-plugins-good",
            "gstreamer1.0-plugins-bad",
            "gstreamer1.0-plugins-ugly",
        ],
        present: || {
            ["flvmux", "rtmp2sink", "x264enc", "voaacenc", "souphttpsrc", "hlsdemux", "tsdemux"]
                .iter()
                .all(|e| ask(&mut command("gst-inspect-1.0", &["--exists", e])).is_some())
        },
    },
    Tool {
        name: "webrtcbin with its ICE and its bindings for Debian's Python",
        packages: &[
            "gstreamer1.0-plugins-bad",
            "gstreamer1.0-nice",
            "python3-gi",
            "gir1.2-gst-plugins-bad-1.0",
        ],
        present: || {
            let bindings = "import gi; gi.require_version('GstWebRTC', '1.0')";
            // Not `--exists`: it asks for version 1.0, too, which libnice does not have.
            ask(&mut command("/usr/bin/python3", &["-c", bindings])).is_some()
                && ["webrtcbin", "nicesink"]
                    .iter()
                    .all(|e| ask(&mut command("gst-inspect-1.0", &[e])).is_some())
        },
    },
    Tool {
        name: "cvlc with its codecs",
        packages: &["vlc-bin", "vlc-plugin-base"],
        present: || on_path("cvlc"),
    },
    Tool { name: "curl", packages: &["curl"], present: || on_path("curl") },
    Tool { name: "openssl", packages: &["openssl"], present: || on_path("openssl") },
    Tool { name: "setpriv", packages: &["util-linux"], present: || on_path("setpriv") },
    Tool { name: "chromium", packages: &["chromium"], present: || on_path("chromium") },
    Tool {
        name: "node and npm",
        packages: &["nodejs", "npm"],
        present: || on_path("node") && on_path("npm"),
    },
    Tool {
        name: "python3 with pip",
        packages: &["python3", "python3-pip"],
        present: || ask(&mut command("python3", &["-m", "pip", "--version"])).is_some(),
    },
];

/// The wheel that brings an ffmpeg able to put HEVC and AV1 into FLV; Debian 12's 5.1 cannot.
const NEWER_FFMPEG: &str = "imageio-ffmpeg==0.8.1";

/// What tries every path of the OpenAPI document with all sorts of parameters.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// A stack of WebRTC that shares no code with the browser's; all of it comes as wheels.
const AIORTC: &str = "aiortc==1.14.0";

/// Makes sure that the build can work: a C compiler, make, git, rustfmt, clippy.
pub(crate) fn for_build() -> Result<()> {
    ensure(BUILD)?;
    for (sub, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if ask(&mut crate::shell::cargo(&[sub, "--version"])).is_some() {
            continue;
        }
        if !on_path("rustup") {
            bail!(
                "cargo {sub} is missing, and there is no rustup to add the component {component}"
            );
        }
        call(&mut command("rustup", &["component", "add", component]))?;
    }
    Ok(())
}

/// Makes sure that instructions can be counted.
pub(crate) fn for_counts() -> Result<()> {
    ensure(COUNTS)
}

/// Makes sure that the end-to-end tests can work; gives the environment that they want.
///
/// With `strict` off, what cannot be had is left out, and the tests that miss it say so.
pub(crate) fn for_e2e(target: &Path, strict: bool) -> Result<Vec<(String, String)>> {
    let mut env = Vec::new();
    let parts = [
        ensure(E2E),
        browser_packages(),
        newer_ffmpeg(target).map(|path| {
            env.push(("MILLRACE_NEWER_FFMPEG".to_owned(), path.display().to_string()));
        }),
    ];
    let wheels = [
        ("MILLRACE_SCHEMATHESIS", "schemathesis", SCHEMATHESIS),
        ("MILLRACE_AIORTC", "aiortc", AIORTC),
    ]
    .map(|(variable, name, wanted)| {
        let path = python_folder(target, name, wanted)?;
        env.push((variable.to_owned(), path.display().to_string()));
        Ok(())
    });
    for part in parts.into_iter().chain(wheels) {
        match part {
            Err(e) if strict => return Err(e),
            Err(e) => eprintln!("going on without: {e:#}"),
            Ok(()) => {}
        }
    }
    Ok(env)
}

fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|t| !(t.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|t| t.name).collect();
    let packages: Vec<_> = missing.iter().flat_map(|t| t.packages.iter().copied()).collect();
    let root_here = ask(&mut command("id", &["-u"])).as_deref() == Some("0");
    if !root_here || !on_path("apt-get") {
        bail!(
            "missing: {}. On Debian or Ubuntu:\n    sudo apt-get update && sudo apt-get install -y \
             --no-install-recommends {}\nElsewhere, install the programs of the same names.",
            names.join("; "),
            packages.join(" ")
        );
    }
    println!("missing: {}; installing {}", names.join("; "), packages.join(" "));
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", &["-q", "-o", "Dpkg::Use-Pty=0"]);
        apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    call(&mut apt(&["update"]))?;
    call(apt(&["install", "-y", "--no-install-recommends"]).args(&packages))?;
    let still: Vec<_> = missing.iter().filter(|t| !(t.present)()).map(|t| t.name).collect();
    if !still.is_empty() {
        bail!("installed, and yet missing: {}", still.join("; "));
    }
    Ok(())
}

/// hls.js, mpegts.js and the browser driver, as the lock file pins them.
fn browser_packages() -> Result<()> {
    let dir = root().join("tests/e2e/browser");
    let lock = std::fs::read(dir.join("package-lock.json")).context("tests/e2e/browser")?;
    // npm writes no lock file of ours, so a copy of the one we installed from is the mark.
    let mark = dir.join("node_modules/.installed-from");
    if std::fs::read(&mark).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let mut npm = command("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    call(npm.current_dir(&dir))?;
    std::fs::write(mark, lock)?;
    Ok(())
}

/// An ffmpeg that speaks Enhanced RTMP: the one on the path if it is new enough, else from PyPI.
fn newer_ffmpeg(target: &Path) -> Result<PathBuf> {
    if speaks_enhanced_rtmp(Path::new("ffmpeg")) {
        return Ok("ffmpeg".into());
    }
    let dir = target.join("e2e-tools");
    let program = dir.join("ffmpeg");
    if speaks_enhanced_rtmp(&program) {
        return Ok(program);
    }
    let unpacked = dir.join("wheel");
    let _ = std::fs::remove_dir_all(&unpacked);
    std::fs::create_dir_all(&unpacked)?;
    let into = unpacked.display().to_string();
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", &into, NEWER_FFMPEG];
    let quiet = [("PIP_ROOT_USER_ACTION", "ignore"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")];
    call(command("python3", &pip).envs(quiet))?;
    let binaries = unpacked.join("imageio_ffmpeg/binaries");
    for file in std::fs::read_dir(&binaries).context("the wheel has changed its folders")? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("ffmpeg-") {
            std::fs::rename(file.path(), &program)?;
        }
    }
    std::fs::remove_dir_all(&unpacked)?;
    if !speaks_enhanced_rtmp(&program) {
        bail!("{NEWER_FFMPEG} brought no ffmpeg that runs here");
    }
    Ok(program)
}

/// The folder that Python finds a package in, beside what it needs.
fn python_folder(target: &Path, name: &str, wanted: &str) -> Result<PathBuf> {
    let dir = target.join("e2e-tools").join(name);
    let mark = dir.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == wanted) {
        return Ok(dir);
    }
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let into = dir.display().to_string();
    let pip = ["-m", "pip", "install", "--quiet", "--target", &into, wanted];
    let quiet = [("PIP_ROOT_USER_ACTION", "ignore"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")];
    call(command("python3", &pip).envs(quiet))?;
    std::fs::write(mark, wanted)?;
    Ok(dir)
}

/// FLV learned the four-character codes in ffmpeg 6.1.
fn speaks_enhanced_rtmp(ffmpeg: &Path) -> bool {
    let text = ask(&mut command(&ffmpeg.to_string_lossy(), &["-version"])).unwrap_or_default();
    version(&text).is_some_and(|v| v >= (6, 1))
}

/// Major and minor out of `ffmpeg version 5.1.9-0+deb12u1 Copyright ...`.
fn version(text: &str) -> Option<(u32, u32)> {
    let word = text.strip_prefix("ffmpeg version ")?.split_whitespace().next()?;
    let mut numbers = word.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffmpeg_tells_its_version_in_several_ways() {
        assert_eq!(version("ffmpeg version 5.1.9-0+deb12u1 Copyright"), Some((5, 1)));
        assert_eq!(version("ffmpeg version n7.0 Copyright"), Some((7, 0)));
        assert_eq!(version("ffmpeg version 9.0.2-static x"), Some((9, 0)));
        assert_eq!(version("no such thing"), None);
    }
}
