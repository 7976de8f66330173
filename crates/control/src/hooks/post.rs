//! One JSON body by POST, for what wants to be told and not asked.

use std::time::Duration;

use bytes::Bytes;
use gate::http::client::{Address, AddressError};
use http::{HeaderValue, Method, Request, header};
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
    /// JSON.
    pub(crate) body: String,
}

impl Post<'_> {
    /// Makes the request and waits for the answer, whatever it says, for `limit` at most. Cancel
    /// safe: dropping it closes the connection.
    pub(crate) async fn send(self, wires: &Wires, limit: Duration) -> Result<(), HookError> {
        tokio::time::timeout(limit, self.exchange(wires))
            .await
            .map_err(|_| HookError::Timeout(limit))?
    }

    async fn exchange(self, wires: &Wires) -> Result<(), HookError> {
        let address = Address::parse(self.url)?;
        let request = self.request(&address)?;
        let stream = wires.connect(&address, "").await?;
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let mut body = sender.send_request(request).await?.into_body();
            // What is read of it keeps the other side from seeing its answer cut off.
            let mut read = 0usize;
            while let Some(frame) = body.frame().await {
                read = read.saturating_add(frame?.data_ref().map_or(0, Bytes::len));
                if read > MAX_REPLY {
                    break;
                }
            }
            Ok(())
        };
        let drive = async {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = answer => answer,
            () = drive => Ok(()), // never ready
        }
    }

    fn request(self, address: &Address) -> Result<Request<Full<Bytes>>, HookError> {
        let path = address.path.split('?').next().unwrap_or_default();
        let bad = HookError::Address(AddressError::Authority);
        let uri: http::Uri = path.parse().map_err(|_| bad)?;
        let mut request = Request::new(Full::new(self.body.into()));
        *request.uri_mut() = uri;
        *request.method_mut() = Method::POST;
        let authority = address.origin.authority();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::HOST, Some(authority.as_str())),
            (header::CONNECTION, Some("Keep-Alive")),
            (header::USER_AGENT, Some(self.agent)),
            (header::CONTENT_TYPE, Some("application/json")),
            (header::AUTHORIZATION, self.authorization),
        ] {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name, value);
            }
        }
        Ok(request)
    }
}
