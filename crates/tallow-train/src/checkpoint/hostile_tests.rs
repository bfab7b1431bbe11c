use super::super::format::{before_checksum, reseal};
use super::*;

/// A file whose checksums are right, whatever it claims: `metadata` and `tensors` go into the header as they are.
fn hostile(metadata: &str, tensors: &str, payload: &[u8]) -> Vec<u8> {
    let header = format!(
        "{}00000000\",\"step\":\"1\",\"configuration\":\"null\"{metadata}}}{tensors}}}",
        before_checksum()
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(payload);
    reseal(&mut bytes);
    bytes
}

fn tensor(shape: &str, begin: u64, end: u64) -> String {
    format!(r#","a/b":{{"dtype":"U8","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn refusal(bytes: &[u8]) -> String {
    decode(&mut &*bytes, bytes.len() as u64).unwrap_err().to_string()
}

const ZEROS: &str = r#","crc32 a/b":"ff41d912""#;

#[test]
fn the_tool_of_these_tests_makes_files_that_are_read() {
    // The checksum of three zero bytes.
    assert_eq!(format!("{:08x}", crc32fast::hash(&[0; 3])), "ff41d912");
    let bytes = hostile(ZEROS, &tensor("[3]", 0, 3), &[0; 3]);
    let read = decode(&mut &*bytes, bytes.len() as u64).unwrap();
    assert_eq!(read.parts["a"].tensors["b"].dims(), [3]);
}

#[test]
fn a_length_of_the_header_beyond_the_file_or_the_limit_is_refused_without_reading_it() {
    let mut bytes = hostile("", "", &[]);
    let right = bytes.len() as u64 - 8;
    for claimed in [right + 1, 1 << 40, 1 << 63, u64::MAX - 7, u64::MAX] {
        bytes[..8].copy_from_slice(&claimed.to_le_bytes());
        assert!(
            refusal(&bytes).contains(&format!("claims {claimed} bytes")),
            "{}",
            refusal(&bytes)
        );
    }
    // The file claims to be longer than memory, and its header to be as long.
    let claimed = (1u64 << 62).to_le_bytes();
    assert!(matches!(
        decode(&mut claimed.as_slice(), u64::MAX).unwrap_err(),
        Unreadable::HeaderLength {
            allowed: MAX_HEADER,
            ..
        }
    ));
    for length in [0, 7, 8, 50] {
        assert!(decode(&mut &bytes[..length], length as u64).is_err());
    }
}

#[test]
fn claims_about_tensors_are_checked_before_memory_is_taken() {
    let cases: [(&str, u64, u64, &str); 12] = [
        ("[3]", 0, 4, "is said to be at [0, 4]"),
        ("[4]", 0, 4, "it would start at 0 of 3"),
        ("[3]", 3, 0, "is said to be at [3, 0]"),
        ("[2]", 0, 2, "claim 2 bytes, the file has 3"),
        ("[3]", 1, 4, "is said to be at [1, 4]"),
        ("[18446744073709551615]", 0, 3, "has the shape"),
        ("[4294967296,4294967296]", 0, 3, "has the shape"),
        ("[0,1099511627776,1099511627776]", 0, 0, "has the shape"),
        (
            "[9223372036854775807]",
            0,
            9_223_372_036_854_775_807,
            "bytes is said to be at",
        ),
        ("[1,1,1,1,1,1,1,1,3]", 0, 3, "has the shape"),
        ("[-3]", 0, 3, "invalid value"),
        ("[3.0]", 0, 3, "invalid type"),
    ];
    for (shape, begin, end, expected) in cases {
        let message = refusal(&hostile(ZEROS, &tensor(shape, begin, end), &[0; 3]));
        assert!(message.contains(expected), "{shape}: {message}");
    }
}

#[test]
fn offsets_that_wrap_around_are_refused() {
    let sizes = [u64::MAX / 2, u64::MAX / 2, 4];
    let mut tensors = String::new();
    for (index, size) in sizes.iter().enumerate() {
        tensors += &format!(r#","a/{index}":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}"#);
    }
    assert!(refusal(&hostile("", &tensors, &[0; 3])).contains("is said to be at"));
}

#[test]
fn names_twice_names_of_nothing_and_unknown_keys_are_refused() {
    let one = tensor("[3]", 0, 3);
    let cases = [
        (
            ZEROS.to_owned(),
            format!("{one}{}", tensor("[0]", 3, 3)),
            "appears twice",
        ),
        (format!("{ZEROS}{ZEROS}"), one.clone(), "appears twice"),
        (
            ZEROS.to_owned(),
            one.replace("\"dtype\":\"U8\"", "\"dtype\":\"U8\",\"dtype\":\"U8\""),
            "duplicate field",
        ),
        (ZEROS.to_owned(), one.replace("a/b", ""), "PART/NAME"),
        (ZEROS.to_owned(), one.replace("a/b", "ab"), "PART/NAME"),
        (
            ZEROS.to_owned(),
            one.replace("a/b", &format!("a/{}", "b".repeat(513))),
            "PART/NAME",
        ),
        (
            ZEROS.to_owned(),
            one.replace("a/b", "__metadata__"),
            "appears twice",
        ),
        (ZEROS.to_owned(), one.replace("U8", "F4"), "has the type"),
        (ZEROS.to_owned(), one.replace("U8", "I16"), "has the type"),
        (
            ZEROS.to_owned(),
            one.replace("\"dtype\"", "\"extra\":[[]],\"dtype\""),
            "unknown field",
        ),
        (String::new(), one.clone(), "one checksum for each"),
        (ZEROS.replace("a/b", "a/c"), one.clone(), "has no checksum"),
        (
            format!("{ZEROS},\"count a/n\":\"01\""),
            one.clone(),
            "not a whole number",
        ),
        (
            format!("{ZEROS},\"count a/n\":\"340282366920938463463374607431768211456\""),
            one.clone(),
            "not a whole number",
        ),
        (format!("{ZEROS},\"other\":\"1\""), one.clone(), "is not known"),
        (format!("{ZEROS},\"other\":[1]"), one.clone(), "invalid type"),
    ];
    for (metadata, tensors, expected) in cases {
        let message = refusal(&hostile(&metadata, &tensors, &[0; 3]));
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn deep_json_is_refused_without_recursion() {
    let deep = "[".repeat(1_000_000);
    for tensors in [
        format!(",\"a/b\":{deep}"),
        tensor(&deep, 0, 3),
        tensor("[3]", 0, 3).replace("\"U8\"", &deep),
    ] {
        assert!(refusal(&hostile(ZEROS, &tensors, &[0; 3])).contains("malformed"));
    }
    let configuration = hostile("", "", &[]);
    let text = String::from_utf8_lossy(&configuration).into_owned();
    let deep = text.replace("\"null\"", &format!("\"{}\"", "[".repeat(100_000)));
    let mut bytes = deep.into_bytes();
    let length = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    reseal(&mut bytes);
    assert!(
        refusal(&bytes).contains("the configuration is malformed"),
        "{}",
        refusal(&bytes)
    );
}

#[test]
fn other_formats_and_versions_are_told_apart_from_damage() {
    let mut newer = hostile("", "", &[]);
    let version = 8 + OPENING.len();
    newer[version] = b'2';
    let error = decode(&mut newer.as_slice(), newer.len() as u64).unwrap_err();
    assert!(
        matches!(&error, Unreadable::Version { found, allowed: 1 } if found == "2") && !error.is_damage()
    );
    let other = b"\x02\0\0\0\0\0\0\0{}";
    assert!(matches!(
        decode(&mut other.as_slice(), 10).unwrap_err(),
        Unreadable::NotACheckpoint
    ));
}

#[test]
fn a_number_that_is_not_finite_is_refused_though_its_checksum_is_right() {
    let payload = f32::NAN.to_le_bytes();
    let metadata = format!(",\"crc32 a/b\":\"{:08x}\"", crc32fast::hash(&payload));
    let tensors = tensor("[1]", 0, 4).replace("U8", "F32");
    assert!(refusal(&hostile(&metadata, &tensors, &payload)).contains("not finite"));
}

#[test]
fn a_source_that_ends_or_fails_gives_its_error() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::from_raw_os_error(5));
            }
            self.0 -= 1;
            buffer[0] = 0;
            Ok(1)
        }
    }
    for reads in [0, 3] {
        let error = decode(&mut Failing(reads), 100).unwrap_err();
        assert!(matches!(&error, Unreadable::Io(source) if source.raw_os_error() == Some(5)));
        assert!(!error.is_damage());
    }
    // One byte at a time is as good as all at once.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }
    let bytes = hostile(ZEROS, &tensor("[3]", 0, 3), &[0; 3]);
    assert!(decode(&mut Slow(&bytes), bytes.len() as u64).is_ok());
}
