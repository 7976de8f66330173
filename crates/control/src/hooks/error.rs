//! Why a callback brought no yes.

use gate::dial::TrustError;
use gate::http::client::AddressError;

use super::reply::ReplyError;

/// Why a callback brought no yes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("the URL cannot be used: {0}")]
    Address(#[from] AddressError),
    #[error("the name of the server is not found: {0}")]
    Name(std::io::Error),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS fails: {0}")]
    Tls(std::io::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the server speaks no proper HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl HookError {
    /// The number that logs and the API give for it; SRS's where it has one.
    pub(super) const fn code(&self) -> u32 {
        match self {
            Self::Reply(reply) => reply.code(),
            _ => 4005,
        }
    }

    /// A plain no, as opposed to no answer.
    pub(super) const fn is_no(&self) -> bool {
        match self {
            Self::Reply(reply) => reply.is_no(),
            _ => false,
        }
    }

    /// Whether a notification is worth another try.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Name(_) | Self::Connect(_) | Self::Tls(_) | Self::Http(_) | Self::Timeout(_) => {
                true
            }
            Self::Address(_) | Self::Trust(_) => false,
            Self::Reply(reply) => reply.is_passing(),
        }
    }
}
