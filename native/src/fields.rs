//! Fields of PostgreSQL's binary COPY: a 4-byte length and the value, length -1 for NULL. The forms are those of
//! `sinks/timescale/binary.py` and `addresses.py`.

use std::fmt::Display;
use std::io::Write;

pub const NULL: [u8; 4] = [0xFF; 4];

const STORED_BYTES: usize = 33;
const WITH_ID_BYTES: usize = 41;
const CLAIMABLE_BALANCE_BYTES: usize = 34;
const MUXED: u8 = 12 << 3;
const MUXED_CONTRACT: u8 = 22 << 3;
const SIGNED_PAYLOAD: u8 = 15 << 3;
const CLAIMABLE_BALANCE: u8 = 1 << 3;

/// `schemas.strkey.storage_form`: 33 bytes, here in two pieces, and what does not fit beside them.
pub struct Stored<'a> {
    version: &'a [u8],
    rest: &'a [u8],
    id: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
}

impl<'a> Stored<'a> {
    /// None for bytes that are no address.
    #[inline]
    pub fn of(address: &'a [u8]) -> Option<Self> {
        let (mut id, mut payload, mut key) = (None, None, 1);
        match (address.len(), *address.first()?) {
            (STORED_BYTES, _) => {}
            (WITH_ID_BYTES, MUXED | MUXED_CONTRACT) => id = Some(&address[STORED_BYTES..]),
            (CLAIMABLE_BALANCE_BYTES, CLAIMABLE_BALANCE) => key = 2,
            (length, SIGNED_PAYLOAD) if length > STORED_BYTES => payload = Some(&address[STORED_BYTES..]),
            _ => return None,
        }
        Some(Stored { version: &address[..1], rest: &address[key..key + STORED_BYTES - 1], id, payload })
    }
}

/// COPY tuples as they grow.
#[derive(Default)]
pub struct Fields(pub Vec<u8>);

impl Fields {
    #[inline]
    pub fn nulls(&mut self, count: usize) {
        (0..count).for_each(|_| self.0.extend_from_slice(&NULL));
    }

    /// bytea, text.
    #[inline]
    pub fn raw(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.extend_from_slice(value);
    }

    #[inline]
    pub fn optional(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.raw(value),
            None => self.nulls(1),
        }
    }

    #[inline]
    pub fn int64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    #[inline]
    pub fn int16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// A number as text.
    #[inline]
    pub fn digits(&mut self, number: impl Display) {
        let start = self.0.len();
        self.0.extend_from_slice(&NULL);
        write!(self.0, "{number}").expect("what grows in memory takes all of it");
        let length = (self.0.len() - start - NULL.len()) as u32;
        self.0[start..start + NULL.len()].copy_from_slice(&length.to_be_bytes());
    }

    /// The 33-byte column.
    #[inline]
    pub fn address(&mut self, stored: &Stored<'_>) {
        self.length(STORED_BYTES);
        self.0.extend_from_slice(stored.version);
        self.0.extend_from_slice(stored.rest);
    }

    /// The account, and its id or NULL.
    #[inline]
    pub fn account(&mut self, stored: &Stored<'_>) {
        self.address(stored);
        self.optional(stored.id);
    }

    /// The account, and its id or 0, because the id is part of a primary key.
    #[inline]
    pub fn participant(&mut self, stored: &Stored<'_>) {
        self.address(stored);
        self.raw(stored.id.unwrap_or(&[0; 8]));
    }

    /// The key, and what a signed payload has after it or NULL.
    #[inline]
    pub fn signer(&mut self, stored: &Stored<'_>) {
        self.address(stored);
        self.optional(stored.payload);
    }

    /// No value here comes near 2^31 bytes: `schemas.parts` bounds a part.
    #[inline]
    fn length(&mut self, bytes: usize) {
        self.0.extend_from_slice(&(bytes as u32).to_be_bytes());
    }
}
