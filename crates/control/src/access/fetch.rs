//! One small document by HTTP or HTTPS, for keys that are published by a URL.
//!
//! No redirects: the operator names the place itself. The caller sets the time limit.

use std::sync::Arc;

use gate::http::client::{Address, AddressError, AnswerError, Decoder, Part};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where systems keep the certificates that they trust, in one file.
const ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("the host cannot be named inside TLS")]
    Name,
    #[error("there are no certificates of authorities on this machine (ca-certificates)")]
    Roots,
    #[error("the connection broke: {0}")]
    Broke(#[from] std::io::Error),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("the answer is {0}")]
    Status(u16),
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
}

/// The body of a GET that is answered with 200, of at most `most` bytes.
pub(crate) async fn get(url: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    let address = Address::parse(url)?;
    let origin = &address.origin;
    let socket = TcpStream::connect((origin.host.as_str(), origin.port))
        .await
        .map_err(FetchError::Connect)?;
    if !origin.tls {
        return exchange(socket, &address, most).await;
    }
    let name = ServerName::try_from(origin.host.clone()).map_err(|_| FetchError::Name)?;
    // Some hundred certificates are read and parsed.
    let connector = tokio::task::spawn_blocking(connector).await.ok().flatten();
    let secure = connector.ok_or(FetchError::Roots)?.connect(name, socket).await;
    exchange(secure.map_err(FetchError::Tls)?, &address, most).await
}

/// With the certificates that the system trusts now.
fn connector() -> Option<TlsConnector> {
    let path = ROOTS.iter().find(|path| std::path::Path::new(path).is_file())?;
    let list = CertificateDer::pem_file_iter(path).ok()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(list.filter_map(Result::ok));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

async fn exchange(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    address: &Address,
    most: usize,
) -> Result<Vec<u8>, FetchError> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nUser-Agent: millrace\r\n\
         Connection: close\r\n\r\n",
        address.path,
        address.origin.authority(),
    );
    socket.write_all(request.as_bytes()).await?;
    socket.flush().await?;
    let mut decoder = Decoder::new();
    decoder.expect();
    let (mut buffer, mut body) = (vec![0; 16 * 1024], Vec::new());
    loop {
        let n = socket.read(&mut buffer).await?;
        if n == 0 {
            decoder.end()?;
            return Ok(body);
        }
        let mut input = buffer.get(..n).unwrap_or_default();
        loop {
            let (taken, part) = decoder.decode(input)?;
            input = input.get(taken..).unwrap_or_default();
            match part {
                None => break,
                Some(Part::Head(answer)) if answer.status.as_u16() != 200 => {
                    return Err(FetchError::Status(answer.status.as_u16()));
                }
                Some(Part::Head(_)) => {}
                Some(Part::Body(bytes)) if body.len().saturating_add(bytes.len()) > most => {
                    return Err(FetchError::TooLong(most));
                }
                Some(Part::Body(bytes)) => body.extend_from_slice(bytes),
                Some(Part::End) => return Ok(body),
            }
        }
    }
}
