//! The pacer: walks what is owed, watches what waits, and measures what it costs.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Shard;
use crate::pace::{Demand, Pace, read_pause};
use crate::rendition::{Batcher, Rendition, Todo, Walked};

/// Subscribers that are served at once instead of by the pacer task.
const INLINE_WALK: usize = 32;
/// A walk yields after this long, so that joins, reads and the next frame get their turn.
const SLICE: Duration = Duration::from_millis(2);
/// Resolution of the pacer's timer.
const TICK: Duration = Duration::from_millis(10);
/// How often the governor looks at the load.
pub(super) const GOVERN: Duration = Duration::from_millis(500);

impl Shard {
    /// Lets the pacer act on what was delivered to a stream.
    pub(crate) fn flush(&self, stream: u64) {
        let Some(local) = self.find(stream) else { return };
        let now = Instant::now();
        for rendition in local.renditions.borrow().iter() {
            let todo = rendition.flush(self.pace.get(), now);
            self.look_after(rendition, todo);
        }
    }

    /// Serves a small walk at once; leaves a large one, or a wait, to the pacer task.
    pub(super) fn look_after(&self, rendition: &Rc<Rendition>, todo: Todo) {
        let more = match todo.owed {
            0 => false,
            1..=INLINE_WALK => self.walk(rendition).more,
            _ => true,
        };
        if more {
            self.enqueue_walk(rendition);
        }
        if todo.waits && !rendition.waiting.replace(true) {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(rendition.clone());
            if waiting.len() == 1 {
                self.pacer.notify_one();
            }
        }
    }

    pub(super) fn enqueue_walk(&self, rendition: &Rc<Rendition>) {
        if !rendition.queued.replace(true) {
            self.walks.borrow_mut().push_back(rendition.clone());
            self.pacer.notify_one();
        }
    }

    pub(super) fn walk(&self, rendition: &Rc<Rendition>) -> Walked {
        let begun = Instant::now();
        let walked = {
            let mut batcher = self.batcher.borrow_mut();
            let walked = rendition.walk(begun + SLICE, batcher.as_mut());
            if let Some(error) = batcher.as_ref().and_then(Batcher::fault) {
                let shard = self.id();
                tracing::warn!(shard, %error, "io_uring failed; from now on, plain sends");
                *batcher = None;
            }
            walked
        };
        let spent = begun.elapsed();
        let ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.walk_ns.set(self.walk_ns.get().saturating_add(ns));
        self.sends.set(self.sends.get().saturating_add(walked.sends));
        self.walked.set(self.walked.get().saturating_add(walked.bytes));
        let stats = &self.handle.stats;
        stats.sends.fetch_add(walked.sends, Relaxed);
        stats.sent_bytes.fetch_add(walked.bytes, Relaxed);
        stats.walk_us.fetch_add(ns / 1000, Relaxed);
        if let Some(size) = walked.bytes.checked_div(walked.sends) {
            stats.send_size.observe(size);
        }
        if let Some(since) = walked.since {
            let waited = since.elapsed().as_micros();
            stats.waited_us.observe(u64::try_from(waited).unwrap_or(u64::MAX));
        }
        if walked.batches > 0 {
            stats.batches.fetch_add(walked.batches, Relaxed);
            stats.batched_sends.fetch_add(walked.batched, Relaxed);
        }
        walked
    }

    pub(super) async fn pace_loop(self: Rc<Self>) {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticked = Instant::now();
        loop {
            let idle = self.waiting.borrow().is_empty();
            if self.walks.borrow().is_empty() {
                tokio::select! {
                    () = self.pacer.notified() => {}
                    _ = timer.tick(), if !idle => {
                        ticked = Instant::now();
                        self.on_timer(ticked);
                    }
                }
            }
            loop {
                let next = self.walks.borrow_mut().pop_front();
                let Some(rendition) = next else { break };
                rendition.queued.set(false);
                self.guard("walk", || {
                    if self.walk(&rendition).more {
                        self.enqueue_walk(&rendition);
                    }
                });
                tokio::task::yield_now().await;
                // Walks without end must not keep what waits from its turn.
                let now = Instant::now();
                if now.saturating_duration_since(ticked) >= TICK {
                    ticked = now;
                    self.on_timer(now);
                }
            }
        }
    }

    fn on_timer(&self, now: Instant) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for rendition in waiting {
            rendition.waiting.set(false);
            self.guard("pacer timer", || {
                let todo = rendition.on_timer(self.pace.get(), now);
                self.look_after(&rendition, todo);
            });
        }
    }

    /// Notes how busy the thread was since the last look.
    fn look_at_load(&self, now: Instant) {
        let cpu = thread_cpu();
        let (then, before) = self.looked.replace((now, cpu));
        let passed = now.saturating_duration_since(then).as_micros();
        let spent = cpu.saturating_sub(before).as_micros().saturating_mul(1000);
        let share = spent.checked_div(passed).unwrap_or(0).min(1000);
        self.handle.stats.busy_permille.store(u32::try_from(share).unwrap_or(1000), Relaxed);
    }

    pub(super) fn govern(&self) {
        let mut demand = Demand::default();
        let mut log_bytes = 0usize;
        let per_s = 1.0 / GOVERN.as_secs_f64();
        let (pace, now) = (self.pace.get(), Instant::now());
        self.look_at_load(now);
        for local in self.streams.borrow().values() {
            for rendition in local.renditions.borrow().iter() {
                log_bytes = log_bytes.saturating_add(rendition.memory());
                let p = rendition.take_period(pace, now);
                let subs = p.subs as f64;
                let frames = if p.video > 0 { p.video } else { p.batches.min(13) };
                if p.adaptive {
                    demand.message += subs * f64::from(p.batches) * per_s;
                    demand.frame += subs * f64::from(frames) * per_s;
                } else {
                    demand.fixed += subs * f64::from(frames) * per_s / f64::from(p.k);
                }
            }
        }
        let messages = self.messages.replace(0) as f64 * per_s;
        let pause = read_pause(messages, self.publishers.get());
        self.read_pause.set(pause);
        let ms = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
        self.handle.stats.read_pause_ms.store(ms, Relaxed);
        let mut governor = self.governor.borrow_mut();
        let spent = Duration::from_nanos(self.walk_ns.replace(0));
        let bytes = self.walked.replace(0);
        demand.bytes = bytes as f64 * per_s;
        governor.measured(self.sends.replace(0), bytes, spent);
        let new = governor.decide(demand);
        if new != pace {
            tracing::debug!(shard = self.id(), ?pace, ?new, "pace changes");
        }
        self.pace.set(new);
        let k = if new == Pace::Message { 0 } else { new.k() };
        self.handle.stats.pace.store(k, Relaxed);
        self.handle.stats.log_bytes.store(log_bytes, Relaxed);
    }
}

/// Processor time of this thread, user and kernel; by the C library, since rustix's own way to the
/// vDSO fails under Valgrind.
fn thread_cpu() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
