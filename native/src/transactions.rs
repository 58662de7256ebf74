//! Transactions: envelope, result and meta brought together.

use crate::changes::Scope;
use crate::cursor::Spanned;
use crate::python::{Built, Object, Raised, bytes, text, tuple, unsigned};
use crate::rows::{Builder, Row};
use crate::xdr::{
    ContractEvent, FeeBumpTransactionInnerTx, InnerTransactionResultResult, LedgerEntryChange, Memo, Operation,
    OperationResult, SCVal, Transaction, TransactionEnvelope, TransactionEvent, TransactionExt, TransactionMeta,
    TransactionResultPair, TransactionResultResult, TransactionV0,
};
use sha2::{Digest, Sha256};

const ENVELOPE_TYPE_TX: u32 = 2;
const ENVELOPE_TYPE_TX_FEE_BUMP: u32 = 5;
/// Metas of this protocol and older ones show operation changes even where the transaction failed with an internal error.
const LAST_PROTOCOL_WITH_CHANGES_AFTER_INTERNAL_ERROR: u32 = 12;

pub type Envelope<'a> = Spanned<'a, TransactionEnvelope<'a>>;
type Changes<'b, 'a> = &'b [LedgerEntryChange<'a>];

/// What a ledger says about one transaction, apart from its envelope.
pub struct Processed<'b, 'a> {
    pub result: &'b TransactionResultPair<'a>,
    pub fee: Changes<'b, 'a>,
    pub meta: &'b TransactionMeta<'a>,
    pub post_fee: Changes<'b, 'a>,
}

/// SHA-256 of the payload that is signed: network id, envelope type, transaction.
pub fn envelope_hash(envelope: &TransactionEnvelope<'_>, network_id: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new_with_prefix(network_id);
    match envelope {
        // A V0 transaction is hashed as its V1 form, whose source starts with the key type (0).
        TransactionEnvelope::TxV0(v0) => {
            hash.chain_update(ENVELOPE_TYPE_TX.to_be_bytes()).chain_update([0; 4]).chain_update(v0.tx.xdr)
        }
        TransactionEnvelope::Tx(v1) => hash.chain_update(ENVELOPE_TYPE_TX.to_be_bytes()).chain_update(v1.tx.xdr),
        TransactionEnvelope::TxFeeBump(bump) => {
            hash.chain_update(ENVELOPE_TYPE_TX_FEE_BUMP.to_be_bytes()).chain_update(bump.tx.xdr)
        }
    }
    .finalize()
    .into()
}

/// Hash of the transaction that a fee bump carries; nothing for other envelopes.
fn inner_envelope_hash(envelope: &TransactionEnvelope<'_>, network_id: &[u8; 32]) -> Option<[u8; 32]> {
    let TransactionEnvelope::TxFeeBump(bump) = envelope else { return None };
    let FeeBumpTransactionInnerTx::Tx(inner) = &bump.tx.inner_tx;
    let hash = Sha256::new_with_prefix(network_id).chain_update(ENVELOPE_TYPE_TX.to_be_bytes());
    Some(hash.chain_update(inner.tx.xdr).finalize().into())
}

/// The transaction inside an envelope, whatever its form.
enum Inner<'b, 'a> {
    V0(&'b TransactionV0<'a>),
    V1(&'b Transaction<'a>),
}

impl<'b, 'a> Inner<'b, 'a> {
    fn of(envelope: &'b TransactionEnvelope<'a>) -> Self {
        match envelope {
            TransactionEnvelope::TxV0(v0) => Inner::V0(&v0.tx),
            TransactionEnvelope::Tx(v1) => Inner::V1(&v1.tx),
            TransactionEnvelope::TxFeeBump(bump) => {
                let FeeBumpTransactionInnerTx::Tx(inner) = &bump.tx.inner_tx;
                Inner::V1(&inner.tx)
            }
        }
    }

    fn operations(&self) -> &'b [Spanned<'a, Operation<'a>>] {
        match self {
            Inner::V0(tx) => &tx.operations,
            Inner::V1(tx) => &tx.operations,
        }
    }

    fn memo(&self) -> &'b Memo<'a> {
        match self {
            Inner::V0(tx) => &tx.memo,
            Inner::V1(tx) => &tx.memo,
        }
    }

    fn seq_num(&self) -> i64 {
        match self {
            Inner::V0(tx) => tx.seq_num,
            Inner::V1(tx) => tx.seq_num,
        }
    }

    fn fee(&self) -> u32 {
        match self {
            Inner::V0(tx) => tx.fee,
            Inner::V1(tx) => tx.fee,
        }
    }

    /// The resource fee, when this is a Soroban transaction.
    fn resource_fee(&self) -> Option<i64> {
        match self {
            Inner::V1(Transaction { ext: TransactionExt::V1(data), .. }) => Some(data.resource_fee),
            _ => None,
        }
    }
}

/// What a transaction meta holds, whatever its version.
struct MetaParts<'b, 'a> {
    before: Changes<'b, 'a>,
    after: Changes<'b, 'a>,
    /// Changes and events of each operation.
    operations: Vec<(Changes<'b, 'a>, &'b [ContractEvent<'a>])>,
    /// Events shown on every operation, also on those without an entry above (V3).
    shared_events: &'b [ContractEvent<'a>],
    events: &'b [TransactionEvent<'a>],
    return_value: Option<&'b SCVal<'a>>,
}

impl<'b, 'a> MetaParts<'b, 'a> {
    /// None for version 0.
    fn of(meta: &'b TransactionMeta<'a>) -> Option<Self> {
        let mut parts = MetaParts {
            before: &[],
            after: &[],
            operations: Vec::new(),
            shared_events: &[],
            events: &[],
            return_value: None,
        };
        match meta {
            TransactionMeta::V0(_) => return None,
            TransactionMeta::V1(m) => {
                parts.before = &m.tx_changes;
                parts.operations = m.operations.iter().map(|op| (&op.changes[..], &[][..])).collect();
            }
            TransactionMeta::V2(m) => {
                (parts.before, parts.after) = (&m.tx_changes_before, &m.tx_changes_after);
                parts.operations = m.operations.iter().map(|op| (&op.changes[..], &[][..])).collect();
            }
            TransactionMeta::V3(m) => {
                (parts.before, parts.after) = (&m.tx_changes_before, &m.tx_changes_after);
                parts.operations = m.operations.iter().map(|op| (&op.changes[..], &[][..])).collect();
                if let Some(soroban) = &m.soroban_meta {
                    (parts.shared_events, parts.return_value) = (&soroban.events, Some(&soroban.return_value));
                }
            }
            TransactionMeta::V4(m) => {
                (parts.before, parts.after) = (&m.tx_changes_before, &m.tx_changes_after);
                parts.operations = m.operations.iter().map(|op| (&op.changes[..], &op.events[..])).collect();
                parts.events = &m.events;
                parts.return_value = m.soroban_meta.as_ref().and_then(|soroban| soroban.return_value.as_ref());
            }
        }
        Some(parts)
    }
}

impl<'py, 'a> Builder<'py, 'a> {
    /// One transaction. `position` counts from 1 in apply order.
    pub fn transaction(
        &self,
        position: usize,
        protocol: u32,
        envelope: &Envelope<'a>,
        processed: &Processed<'_, 'a>,
    ) -> Built<'py> {
        let py = self.py;
        let label = || format!("transaction {position} ({})", crate::addresses::hex(processed.result.transaction_hash));
        let meta = self.meta(processed.meta, &label)?;
        if protocol < 10 && processed.meta.discriminant() < 2 && !processed.fee.is_empty() {
            let what = "fee changes of a protocol below 10 beside a meta below version 2";
            return Err(self.content_error(format!("{}: {what}", label())));
        }
        let changes = |changes: Changes<'_, 'a>, name: &str| {
            self.changes(changes, Scope::Other, || format!("{}, {name}", label()))
        };
        let result = &processed.result.result;
        let (inner_code, results) = inner_results(&result.result);
        let hide_changes = matches!(result.result, TransactionResultResult::InternalError)
            && protocol <= LAST_PROTOCOL_WITH_CHANGES_AFTER_INTERNAL_ERROR;
        let inner = Inner::of(envelope);
        let (source, fee_source, fee) = self.accounts(envelope, &inner)?;
        let resource_fee = inner.resource_fee();
        let operations = self.operations(inner.operations(), results, &meta, hide_changes, &label)?;
        let inner_hash = inner_envelope_hash(envelope, self.network_id);
        let items = [
            self.int(position as i64)?,
            self.hash(processed.result.transaction_hash)?,
            self.optional(inner_hash, |hash| self.hash(&hash))?,
            self.int(envelope.discriminant())?,
            source,
            fee_source,
            self.int(inner.seq_num())?,
            fee,
            self.memo(inner.memo())?,
            crate::python::boolean(py, resource_fee.is_some())?,
            self.int(resource_fee.unwrap_or(0))?,
            self.int(result.result.discriminant())?,
            self.int(result.fee_charged)?,
            self.optional(inner_code, |code| self.int(code))?,
            self.int(processed.meta.discriminant())?,
            operations,
            changes(processed.fee, "fee changes")?,
            changes(meta.after, "changes after")?,
            changes(processed.post_fee, "changes after all transactions")?,
        ];
        self.row(Row::Transaction, items)
    }

    /// What a ledger holds of a transaction beyond what processors read.
    pub fn transaction_details(
        &self,
        position: usize,
        envelope: &Envelope<'a>,
        processed: &Processed<'_, 'a>,
    ) -> Built<'py> {
        let label = || format!("transaction {position} ({})", crate::addresses::hex(processed.result.transaction_hash));
        let meta = self.meta(processed.meta, &label)?;
        let items = [
            self.changes(meta.before, Scope::Other, || format!("{}, changes before", label()))?,
            tuple(self.py, meta.events, |event| self.transaction_event(event))?,
            self.optional(meta.return_value, |value| self.scval(value))?,
            bytes(self.py, envelope.xdr)?,
        ];
        self.row(Row::TransactionDetails, items)
    }

    fn meta<'b>(
        &self,
        meta: &'b TransactionMeta<'a>,
        label: &impl Fn() -> String,
    ) -> Result<MetaParts<'b, 'a>, Raised> {
        let unsupported = || format!("{}: transaction meta of version 0 is not supported", label());
        MetaParts::of(meta).ok_or_else(|| self.content_error(unsupported()))
    }

    /// Source, fee source and fee bid.
    fn accounts(
        &self,
        envelope: &TransactionEnvelope<'a>,
        inner: &Inner<'_, 'a>,
    ) -> Result<(Object<'py>, Object<'py>, Object<'py>), Raised> {
        let source = match inner {
            Inner::V0(tx) => self.account_key(tx.source_account_ed25519)?,
            Inner::V1(tx) => self.muxed(&tx.source_account)?,
        };
        Ok(match envelope {
            TransactionEnvelope::TxFeeBump(bump) => (source, self.muxed(&bump.tx.fee_source)?, self.int(bump.tx.fee)?),
            _ => (source, self.none.clone(), self.int(inner.fee())?),
        })
    }

    fn memo(&self, memo: &Memo<'a>) -> Built<'py> {
        if let Memo::None = memo {
            return self.no_memo();
        }
        let value = match memo {
            Memo::None => self.none.clone(),
            Memo::Text(data) => text(self.py, data)?,
            Memo::Id(id) => unsigned(self.py, *id)?,
            Memo::Hash(hash) | Memo::Return(hash) => self.hash(hash)?,
        };
        self.row(Row::Memo, [self.int(memo.discriminant())?, value])
    }

    fn no_memo(&self) -> Built<'py> {
        if let Some(made) = &*self.no_memo.borrow() {
            return Ok(made.clone());
        }
        let made = self.row(Row::Memo, [self.int(Memo::None.discriminant())?, self.none.clone()])?;
        *self.no_memo.borrow_mut() = Some(made.clone());
        Ok(made)
    }

    fn operations(
        &self,
        operations: &[Spanned<'a, Operation<'a>>],
        results: &[OperationResult<'a>],
        meta: &MetaParts<'_, 'a>,
        hide_changes: bool,
        label: &impl Fn() -> String,
    ) -> Built<'py> {
        let shared_events = self.contract_events(meta.shared_events)?;
        let mut index = 0;
        tuple(self.py, operations, |operation| {
            let (changes, own_events) = meta.operations.get(index).copied().unwrap_or_default();
            let result = results.get(index);
            let place = || format!("{}, operation {index}", label());
            let shown = if hide_changes { &[][..] } else { changes };
            let items = [
                self.int(operation.body.discriminant())?,
                self.optional(operation.source_account.as_ref(), |source| self.muxed(source))?,
                self.operation_body(&operation.body)?,
                bytes(self.py, operation.xdr)?,
                self.optional(result, |result| self.operation_result(result))?,
                self.changes(shown, Scope::Operation, place)?,
                if own_events.is_empty() { shared_events.clone() } else { self.contract_events(own_events)? },
            ];
            index += 1;
            self.row(Row::Operation, items)
        })
    }
}

/// Result code of the inner transaction (fee bumps that carry one), and the results of the operations.
type InnerResult<'b, 'a> = (Option<i32>, &'b [OperationResult<'a>]);

fn inner_results<'b, 'a>(result: &'b TransactionResultResult<'a>) -> InnerResult<'b, 'a> {
    match result {
        TransactionResultResult::Success(results) | TransactionResultResult::Failed(results) => (None, results),
        TransactionResultResult::FeeBumpInnerSuccess(pair) | TransactionResultResult::FeeBumpInnerFailed(pair) => {
            let results: &[OperationResult<'a>] = match &pair.result.result {
                InnerTransactionResultResult::Success(results) | InnerTransactionResultResult::Failed(results) => {
                    results
                }
                _ => &[],
            };
            (Some(pair.result.result.discriminant()), results)
        }
        _ => (None, &[]),
    }
}
