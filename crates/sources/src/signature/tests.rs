use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A delivery as `scheme` sends it, signed at [`NOW`].
fn delivery(scheme: &Scheme, secret: &Secret, body: &[u8]) -> Vec<(String, String)> {
    let time = match scheme.time_form {
        TimeForm::UnixSeconds => NOW.as_seconds().to_string(),
        TimeForm::Iso => NOW.to_string(),
    };
    let signature = sign(scheme, secret, Some("msg_1"), Some(&time), body).unwrap();
    let mut headers = vec![(scheme.header.to_uppercase(), signature)];
    headers.extend(scheme.time_header.map(|h| (h.to_owned(), time)));
    headers.extend(scheme.signed_id_header.map(|h| (h.to_owned(), "msg_1".to_owned())));
    headers.extend(scheme.delivery_header.map(|h| (h.to_owned(), "guid-1".to_owned())));
    headers
}

fn check(
    scheme: &Scheme,
    secrets: &[Secret],
    headers: &[(String, String)],
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    verify(scheme, secrets, headers.iter().map(|(n, v)| (n.as_str(), v.as_str())), body, now)
}

fn secret(scheme: &Scheme, text: &str) -> Secret {
    Secret::new(match scheme.key {
        Key::Text => text.to_owned(),
        Key::Base64After(prefix) => format!("{prefix}{}", STANDARD.encode(text)),
    })
}

#[test]
fn every_scheme_believes_its_own_and_nothing_else() {
    for scheme in &Scheme::ALL {
        let (old, new) = (secret(scheme, "old key"), secret(scheme, "new key"));
        let other = secret(scheme, "other key");
        let headers = delivery(scheme, &old, b"body");
        let name = scheme.name;
        assert!(check(scheme, &[new.clone(), old.clone()], &headers, b"body", NOW).is_ok(), "{name}");
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(check(scheme, std::slice::from_ref(&old), &headers, b"body ", NOW), mismatch, "{name}");
        assert_eq!(check(scheme, &[other], &headers, b"body", NOW), mismatch, "{name}");
        assert_eq!(check(scheme, &[], &headers, b"body", NOW), Err(SignatureError::NoSecret), "{name}");
        assert_eq!(check(scheme, &[Secret::new("")], &headers, b"body", NOW), Err(SignatureError::NoSecret));
        assert!(Scheme::named(name) == Some(*scheme));
    }
}

#[test]
fn third_secret_is_not_tried() {
    let scheme = &Scheme::GITHUB;
    let secrets: Vec<Secret> = ["a", "b", "c"].map(Secret::new).to_vec();
    let headers = delivery(scheme, &secrets[2], b"body");
    assert_eq!(check(scheme, &secrets, &headers, b"body", NOW), Err(SignatureError::Mismatch));
}

#[test]
fn missing_doubled_and_misshapen_headers_are_refused() {
    for scheme in &Scheme::ALL {
        let key = [secret(scheme, "key")];
        let headers = delivery(scheme, &key[0], b"body");
        let needed = [Some(scheme.header), scheme.time_header, scheme.signed_id_header];
        for name in needed.into_iter().flatten() {
            let without: Vec<_> =
                headers.iter().filter(|(n, _)| !n.eq_ignore_ascii_case(name)).cloned().collect();
            assert_eq!(check(scheme, &key, &without, b"body", NOW), Err(SignatureError::Missing(name)));
            let mut twice = headers.clone();
            twice.extend(headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).cloned());
            assert_eq!(check(scheme, &key, &twice, b"body", NOW), Err(SignatureError::Doubled(name)));
        }
        for wrong in ["nonsense=", "sha256=zz", "v1,*", "\u{fc}", "sha256=abc"] {
            let mut misshapen = headers.clone();
            misshapen[0].1 = wrong.to_owned();
            assert!(check(scheme, &key, &misshapen, b"body", NOW).is_err(), "{} {wrong}", scheme.name);
        }
    }
}

#[test]
fn signed_time_outside_the_tolerance_is_stale() {
    for scheme in Scheme::ALL.iter().filter(|s| s.time_header.is_some()) {
        let key = [secret(scheme, "key")];
        let headers = delivery(scheme, &key[0], b"body");
        for (late_ms, fine) in [
            (scheme.tolerance_ms, true),
            (-scheme.tolerance_ms, true),
            (scheme.tolerance_ms + 1, false),
            (-scheme.tolerance_ms - 1, false),
        ] {
            let result = check(scheme, &key, &headers, b"body", NOW.plus_millis(late_ms));
            assert_eq!(result.is_ok(), fine, "{} {late_ms}", scheme.name);
        }
    }
}

#[test]
fn delivery_id_is_the_one_that_repeats_carry() {
    for (scheme, id) in [
        (Scheme::STANDARD_WEBHOOKS, Some("msg_1")),
        (Scheme::GITHUB, Some("guid-1")),
        (Scheme::CHATWOOT, None),
        (Scheme::META, None),
    ] {
        let key = [secret(&scheme, "key")];
        let headers = delivery(&scheme, &key[0], b"body");
        let verified = check(&scheme, &key, &headers, b"body", NOW).unwrap();
        assert_eq!(verified.delivery_id.as_deref(), id, "{}", scheme.name);
    }
}

#[test]
fn standard_webhooks_may_list_several_signatures_of_several_versions() {
    let scheme = &Scheme::STANDARD_WEBHOOKS;
    let key = [secret(scheme, "key")];
    let mut headers = delivery(scheme, &key[0], b"body");
    headers[0].1 = format!("v1a,AAAA v1,AAAA {}", headers[0].1);
    assert!(check(scheme, &key, &headers, b"body", NOW).is_ok());
    headers[0].1 = "v1,AAAA ".repeat(100);
    assert_eq!(check(scheme, &key, &headers, b"body", NOW), Err(SignatureError::Form("webhook-signature")));
}

#[test]
fn challenge_of_x_is_answered() {
    let answer = crc_answer(&Secret::new("consumer secret"), "token");
    let expected = sign(&Scheme::X, &Secret::new("consumer secret"), None, None, b"token").unwrap();
    assert_eq!(answer, expected);
}

#[test]
fn secret_is_never_printed() {
    assert_eq!(format!("{:?}", Secret::new("very secret")), "Secret(hidden)");
}
