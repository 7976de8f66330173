//! Patterns of names: `*` stands for any run of characters, all else for itself.

/// A pattern. Matching takes time in the product of the lengths at most, and no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// A pattern from its text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether it means app and stream: it holds a slash.
    pub fn has_app(&self) -> bool {
        self.0.contains('/')
    }

    /// Whether the whole name is meant.
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0usize, 0usize);
        // The last star, and up to where of the name it reaches.
        let mut star: Option<(usize, usize)> = None;
        while let Some(byte) = name.get(n) {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p = p.saturating_add(1);
                }
                Some(wanted) if wanted == byte => {
                    p = p.saturating_add(1);
                    n = n.saturating_add(1);
                }
                _ => {
                    let Some((at, reach)) = star else { return false };
                    let reach = reach.saturating_add(1);
                    star = Some((at, reach));
                    p = at.saturating_add(1);
                    n = reach;
                }
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }

    /// Whether the stream is meant: by `app/stream` where the pattern holds a slash, else by its
    /// name alone.
    pub fn fits_stream(&self, app: &str, stream: &str) -> bool {
        match self.has_app() {
            true => self.fits(&format!("{app}/{stream}")),
            false => self.fits(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, name, fits) in [
            ("cam", "cam", true),
            ("cam", "camera", false),
            ("cam*", "cam", true),
            ("cam*", "camera", true),
            ("*era", "camera", true),
            ("c*m*a", "camera", true),
            ("c*z", "camera", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a**b", "ab", true),
            ("*台", "电视台", true),
        ] {
            assert_eq!(Glob::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_slash_makes_it_a_pattern_of_app_and_stream() {
        assert!(Glob::new("live/*").fits_stream("live", "cam"));
        assert!(!Glob::new("live/*").fits_stream("other", "cam"));
        assert!(Glob::new("cam").fits_stream("anything", "cam"));
    }

    proptest! {
        #[test]
        fn stars_put_into_a_name_still_fit_it(name in "[a-c]{0,12}", at in 0usize..13, to in 0usize..13) {
            let (a, b) = (at.min(to).min(name.len()), at.max(to).min(name.len()));
            let pattern = format!("{}*{}", &name[..a], &name[b..]);
            prop_assert!(Glob::new(&pattern).fits(&name));
        }

        #[test]
        fn it_agrees_with_the_plain_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            fn plain(p: &[u8], n: &[u8]) -> bool {
                match p.split_first() {
                    None => n.is_empty(),
                    Some((b'*', rest)) => (0..=n.len()).any(|i| plain(rest, &n[i..])),
                    Some((c, rest)) => n.first() == Some(c) && plain(rest, &n[1..]),
                }
            }
            let expected = plain(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).fits(&name), expected);
        }
    }
}
