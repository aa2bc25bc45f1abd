use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

const FORMAT: &str = "penstock-test state 1";

type Content = Vec<(String, u32)>;

proptest! {
    #[test]
    fn what_was_written_is_read(content in any::<Content>()) {
        let octets = encode_state(FORMAT, &content).unwrap();
        prop_assert_eq!(decode_state(FORMAT, &octets), Ok(content));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_refused(
        content in any::<Content>(), place in any::<prop::sample::Index>(), bit in 0..8_u8
    ) {
        let mut octets = encode_state(FORMAT, &content).unwrap();
        let place = place.index(octets.len());
        prop_assert!(decode_state::<Content>(FORMAT, &octets[..place]).is_err());
        octets[place] ^= 1 << bit;
        prop_assert!(decode_state::<Content>(FORMAT, &octets).is_err());
    }

    #[test]
    fn any_octets_are_refused_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        let checksum = Sha256::digest(&octets);
        let file = [FORMAT.as_bytes(), b"\n", checksum.as_slice(), &octets].concat();
        // The checksum is right: only the content can be wrong.
        prop_assert!(!matches!(decode_state::<Content>(FORMAT, &file), Err(Unreadable::Damaged)));
        prop_assert_eq!(decode_state::<Content>(FORMAT, &octets), Err(Unreadable::Format));
    }
}

#[test]
fn another_version_is_refused() {
    let octets = encode_state("penstock-test state 12", &1_u8).unwrap();
    assert_eq!(decode_state::<u8>(FORMAT, &octets), Err(Unreadable::Format));
}

#[test]
fn what_was_written_is_read_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/test.state");
    let file = StateFile::new(&path, FORMAT);
    assert!(file.read::<u8>().unwrap().is_none());
    file.write(&1_u8).unwrap();
    // One that a power cut left.
    fs::write(file.beside(), "half").unwrap();
    file.write(&2_u8).unwrap();
    assert_eq!(file.read().unwrap(), Some(2_u8));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    file.remove().unwrap();
    file.remove().unwrap();
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_used_is_one_sentence_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.state");
    let file = StateFile::new(&path, FORMAT);
    fs::write(&path, "{}").unwrap();
    let error = anyhow::Error::from(file.read::<u8>().unwrap_err());
    let expected = "is left aside until it is written anew: it is not a state file of this version";
    assert!(format!("{error:#}").ends_with(expected), "{error:#}");
    let error = StateFile::new(&path.join("x"), FORMAT).write(&1_u8).unwrap_err();
    assert!(error.to_string().contains("choose another --state-file"), "{error}");
}
