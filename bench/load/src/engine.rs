//! One thread with its share of the connections: joins, reads, timers, the count.
//!
//! Sockets are told of by edge, so a read goes on until the kernel has nothing left; what a player
//! need not look at is thrown away in the kernel. There is one buffer for all, and no allocation
//! for a read.

mod conn;
mod joins;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use rustls::ClientConfig;

use crate::clock::{Now, nanos, now_ns};
use crate::fault::Fault;
use crate::link::Got;
use crate::plan::Plan;
use crate::role::Scene;
use crate::stats::{Gauge, Stats};
use conn::Conn;
use joins::Joins;

/// What a role is given; a macro, since it borrows parts of the engine and of the connection.
macro_rules! scene {
    ($engine:expr, $conn:expr, $now:expr) => {
        Scene {
            now: $now,
            tally: &mut $conn.tally,
            stats: &mut $engine.stats,
            clip: $engine.common.plan.publishers.as_ref().map(|p| &*p.clip),
            out: &mut $conn.out,
        }
    };
}

/// One read takes at most so much: a few hundred milliseconds of 4K.
const SCRATCH: usize = 256 * 1024;
/// What is thrown away at once; the pages are never touched.
const SINK: usize = 4 << 20;
/// Reads from one connection before the others have their turn.
const READS: usize = 8;
/// How often stalls, patience and the gauge are looked at: a fraction of what matters to people,
/// and 20,000 connections take a millisecond.
const SWEEP_NS: u64 = 250_000_000;

/// When the parts of a run begin, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start_ns: u64,
    pub(crate) window_ns: u64,
    pub(crate) end_ns: u64,
}

/// What all threads of a run share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) plan: Arc<Plan>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) schedule: Schedule,
}

/// How one player fared in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fared {
    pub(crate) url: usize,
    /// Received in the window.
    pub(crate) bytes: u64,
    /// The part of the window in which it could have received.
    pub(crate) span_ns: u64,
    /// Since it began to connect.
    pub(crate) age_ns: u64,
    pub(crate) connected: bool,
    pub(crate) flows: bool,
    pub(crate) stalled: bool,
    pub(crate) stalls: u32,
    pub(crate) slow: bool,
    /// Media comes in segments, so that the rate of a short window means little.
    pub(crate) segments: bool,
}

/// What a thread hands over at its end.
pub(crate) struct Outcome {
    pub(crate) stats: Stats,
    pub(crate) players: Vec<Fared>,
    pub(crate) publishers: u64,
    /// The window as it was.
    pub(crate) window_ns: u64,
    pub(crate) window_cpu_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    Role,
    Leave,
    Pause,
    Resume,
}

/// One thread's engine.
pub(crate) struct Engine {
    common: Common,
    thread: u32,
    poll: Poll,
    conns: Vec<Option<Box<Conn>>>,
    joins: Joins,
    timers: BinaryHeap<Reverse<(u64, usize, u32, Alarm)>>,
    /// Connections with more to read than their turn allowed.
    again: Vec<usize>,
    scratch: Vec<u8>,
    sink: Vec<u8>,
    stats: Stats,
    gauge: Arc<Gauge>,
    generation: u32,
    window: Option<(u64, u64)>,
}

impl Engine {
    pub(crate) fn new(
        common: Common,
        thread: u32,
        stats: Stats,
        gauge: Arc<Gauge>,
    ) -> io::Result<Self> {
        let joins = Joins::new(&common.plan, thread, common.schedule.start_ns);
        let mut conns = Vec::new();
        conns.resize_with(joins.slots(), || None);
        Ok(Self {
            poll: Poll::new()?,
            conns,
            joins,
            thread,
            timers: BinaryHeap::new(),
            again: Vec::new(),
            scratch: vec![0; SCRATCH],
            sink: vec![0; SINK],
            stats,
            gauge,
            generation: 0,
            window: None,
            common,
        })
    }

    /// Runs to the end of the window, or until told to stop.
    ///
    /// # Errors
    /// The system refuses to poll.
    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(4096);
        let mut sweep_ns = 0;
        loop {
            let round_ns = now_ns();
            let Schedule { window_ns, end_ns, .. } = self.common.schedule;
            if round_ns >= end_ns || self.common.stop.load(Ordering::Relaxed) {
                return Ok(self.finish());
            }
            if self.window.is_none() && round_ns >= window_ns {
                self.open_window(round_ns);
            }
            self.join(round_ns);
            self.alarms(round_ns);
            for slot in std::mem::take(&mut self.again) {
                self.turn(slot, true, false);
            }
            if round_ns >= sweep_ns {
                sweep_ns = round_ns + SWEEP_NS;
                self.sweep();
            }
            let boundary = if self.window.is_none() { window_ns } else { end_ns };
            let mut wake_ns = boundary.min(sweep_ns);
            if let Some(join_ns) = self.joins.next_ns() {
                wake_ns = wake_ns.min(join_ns);
            }
            if let Some(Reverse((timer_ns, ..))) = self.timers.peek() {
                wake_ns = wake_ns.min(*timer_ns);
            }
            let done_ns = now_ns();
            if self.stats.in_window {
                self.stats.lag.note_ns(done_ns - round_ns);
            }
            let wait = if self.again.is_empty() { wake_ns.saturating_sub(done_ns) } else { 0 };
            match self.poll.poll(&mut events, Some(Duration::from_nanos(wait))) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            let events_ns = now_ns();
            for event in &events {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                self.turn(event.token().0, readable, event.is_writable());
            }
            if self.stats.in_window {
                self.stats.lag.note_ns(now_ns() - events_ns);
            }
        }
    }

    fn open_window(&mut self, now_ns: u64) {
        self.window = Some((now_ns, thread_cpu_ns()));
        self.stats.in_window = true;
        for conn in self.conns.iter_mut().flatten() {
            conn.tally.bytes_at_window = conn.tally.bytes;
            conn.tally.stalls = 0;
        }
    }

    fn join(&mut self, now_ns: u64) {
        while let Some(slot) = self.joins.due(now_ns) {
            self.open(slot);
        }
        // Who was there longest makes room for somebody new.
        while let Some(slot) = self.joins.churn_due(now_ns) {
            self.replace(slot);
        }
    }

    /// Opens the connection of a slot.
    fn open(&mut self, slot: usize) {
        let now = Now::read();
        self.generation = self.generation.wrapping_add(1);
        let made = Conn::new(&self.common, self.thread, &self.joins, slot, self.generation, now);
        let is_player = self.joins.is_player(slot);
        self.stats.joined += u64::from(is_player);
        let mut conn = match made {
            Ok(conn) => Box::new(conn),
            Err(fault) => return self.lost(is_player, &fault),
        };
        if let Err(fault) = self.register(slot, &mut conn) {
            return self.lost(is_player, &fault);
        }
        if is_player && let Some(players) = &self.common.plan.players {
            let mut alarm = |after: Duration, alarm| {
                let at_ns = now.ns.saturating_add(nanos(after));
                self.timers.push(Reverse((at_ns, slot, conn.generation, alarm)));
            };
            if let Some(stay) = players.stay {
                alarm(stay, Alarm::Leave);
            }
            if conn.tally.slow {
                alarm(players.slow_every, Alarm::Pause);
            }
        }
        if let Some(place) = self.conns.get_mut(slot) {
            *place = Some(conn);
        }
    }

    fn register(&self, slot: usize, conn: &mut Conn) -> Result<(), Fault> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(conn.link.socket(), Token(slot), interest).map_err(|e| Fault::socket(&e))
    }

    fn lost(&mut self, is_player: bool, fault: &Fault) {
        self.stats.error(fault);
        let count = if is_player { &mut self.stats.lost } else { &mut self.stats.publishers_lost };
        *count += 1;
    }

    /// Lets a player go and another one come.
    fn replace(&mut self, slot: usize) {
        if let Some(mut conn) = self.conns.get_mut(slot).and_then(Option::take) {
            let mut scene = scene!(self, conn, Now::read());
            conn.role.leave(&mut scene);
            let _ = conn.link.write(&mut conn.out);
            self.stats.left += 1;
            self.open(slot);
        }
    }

    /// Something can be done for a connection.
    fn turn(&mut self, slot: usize, readable: bool, writable: bool) {
        let Some(mut conn) = self.conns.get_mut(slot).and_then(Option::take) else { return };
        match self.serve(slot, &mut conn, readable, writable) {
            Ok(()) => self.keep(slot, conn),
            Err(fault) => self.lost(conn.role.is_player(), &fault),
        }
    }

    /// Puts a connection back, its timer armed.
    fn keep(&mut self, slot: usize, mut conn: Box<Conn>) {
        if let Some(origin) = conn.role.take_wanted() {
            let linked = conn.relink(&self.common, &self.joins, slot, &origin);
            if let Err(fault) = linked.and_then(|()| self.register(slot, &mut conn)) {
                return self.lost(conn.role.is_player(), &fault);
            }
        }
        if conn.role.has_timer()
            && let Some(due_ns) = conn.role.due_ns(Now::read())
            && conn.alarm_ns.is_none_or(|armed| due_ns < armed)
        {
            conn.alarm_ns = Some(due_ns);
            self.timers.push(Reverse((due_ns, slot, conn.generation, Alarm::Role)));
        }
        if let Some(place) = self.conns.get_mut(slot) {
            *place = Some(conn);
        }
    }

    fn serve(
        &mut self,
        slot: usize,
        conn: &mut Conn,
        readable: bool,
        writable: bool,
    ) -> Result<(), Fault> {
        if writable && !conn.greeted {
            if !conn.link.check_connected()? {
                return Ok(());
            }
            conn.greeted = true;
            let mut scene = scene!(self, conn, Now::read());
            conn.role.connected(&mut scene)?;
        }
        if readable {
            if conn.paused {
                conn.unread = true;
            } else if conn.greeted || conn.link.check_connected()? {
                self.read(slot, conn)?;
            }
        }
        if conn.greeted {
            conn.link.write(&mut conn.out)?;
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, conn: &mut Conn) -> Result<(), Fault> {
        for _ in 0..READS {
            let skip = conn.role.may_skip(&conn.tally);
            let got = if skip && conn.link.is_plain() {
                conn.link.discard(&mut self.sink)?
            } else {
                conn.link.read(&mut self.scratch)?
            };
            let (Got::Bytes(n) | Got::Last(n)) = got else {
                if got == Got::End {
                    let mut scene = scene!(self, conn, Now::read());
                    conn.role.ended(&mut scene)?;
                }
                return Ok(());
            };
            if conn.role.is_player() {
                let bytes = n as u64;
                conn.tally.bytes += bytes;
                self.stats.bytes += bytes;
                if self.stats.in_window {
                    self.stats.window_bytes += bytes;
                }
            }
            let mut scene = scene!(self, conn, Now::read());
            if skip {
                conn.role.skipped(n, &mut scene);
            } else {
                conn.role.bytes(self.scratch.get(..n).unwrap_or_default(), &mut scene)?;
            }
            if matches!(got, Got::Last(_)) {
                return Ok(());
            }
        }
        self.again.push(slot);
        Ok(())
    }

    fn alarms(&mut self, now_ns: u64) {
        while let Some(Reverse((at_ns, slot, generation, alarm))) = self.timers.peek().copied() {
            if at_ns > now_ns {
                return;
            }
            self.timers.pop();
            let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { continue };
            if conn.generation != generation {
                continue;
            }
            match alarm {
                Alarm::Leave => self.replace(slot),
                Alarm::Role if conn.alarm_ns == Some(at_ns) => self.ring(slot),
                Alarm::Role => {}
                Alarm::Pause | Alarm::Resume => self.pause(slot, alarm == Alarm::Pause, at_ns),
            }
        }
    }

    /// A role's timer.
    fn ring(&mut self, slot: usize) {
        let Some(mut conn) = self.conns.get_mut(slot).and_then(Option::take) else { return };
        conn.alarm_ns = None;
        let mut scene = scene!(self, conn, Now::read());
        let done = conn.role.timer(&mut scene);
        let done = done.and_then(|()| match conn.greeted {
            true => conn.link.write(&mut conn.out),
            false => Ok(()),
        });
        match done {
            Ok(()) => self.keep(slot, conn),
            Err(fault) => self.lost(conn.role.is_player(), &fault),
        }
    }

    /// A slow player stops reading, or goes on.
    fn pause(&mut self, slot: usize, pause: bool, at_ns: u64) {
        let Some(players) = &self.common.plan.players else { return };
        let (after, next) = match pause {
            true => (players.slow_for, Alarm::Resume),
            false => (players.slow_every, Alarm::Pause),
        };
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return };
        conn.paused = pause;
        let unread = !pause && std::mem::take(&mut conn.unread);
        let again = (at_ns.saturating_add(nanos(after)), slot, conn.generation, next);
        self.timers.push(Reverse(again));
        if unread {
            self.turn(slot, true, false);
        }
    }

    /// Stalls, patience, and the numbers of the progress line.
    fn sweep(&mut self) {
        let now = Now::read();
        let plan = self.common.plan.clone();
        let (stall_ns, patience_ns) = (nanos(plan.stall), nanos(plan.patience));
        let (mut connected, mut active, mut publishing) = (0, 0, 0);
        let mut overdue = Vec::new();
        for (slot, conn) in self.conns.iter_mut().enumerate() {
            let Some(conn) = conn else { continue };
            let flows = conn.role.flows(&conn.tally);
            if !flows {
                let limit_ns = patience_ns.saturating_add(conn.role.more_patience_ns());
                if now.ns.saturating_sub(conn.tally.opened_ns) > limit_ns {
                    overdue.push(slot);
                }
            }
            if conn.role.is_player() {
                conn.tally.check_stall(now.ns, stall_ns, &mut self.stats);
                connected += u64::from(conn.greeted);
                active += u64::from(flows && !conn.tally.is_stalled());
            } else {
                publishing += u64::from(flows);
            }
        }
        for slot in overdue {
            let Some(conn) = self.conns.get_mut(slot).and_then(Option::take) else { continue };
            let fault = if conn.greeted { Fault::HandshakeTimeout } else { Fault::ConnectTimeout };
            self.lost(conn.role.is_player(), &fault);
        }
        let (gauge, stats) = (&self.gauge, &self.stats);
        for (field, value) in [
            (&gauge.joined, stats.joined),
            (&gauge.connected, connected),
            (&gauge.active, active),
            (&gauge.publishing, publishing),
            (&gauge.lost, stats.lost + stats.publishers_lost),
            (&gauge.stalls, stats.stalls),
            (&gauge.broken, u64::from(stats.findings.is_broken())),
            (&gauge.bytes, stats.bytes),
        ] {
            Gauge::set(field, value);
        }
    }

    fn finish(mut self) -> Outcome {
        self.sweep();
        let now_ns = now_ns();
        let (from_ns, cpu_ns) = self.window.unwrap_or((now_ns, thread_cpu_ns()));
        let mut players = Vec::new();
        let mut publishers = 0;
        for (slot, conn) in self.conns.iter().enumerate() {
            let Some(conn) = conn else { continue };
            let tally = &conn.tally;
            if !conn.role.is_player() {
                publishers += u64::from(conn.role.flows(tally));
                continue;
            }
            let began = if tally.first_ns == 0 { now_ns } else { tally.first_ns.max(from_ns) };
            players.push(Fared {
                url: self.joins.url_of(slot, &self.common.plan),
                bytes: tally.bytes - tally.bytes_at_window.min(tally.bytes),
                span_ns: now_ns - began.min(now_ns),
                age_ns: now_ns.saturating_sub(tally.opened_ns),
                connected: conn.greeted,
                flows: tally.first_ns > 0,
                stalled: tally.is_stalled(),
                stalls: tally.stalls,
                slow: tally.slow,
                segments: conn.role.takes_segments(),
            });
        }
        Outcome {
            players,
            publishers,
            window_ns: now_ns - from_ns,
            window_cpu_ns: thread_cpu_ns().saturating_sub(cpu_ns),
            stats: self.stats,
        }
    }
}

/// Processor time of this thread, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
