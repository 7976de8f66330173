use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_key_stream_is_that_of_rfc_3711_b_2() {
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let counter = Counter {
        key: counter_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap(),
        auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[0; 20]),
        salt: u128::from_be_bytes(widen(&salt)),
    };
    let mut stream = [0; 48];
    counter.apply(0, 0, &mut stream).unwrap();
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB \
                    41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(stream.as_slice(), hex(expected));
}

#[test]
fn keys_are_derived_as_in_rfc_3711_b_3() {
    let master = counter_key(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    let of = |label, len: usize| {
        let mut out = vec![0; len];
        derive(&master, &salt, label, &mut out).unwrap();
        out
    };
    assert_eq!(of(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(of(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(of(1, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn keys_of_256_bits_are_derived_as_in_rfc_6188_7_2() {
    let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
    let master = counter_key(&key).unwrap();
    let salt = hex("3b04803de51ee7c96423ab5b78d2");
    let mut out = [0; 32];
    derive(&master, &salt, 0, &mut out).unwrap();
    let expected = hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4");
    assert_eq!(out.as_slice(), expected);
    let mut out = [0; 14];
    derive(&master, &salt, 2, &mut out).unwrap();
    assert_eq!(out.as_slice(), hex("fa31791685ca444a9e07c6c64e93"));
}
