//! From raw ledger entry changes to (before, after) pairs, in the order processors see them.

use crate::cursor::Spanned;
use crate::python::{Built, Raised, tuple};
use crate::rows::{Builder, Row};
use crate::xdr::{ClaimableBalanceID, LedgerEntry, LedgerEntryChange, LedgerEntryData, LedgerKey, PublicKey};
use std::cmp::Ordering;

const STATE: i32 = 3;

type Entry<'a> = Spanned<'a, LedgerEntry<'a>>;

/// Where changes come from.
#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    /// Of an operation: lone states are dropped, pairs are sorted by ledger key.
    Operation,
    /// Anything else: lone states, updates and removals stay, and so does the order.
    Other,
}

struct Pair<'b, 'a> {
    kind: i32,
    pre: Option<&'b Entry<'a>>,
    post: Option<&'b Entry<'a>>,
    key: Option<&'b LedgerKey<'a>>,
}

impl<'b, 'a> Pair<'b, 'a> {
    fn entry_type(&self) -> i32 {
        let entry = self.pre.or(self.post).map(|entry| entry.data.discriminant());
        entry.or(self.key.map(|key| key.discriminant())).unwrap_or_default()
    }

    fn sort_key(&self) -> SortKey<'a> {
        self.pre.or(self.post).map(|entry| SortKey::of(&entry.data)).unwrap_or_default()
    }
}

/// A ledger key as pieces of XDR. Each piece is self-delimiting or of fixed length, so comparing piece by piece orders
/// keys exactly as comparing their XDR bytes does.
#[derive(PartialEq, Eq, Default)]
struct SortKey<'a> {
    entry_type: i32,
    owner: &'a [u8],
    number: u64,
    /// Length of a data entry's name: it precedes the name in XDR.
    length: usize,
    name: &'a [u8],
    durability: i32,
}

impl Ord for SortKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |key: &Self| (key.entry_type, key.number, key.length, key.durability);
        let (mine, theirs) = (parts(self), parts(other));
        (mine.0.cmp(&theirs.0))
            .then_with(|| self.owner.cmp(other.owner))
            .then_with(|| mine.1.cmp(&theirs.1))
            .then_with(|| mine.2.cmp(&theirs.2))
            .then_with(|| self.name.cmp(other.name))
            .then_with(|| mine.3.cmp(&theirs.3))
    }
}

impl PartialOrd for SortKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> SortKey<'a> {
    fn of(data: &LedgerEntryData<'a>) -> Self {
        let account = |account: &PublicKey<'a>| -> &'a [u8] {
            let PublicKey::PublicKeyTypeEd25519(key) = account;
            *key
        };
        let mut key = SortKey { entry_type: data.discriminant(), ..SortKey::default() };
        match data {
            LedgerEntryData::Account(entry) => key.owner = account(&entry.account_id),
            LedgerEntryData::Trustline(entry) => {
                (key.owner, key.name) = (account(&entry.account_id), entry.asset.xdr);
            }
            // Signed in XDR but compared as bytes: the two's complement as an unsigned number.
            LedgerEntryData::Offer(entry) => {
                (key.owner, key.number) = (account(&entry.seller_id), entry.offer_id as u64);
            }
            LedgerEntryData::Data(entry) => {
                (key.owner, key.length, key.name) =
                    (account(&entry.account_id), entry.data_name.len(), entry.data_name);
            }
            LedgerEntryData::ClaimableBalance(entry) => {
                let ClaimableBalanceID::ClaimableBalanceIdTypeV0(hash) = entry.balance_id;
                key.owner = hash;
            }
            LedgerEntryData::LiquidityPool(entry) => key.owner = entry.liquidity_pool_id,
            LedgerEntryData::ContractData(entry) => {
                (key.owner, key.name, key.durability) = (entry.contract.xdr, entry.key.xdr, entry.durability);
            }
            LedgerEntryData::ContractCode(entry) => key.owner = entry.hash,
            LedgerEntryData::ConfigSetting(entry) => key.number = entry.discriminant() as u64,
            LedgerEntryData::Ttl(entry) => key.owner = entry.key_hash,
        }
        key
    }
}

/// Pair every raw record with the state before it. The error says what is missing.
fn pairs<'b, 'a>(changes: &'b [LedgerEntryChange<'a>], scope: Scope) -> Result<Vec<Pair<'b, 'a>>, &'static str> {
    let mut found = Vec::with_capacity(changes.len());
    let mut before: Option<&'b Entry<'a>> = None; // the state or restored record just passed
    let mut state: Option<&'b Entry<'a>> = None; // a state record not yet used
    let preceding = |before: Option<&'b Entry<'a>>, missing| match (before, scope) {
        (None, Scope::Operation) => Err(missing),
        _ => Ok(before),
    };
    for change in changes {
        let consumes = matches!(change, LedgerEntryChange::Updated(_) | LedgerEntryChange::Removed(_));
        if let (Some(entry), Scope::Other, false) = (state, scope, consumes) {
            found.push(Pair { kind: STATE, pre: Some(entry), post: None, key: None });
        }
        (state, before) = match change {
            LedgerEntryChange::State(entry) => (Some(entry), Some(entry)),
            LedgerEntryChange::Created(entry) => {
                found.push(Pair { kind: 0, pre: None, post: Some(entry), key: None });
                (None, None)
            }
            LedgerEntryChange::Restored(entry) => {
                found.push(Pair { kind: 4, pre: None, post: Some(entry), key: None });
                (None, Some(entry))
            }
            LedgerEntryChange::Updated(entry) => {
                let pre = preceding(before, "an update without the state before it")?;
                found.push(Pair { kind: 1, pre, post: Some(entry), key: None });
                (None, None)
            }
            LedgerEntryChange::Removed(key) => {
                let pre = preceding(before, "a removal without the state before it")?;
                found.push(Pair { kind: 2, pre, post: None, key: Some(key) });
                (None, None)
            }
        };
    }
    if let (Some(entry), Scope::Other) = (state, scope) {
        found.push(Pair { kind: STATE, pre: Some(entry), post: None, key: None });
    }
    if scope == Scope::Operation && found.len() > 1 {
        found.sort_by_cached_key(Pair::sort_key);
    }
    Ok(found)
}

impl<'py, 'a> Builder<'py, 'a> {
    /// `place` names the changes in the message of a LedgerContentError.
    pub fn changes(
        &self,
        changes: &[LedgerEntryChange<'a>],
        scope: Scope,
        place: impl FnOnce() -> String,
    ) -> Built<'py> {
        if changes.is_empty() {
            return Ok(self.nothing.clone());
        }
        let pairs = pairs(changes, scope).map_err(|what| self.content_error(format!("{}: {what}", place())))?;
        tuple(self.py, &pairs, |pair| self.change(pair))
    }

    fn change(&self, pair: &Pair<'_, 'a>) -> Result<crate::python::Object<'py>, Raised> {
        let items = [
            self.int(pair.kind)?,
            self.int(pair.entry_type())?,
            self.optional(pair.pre, |entry| self.entry(entry))?,
            self.optional(pair.post, |entry| self.entry(entry))?,
            self.optional(pair.key, |key| self.ledger_key(key))?,
        ];
        self.row(Row::Change, items)
    }
}
