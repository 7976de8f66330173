//! Static stream keys: `?key=` or `?secret=` in the query of a stream.

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
    let Some(given) = asked.query.get("key").or_else(|| asked.query.get("secret")) else {
        return Verdict::Absent;
    };
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
}
