//! Offers out, answers in: a few threads that ask by HTTP and wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gate::http::client::{Decoder, Part};
use media::Codec;
use mio::Waker;
use rtc::negotiate::{
    Fingerprint, Intent, Negotiated, OfferAsk, Options, Ours, accept_answer, offer, parse,
};
use rtc::session::dtls::Identity;
use rtc::session::ice::Credentials;

use super::netem::splitmix;
use crate::clock::now_ns;
use crate::fault::Fault;

/// Threads that ask at once, for each thread of players. A server answers within a millisecond or
/// two: at half of it 500 joins a second would not be reached if it takes ten, at double they take
/// the core from the players.
const ASKERS: usize = 8;
/// Longest body of an answer: real ones have three to six kB.
const MAX_BODY: usize = 256 * 1024;
/// Of a refusal so much is shown.
const SHOWN: usize = 200;

/// A session that is wanted.
pub(super) struct Job {
    pub(super) slot: usize,
    pub(super) intent: Intent,
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) seed: u64,
}

/// What both sides know now.
pub(super) struct Agreed {
    pub(super) local: Credentials,
    pub(super) negotiated: Negotiated,
    pub(super) asked_ns: u64,
    pub(super) answered_ns: u64,
}

/// What came of a job.
pub(super) struct Done {
    pub(super) slot: usize,
    pub(super) result: Result<Box<Agreed>, Fault>,
}

/// The threads; they end when it is dropped and what they do is done.
pub(super) struct Signal {
    jobs: Sender<Job>,
    pub(super) done: Receiver<Done>,
}

impl Signal {
    /// Starts them. `waker` is called for each answer.
    pub(super) fn start(
        identity: &Identity,
        patience: Duration,
        waker: &Arc<Waker>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let (answers, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..ASKERS {
            let (queue, answers) = (queue.clone(), answers.clone());
            let (waker, identity) = (waker.clone(), identity.clone());
            let work = move || {
                loop {
                    let Ok(Ok(job)) = queue.lock().map(|queue| queue.recv()) else { return };
                    let result = ask(&job, &identity, patience).map(Box::new);
                    if answers.send(Done { slot: job.slot, result }).is_err() {
                        return;
                    }
                    let _ = waker.wake();
                }
            };
            std::thread::Builder::new().name(format!("ask-{n}")).spawn(work)?;
        }
        Ok(Self { jobs, done })
    }

    pub(super) fn ask(&self, job: Job) {
        let _ = self.jobs.send(job);
    }
}

/// Letters of `ice-char`, drawn.
fn letters(state: &mut u64, count: usize) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let place = (splitmix(state) & 31) as usize;
        text.push(char::from(LETTERS.get(place).copied().unwrap_or(b'a')));
    }
    text
}

fn ask(job: &Job, identity: &Identity, patience: Duration) -> Result<Agreed, Fault> {
    let mut state = job.seed;
    let local = Credentials { ufrag: letters(&mut state, 8), pwd: letters(&mut state, 32) };
    let ask = OfferAsk {
        intent: job.intent,
        audio: vec![Codec::Opus],
        video: vec![Codec::H264, Codec::H265],
        rids: Vec::new(),
        data: false,
        ours: Ours {
            ufrag: local.ufrag.clone(),
            pwd: local.pwd.clone(),
            fingerprint: Fingerprint::sha256(identity.fingerprint().0.to_vec()),
            candidates: Vec::new(),
            session: splitmix(&mut state) >> 33,
            server: "millrace-bench".to_owned(),
            stream: "bench".to_owned(),
            cname: letters(&mut state, 16),
            ssrc_seed: splitmix(&mut state),
        },
        options: Options { red: true, ..Options::default() },
    };
    let offered = offer(&ask);
    let asked_ns = now_ns();
    let body = post(job, &offered.to_string(), patience)?;
    let answered_ns = now_ns();
    let bad = |what: &dyn std::fmt::Display| Fault::Protocol(format!("the answer: {what}"));
    let answer = parse(&body).map_err(|e| bad(&e))?;
    let negotiated = accept_answer(&ask, &offered, &answer).map_err(|e| bad(&e))?;
    Ok(Agreed { local, negotiated, asked_ns, answered_ns })
}

/// One request on a connection of its own.
fn post(job: &Job, offer: &str, patience: Duration) -> Result<String, Fault> {
    let socket = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::WouldBlock => Fault::Protocol("no answer to the offer".to_owned()),
        _ => Fault::socket(&e),
    };
    let mut tcp = TcpStream::connect_timeout(&job.address, patience).map_err(socket)?;
    tcp.set_read_timeout(Some(patience)).map_err(socket)?;
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: millrace-bench\r\nConnection: close\r\n\
         Content-Type: application/sdp\r\nAccept: application/sdp\r\nContent-Length: {}\r\n\r\n\
         {offer}",
        job.path,
        job.host,
        offer.len()
    );
    tcp.write_all(request.as_bytes()).map_err(socket)?;
    let mut decoder = Decoder::new();
    decoder.expect();
    let (mut status, mut body) = (0, Vec::new());
    let mut room = [0; 16 * 1024];
    let bad = |e: gate::http::client::AnswerError| Fault::Protocol(e.to_string());
    'answer: loop {
        let n = tcp.read(&mut room).map_err(socket)?;
        if n == 0 {
            decoder.end().map_err(bad)?;
            break;
        }
        let mut rest = room.get(..n).unwrap_or_default();
        loop {
            let (taken, part) = decoder.decode(rest).map_err(bad)?;
            match part {
                Some(Part::Head(head)) => status = head.status.as_u16(),
                Some(Part::Body(bytes)) if body.len() < MAX_BODY => body.extend_from_slice(bytes),
                Some(Part::Body(_)) => return Err(Fault::Protocol("a huge answer".to_owned())),
                Some(Part::End) => break 'answer,
                None => break,
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    match status {
        200 | 201 => Ok(text),
        0 => Err(Fault::Reset),
        _ if text.is_empty() => Err(Fault::Status(status)),
        _ => {
            let said: String = text.chars().take(SHOWN).collect();
            Err(Fault::Denied(format!("HTTP status {status}: {}", said.trim())))
        }
    }
}
