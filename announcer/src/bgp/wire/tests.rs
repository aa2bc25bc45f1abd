use proptest::{collection::vec, prelude::*};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn no_body_does_harm(body in vec(any::<u8>(), 0..300)) {
        let _ = check_update(&body);
        if let Ok(open) = Open::decode(&body) {
            let again = Open::decode(&open.encode()[HEADER..]);
            prop_assert_eq!(again.map(|again| again.asn), Ok(open.asn));
        }
        if let Some(notification) = Notification::decode(&body) {
            prop_assert!(!notification.to_string().chars().any(char::is_control));
        }
    }

    /// An OPEN whose beginning is right, so that the parameters are reached.
    #[test]
    fn no_parameters_do_harm(parameters in vec(any::<u8>(), 0..255), length in prop::option::of(any::<u8>())) {
        let length = length.unwrap_or(u8::try_from(parameters.len()).unwrap_or(0));
        let body = [&[4, 0xfc, 0, 0, 90, 10, 0, 0, 1, length][..], &parameters].concat();
        if let Err(answer) = Open::decode(&body) {
            prop_assert_eq!(answer.code, 2);
        }
    }

    /// RFC 7606: whatever is in an attribute that does not have prefixes, the session goes on.
    #[test]
    fn errors_of_attributes_never_end_a_session(
        attributes in vec((any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..40), 0..50_u8), 0..6),
        prefixes in vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (flags, code, value, length) in attributes {
            // Well-known ones, or optional ones but for those of RFC 4760.
            let code = if matches!(code, 14 | 15) { 8 } else { code };
            let flags = if matches!(code, 1..=6) { flags } else { flags | 0x80 };
            bytes.extend([flags, code, length]);
            bytes.extend(value);
        }
        // What follows an attribute of a wrong length is read as anything.
        let hides = bytes.windows(2).any(|pair| pair[0] & 0x80 == 0 || matches!(pair[1], 14 | 15));
        let length = u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
        let prefixes = prefixes.into_iter().flat_map(|bits| [24, bits, bits, bits]).collect::<Vec<_>>();
        let checked = check_update(&[&[0, 0][..], &length, &bytes, &prefixes].concat());
        prop_assert!(checked.is_ok() || hides, "{checked:?}");
    }
}
