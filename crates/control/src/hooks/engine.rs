//! Makes callbacks: for each session one after another, for different sessions side by side.
//!
//! What concerns one session stands in its lane, in order; a lane's task lives on the control
//! runtime for as long as something waits. A server that hangs holds up the lanes of the sessions
//! it was called for, and no other.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gate::{Event, Refusal, Visit};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::call::{Call, Wires, shown};
use super::desk::{Count, Desk, Desks, Place};
use super::error::HookError;
use super::event::Hook;
use super::reply;
use crate::telemetry::Telemetry;

/// Jobs that may wait in one lane. A session makes a handful; segments add one every few seconds.
const LANE: usize = 256;
/// Pause before the first new try of a notification; doubled for each one after it.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whose jobs are done in order: those of a session, and its fetches apart from them.
type Key = (Arc<str>, bool);

/// A notification.
struct Notice {
    call: Call,
    place: Place,
}

/// A question about a client, who waits for the answer.
struct Question {
    call: Call,
    desk: Arc<Desk>,
    visit: Arc<Visit>,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

enum Job {
    Notice(Box<Notice>),
    Question(Box<Question>),
}

/// The jobs of one session.
struct Lane {
    jobs: VecDeque<Job>,
    /// A question waits: until when it does so for what is in front of it.
    hurry: watch::Sender<Option<Instant>>,
}

/// All lanes, and what they need.
#[derive(Default)]
pub(super) struct Engine {
    lanes: Mutex<HashMap<Key, Lane>>,
    pub(super) desks: Desks,
    wires: Wires,
}

/// Tells what ends a session's stay that was asked about by `hook`.
fn end_of(hook: Hook, visit: &Arc<Visit>) -> Option<Event<'_>> {
    match hook {
        Hook::Publish => Some(Event::Unpublished(visit)),
        Hook::Play => Some(Event::Stopped(visit)),
        // Its end is told when the connection closes.
        _ => None,
    }
}

impl Engine {
    /// One whose requests are told to OpenTelemetry.
    pub(super) fn telling(telemetry: Telemetry) -> Self {
        Self { wires: Wires::telling(telemetry), ..Self::default() }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Key, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lanes in which something waits or is done.
    pub(super) fn busy(&self) -> usize {
        self.lanes().len()
    }

    /// Gives up everything that waits; at the end of the process. Returns how much that was.
    pub(super) fn give_up(&self) -> usize {
        let lanes = std::mem::take(&mut *self.lanes());
        let mut dropped = 0usize;
        for job in lanes.into_values().flat_map(|lane| lane.jobs) {
            if let Job::Notice(notice) = job {
                notice.place.desk().count(Count::DroppedShutdown);
                dropped = dropped.saturating_add(1);
            }
        }
        dropped
    }

    /// Queues a notification.
    pub(super) fn notify(self: &Arc<Self>, control: &Handle, call: Call) {
        let desk = self.desks.of(&call.vhost, call.hook);
        let Some(place) = desk.place(call.options.queue) else {
            return dropped(&desk, &call, Count::DroppedQueue, "too many wait already");
        };
        let key = (call.session.clone(), call.hook.is_fetch());
        if let Some(Job::Notice(notice)) =
            self.push(control, key, Job::Notice(Box::new(Notice { call, place })))
        {
            let why = "too many of the session wait already";
            dropped(&desk, &notice.call, Count::DroppedQueue, why);
        }
    }

    /// Asks about `visit`. Dropping what this returns withdraws the question.
    pub(super) fn ask(self: &Arc<Self>, call: Call, visit: &Arc<Visit>) -> Asked {
        let desk = self.desks.of(&call.vhost, call.hook);
        let (answer, rx) = oneshot::channel();
        let (hook, key) = (call.hook, (call.session.clone(), false));
        let question = Question { call, desk, visit: visit.clone(), answer };
        // A question that finds no room is dropped, which denies.
        let _ = self.push(&visit.host.control, key, Job::Question(Box::new(question)));
        Asked { rx, hook, visit: visit.clone(), engine: self.clone() }
    }

    /// Puts a job into its lane; gives it back when that is full.
    fn push(self: &Arc<Self>, control: &Handle, key: Key, job: Job) -> Option<Job> {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(&key) {
            if lane.jobs.len() >= LANE {
                return Some(job);
            }
            if let Job::Question(question) = &job {
                lane.hurry.send_replace(Instant::now().checked_add(question.call.limit()));
            }
            lane.jobs.push_back(job);
            return None;
        }
        let lane = Lane { jobs: VecDeque::from([job]), hurry: watch::Sender::new(None) };
        lanes.insert(key.clone(), lane);
        drop(lanes);
        control.spawn(self.clone().run(control.clone(), key));
        None
    }

    /// Does the jobs of a lane until none is left.
    async fn run(self: Arc<Self>, control: Handle, key: Key) {
        let mut end = LaneEnd { engine: &self, key: &key, over: false };
        while let Some((job, hurry)) = self.next(&key) {
            match job {
                Job::Notice(notice) => self.deliver(*notice, hurry).await,
                Job::Question(question) => self.decide(&control, *question).await,
            }
        }
        end.over = true;
    }

    fn next(&self, key: &Key) -> Option<(Job, watch::Receiver<Option<Instant>>)> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(key)?;
        let Some(job) = lane.jobs.pop_front() else {
            lanes.remove(key);
            return None;
        };
        let asks = |job: &Job| matches!(job, Job::Question(_));
        if asks(&job) && !lane.jobs.iter().any(asks) {
            lane.hurry.send_replace(None);
        }
        Some((job, lane.hurry.subscribe()))
    }

    /// Makes a notification, with further tries where they may help. URLs that have been told are
    /// not told again.
    async fn deliver(&self, notice: Notice, mut hurry: watch::Receiver<Option<Instant>>) {
        let Notice { call, place } = notice;
        let desk = place.desk();
        let mut urls = call.urls.iter().peekable();
        let mut tries = 0u32;
        while let Some(&url) = urls.peek() {
            let attempt = async {
                let _permit = desk.notices.acquire().await;
                call.make(&self.wires, url).await
            };
            let made = tokio::select! {
                made = attempt => made,
                () = overdue(&mut hurry) => {
                    return dropped(desk, &call, Count::DroppedOvertaken, OVERTAKEN);
                }
            };
            book(desk, &made);
            let Err(error) = made else {
                urls.next();
                continue;
            };
            if call.hook.is_fetch() {
                report(&call, url, &error);
                urls.next();
                continue;
            }
            if !error.is_passing() {
                return report(&call, url, &error);
            }
            if tries >= call.options.retries {
                report(&call, url, &error);
                return dropped(desk, &call, Count::DroppedUnanswered, "no try was answered");
            }
            desk.count(Count::Retry);
            tracing::debug!(session = %call.session, hook = call.hook.name(), url = shown(url),
                tries, "the callback is tried again: {error}");
            let pause = PAUSE.saturating_mul(2u32.saturating_pow(tries)).min(LONGEST_PAUSE);
            tries = tries.saturating_add(1);
            tokio::select! {
                () = sleep(pause) => {}
                _ = hurry.wait_for(Option::is_some) => {
                    return dropped(desk, &call, Count::DroppedOvertaken, OVERTAKEN);
                }
            }
        }
    }

    /// Asks, once, and hands the answer to who waits for it. Where nobody waits any more, the
    /// callback's server may have let the client in: it is told that the client has gone.
    async fn decide(self: &Arc<Self>, control: &Handle, question: Question) {
        let Question { call, desk, visit, mut answer } = question;
        if answer.is_closed() {
            desk.count(Count::Withdrawn);
            return;
        }
        let verdict = tokio::select! {
            biased;
            () = answer.closed() => None,
            verdict = self.verdict(&call, &desk) => Some(verdict),
        };
        let left = match verdict {
            None => true,
            Some(Ok(())) => answer.send(Ok(())).is_err(),
            Some(Err(refusal)) => {
                let _ = answer.send(Err(refusal));
                false
            }
        };
        if left {
            desk.count(Count::Withdrawn);
            self.withdraw(control, call.hook, &visit);
        }
    }

    /// Tells that a client has gone about whom nobody knows what the answer was.
    fn withdraw(self: &Arc<Self>, control: &Handle, hook: Hook, visit: &Arc<Visit>) {
        if let Some(event) = end_of(hook, visit) {
            self.tell(control, event);
        }
    }

    /// Asks one URL after another until one says no. No answer is a no, too, or as good as a yes,
    /// as the configuration has it.
    async fn verdict(&self, call: &Call, desk: &Desk) -> Result<(), Refusal> {
        let hook = call.hook.name();
        let mut outcome = Count::Allowed;
        for url in &call.urls {
            let limit = call.limit();
            // The wait for a turn counts, so that nobody waits twice as long.
            let made = match timeout(limit, desk.questions.acquire()).await {
                Ok(_permit) => call.make(&self.wires, url).await,
                Err(_) => Err(HookError::Timeout(limit)),
            };
            book(desk, &made);
            let Err(error) = made else { continue };
            report(call, url, &error);
            let denied = |count, why| {
                desk.count(count);
                let reason = format!("the {hook} callback {why}");
                Err(Refusal::Denied { code: error.code(), reason })
            };
            if error.is_no() {
                return denied(Count::Denied, "says no");
            }
            if !call.options.allow_when_down {
                return denied(Count::DeniedUnasked, "gives no answer");
            }
            outcome = Count::AllowedUnasked;
        }
        if outcome == Count::AllowedUnasked {
            tracing::warn!(session = %call.session, hook,
                "the session is let in without an answer (when_down allow)");
        }
        desk.count(outcome);
        Ok(())
    }
}

impl Engine {
    /// Asks where a stream goes. No answer is no destination; it has been told and counted.
    pub(super) async fn destinations(&self, call: Call) -> Option<Vec<String>> {
        let desk = self.desks.of(&call.vhost, call.hook);
        let url = call.urls.first()?;
        let limit = call.limit();
        let asked = match timeout(limit, desk.questions.acquire()).await {
            Ok(_permit) => call.answer(&self.wires, url).await,
            Err(_) => Err(HookError::Timeout(limit)),
        };
        let urls = asked.and_then(|body| Ok(reply::decode_urls(&body)?));
        book(&desk, &urls);
        match urls {
            Ok(urls) => {
                desk.count(Count::Allowed);
                Some(urls)
            }
            Err(error) => {
                let no = error.is_no();
                desk.count(if no { Count::Denied } else { Count::DeniedUnasked });
                report(&call, url, &error);
                None
            }
        }
    }
}

const OVERTAKEN: &str = "a question about the session could not wait for it any longer";

fn book<T>(desk: &Desk, made: &Result<T, HookError>) {
    desk.count(match made {
        Ok(_) => Count::RequestYes,
        Err(error) if error.is_no() => Count::RequestNo,
        Err(_) => Count::RequestFailed,
    });
}

fn report(call: &Call, url: &str, error: &HookError) {
    let what = if error.is_no() { "says no" } else { "fails" };
    tracing::warn!(session = %call.session, vhost = call.vhost, hook = call.hook.name(),
        url = shown(url), code = error.code(), "the callback {what}: {error}");
}

fn dropped(desk: &Desk, call: &Call, what: Count, why: &str) {
    let total = desk.count(what);
    // The first says what is wrong, the powers of two that it goes on.
    if total.is_power_of_two() {
        tracing::error!(session = %call.session, vhost = call.vhost, hook = call.hook.name(), total,
            "a callback is given up: {why}");
    }
}

/// Returns when a question has waited for long enough.
async fn overdue(hurry: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let until = *hurry.borrow_and_update();
        let changed = async {
            if hurry.changed().await.is_err() {
                std::future::pending::<()>().await; // the lane was given up
            }
        };
        match until {
            None => changed.await,
            Some(until) => tokio::select! {
                () = sleep_until(until) => return,
                () = changed => {}
            },
        }
    }
}

/// Removes a lane whose task panicked: who waits in it is refused, and those who come get a new one.
struct LaneEnd<'a> {
    engine: &'a Engine,
    key: &'a Key,
    over: bool,
}

impl Drop for LaneEnd<'_> {
    fn drop(&mut self) {
        if !self.over {
            let mut lanes = self.engine.lanes();
            let lane = lanes.remove(self.key);
            // What waits in it may tell of ends when it goes, and meet this lock.
            drop(lanes);
            drop(lane);
        }
    }
}

/// An answer that is awaited.
pub(super) struct Asked {
    rx: oneshot::Receiver<Result<(), Refusal>>,
    hook: Hook,
    visit: Arc<Visit>,
    engine: Arc<Engine>,
}

impl Future for Asked {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.rx).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| {
            let reason = format!("the {} callback could not be made", self.hook.name());
            Err(Refusal::Denied { code: 4005, reason })
        }))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.rx.close();
        // A yes that came and was not heard.
        if let Ok(Ok(())) = self.rx.try_recv() {
            self.engine.withdraw(&self.visit.host.control, self.hook, &self.visit);
        }
    }
}
