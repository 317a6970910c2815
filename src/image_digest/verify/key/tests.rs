use super::*;

fn armoured(text: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn what_is_no_public_key_is_refused_with_the_reason() {
    for (pem, reason) in [
        (String::new(), "it has no `-----BEGIN PUBLIC KEY-----`"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned(), "it is a `CERTIFICATE`, and not a `PUBLIC KEY`"),
        (armoured("AAAA"), "what is between its lines is not a key"),
        // A sequence that ends before its length.
        (armoured("MIIB"), "what is between its lines is not a key"),
        // Ed25519 with a byte too few.
        (armoured("MCkwBQYDK2VwAyAAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTg=="), "is not a key"),
    ] {
        let Err(Unusable::NoKey(error)) = PublicKey::from_pem(&pem) else { panic!("{pem}") };
        assert!(error.ends_with(reason), "{pem}: {error}");
    }
}

/// Keys that openssl made.
#[test]
fn key_that_nothing_is_verified_with_is_refused_by_its_kind() {
    for (key, kind) in [
        (
            "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAVxLi43/XvHAq4BQbPLza+aZiIDLMHlT8ZoFtYhVbZF6kgANZi4GYSMIDFADD\
             oyjNKNMPeaD28TTnbAIjiSH4GpwBejin5D6D95MaPsygvqIkqGwceaV+44kZH2lDetG5iBB0FlyIlyZOxD7cyTm7PvSppBQK\
             OXCUSMeFufQ4JliRxtg=",
            "ECDSA on P-521",
        ),
        (
            "ME4wEAYHKoZIzj0CAQYFK4EEACEDOgAEFwxpTwtv23ShI+be8+QGZ4GNn9u30KctcPoHOXMebvco0fvZC0TSrYniUKzQmPDh\
             lKIv408GbqE=",
            "ECDSA on P-224",
        ),
        (
            "MFowFAYHKoZIzj0CAQYJKyQDAwIIAQEHA0IABFL7F7llnxmv8pz7PjrDR/+LZDvvI9rv3fwO7bptDHDonF8tcnOBoZOPMVwu\
             damBmzEHYmuu0JRdb4QH7IV8jxo=",
            "ECDSA on the kind `1.3.36.3.3.2.8.1.1.7`",
        ),
        (
            "MEYwEAYHKoZIzj0CAQYFK4EEACIDMgACPhKDp6JdGxX69WauUD2sfg+Ej0IfcT15SuBoobjQU1ErrVCk8niIW75Josf61puC",
            "ECDSA with a compressed point",
        ),
        (
            "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCmIty1u7jjlcvJzvbMNHiCBE4gu3Ko/LECpsSajVJBTp/FCnxpKwIJa4if\
             s8lhEtb9LIHOWG0+AvkYh1Nz+5YqU0S3ya2RnN+Hq9zr0f1qXdUunjp61pDQS/jguAxD4x/Z/XR3ofcspwwJ9XiJWoZgOqJY\
             Nhcs7jrjk9nttFdBlwIDAQAB",
            "RSA of 1024 bits",
        ),
        (
            "MEMwBQYDK2VxAzoASMgAjp89A+CIiXga211F2Dvz4FmwU7ovQW6MCCJTM7BYOVtTVNUB4wZmA0jo1kIQF3+u75c7gGMA",
            "Ed448",
        ),
        ("MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", "X25519"),
    ] {
        let refused = PublicKey::from_pem(&armoured(key)).map(|_| ());
        assert_eq!(refused, Err(Unusable::Kind(kind.to_owned())), "{key}");
    }
}

#[test]
fn rsa_key_is_the_same_in_both_of_its_forms() {
    let numbers = "MIIBCgKCAQEAodWj4+0ocHrGQZ5x6ACSJiDDUQ9IDpeNrVjc7OEkc5BakpyJFh1JPtyrQDpGfO5BVRzK17/ciMSP1xBS\
        reRX0UYdI9Ql7wyoMO1Iklul3lPE8DO5LcyC89PypKD1MGXxro7K1AQqdlB3mc+mzyomuE2gWMZ8EBez8+AUkHyGXXJ1TGkO\
        qLjJjh5y/QgzJRS1Wq1c1uhaWU794s/qbosuKWJ7ef3DC1mUPSwxUBoVpivTQ1sZiaFD4d5asaCX3KfRc7T4z3WX5RgoL9RD\
        qYZUHtRL3Eaa20/PWjRy8DNeTWdDTIFCuw8DASx4XeLyp5bLZfen2Ptdg8dxjjR+xHSsDwIDAQAB";
    let bare = format!("-----BEGIN RSA PUBLIC KEY-----\n{numbers}\n-----END RSA PUBLIC KEY-----\n");
    let whole = format!("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A{numbers}");
    let keys = [bare, armoured(&whole)].map(|text| PublicKey::from_pem(&text).unwrap());
    assert_eq!(keys[0].bytes, keys[1].bytes);
    assert_eq!(keys[0].algorithms.len(), 3);
}

#[test]
fn no_bytes_make_the_reader_of_keys_panic() {
    let mut state = 11_u64;
    for _ in 0..20_000 {
        let mut der = vec![SEQUENCE];
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let byte = u8::try_from(state >> 56).unwrap();
            der.push(if byte < 90 {
                [SEQUENCE, IDENTIFIER, BIT_STRING, INTEGER, 0, 0x81][usize::from(byte % 6)]
            } else {
                byte
            });
        }
        assert!(parts(&der).is_none_or(|(_, _, key)| key.len() < der.len()));
        assert!(modulus(&der).is_err() && !dotted(&der).is_empty());
    }
}
