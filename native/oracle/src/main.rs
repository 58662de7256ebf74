//! What the `stellar-xdr` crate says about inputs, for the tests of our own decoder.
//!
//! Standard input: frames of a big-endian 32-bit length and that many bytes. Standard output: one byte per frame, `1` when
//! the bytes are exactly one LedgerCloseMeta in canonical form, else `0`. Canonical: encoding the decoded value again gives
//! the same bytes. The crate alone takes any number but 1 for false; everything else it accepts is canonical anyway.

use std::io::{self, BufWriter, Read, Write};
use stellar_xdr::{LedgerCloseMeta, Limits, ReadXdr, WriteXdr};

const MAX_DEPTH: u32 = 500;
const STACK_BYTES: usize = 256 << 20;

fn accepts(data: &[u8]) -> bool {
    let limits = || Limits { depth: MAX_DEPTH, len: data.len() };
    let Ok(ledger) = LedgerCloseMeta::from_xdr(data, limits()) else { return false };
    ledger.to_xdr(limits()).is_ok_and(|encoded| encoded == data)
}

fn answer() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut output = BufWriter::new(io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut data = vec![0; u32::from_be_bytes(length) as usize];
        input.read_exact(&mut data)?;
        output.write_all(if accepts(&data) { b"1" } else { b"0" })?;
    }
    output.flush()
}

fn main() -> io::Result<()> {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(answer)?;
    worker.join().unwrap_or_else(|_| Err(io::Error::other("the decoder panicked")))
}
