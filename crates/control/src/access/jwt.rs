//! JSON Web Tokens: `?token=`, or `Authorization: Bearer` over HTTP.
//!
//! Compact form, signed (RFC 7515, RFC 7519): HS256, RS256, ES256, EdDSA with Ed25519. The kind of
//! a key fixes its algorithm; the token's header only chooses among keys of that algorithm, so
//! no token can have itself checked by another. `none`, encryption and critical extensions are
//! refused. The signature is checked before a claim is read.

pub(crate) mod jwks;
pub(crate) mod keys;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::glob::Glob;
use super::{Asked, Direction, Verdict};
use keys::Keys;

/// Longest token, in bytes.
const MAX_TOKEN: usize = 8192;

/// What is asked of a token besides its signature.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// One of these has issued it; none written: anybody who has the key.
    pub(crate) issuers: Vec<String>,
    /// It is meant for one of these; none written: for anybody.
    pub(crate) audiences: Vec<String>,
    /// Seconds by which clocks may differ.
    pub(crate) leeway: u64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// A claim that may be one word or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(word) => fits(word),
            Self::Many(words) => words.iter().any(|word| fits(word)),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Words>,
    vhost: Option<Words>,
    app: Option<Words>,
    stream: Option<Words>,
    actions: Option<Words>,
}

/// What became of a token.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Verdict),
    /// Signed with a key that is not among these: newer ones may have it.
    UnknownKey,
}

/// Checks the token of a query, if there is one, by these keys.
pub(crate) fn check(keys: &[&Keys], terms: &Terms, asked: &Asked<'_>) -> Outcome {
    let Some(token) = asked.query.get("token") else { return Outcome::Done(Verdict::Absent) };
    let bad = |why: &str| Outcome::Done(Verdict::unauthorized(why));
    let Some(token) = Token::split(&token) else { return bad("the token is no JWT") };
    let mut tried = false;
    let mut genuine = false;
    for key in keys.iter().flat_map(|keys| keys.named(token.header.kid.as_deref())) {
        if key.algorithm() == token.header.alg {
            tried = true;
            genuine |= key.verifies(token.signed.as_bytes(), &token.signature);
        }
    }
    if !tried {
        return Outcome::UnknownKey;
    }
    if !genuine {
        return bad("the token's signature is wrong");
    }
    match serde_json::from_slice::<Claims>(&token.claims) {
        Ok(claims) => Outcome::Done(claims.check(terms, asked)),
        Err(_) => bad("the token's claims cannot be read"),
    }
}

struct Token {
    header: Header,
    claims: Vec<u8>,
    signature: Vec<u8>,
    signed: String,
}

impl Token {
    fn split(text: &str) -> Option<Self> {
        if text.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.crit.is_some() {
            return None;
        }
        Some(Self {
            header,
            claims: decode(claims)?,
            signature: decode(signature)?,
            signed: signed.to_owned(),
        })
    }
}

impl Claims {
    fn check(&self, terms: &Terms, asked: &Asked<'_>) -> Verdict {
        let (now, leeway) = (asked.now as f64, terms.leeway as f64);
        let Some(exp) = self.exp else {
            return Verdict::unauthorized("the token does not say when it expires (`exp`)");
        };
        if now >= exp + leeway {
            return Verdict::unauthorized("the token has expired");
        }
        if self.nbf.is_some_and(|nbf| now + leeway < nbf) {
            return Verdict::unauthorized("the token is not valid yet (`nbf`)");
        }
        let known = |list: &[String], word: &str| list.iter().any(|own| own == word);
        let issuer = self.iss.as_deref().is_some_and(|iss| known(&terms.issuers, iss));
        if !terms.issuers.is_empty() && !issuer {
            return Verdict::unauthorized("the token is of another issuer (`iss`)");
        }
        let meant = self.aud.as_ref().is_some_and(|aud| aud.any(|a| known(&terms.audiences, a)));
        if !terms.audiences.is_empty() && !meant {
            return Verdict::unauthorized("the token is meant for others (`aud`)");
        }
        self.covers(asked)
    }

    fn covers(&self, asked: &Asked<'_>) -> Verdict {
        let fits = |claim: &Option<Words>, name: &str| {
            claim.as_ref().is_none_or(|words| words.any(|word| Glob::new(word).fits(name)))
        };
        let stream = self.stream.as_ref().is_none_or(|words| {
            words.any(|word| Glob::new(word).fits_stream(asked.app, asked.stream))
        });
        // A token that says nothing of actions comes from somebody who thought of viewers.
        let action = match &self.actions {
            Some(words) => words.any(|word| word == asked.direction.word()),
            None => asked.direction == Direction::Play,
        };
        if !fits(&self.vhost, asked.vhost) {
            Verdict::forbidden("the token is for another virtual host")
        } else if !fits(&self.app, asked.app) || !stream {
            Verdict::forbidden("the token is for other streams")
        } else if !action {
            let direction = asked.direction;
            Verdict::forbidden(&format!("the token's `actions` do not hold `{direction}`"))
        } else {
            Verdict::Granted
        }
    }
}

#[cfg(test)]
mod tests;
