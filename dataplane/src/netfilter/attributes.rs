//! Netlink attributes. Pure.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NlasIterator};

/// What the header of an attribute takes.
pub(crate) const ATTRIBUTE_HEADER: usize = 4;

/// A list of attributes in the making. No value may be longer than [`Self::LONGEST`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// The longest value in bytes: header and value are counted with 16 bits.
    pub(crate) const LONGEST: usize = u16::MAX as usize - ATTRIBUTE_HEADER;

    /// With one more attribute at the end, padded to four bytes.
    #[must_use]
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        debug_assert!(value.len() <= Self::LONGEST, "an attribute of {} bytes", value.len());
        let attribute = DefaultNla::new(kind, value.to_vec());
        let start = self.0.len();
        self.0.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut self.0[start..]);
        self
    }

    /// With a text, ended by a zero byte.
    #[must_use]
    pub(crate) fn with_text(self, kind: u16, text: &str) -> Self {
        self.with(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// With an attribute whose value is attributes.
    #[must_use]
    pub(crate) fn with_nested(self, kind: u16, inner: &Self) -> Self {
        self.with(kind | NLA_F_NESTED, &inner.0)
    }

    /// Puts other attributes at the end.
    pub(crate) fn append(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// As they go over the wire.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes that the bytes hold, up to the first one that is cut off.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        // The iterator has compared the length with header and bytes.
        (kind, attribute.into_inner().get(ATTRIBUTE_HEADER..length).unwrap_or_default())
    })
}

/// The value of the first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_padded_but_their_length_is_not() {
        let list = Attributes::default().with_text(1, "penstock").with(2, &[0, 0, 1, 2]);
        let bytes = b"\x0d\0\x01\0penstock\0\0\0\0\x08\0\x02\0\0\0\x01\x02";
        assert_eq!(list.bytes(), bytes);
        assert_eq!(attribute(bytes, 1), Some(&b"penstock\0"[..]));
        let nested = Attributes::default().with_nested(3, &Attributes::default().with(2, &[0, 0, 0, 1]));
        assert_eq!(nested.bytes(), b"\x0c\0\x03\x80\x08\0\x02\0\0\0\0\x01");
        assert_eq!(attributes(nested.bytes()).next(), Some((3, &nested.bytes()[4..])));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            prop_assert!(attributes(&bytes).map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(list in prop::collection::vec((0_u16..0x3fff, any::<Vec<u8>>()), 0..8)) {
            let written = list.iter().fold(Attributes::default(), |all, (kind, value)| all.with(*kind, value));
            let read: Vec<_> = attributes(written.bytes()).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, list);
        }
    }
}
