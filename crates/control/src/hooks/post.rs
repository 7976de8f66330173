//! One body by POST, for what wants to be told and not asked.

use std::time::Duration;

use bytes::Bytes;
use gate::http::client::{Address, AddressError};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::call::{MAX_HEAD, Wires};
use super::error::HookError;
use super::reply::MAX_REPLY;

/// What is told, and to whom.
pub(crate) struct Post<'a> {
    /// Its query is not sent.
    pub(crate) url: &'a str,
    /// The `User-Agent`.
    pub(crate) agent: &'a str,
    /// The `Authorization` header, where there is one.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) content_type: &'static str,
    /// More headers.
    pub(crate) headers: &'a [(String, String)],
    /// The certificates to trust; any, when empty.
    pub(crate) ca_file: &'a str,
    pub(crate) body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
}

impl Post<'_> {
    /// Makes the request and waits for the answer, whatever it says, for `limit` at most. Cancel
    /// safe: dropping it closes the connection.
    pub(crate) async fn send(self, wires: &Wires, limit: Duration) -> Result<Answer, HookError> {
        tokio::time::timeout(limit, self.exchange(wires))
            .await
            .map_err(|_| HookError::Timeout(limit))?
    }

    async fn exchange(self, wires: &Wires) -> Result<Answer, HookError> {
        let address = Address::parse(self.url)?;
        let stream = wires.connect(&address, self.ca_file).await?;
        let request = self.request(&address)?;
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            // What is read of it keeps the other side from seeing its answer cut off.
            let mut read = 0usize;
            while let Some(frame) = body.frame().await {
                read = read.saturating_add(frame?.data_ref().map_or(0, Bytes::len));
                if read > MAX_REPLY {
                    break;
                }
            }
            Ok(Answer { status })
        };
        let drive = async {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = answer => answer,
            () = drive => Ok(Answer { status: 0 }), // never ready
        }
    }

    fn request(self, address: &Address) -> Result<Request<Full<Bytes>>, HookError> {
        let path = address.path.split('?').next().unwrap_or_default();
        let bad = HookError::Address(AddressError::Authority);
        let uri: http::Uri = path.parse().map_err(|_| bad)?;
        let mut request = Request::new(Full::new(self.body));
        *request.uri_mut() = uri;
        *request.method_mut() = Method::POST;
        let authority = address.origin.authority();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::HOST, Some(authority.as_str())),
            (header::CONNECTION, Some("Keep-Alive")),
            (header::USER_AGENT, Some(self.agent)),
            (header::CONTENT_TYPE, Some(self.content_type)),
            (header::AUTHORIZATION, self.authorization),
        ] {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name, value);
            }
        }
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        Ok(request)
    }
}
