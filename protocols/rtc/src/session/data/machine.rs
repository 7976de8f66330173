//! sctp-proto behind a door: whatever it does, it ends at most itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier as Kind, ReliabilityType, ServerConfig, Stream,
    TransportConfig,
};

use super::dcep::Reliability;
use super::{MOST_MESSAGE, RECEIVE_BUFFER, STREAMS};

/// Bytes of a piece of a message. The engine forgets padding, and the head of the last chunk, when it
/// fills a packet; the fullest, of messages of a byte and one of 12, then has 1,100 bytes as
/// [`super::MOST_PACKET`] wants. At half of it twice as many packets carry large messages, and any
/// more does not fit.
const PIECE: u32 = 896;

/// When DATA is sent again, milliseconds: at first, at least, at most. SCTP's own seconds are for
/// calls of telephony; these are what browsers have.
const FIRST_RESEND: u64 = 500;
const LEAST_RESEND: u64 = 400;
const LONGEST_RESEND: u64 = 5_000;

/// Where the engine believes its peer: it has one, and sends by nobody's address.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

struct Parts {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
}

/// The engine, until it ends.
pub(super) struct Machine {
    parts: Option<Box<Parts>>,
    panicked: bool,
}

/// A message, what it is, and of how many pieces it was.
type Read = (Kind, Vec<u8>, u32);

impl Machine {
    /// Waits for the peer.
    pub(super) fn server(most_sent: u32) -> Self {
        let mut server = ServerConfig::new();
        server.transport = transport(most_sent);
        let endpoint = Endpoint::new(endpoint(), Some(Arc::new(server)));
        Self::new(Parts { endpoint, association: None })
    }

    /// Begins.
    pub(super) fn client(most_sent: u32) -> Self {
        let mut client = ClientConfig::new();
        client.transport = transport(most_sent);
        let mut endpoint = Endpoint::new(endpoint(), None);
        let association = endpoint.connect(client, PEER).ok();
        Self::new(Parts { endpoint, association })
    }

    fn new(parts: Parts) -> Self {
        Self { parts: Some(Box::new(parts)), panicked: false }
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Nothing comes of it any more.
    pub(super) fn end(&mut self) {
        self.parts = None;
    }

    /// Does one thing with the engine. One that has panicked is dropped.
    fn with<R: Default>(&mut self, what: impl FnOnce(&mut Parts) -> R) -> R {
        let Some(mut parts) = self.parts.take() else { return R::default() };
        match std::panic::catch_unwind(AssertUnwindSafe(|| what(&mut parts))) {
            Ok(result) => {
                self.parts = Some(parts);
                result
            }
            Err(_) => {
                self.panicked = true;
                // What a panic left of it may panic again.
                let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(parts)));
                R::default()
            }
        }
    }

    fn associated<R: Default>(&mut self, what: impl FnOnce(&mut Association) -> R) -> R {
        self.with(|parts| match &mut parts.association {
            Some((_, association)) => what(association),
            None => R::default(),
        })
    }

    fn stream<R: Default>(&mut self, id: u16, what: impl FnOnce(&mut Stream<'_>) -> R) -> R {
        self.associated(|association| match association.stream(id) {
            Ok(mut stream) => what(&mut stream),
            Err(_) => R::default(),
        })
    }

    /// Takes a packet; false if it is of no association.
    pub(super) fn handle(&mut self, now: Instant, packet: &[u8]) -> bool {
        let packet = Bytes::copy_from_slice(packet);
        self.with(|parts| {
            let Some((of, event)) = parts.endpoint.handle(now, PEER, None, None, packet) else {
                return false;
            };
            match (event, &mut parts.association) {
                (DatagramEvent::NewAssociation(association), None) => {
                    // It would keep a place for each further INIT.
                    parts.endpoint.reject_new_associations();
                    parts.association = Some((of, association));
                    true
                }
                (DatagramEvent::AssociationEvent(event), Some((known, association)))
                    if *known == of =>
                {
                    association.handle_event(event);
                    true
                }
                _ => false,
            }
        })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.associated(|association| association.handle_timeout(now));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, association) = self.parts.as_ref()?.association.as_ref()?;
        association.poll_timeout()
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        self.associated(|association| {
            while association.accept_stream().is_some() {}
            while association.poll_endpoint_event().is_some() {}
            association.poll()
        })
    }

    pub(super) fn transmit(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        self.associated(|association| match association.poll_transmit(now)?.payload {
            Payload::RawEncode(packets) => Some(packets),
            Payload::PartialDecode(_) => None,
        })
    }

    /// Makes a stream of ours.
    pub(super) fn open(&mut self, id: u16) -> bool {
        self.associated(|association| association.open_stream(id, Kind::Binary).is_ok())
    }

    pub(super) fn configure(&mut self, id: u16, unordered: bool, reliability: Reliability) {
        let (kind, value) = match reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::Retransmits(times) => (ReliabilityType::Rexmit, times),
            Reliability::Lifetime(ms) => (ReliabilityType::Timed, ms),
        };
        self.stream(id, |stream| {
            // It is there: we hold it.
            let _ = stream.set_reliability_params(unordered, kind, value);
        });
    }

    /// Whether a message was taken.
    pub(super) fn write(&mut self, id: u16, kind: Kind, bytes: &[u8]) -> bool {
        self.stream(id, |stream| stream.write_with_ppi(bytes, kind).is_ok())
    }

    /// Bytes that wait in a stream, or are on their way.
    pub(super) fn buffered(&mut self, id: u16) -> usize {
        self.stream(id, |stream| stream.buffered_amount().unwrap_or(0))
    }

    /// The next whole message of a stream.
    pub(super) fn read(&mut self, id: u16) -> Option<Read> {
        self.stream(id, |stream| {
            let message = stream.read_sctp().ok()??;
            let mut bytes = vec![0; message.len()];
            message.read(&mut bytes).ok()?;
            Some((message.ppi, bytes, u32::try_from(message.chunks.len()).unwrap_or(u32::MAX)))
        })
    }

    pub(super) fn close(&mut self, id: u16) {
        self.stream(id, |stream| {
            // One that cannot be closed now is closed with the association.
            let _ = stream.close();
        });
    }
}

fn endpoint() -> Arc<EndpointConfig> {
    let mut config = EndpointConfig::new();
    config.max_payload_size(PIECE);
    Arc::new(config)
}

fn transport(most_sent: u32) -> Arc<TransportConfig> {
    let config = TransportConfig::default()
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
        .with_max_receive_message_size(MOST_MESSAGE)
        .with_max_send_message_size(most_sent)
        .with_max_num_inbound_streams(STREAMS)
        .with_max_num_outbound_streams(STREAMS)
        .with_rto_initial_ms(FIRST_RESEND)
        .with_rto_min_ms(LEAST_RESEND)
        .with_rto_max_ms(LONGEST_RESEND);
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_ends_it_and_nothing_else() {
        let mut machine = Machine::client(MOST_MESSAGE);
        assert!(machine.deadline().is_some());
        machine.with(|_| -> () { panic!("on purpose") });
        assert!(machine.has_panicked());
        assert!(machine.deadline().is_none() && machine.poll().is_none());
        assert!(!machine.handle(Instant::now(), &[0; 16]) && !machine.open(1));
    }
}
