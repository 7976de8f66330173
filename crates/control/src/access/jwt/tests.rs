use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{encoding::AsDer, hmac, rsa::KeySize};
use proptest::prelude::*;

use super::super::asked;
use super::*;
use Direction::{Play, Publish};

const SECRET: &str = "a shared secret of some length";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token_of(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn hs256(claims: &str) -> String {
    token_of(r#"{"alg":"HS256","typ":"JWT"}"#, claims, |text| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::sign(&key, text).as_ref().to_vec()
    })
}

fn secret() -> Keys {
    let mut keys = Keys::default();
    keys.add_secret(SECRET);
    keys
}

fn verdict_by(keys: &Keys, terms: &Terms, direction: Direction, token: &str) -> Outcome {
    let param = format!("?token={token}");
    check(&[keys], terms, &asked(direction, "live", "cam1", &param))
}

fn verdict(direction: Direction, claims: &str) -> Verdict {
    match verdict_by(&secret(), &Terms::default(), direction, &hs256(claims)) {
        Outcome::Done(verdict) => verdict,
        Outcome::UnknownKey => panic!("unknown key"),
    }
}

fn granted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(Verdict::Granted))
}

fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Denied { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

// `asked` comes at the time 1000.

#[test]
fn a_token_is_good_from_nbf_to_exp_and_a_leeway_more() {
    let terms = Terms { leeway: 30, ..Terms::default() };
    let at = |claims: &str| granted(&verdict_by(&secret(), &terms, Play, &hs256(claims)));
    assert!(at(r#"{"exp":1001}"#));
    assert!(at(r#"{"exp":971}"#));
    assert!(!at(r#"{"exp":970}"#));
    assert!(at(r#"{"exp":2000,"nbf":1030}"#));
    assert!(!at(r#"{"exp":2000,"nbf":1031}"#));
    assert!(at(r#"{"exp":1000.5}"#));
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert!(reason(verdict(Play, "{}")).contains("`exp`"));
    assert!(reason(verdict(Play, r#"{"exp":"2000"}"#)).contains("cannot be read"));
}

#[test]
fn a_token_that_says_nothing_of_actions_may_play_and_not_publish() {
    assert!(verdict(Play, r#"{"exp":2000}"#).is_granted());
    assert!(reason(verdict(Publish, r#"{"exp":2000}"#)).contains("`actions`"));
    assert!(verdict(Publish, r#"{"exp":2000,"actions":["publish"]}"#).is_granted());
    assert!(verdict(Publish, r#"{"exp":2000,"actions":"publish"}"#).is_granted());
    assert!(!verdict(Play, r#"{"exp":2000,"actions":["publish"]}"#).is_granted());
    assert!(!verdict(Play, r#"{"exp":2000,"actions":[]}"#).is_granted());
}

#[test]
fn claims_say_which_streams_are_meant() {
    let with = |claim: &str| verdict(Play, &format!(r#"{{"exp":2000,{claim}}}"#)).is_granted();
    assert!(with(r#""stream":"cam1""#));
    assert!(with(r#""stream":"cam*""#));
    assert!(with(r#""stream":["x","live/cam*"]"#));
    assert!(!with(r#""stream":"other/cam*""#));
    assert!(!with(r#""stream":[]"#));
    assert!(with(r#""app":"live","vhost":"v.test""#));
    assert!(!with(r#""app":"other""#));
    assert!(!with(r#""vhost":"w.test""#));
    assert!(with(r#""vhost":"*.test""#));
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_asked_for() {
    let terms = Terms {
        issuers: vec!["https://login.test".into()],
        audiences: vec!["media".into()],
        leeway: 0,
    };
    let at = |claims: &str| granted(&verdict_by(&secret(), &terms, Play, &hs256(claims)));
    assert!(at(r#"{"exp":2000,"iss":"https://login.test","aud":["x","media"]}"#));
    assert!(at(r#"{"exp":2000,"iss":"https://login.test","aud":"media"}"#));
    assert!(!at(r#"{"exp":2000,"aud":"media"}"#));
    assert!(!at(r#"{"exp":2000,"iss":"https://login.test"}"#));
    assert!(!at(r#"{"exp":2000,"iss":"https://evil.test","aud":"media"}"#));
}

#[test]
fn each_kind_of_key_checks_its_own_algorithm() {
    let random = SystemRandom::new();
    let claims = r#"{"exp":2000}"#;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rs256 = token_of(r#"{"alg":"RS256"}"#, claims, |text| {
        let mut out = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut out).unwrap();
        out
    });
    let es256 = token_of(r#"{"alg":"ES256"}"#, claims, |text| {
        ec.sign(&random, text).unwrap().as_ref().to_vec()
    });
    let eddsa = token_of(r#"{"alg":"EdDSA"}"#, claims, |text| ed.sign(text).as_ref().to_vec());
    let infos = [
        rsa.public_key().as_der().unwrap().as_ref().to_vec(),
        ec.public_key().as_der().unwrap().as_ref().to_vec(),
        ed.public_key().as_der().unwrap().as_ref().to_vec(),
    ];
    let tokens = [rs256, es256, eddsa];
    for (i, info) in infos.iter().enumerate() {
        let mut keys = Keys::default();
        keys.add_pem(pem(info).as_bytes()).unwrap();
        for (j, token) in tokens.iter().enumerate() {
            let outcome = verdict_by(&keys, &Terms::default(), Play, token);
            assert_eq!(granted(&outcome), i == j, "key {i}, token {j}: {outcome:?}");
            let hurt = format!("{}A", &token[..token.len() - 1]);
            let hurt =
                if hurt == *token { format!("{}B", &token[..token.len() - 1]) } else { hurt };
            assert!(!granted(&verdict_by(&keys, &Terms::default(), Play, &hurt)));
        }
    }
    // The same from a set, with ids.
    let (x, y) = ec.public_key().as_ref()[1..].split_at(32);
    let mut rsa_key = keys::Der(rsa.public_key().as_ref());
    let mut rsa_key = keys::Der(rsa_key.take(0x30).unwrap());
    let (n, e) = (rsa_key.take(0x02).unwrap(), rsa_key.take(0x02).unwrap());
    let set = format!(
        r#"{{"keys":[
            {{"kty":"oct","k":"AAAA"}}, {{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}},
            {{"kty":"RSA","kid":"r","n":"{}","e":"{}","alg":"RS256"}},
            {{"kty":"EC","crv":"P-256","kid":"e","x":"{}","y":"{}"}},
            {{"kty":"OKP","crv":"Ed25519","kid":"d","x":"{}"}}
        ]}}"#,
        encode(n),
        encode(e),
        encode(x),
        encode(y),
        encode(ed.public_key().as_ref()),
    );
    let keys = Keys::from_set(set.as_bytes()).unwrap();
    assert_eq!(keys.len(), 3);
    for token in &tokens {
        assert!(granted(&verdict_by(&keys, &Terms::default(), Play, token)), "{token}");
    }
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let info = ed.public_key().as_der().unwrap().as_ref().to_vec();
    let mut keys = Keys::default();
    keys.add_pem(pem(&info).as_bytes()).unwrap();
    // The classic: a public key taken for the secret of HS256, in each form it is known in.
    for secret in [pem(&info).into_bytes(), info, ed.public_key().as_ref().to_vec()] {
        let token = token_of(r#"{"alg":"HS256"}"#, r#"{"exp":2000}"#, |text| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text).as_ref().to_vec()
        });
        assert!(!granted(&verdict_by(&keys, &Terms::default(), Play, &token)));
    }
    for alg in ["none", "None", "", "HS384", "hs256"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        let token = token_of(&header, r#"{"exp":2000}"#, |_| Vec::new());
        assert!(!granted(&verdict_by(&secret(), &Terms::default(), Play, &token)), "{alg}");
    }
    let critical = token_of(r#"{"alg":"HS256","crit":["b64"]}"#, r#"{"exp":2000}"#, |text| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::sign(&key, text).as_ref().to_vec()
    });
    assert!(!granted(&verdict_by(&secret(), &Terms::default(), Play, &critical)));
}

#[test]
fn an_unknown_key_is_told_apart_from_a_wrong_signature() {
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let keys = Keys::from_set(set.as_bytes()).unwrap();
    let token = |kid: &str| {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
        token_of(&header, r#"{"exp":2000}"#, |_| vec![0; 64])
    };
    let of = |kid: &str| verdict_by(&keys, &Terms::default(), Play, &token(kid));
    assert!(matches!(of("b"), Outcome::UnknownKey));
    assert!(matches!(of("a"), Outcome::Done(Verdict::Denied { .. })));
}

#[test]
fn a_key_file_of_another_kind_is_refused_with_a_reason() {
    let mut keys = Keys::default();
    assert!(keys.add_pem(b"").is_err());
    assert!(
        keys.add_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err()
    );
    let small = [0x30, 0x05, 0x30, 0x03, 0x06, 0x01, 0x00];
    assert!(keys.add_pem(pem(&small).as_bytes()).is_err());
    assert_eq!(keys.len(), 0);
}

proptest! {
    #[test]
    fn any_token_is_borne(token in "[A-Za-z0-9_.-]{0,80}") {
        prop_assert!(!granted(&verdict_by(&secret(), &Terms::default(), Play, &token)));
    }

    #[test]
    fn any_header_and_claims_are_borne(header in "\\PC{0,60}", claims in "\\PC{0,60}") {
        let token = token_of(&header, &claims, |text| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            hmac::sign(&key, text).as_ref().to_vec()
        });
        prop_assert!(!granted(&verdict_by(&secret(), &Terms::default(), Play, &token)));
    }
}
