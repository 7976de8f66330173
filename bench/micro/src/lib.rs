//! The hot paths of the server one by one, each on the same common stream.
//!
//! [`CASES`] is the one table. `cargo bench -p micro` takes the time of each; `cargo xtask counts`
//! counts the instructions of each, which are the same on a busy machine as on a quiet one. Both
//! only call [`Case::start`] and what it gives; nothing here reads a clock.
//!
//! Everything is made from fixed seeds, and nothing but the hub's cases leaves the calling thread.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "reads its own stream, and a case that cannot be set up has nothing to tell"
)]

mod fanout;
mod packaging;
mod stream;
mod wire;

/// One round of a case: does the work and gives how many units of it were done, always as many.
pub type Round = Box<dyn FnMut() -> u64>;

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Group and name, as in `rtmp/chunks-1460`. The key of the stored counts: do not rename
    /// lightly.
    pub name: &'static str,
    /// What is counted in a round: messages, handshakes.
    pub unit: &'static str,
    /// Rounds between which instructions are counted: enough that what happens now and then (a
    /// table that grows, a log that is moved down) weighs as it does in a long run.
    pub rounds: u32,
    make: fn() -> Round,
}

impl Case {
    /// Sets the case up.
    pub fn start(&self) -> Round {
        (self.make)()
    }

    /// The case of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

const fn case(name: &'static str, unit: &'static str, rounds: u32, make: fn() -> Round) -> Case {
    Case { name, unit, rounds, make }
}

/// All cases, in the order of a frame's road.
pub const CASES: &[Case] = &[
    case("rtmp/handshake", "handshake", 8, wire::handshake),
    case("rtmp/session-play", "session", 8, wire::session_play),
    case("rtmp/chunks-1460", "message", 16, || wire::chunks(4096, 1460)),
    case("rtmp/chunks-64k", "message", 16, || wire::chunks(4096, 64 << 10)),
    case("rtmp/chunks-64k-of-128", "message", 16, || wire::chunks(128, 64 << 10)),
    case("rtmp/session-publish", "message", 16, wire::session_publish),
    case("flv/demux", "message", 32, wire::demux),
    case("flv/read-file", "tag", 16, wire::read_file),
    case("package/rtmp", "frame", 32, packaging::rtmp),
    case("package/flv-chunked", "frame", 32, packaging::flv_chunked),
    case("package/flv-websocket", "frame", 32, packaging::flv_websocket),
    case("package/ts", "frame", 16, packaging::ts),
    case("hls/segment", "frame", 16, packaging::hls),
    case("hub/log-push", "message", 32, fanout::log_push),
    case("hub/log-step", "step", 8, fanout::log_step),
    case("hub/push", "frame", 16, fanout::push),
    case("hub/walk", "send", 16, fanout::walk),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_does_the_same_work_in_each_round() {
        for case in CASES {
            let mut round = case.start();
            let first = round();
            assert!(first > 0, "{} does nothing", case.name);
            // A walk that the machine interrupts is cut short, and goes on with the next frame.
            if case.name != "hub/walk" {
                assert_eq!((round(), round()), (first, first), "{}", case.name);
            }
        }
    }

    #[test]
    fn names_are_keys() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(case.name.chars().all(|c| c.is_ascii_alphanumeric() || "/-".contains(c)));
            assert!(CASES[..index].iter().all(|other| other.name != case.name), "{}", case.name);
        }
    }
}
