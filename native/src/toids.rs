//! Total order ids (SEP-35), as `schemas.toid` makes them: ledger << 32 | transaction << 12 | operation, counted from 1.

use crate::python::Raised;
use crate::reading::{Item, at, item, number, wrong};

const MAX_LEDGER: i64 = (1 << 31) - 1;
const MAX_TRANSACTION: i64 = (1 << 20) - 1;

/// The id of the transaction of this order in the ledger.
#[inline]
pub fn transaction_id(ledger: Item<'_, '_>, order: i64) -> Result<i64, Raised> {
    let sequence = number(item(item(ledger, at::Ledger::header)?, at::LedgerHeader::sequence)?)?;
    if !(0..=MAX_LEDGER).contains(&sequence) || !(0..=MAX_TRANSACTION).contains(&order) {
        return wrong(ledger.py(), format!("no TOID for ledger {sequence}, transaction {order}"));
    }
    Ok(sequence << 32 | order << 12)
}
