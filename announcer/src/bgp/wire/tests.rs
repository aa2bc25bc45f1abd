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

    /// RFC 7606: whatever is in an attribute that does not have prefixes, and wherever the last one ends, the session goes on.
    #[test]
    fn errors_of_attributes_never_end_a_session(
        attributes in vec((any::<u8>(), 0..13_usize, vec(any::<u8>(), 0..40)), 0..6),
        unknown in prop::option::of(vec(any::<u8>(), 0..20)),
        cut in 0..30_usize,
        prefixes in vec(any::<u8>(), 0..8),
    ) {
        let codes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 32];
        let mut bytes = Vec::new();
        let known = attributes.into_iter().map(|(flags, which, value)| (flags & !0x10, codes[which], value));
        for (flags, code, value) in known.chain(unknown.map(|value| (0x80, 250, value))) {
            bytes.extend([flags, code, u8::try_from(value.len()).unwrap()]);
            bytes.extend(value);
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let prefixes = prefixes.into_iter().flat_map(|byte| [24, byte, byte, byte]).collect::<Vec<_>>();
        let checked = check_update(&[&[0, 0][..], &length, &bytes, &prefixes].concat());
        prop_assert!(checked.is_ok(), "{checked:?}");
    }
}
