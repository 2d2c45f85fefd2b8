#![allow(clippy::unwrap_used)]

use http::Request;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SCOPE: &str = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
const FORM: &str = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
/// SHA-256 of nothing (FIPS 180-4's own example).
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// 2015-08-30T12:36:00Z: 16,677 days and 45,360 seconds after 1970.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(16_677 * 86_400 + 45_360)
}

fn head(line: &str, headers: &[(&str, &str)]) -> Parts {
    let (method, target) = line.split_once(' ').unwrap();
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(target), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(()).unwrap().into_parts().0
}

fn verified(head: &Parts, now: SystemTime, key: &AwsKey, body: &[u8]) -> Result<(), Fault> {
    let claim = Claim::read(head.headers.get(header::AUTHORIZATION).unwrap().as_bytes())?;
    let examined = claim.examine(head, now)?;
    examined.is_told(body)?;
    examined.verify(key, SignableBody::Bytes(body))?;
    if let Some(told) = examined.told_hash {
        examined.verify(key, SignableBody::Precomputed(told.to_owned()))?;
    }
    Ok(())
}

fn vector(line: &str, names: &str, headers: &[(&str, &str)], signature: &str, body: &[u8]) -> Result<(), Fault> {
    let authorization = format!("AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders={names}, Signature={signature}");
    let mut all = vec![
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", &authorization),
    ];
    all.extend_from_slice(headers);
    verified(&head(line, &all), then(), &AwsKey::new("AKIDEXAMPLE", SECRET), body)
}

/// AWS's "Signature Version 4 test suite", as aws-c-auth v0.9.0 has it (`tests/aws-signing-test-suite/v4/*/header-signed-request.txt`).
#[test]
fn the_examples_of_aws_hold_and_none_holds_for_another() {
    type Vector = (
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static [u8],
    );
    // Without get-space-normalized: its request line has a bare space, which no HTTP server takes.
    let vectors: [Vector; 8] = [
        (
            "get-vanilla",
            "GET /",
            "host;x-amz-date",
            &[],
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            b"",
        ),
        (
            "get-header-value-trim",
            "GET /",
            "host;my-header1;my-header2;x-amz-date",
            &[("my-header1", " value1"), ("my-header2", "\"a   b   c\"")],
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            b"",
        ),
        (
            "get-header-key-duplicate",
            "GET /",
            "host;my-header1;x-amz-date",
            &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            b"",
        ),
        (
            "get-vanilla-query-order-encoded",
            "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "host;x-amz-date",
            &[],
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            b"",
        ),
        (
            "get-slashes-normalized",
            "GET //example//",
            "host;x-amz-date",
            &[],
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            b"",
        ),
        (
            "post-header-key-sort",
            "POST /",
            "host;my-header1;x-amz-date",
            &[("my-header1", "value1")],
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            b"",
        ),
        (
            "post-x-www-form-urlencoded",
            "POST /",
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            &[
                ("content-type", "application/x-www-form-urlencoded"),
                ("content-length", "13"),
                ("x-amz-content-sha256", FORM),
            ],
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            b"Param1=value1",
        ),
        (
            "get-vanilla, with what a proxy added and nobody signed",
            "GET /",
            "host;x-amz-date",
            &[
                ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
                ("via", "1.1 proxy"),
            ],
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            b"",
        ),
    ];
    for (name, line, names, headers, signature, body) in vectors {
        vector(line, names, headers, signature, body).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        // Its last digit another.
        let last = if signature.ends_with('0') { "1" } else { "0" };
        let forged = format!("{}{last}", signature.get(..63).unwrap());
        let refused = vector(line, names, headers, &forged, body);
        assert!(matches!(refused, Err(Fault::InvalidSignature { .. })), "{name}");
        let refused = vector(line, names, headers, signature, b"another body");
        assert!(matches!(refused, Err(Fault::InvalidSignature { .. })), "{name}");
    }
}

/// Of the same suite, in aws-sigv4 1.6.4; its key is in aws-credential-types 1.3.1, `Credentials::for_tests`.
#[test]
fn a_path_is_encoded_twice() {
    let authorization = "AWS4-HMAC-SHA256 Credential=ANOTREAL/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
        Signature=57d157672191bac40bae387e48bbe14b15303c001fdbb01f4abf295dccb09705";
    let head = head(
        "POST /test/@connections/JBDvjfGEIAMCERw%3D",
        &[
            ("host", "tj9n5r0m12.execute-api.us-east-1.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", authorization),
        ],
    );
    verified(
        &head,
        then(),
        &AwsKey::new("ANOTREAL", "notrealrnrELgWzOk3IfjzDKtFBhDby"),
        b"",
    )
    .unwrap();
}

/// What botocore 1.44.5 sends, signed by its `auth.SigV4Auth` at 2026-11-25T09:46:40Z.
#[test]
fn a_signature_of_botocore_holds_for_15_minutes() {
    let authorization = "AWS4-HMAC-SHA256 Credential=TGKEXAMPLE000001/20261125/us-east-1/bedrock/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-tollgate-session, \
        Signature=83a3f3fe7723098bf5019302792bb274c8ea5a2fe27c46cf09642cb6e6f77b03";
    let head = head(
        "POST /bedrock/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse",
        &[
            ("host", "127.0.0.1:8080"),
            ("content-type", "application/json"),
            ("x-tollgate-session", "a  b"),
            ("x-amz-date", "20261125T094640Z"),
            ("authorization", authorization),
        ],
    );
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_600_000);
    let key = AwsKey::new("TGKEXAMPLE000001", SECRET);
    let told = |now| verified(&head, now, &key, br#"{"messages": []}"#);
    for seconds in [0, 15 * 60] {
        told(at + Duration::from_secs(seconds)).unwrap();
        told(at - Duration::from_secs(seconds)).unwrap();
    }
    for now in [at + Duration::from_secs(15 * 60 + 1), at - Duration::from_secs(15 * 60 + 1)] {
        assert!(matches!(told(now), Err(Fault::ClockSkew { .. })));
    }
    let told = told(at + Duration::from_secs(3600)).unwrap_err().to_string();
    assert!(
        told.contains("20261125T094640Z") && told.contains("20261125T104640Z"),
        "{told}"
    );
}

#[test]
fn what_is_incomplete_is_told_apart() {
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let told = |names: &str, headers: &[(&str, &str)]| vector("GET /", names, headers, signature, b"").unwrap_err();
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 13] = [
        ("x-amz-date", &[], "header host must be among SignedHeaders"),
        ("host", &[], "header x-amz-date must be among SignedHeaders"),
        (
            "host;x-amz-date",
            &[("x-amz-target", "Other")],
            "header x-amz-target must be among SignedHeaders",
        ),
        ("host;via;x-amz-date", &[], "header via is signed and did not arrive"),
        ("host;via;x-amz-date", &[("via", "\u{fc}")], "the signature does not hold"),
        ("x-amz-date;host", &[], "alphabetical order"),
        ("host;host;x-amz-date", &[], "each once"),
        ("Host;x-amz-date", &[], "lower case"),
        ("", &[], "lower case"),
        (
            "host;x-amz-content-sha256;x-amz-date",
            &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")],
            "unsigned payloads",
        ),
        (
            "host;x-amz-content-sha256;x-amz-date",
            &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-EVENTS")],
            "signed streams are not accepted",
        ),
        (
            "host;x-amz-content-sha256;x-amz-date",
            &[("x-amz-content-sha256", FORM)],
            "the body is not the one",
        ),
        (
            "host;x-amz-date;x-amz-security-token",
            &[("x-amz-security-token", "t")],
            "unset AWS_SESSION_TOKEN",
        ),
    ];
    for (names, headers, reason) in cases {
        let told = told(names, headers).to_string();
        assert!(told.contains(reason), "{names} {headers:?}: {told}");
    }
    assert!(
        vector(
            "GET /",
            "host;x-amz-content-sha256;x-amz-date",
            &[("x-amz-content-sha256", EMPTY)],
            signature,
            b""
        )
        .is_err()
    );
}

#[test]
fn a_time_is_one_of_aws_and_of_the_scopes_day() {
    let at = |date: &str, day: &str| {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/us-east-1/service/aws4_request,SignedHeaders=host;x-amz-date,Signature={EMPTY}"
        );
        let head = head(
            "GET /",
            &[("host", "h"), ("x-amz-date", date), ("authorization", &authorization)],
        );
        verified(&head, then(), &AwsKey::new("AKIDEXAMPLE", SECRET), b"")
    };
    assert!(matches!(
        at("20150830T123600Z", "20150830"),
        Err(Fault::InvalidSignature { .. })
    ));
    for (date, day) in [
        ("20150830T123600Z", "20150829"),
        ("20150830T123600Z", "2015083"),
        ("20150830T123600Z", ""),
        ("20150830T123600", "20150830"),
        ("2015-08-30T12:36", "20150830"),
        ("20151330T123600Z", "20151330"),
        ("Sun, 30 Aug 2015 12:36:00 GMT", "20150830"),
        ("+0150830T123600Z", "+0150830"),
    ] {
        assert!(
            matches!(at(date, day), Err(Fault::IncompleteSignature { .. })),
            "{date} {day}"
        );
    }
}

#[test]
fn a_claim_is_read_whole_or_not_at_all() {
    let read = |text: &str| Claim::read(text.as_bytes());
    let whole = format!("AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, Signature={EMPTY}");
    assert_eq!(read(&whole).unwrap().access_key_id(), "AKIDEXAMPLE");
    for text in [
        "AWS4-HMAC-SHA256".to_owned(),
        format!("AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host"),
        format!("{whole}, Signature={EMPTY}"),
        format!("{whole}, Other=1"),
        whole.replace("aws4_request", "aws5_request"),
        whole.replace("/us-east-1", ""),
        whole.replace("us-east-1", ""),
        whole.replace(EMPTY, "e3b0"),
        whole.replace(EMPTY, &EMPTY.to_uppercase()),
        whole.replace("HMAC", "ECDSA-P256"),
    ] {
        assert!(matches!(read(&text), Err(Fault::IncompleteSignature { .. })), "{text}");
    }
    assert!(Claim::is_one(b"AWS4-ECDSA-P256-SHA256 Credential=") && !Claim::is_one(b"Bearer AWS4-"));
}

#[test]
fn a_presigned_url_is_known_by_its_signature() {
    assert!(is_presigned("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"));
    assert!(is_presigned("x-amz-signature=00"));
    assert!(!is_presigned("q=X-Amz-Signature&alt=sse"));
}

#[test]
fn a_key_shows_no_secret() {
    assert_eq!(
        format!("{:?}", AwsKey::new("AKIDEXAMPLE", SECRET)),
        "AwsKey(AKIDEXAMPLE: ***)"
    );
}
