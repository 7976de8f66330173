//! Static stream keys: `?key=` or `?secret=` in the query of a stream; `?token=`, too, because that
//! is where `Authorization: Bearer` of HTTP goes, the only place that WHIP clients have for one.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::glob::Glob;
use super::{Asked, Direction, Verdict};

/// One key. Only its digest is kept: what is compared has one length, whoever guesses.
#[derive(Clone)]
pub(crate) struct Key {
    /// `None`: for both.
    direction: Option<Direction>,
    digest: [u8; 32],
    /// The streams it opens; none written: all.
    streams: Vec<Glob>,
}

impl Key {
    pub(crate) fn new(direction: Option<Direction>, secret: &str, streams: Vec<Glob>) -> Self {
        Self { direction, digest: hash(secret), streams }
    }

    fn opens(&self, asked: &Asked<'_>) -> bool {
        let stream = |glob: &Glob| glob.fits_stream(asked.app, asked.stream);
        self.direction.is_none_or(|direction| direction == asked.direction)
            && (self.streams.is_empty() || self.streams.iter().any(stream))
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest(&SHA256, text.as_bytes());
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Whether one of the keys opens what is asked for. All are compared, fitting or not.
pub(crate) fn check(keys: &[Key], asked: &Asked<'_>) -> Verdict {
    let named = asked.query.get("key").or_else(|| asked.query.get("secret"));
    let is_named = named.is_some();
    let Some(given) = named.or_else(|| asked.query.get("token")) else {
        return Verdict::Absent;
    };
    // What has the form of a JWT is for others to judge, unless it is a key all the same.
    let is_jwt = !is_named && given.split('.').count() == 3;
    let given = hash(&given);
    let mut known = false;
    let mut opens = false;
    for key in keys {
        let same = verify_slices_are_equal(&key.digest, &given).is_ok();
        known |= same;
        opens |= same && key.opens(asked);
    }
    match (known, opens) {
        (_, true) => Verdict::Granted,
        (true, false) => Verdict::forbidden("the key is not for this stream or direction"),
        (false, false) if is_jwt => Verdict::Absent,
        (false, false) => Verdict::unauthorized("the key is wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked;
    use super::*;
    use Direction::{Play, Publish};

    fn keys() -> Vec<Key> {
        vec![
            Key::new(Some(Publish), "encoder-1", vec![]),
            Key::new(Some(Play), "viewer-1", vec![Glob::new("live/cam*")]),
            Key::new(None, "both-ways", vec![]),
        ]
    }

    fn verdict(direction: Direction, stream: &str, param: &str) -> Verdict {
        check(&keys(), &asked(direction, "live", stream, param))
    }

    #[test]
    fn a_key_opens_its_direction_and_its_streams() {
        assert!(verdict(Publish, "x", "?key=encoder-1").is_granted());
        assert!(verdict(Publish, "x", "?secret=both-ways").is_granted());
        assert!(verdict(Play, "x", "?key=both-ways").is_granted());
        assert!(verdict(Play, "cam1", "?key=viewer-1").is_granted());
        assert!(!verdict(Play, "x", "?key=viewer-1").is_granted());
        assert!(!verdict(Play, "x", "?key=encoder-1").is_granted());
    }

    #[test]
    fn a_wrong_key_and_a_key_of_others_are_told_apart() {
        let denied = |v: Verdict| match v {
            Verdict::Denied { unauthorized, .. } => Some(unauthorized),
            _ => None,
        };
        assert_eq!(denied(verdict(Publish, "x", "?key=guess")), Some(true));
        assert_eq!(denied(verdict(Publish, "x", "?key=viewer-1")), Some(false));
        assert!(matches!(verdict(Publish, "x", "?a=1"), Verdict::Absent));
    }

    #[test]
    fn a_key_may_come_as_a_token_and_a_token_of_others_is_left_to_them() {
        assert!(verdict(Publish, "x", "?token=encoder-1").is_granted());
        assert!(!verdict(Publish, "x", "?token=viewer-1").is_granted());
        assert!(!verdict(Publish, "x", "?token=encoder-1&key=guess").is_granted());
        assert!(matches!(verdict(Publish, "x", "?token=a.b.c"), Verdict::Absent));
        assert!(matches!(verdict(Publish, "x", "?token=guess"), Verdict::Denied { .. }));
    }
}
