//! A web server for callbacks, which keeps what it was asked and answers as it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::{Context, PATIENCE, Result, until};

/// One callback.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its headers, names in lower case.
    pub head: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

impl Call {
    /// A string of the body; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Which callback it is.
    pub fn action(&self) -> &str {
        self.text("action")
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Say {
    /// Yes.
    Yes,
    /// This JSON.
    Json(Value),
    /// No.
    No,
    /// Nothing, until the other side goes.
    Nothing,
    /// The connection is closed.
    Close,
    /// Ten megabytes.
    Flood,
    /// Not HTTP.
    Garbage,
    /// A byte now and then.
    Drip,
}

type Answer = dyn Fn(&Call) -> Say + Send + Sync;

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    over: AtomicBool,
}

/// The server. Dropped, it dies: nobody listens any more.
pub struct Web {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts one on a port of its own.
    pub fn start(answer: impl Fn(&Call) -> Say + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let (to, answer): (_, Arc<Answer>) = (shared.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(std::result::Result::ok) {
                if to.over.load(Relaxed) {
                    return;
                }
                let (to, answer) = (to.clone(), answer.clone());
                std::thread::spawn(move || serve(tcp, &to, &*answer));
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The callbacks so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a callback, and gives the first that fits.
    pub fn wait(&self, what: &str, fits: impl Fn(&Call) -> bool) -> Result<Call> {
        until(what, || self.calls().into_iter().find(|call| fits(call)))
            .with_context(|| format!("{:#?}", self.calls()))
    }

    /// The callbacks of one client, by name; those that repeat stand there once.
    pub fn story(&self, client: &str) -> Vec<String> {
        let all = self.calls();
        let own = all.iter().filter(|call| call.text("client_id") == client);
        let mut story: Vec<String> = own.map(|call| call.action().to_owned()).collect();
        story.dedup();
        story
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut tcp: TcpStream, shared: &Shared, answer: &Answer) {
    let _ = tcp.set_read_timeout(Some(PATIENCE));
    let Some(call) = read(&mut tcp) else { return };
    shared.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
    let say = answer(&call);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let _ = match say {
        Say::Yes => tcp.write_all((ok(1) + "0").as_bytes()),
        Say::Json(json) => {
            let json = json.to_string();
            tcp.write_all((ok(json.len()) + &json).as_bytes())
        }
        Say::No => tcp.write_all((ok(10) + "{\"code\":1}").as_bytes()),
        Say::Nothing => tcp.read(&mut [0]).map(drop),
        Say::Close => Ok(()),
        Say::Garbage => tcp.write_all(&[0x80; 4096]),
        Say::Flood => {
            let _ = tcp.write_all(ok(10_000_000).as_bytes());
            tcp.write_all(&vec![b' '; 10_000_000])
        }
        Say::Drip => {
            let _ = tcp.write_all(ok(10_000).as_bytes());
            while tcp.write_all(b" ").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            Ok(())
        }
    };
}

fn read(tcp: &mut TcpStream) -> Option<Call> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).ok()?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).ok()?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let head: Vec<(String, String)> = head.lines().filter_map(pair).collect();
    let length = head.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    tcp.read_exact(&mut body).ok()?;
    Some(Call { head, body: serde_json::from_slice(&body).ok()? })
}
