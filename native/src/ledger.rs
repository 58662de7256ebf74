//! The ledger: header, transaction set matched to results, upgrades, evictions.

use crate::changes::Scope;
use crate::cursor::{Cursor, Read};
use crate::python::{Built, bytes, tuple, unsigned};
use crate::rows::{Builder, Row, WordHasher};
use crate::transactions::{Envelope, Processed, envelope_hash};
use crate::xdr::{
    GeneralizedTransactionSet, LedgerCloseMeta, LedgerCloseMetaBatch, LedgerCloseMetaExt, LedgerHeaderHistoryEntry,
    LedgerKey, TransactionPhase, TxSetComponent, UpgradeEntryMeta,
};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Decode one whole ledger, or say why it is none.
pub fn decode(data: &[u8]) -> Result<LedgerCloseMeta<'_>, String> {
    whole(data, LedgerCloseMeta::read)
}

/// Decode one whole batch, or say why it is none.
pub fn decode_batch(data: &[u8]) -> Result<LedgerCloseMetaBatch<'_>, String> {
    whole(data, LedgerCloseMetaBatch::read)
}

/// Decode no further than the header.
pub fn decode_header(data: &[u8]) -> Result<LedgerHeaderHistoryEntry<'_>, String> {
    let mut cursor = Cursor::new(data);
    cursor.scope("LedgerCloseMeta", read_header).map_err(|_| cursor.to_string())
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Read<LedgerHeaderHistoryEntry<'a>> {
    match cursor.i32()? {
        0 => {}
        1 | 2 => {
            LedgerCloseMetaExt::read(cursor)?;
        }
        other => return Err(cursor.unknown(other)),
    }
    LedgerHeaderHistoryEntry::read(cursor)
}

/// Decode a value that must be all there is.
pub fn whole<'a, T>(data: &'a [u8], read: impl FnOnce(&mut Cursor<'a>) -> Read<T>) -> Result<T, String> {
    let mut cursor = Cursor::new(data);
    match read(&mut cursor).and_then(|value| cursor.finish().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(_) => Err(cursor.to_string()),
    }
}

pub fn transaction_count(ledger: &LedgerCloseMeta<'_>) -> usize {
    match ledger {
        LedgerCloseMeta::V0(v) => v.tx_processing.len(),
        LedgerCloseMeta::V1(v) => v.tx_processing.len(),
        LedgerCloseMeta::V2(v) => v.tx_processing.len(),
    }
}

/// What the three versions of a ledger have in common.
struct Parts<'b, 'a> {
    header: &'b LedgerHeaderHistoryEntry<'a>,
    envelopes: Vec<&'b Envelope<'a>>,
    processed: Vec<Processed<'b, 'a>>,
    upgrades: &'b [UpgradeEntryMeta<'a>],
    evicted_keys: &'b [LedgerKey<'a>],
    soroban_state_bytes: u64,
}

impl<'b, 'a> Parts<'b, 'a> {
    fn of(ledger: &'b LedgerCloseMeta<'a>) -> Self {
        match ledger {
            LedgerCloseMeta::V0(v) => Parts {
                header: &v.ledger_header,
                envelopes: v.tx_set.txs.iter().collect(),
                processed: v.tx_processing.iter().map(Processed::of).collect(),
                upgrades: &v.upgrades_processing,
                evicted_keys: &[],
                soroban_state_bytes: 0,
            },
            LedgerCloseMeta::V1(v) => Parts {
                header: &v.ledger_header,
                envelopes: envelopes(&v.tx_set),
                processed: v.tx_processing.iter().map(Processed::of).collect(),
                upgrades: &v.upgrades_processing,
                evicted_keys: &v.evicted_keys,
                soroban_state_bytes: v.total_byte_size_of_live_soroban_state,
            },
            LedgerCloseMeta::V2(v) => Parts {
                header: &v.ledger_header,
                envelopes: envelopes(&v.tx_set),
                processed: v
                    .tx_processing
                    .iter()
                    .map(|tx| Processed {
                        result: &tx.result,
                        fee: &tx.fee_processing,
                        meta: &tx.tx_apply_processing,
                        post_fee: &tx.post_tx_apply_fee_processing,
                    })
                    .collect(),
                upgrades: &v.upgrades_processing,
                evicted_keys: &v.evicted_keys,
                soroban_state_bytes: v.total_byte_size_of_live_soroban_state,
            },
        }
    }
}

impl<'b, 'a> Processed<'b, 'a> {
    fn of(tx: &'b crate::xdr::TransactionResultMeta<'a>) -> Self {
        Processed { result: &tx.result, fee: &tx.fee_processing, meta: &tx.tx_apply_processing, post_fee: &[] }
    }
}

/// Every envelope of a generalized set: all components of a classic phase; all stages and clusters of a parallel one.
fn envelopes<'b, 'a>(set: &'b GeneralizedTransactionSet<'a>) -> Vec<&'b Envelope<'a>> {
    let GeneralizedTransactionSet::V1(set) = set;
    let mut found = Vec::new();
    for phase in &set.phases {
        match phase {
            TransactionPhase::V0(components) => {
                for TxSetComponent::TxsetCompTxsMaybeDiscountedFee(component) in components {
                    found.extend(&component.txs);
                }
            }
            TransactionPhase::V1(parallel) => found.extend(parallel.execution_stages.iter().flatten().flatten()),
        }
    }
    found
}

impl<'py, 'a> Builder<'py, 'a> {
    pub fn ledger(&self, ledger: &LedgerCloseMeta<'a>) -> Built<'py> {
        let parts = Parts::of(ledger);
        let protocol = parts.header.header.ledger_version;
        let transactions = self.matched(&parts, |position, envelope, processed| {
            self.transaction(position, protocol, envelope, processed)
        })?;
        let upgrades = tuple(self.py, parts.upgrades, |upgrade| self.upgrade(upgrade))?;
        let evicted = tuple(self.py, parts.evicted_keys, |key| self.ledger_key(key))?;
        let items = [
            self.int(ledger.discriminant())?,
            self.header(parts.header)?,
            transactions,
            upgrades,
            evicted,
            unsigned(self.py, parts.soroban_state_bytes)?,
        ];
        self.row(Row::Ledger, items)
    }

    /// The details of every transaction, in the order of the ledger.
    pub fn details(&self, ledger: &LedgerCloseMeta<'a>) -> Built<'py> {
        self.matched(&Parts::of(ledger), |position, envelope, processed| {
            self.transaction_details(position, envelope, processed)
        })
    }

    /// A tuple of what `make` gives for each transaction: its position from 1, its envelope, and what became of it.
    fn matched(
        &self,
        parts: &Parts<'_, 'a>,
        make: impl Fn(usize, &Envelope<'a>, &Processed<'_, 'a>) -> Built<'py>,
    ) -> Built<'py> {
        let mut by_hash: HashMap<[u8; 32], &Envelope<'a>, BuildHasherDefault<WordHasher>> = HashMap::default();
        for envelope in &parts.envelopes {
            by_hash.insert(envelope_hash(envelope, self.network_id), envelope);
        }
        let mut position = 0;
        tuple(self.py, &parts.processed, |processed| {
            position += 1;
            let hash = processed.result.transaction_hash;
            let envelope = by_hash.get(hash).ok_or_else(|| {
                let hash = crate::addresses::hex(hash);
                self.content_error(format!("transaction {position} ({hash}): no envelope in the set has this hash"))
            })?;
            make(position, envelope, processed)
        })
    }

    pub fn header(&self, entry: &LedgerHeaderHistoryEntry<'a>) -> Built<'py> {
        let (py, header) = (self.py, &entry.header);
        let items = [
            self.int(header.ledger_seq)?,
            self.hash(entry.hash)?,
            self.hash(header.previous_ledger_hash)?,
            unsigned(py, header.scp_value.close_time)?,
            self.int(header.ledger_version)?,
            self.int(header.base_fee)?,
            self.int(header.base_reserve)?,
            self.int(header.total_coins)?,
            self.int(header.fee_pool)?,
            self.int(header.max_tx_set_size)?,
            self.hash(header.tx_set_result_hash)?,
            self.hash(header.bucket_list_hash)?,
        ];
        self.row(Row::LedgerHeader, items)
    }

    fn upgrade(&self, upgrade: &UpgradeEntryMeta<'a>) -> Built<'py> {
        let kind = upgrade.upgrade.discriminant();
        let changes = self.changes(&upgrade.changes, Scope::Other, || format!("upgrade of type {kind}"))?;
        self.row(Row::Upgrade, [self.int(kind)?, bytes(self.py, upgrade.upgrade.xdr)?, changes])
    }
}
