//! The changes of a ledger by entry: all of one type, and the last one of each (`processors.view`, `processors.merge` and
//! `processors.accounts` say what for).

use crate::python::{Built, Object, Raised, int, pack};
use crate::reading::{Item, at, checked, data, dict, equal, item, items, length, list, number, same};
use crate::rows::WordHasher;
use crate::toids;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

const CREATED: i64 = 0;
const REMOVED: i64 = 2;
const STATE: i64 = 3;

/// LedgerEntryType
const ACCOUNT: i64 = 0;

/// Phases in which an account's balance changes, as ranks.
const FEE: i64 = 0;
const OPERATION: i64 = 1 << 37;
const REFUND: i64 = 2 << 37;
const TRANSACTION_SHIFT: i64 = 13;

const LIABILITIES: i64 = 1;
const SPONSORSHIP: i64 = 2;

/// First and last change of one entry, each with its order.
struct Seen<'a, 'py, O> {
    first: (O, Item<'a, 'py>),
    last: (O, Item<'a, 'py>),
}

impl<'a, 'py, O: PartialOrd + Copy> Seen<'a, 'py, O> {
    fn new(order: O, change: Item<'a, 'py>) -> Self {
        Seen { first: (order, change), last: (order, change) }
    }

    /// Among equal orders the later change is the last one.
    fn add(&mut self, order: O, change: Item<'a, 'py>) {
        if order >= self.last.0 {
            self.last = (order, change);
        } else if order < self.first.0 {
            self.first = (order, change);
        }
    }

    /// Nothing is left of an entry that was created here and is gone.
    fn leaves_something(&self) -> Result<bool, Raised> {
        let kind = |change| number(item(change, at::Change::kind)?);
        Ok(kind(self.last.1)? != REMOVED || kind(self.first.1)? != CREATED)
    }
}

/// (operation id, transaction, operation, change, data of the entry) for every change of an entry type made by operations.
pub fn changes_of<'py>(ledger: Item<'_, 'py>, entry_type: i64) -> Built<'py> {
    let py = ledger.py();
    let mut found = Vec::new();
    for (index, tx) in items(item(ledger, at::Ledger::transactions)?)?.enumerate() {
        let tx = tx?;
        let to_id = toids::transaction_id(ledger, index as i64 + 1)?;
        for (index, op) in items(item(tx, at::Transaction::operations)?)?.enumerate() {
            let op = op?;
            for change in items(item(op, at::Operation::changes)?)? {
                let change = change?;
                if number(item(change, at::Change::r#type)?)? != entry_type {
                    continue;
                }
                let entry_data = item(entry_of(change)?, at::Entry::data)?;
                let items = [tx, op, change, entry_data].map(|item| item.to_owned());
                let [tx, op, change, entry_data] = items;
                found.push(pack(py, [int(py, to_id + index as i64 + 1)?, tx, op, change, entry_data])?);
            }
        }
    }
    list(py, found)
}

/// The entry after the change, or what it was before it was removed.
fn entry_of<'a, 'py>(change: Item<'a, 'py>) -> Result<Item<'a, 'py>, Raised> {
    let post = item(change, at::Change::post)?;
    if post.is_none() { item(change, at::Change::pre) } else { Ok(post) }
}

/// From (key, order, change) to (order, change): the last change of every key, keys by first appearance.
pub fn last_changes<'py>(py: Python<'py>, changes: &[Object<'py>]) -> Built<'py> {
    let places = dict(py)?;
    let mut orders = Vec::new();
    let mut seen: Vec<Seen<'_, 'py, u64>> = Vec::new();
    for row in changes {
        let row = row.as_borrowed();
        let (key, order, change) = (item(row, 0usize)?, item(row, 1usize)?, item(row, 2usize)?);
        let rank = unsigned_number(order)?;
        match checked(py, places.get_item(key))? {
            Some(place) => seen[number(place.as_borrowed())? as usize].add(rank, change),
            None => {
                checked(py, places.set_item(key, int(py, seen.len() as i64)?))?;
                seen.push(Seen::new(rank, change));
                orders.push(order);
            }
        }
    }
    let mut last = Vec::with_capacity(seen.len());
    for one in &seen {
        if one.leaves_something()? {
            let (order, change) = one.last;
            last.push(pack(py, [crate::python::unsigned(py, order)?, change.to_owned()])?);
        }
    }
    list(py, last)
}

fn unsigned_number(value: Item<'_, '_>) -> Result<u64, Raised> {
    // SAFETY: a live reference; what is no integer, negative or too big raises.
    let number = unsafe { pyo3::ffi::PyLong_AsUnsignedLongLong(value.as_ptr()) };
    if number == u64::MAX && PyErr::occurred(value.py()) { Err(Raised) } else { Ok(number) }
}

/// (rank, change) of every account: its last change of fees, operations and refunds that a balance row can show.
pub fn last_account_changes<'py>(ledger: Item<'_, 'py>) -> Built<'py> {
    let py = ledger.py();
    let transactions = item(ledger, at::Ledger::transactions)?;
    let mut accounts = Accounts { places: HashMap::default(), seen: Vec::new() };
    for tx in items(transactions)? {
        accounts.add(FEE | shifted_order(tx?)?, item(tx?, at::Transaction::fee_changes)?)?;
    }
    for tx in items(transactions)? {
        let order = OPERATION | shifted_order(tx?)?;
        for (index, op) in items(item(tx?, at::Transaction::operations)?)?.enumerate() {
            accounts.add(order | index as i64, item(op?, at::Operation::changes)?)?;
        }
    }
    for tx in items(transactions)? {
        accounts.add(REFUND | shifted_order(tx?)?, item(tx?, at::Transaction::post_fee_changes)?)?;
    }
    let mut last = Vec::with_capacity(accounts.seen.len());
    for one in &accounts.seen {
        if one.leaves_something()? {
            last.push(pack(py, [int(py, one.last.0)?, one.last.1.to_owned()])?);
        }
    }
    list(py, last)
}

fn shifted_order(tx: Item<'_, '_>) -> Result<i64, Raised> {
    Ok(number(item(tx, at::Transaction::order)?)? << TRANSACTION_SHIFT)
}

struct Accounts<'a, 'py> {
    places: HashMap<&'a [u8], usize, BuildHasherDefault<WordHasher>>,
    seen: Vec<Seen<'a, 'py, i64>>,
}

impl<'a, 'py> Accounts<'a, 'py> {
    fn add(&mut self, rank: i64, changes: Item<'a, 'py>) -> Result<(), Raised> {
        for change in items(changes)? {
            let change = change?;
            if number(item(change, at::Change::r#type)?)? != ACCOUNT {
                continue;
            }
            let (pre, post) = (item(change, at::Change::pre)?, item(change, at::Change::post)?);
            let entry = if post.is_none() { pre } else { post };
            if entry.is_none() || number(item(change, at::Change::kind)?)? == STATE {
                continue;
            }
            if !pre.is_none() && !post.is_none() && only_signers_changed(pre, post)? {
                continue;
            }
            let account = data(item(item(entry, at::Entry::data)?, at::AccountEntry::account_id)?)?;
            match self.places.get(account) {
                Some(place) => self.seen[*place].add(rank, change),
                None => {
                    self.places.insert(account, self.seen.len());
                    self.seen.push(Seen::new(rank, change));
                }
            }
        }
        Ok(())
    }
}

/// True when nothing differs but signers and their weights.
fn only_signers_changed(pre: Item<'_, '_>, post: Item<'_, '_>) -> Result<bool, Raised> {
    let modified = |entry| number(item(entry, at::Entry::last_modified_ledger_seq)?);
    if modified(pre)? != modified(post)? {
        return Ok(false);
    }
    let (old, new) = (item(pre, at::Entry::data)?, item(post, at::Entry::data)?);
    if same(old, new) {
        return Ok(true);
    }
    let (signers, extension) = (at::AccountEntry::signers as usize, at::AccountEntry::extension as usize);
    for field in (0..signers).chain(signers + 1..extension) {
        if !equal(item(old, field)?, item(new, field)?)? {
            return Ok(false);
        }
    }
    let (older, newer) = (number(item(old, extension)?)?, number(item(new, extension)?)?);
    if older.max(LIABILITIES) != newer.max(LIABILITIES) {
        return Ok(false);
    }
    Ok(older < SPONSORSHIP || same_sponsors(item(old, signers)?, item(new, signers)?)?)
}

fn same_sponsors(old: Item<'_, '_>, new: Item<'_, '_>) -> Result<bool, Raised> {
    if length(old)? != length(new)? {
        return Ok(false);
    }
    for (one, other) in items(old)?.zip(items(new)?) {
        if !equal(item(one?, at::Signer::sponsor)?, item(other?, at::Signer::sponsor)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
