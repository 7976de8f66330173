//! The periodic line that each session gets in the log.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use gate::SessionInfo;

/// Sessions told of in one period. More would drown the log; the others get their turn next.
const MOST: usize = 200;

/// Remembers whose turn it is.
#[derive(Default)]
pub(super) struct Lines {
    last: String,
}

impl Lines {
    /// Those whose turn it is: all, or the next [`MOST`] in the order of their ids.
    fn turn(&mut self, mut sessions: Vec<Arc<SessionInfo>>) -> Vec<Arc<SessionInfo>> {
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        if sessions.len() > MOST {
            let start = sessions.partition_point(|s| *s.id <= *self.last);
            sessions.rotate_left(start);
            sessions.truncate(MOST);
        }
        self.last = sessions.last().map_or(String::new(), |s| s.id.to_string());
        sessions
    }

    pub(super) fn tell(&mut self, sessions: Vec<Arc<SessionInfo>>) {
        let all = sessions.len();
        if all > MOST {
            let publishers = sessions.iter().filter(|s| publishes(s)).count();
            let rate =
                |s: &Arc<SessionInfo>| s.rate.lock().unwrap_or_else(PoisonError::into_inner).kbps();
            let (recv, send) = sessions.iter().map(rate).fold((0, 0), |sum: (u64, u64), r| {
                (sum.0.saturating_add(r.0), sum.1.saturating_add(r.1))
            });
            tracing::info!(
                sessions = all,
                publishers,
                "all sessions, okbps={send}, ikbps={recv}; {MOST} of them follow, others next time"
            );
        }
        for info in self.turn(sessions) {
            tell(&info);
        }
    }
}

fn publishes(info: &SessionInfo) -> bool {
    info.detail().is_some_and(|d| d.publish)
}

fn tell(info: &SessionInfo) {
    let (publisher, stream) =
        info.stream().map_or_else(Default::default, |s| (s.publisher_id(), s.key.url()));
    let text = line(info);
    if publishes(info) {
        tracing::info!(session = %info.id, %stream, "{text}");
    } else {
        tracing::info!(session = %info.id, %publisher, %stream, "{text}");
    }
}

fn line(info: &SessionInfo) -> String {
    let (recv, send) = info.rate.lock().unwrap_or_else(PoisonError::into_inner).kbps();
    let time = info.alive().as_millis();
    if publishes(info) {
        return format!("<- CPB time={time}, okbps={send}, ikbps={recv}");
    }
    let lag = info.counters.lag_ms.load(Relaxed);
    let drops = info.counters.lag_dropped.load(Relaxed);
    format!("-> PLA time={time}, okbps={send}, ikbps={recv}, lag={lag}ms, drops={drops}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate::{Detail, Session, Sessions};

    fn session(all: &Arc<Sessions>, publish: bool) -> Session {
        let session = all.open("rtmp", ([127, 0, 0, 1], 4000).into());
        session.identify(Detail { publish, ..Detail::default() }, None);
        session
    }

    #[test]
    fn a_player_is_told_with_lag_and_drops() {
        let all = Arc::new(Sessions::default());
        let player = session(&all, false);
        player.counters.lag_ms.store(250, Relaxed);
        player.counters.lag_dropped.store(7, Relaxed);
        let text = line(&player);
        assert!(text.starts_with("-> PLA time="), "{text}");
        assert!(text.ends_with("okbps=0, ikbps=0, lag=250ms, drops=7"), "{text}");
    }

    #[test]
    fn a_publisher_is_told_with_its_rates() {
        let all = Arc::new(Sessions::default());
        let text = line(&session(&all, true));
        assert!(text.starts_with("<- CPB time=") && text.ends_with("okbps=0, ikbps=0"), "{text}");
    }

    #[test]
    fn many_sessions_are_told_in_turn() {
        let all = Arc::new(Sessions::default());
        let held: Vec<Session> = (0..450).map(|_| session(&all, false)).collect();
        let mut lines = Lines::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let turn = lines.turn(all.all());
            assert_eq!(turn.len(), MOST);
            seen.extend(turn.iter().map(|s| s.id.clone()));
        }
        assert_eq!(seen.len(), held.len());
    }
}
