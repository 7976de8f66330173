//! How many sessions there may be: in all and of one address, and how many of them may wait for
//! their handshake. Asking costs a client one request, so what it leaves behind is counted from the
//! moment that it asks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::RtcServer;
use crate::door::desk::Refused;

/// Sessions that may wait for their handshake at once. It takes a client half a second, so this is
/// room for 4,000 joins a second; at half of it a crowd behind slow networks waits for its turn, at
/// double a flood of requests that lead to nothing holds 200 MB.
pub(crate) const MOST_PENDING: usize = 2_048;
/// The same of one address, behind which a whole office or a proxy may be. At half of it a load
/// generator that starts a thousand players at once is refused, at double two addresses fill
/// [`MOST_PENDING`].
pub(crate) const MOST_PENDING_PER_ADDRESS: usize = 512;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sessions: usize,
    pending: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    by_address: HashMap<IpAddr, Count>,
}

/// See the module. One for all shards.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    counts: Mutex<Counts>,
}

/// A session's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
    pending: bool,
}

impl Admission {
    /// Gives a place to a session that an address asks for.
    ///
    /// # Errors
    /// [`Refused::Full`], with the limit that is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        config: &RtcServer,
    ) -> Result<Place, Refused> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all = counts.all;
        let own = counts.by_address.get(&address).copied().unwrap_or_default();
        let limits = [
            ("rtc_server.max_sessions", all.sessions, config.max_sessions),
            ("rtc_server.max_sessions_per_ip", own.sessions, config.max_sessions_per_ip),
            ("the number of sessions that wait for a handshake", all.pending, MOST_PENDING),
            (
                "the number of sessions of one address that wait for a handshake",
                own.pending,
                MOST_PENDING_PER_ADDRESS,
            ),
        ];
        for (limit, count, most) in limits {
            if most > 0 && count >= most {
                return Err(Refused::Full { limit, most });
            }
        }
        for count in both(&mut counts, address) {
            count.sessions = count.sessions.saturating_add(1);
            count.pending = count.pending.saturating_add(1);
        }
        drop(counts);
        Ok(Place { admission: self.clone(), address, pending: true })
    }

    /// Addresses that are counted now.
    #[cfg(test)]
    fn addresses(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).by_address.len()
    }
}

fn both(counts: &mut Counts, address: IpAddr) -> [&mut Count; 2] {
    [&mut counts.all, counts.by_address.entry(address).or_default()]
}

impl Place {
    /// The handshake is done.
    pub(crate) fn connected(&mut self) {
        if std::mem::take(&mut self.pending) {
            let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for count in both(&mut counts, self.address) {
                count.pending = count.pending.saturating_sub(1);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connected();
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for count in both(&mut counts, self.address) {
            count.sessions = count.sessions.saturating_sub(1);
        }
        if counts.by_address.get(&self.address).is_some_and(|own| own.sessions == 0) {
            counts.by_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::server;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn one_address_cannot_leave_any_number_of_sessions_behind_that_wait() {
        let (admission, config) = (Arc::new(Admission::default()), server());
        let mut all: Vec<_> =
            (0..MOST_PENDING_PER_ADDRESS).map(|_| admission.admit(ONE, &config)).collect();
        assert!(all.iter().all(Result::is_ok));
        assert!(matches!(admission.admit(ONE, &config), Err(Refused::Full { .. })));
        assert!(admission.admit(TWO, &config).is_ok());
        if let Some(Ok(place)) = all.first_mut() {
            place.connected();
            place.connected();
        }
        let next = admission.admit(ONE, &config);
        assert!(next.is_ok());
        assert!(admission.admit(ONE, &config).is_err());
        drop((all, next));
        assert_eq!(admission.addresses(), 0);
    }

    #[test]
    fn limits_that_are_written_down_hold_for_connected_sessions_too() {
        let admission = Arc::new(Admission::default());
        let config = RtcServer { max_sessions: 3, max_sessions_per_ip: 2, ..server() };
        let mut held = Vec::new();
        for (address, taken) in [(ONE, true), (ONE, true), (ONE, false), (TWO, true), (TWO, false)]
        {
            let place = admission.admit(address, &config);
            assert_eq!(place.is_ok(), taken, "{address}: {place:?}");
            held.extend(place.map(|mut place| {
                place.connected();
                place
            }));
        }
        held.clear();
        assert!(admission.admit(ONE, &config).is_ok());
    }
}
