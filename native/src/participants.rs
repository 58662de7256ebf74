//! Who took part: the loop of `processors.participants`, which says what is done here and why.
//!
//! What is rare is asked of Python: operations of rare kinds, and the name of each kind of result once.

use crate::python::{Built, Object, Raised, boolean, bytes, int, none, pack};
use crate::reading::{Item, at, call, checked, data, dict, item, items, length, list, number, same, truth};
use crate::rows::{RowType, WordHasher};
use crate::toids;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;

const MUXED: u8 = 12 << 3;
const ACCOUNT: u8 = 6 << 3;
const ADDRESS_BYTES: usize = 33;

const ENTRY_OF_ACCOUNT: i64 = 0; // LedgerEntryType
const RESTORED: i64 = 4; // LedgerEntryChangeType

type Words<'py, K> = HashMap<K, Object<'py>, BuildHasherDefault<WordHasher>>;

/// What Python knows better: the functions of `processors.view` and `processors.participants`, and the classes of rows.
#[derive(FromPyObject)]
pub struct Asked<'py> {
    pub transaction_row: Object<'py>,
    pub operation_row: Object<'py>,
    pub transaction_result: Object<'py>,
    pub operation_type: Object<'py>,
    pub operation_result: Object<'py>,
    pub success: Object<'py>,
    pub fee_charged: Object<'py>,
    pub transaction_participants: Object<'py>,
    pub operation_participants: Object<'py>,
}

/// An address as one object each, so that sets can tell them apart by identity.
pub struct Addresses<'py> {
    py: Python<'py>,
    by_value: Bound<'py, PyDict>,
    known: Words<'py, usize>,
}

impl<'py> Addresses<'py> {
    pub fn new(py: Python<'py>) -> Result<Self, Raised> {
        Ok(Addresses { py, by_value: dict(py)?, known: HashMap::default() })
    }

    /// The address as it is. `address` must live as long as this.
    pub fn one(&mut self, address: Item<'_, 'py>) -> Built<'py> {
        if let Some(found) = self.known.get(&(address.as_ptr() as usize)) {
            return Ok(found.clone());
        }
        let one = match checked(self.py, self.by_value.get_item(address))? {
            Some(found) => found,
            None => {
                checked(self.py, self.by_value.set_item(address, address))?;
                address.to_owned()
            }
        };
        self.known.insert(address.as_ptr() as usize, one.clone());
        Ok(one)
    }

    /// The account behind a muxed address, any other address as it is.
    pub fn account_of(&mut self, address: Item<'_, 'py>) -> Built<'py> {
        let content = data(address)?;
        if content.first() != Some(&MUXED) || content.len() < ADDRESS_BYTES {
            return self.one(address);
        }
        let mut account = [ACCOUNT; ADDRESS_BYTES];
        account[1..].copy_from_slice(&content[1..ADDRESS_BYTES]);
        self.made(bytes(self.py, &account)?)
    }

    /// The one object for an address just made, whose place in memory means nothing: it is looked up by value, and kept.
    pub fn made(&mut self, address: Object<'py>) -> Built<'py> {
        if let Some(found) = checked(self.py, self.by_value.get_item(&address))? {
            return Ok(found);
        }
        checked(self.py, self.by_value.set_item(&address, &address))?;
        Ok(address)
    }
}

/// Addresses in order of first mention.
#[derive(Default)]
struct Everyone<'py> {
    order: Vec<Object<'py>>,
    known: HashSet<usize, BuildHasherDefault<WordHasher>>,
}

impl<'py> Everyone<'py> {
    fn add(&mut self, account: &Object<'py>) {
        if self.known.insert(account.as_ptr() as usize) {
            self.order.push(account.clone());
        }
    }
}

struct Loop<'a, 'py> {
    py: Python<'py>,
    asked: &'a Asked<'py>,
    transaction_row: RowType,
    operation_row: RowType,
    addresses: Addresses<'py>,
    transaction_results: Words<'py, i64>,
    operation_types: Words<'py, i64>,
    /// Names of results by outer code, operation type and inner code, and whether they mean success.
    operation_results: HashMap<(i64, i64, i64), (Object<'py>, bool), BuildHasherDefault<WordHasher>>,
    protocol_version: Item<'a, 'py>,
    none: Object<'py>,
    transactions: Vec<Object<'py>>,
    operations: Vec<Object<'py>>,
    transactions_accounts: Vec<Object<'py>>,
    operations_accounts: Vec<Object<'py>>,
    succeeded: i64,
}

/// (rows of transactions, of operations, of transactions_accounts, of operations_accounts; how many transactions succeeded)
pub fn participants<'py>(asked: &Asked<'py>, ledger: Item<'_, 'py>) -> Built<'py> {
    let py = ledger.py();
    let mut made = Loop {
        py,
        asked,
        transaction_row: checked(py, RowType::of(&asked.transaction_row))?,
        operation_row: checked(py, RowType::of(&asked.operation_row))?,
        addresses: Addresses::new(py)?,
        transaction_results: HashMap::default(),
        operation_types: HashMap::default(),
        operation_results: HashMap::default(),
        protocol_version: item(item(ledger, at::Ledger::header)?, at::LedgerHeader::protocol_version)?,
        none: none(py),
        transactions: Vec::new(),
        operations: Vec::new(),
        transactions_accounts: Vec::new(),
        operations_accounts: Vec::new(),
        succeeded: 0,
    };
    for tx in items(item(ledger, at::Ledger::transactions)?)? {
        let tx = tx?;
        made.transaction(tx, toids::transaction_id(ledger, number(item(tx, at::Transaction::order)?)?)?)?;
    }
    let succeeded = int(py, made.succeeded)?;
    let rows = [made.transactions, made.operations, made.transactions_accounts, made.operations_accounts];
    let [transactions, operations, of_transactions, of_operations] = rows.map(|rows| list(py, rows));
    pack(py, [transactions?, operations?, of_transactions?, of_operations?, succeeded])
}

impl<'a, 'py> Loop<'a, 'py> {
    fn transaction(&mut self, tx: Item<'a, 'py>, to_id: i64) -> Result<(), Raised> {
        let py = self.py;
        let success = matches!(number(item(tx, at::Transaction::result_code)?)?, 0 | 1);
        self.succeeded += i64::from(success);
        let tx_id = int(py, to_id)?;
        let row = self.transaction_row(tx, &tx_id)?;
        self.transactions.push(row);
        let mut everyone = Everyone::default();
        self.of_transaction(tx, &mut everyone)?;
        for (index, op) in items(item(tx, at::Transaction::operations)?)?.enumerate() {
            let op = op?;
            let operation_id = int(py, to_id + index as i64 + 1)?;
            let row = self.operation_row(tx, op, &operation_id)?;
            self.operations.push(row);
            for account in self.of_operation(tx, op, success)? {
                everyone.add(&account);
                self.operations_accounts.push(pack(py, [operation_id.clone(), account])?);
            }
        }
        for account in everyone.order {
            self.transactions_accounts.push(pack(py, [tx_id.clone(), account])?);
        }
        Ok(())
    }

    fn transaction_row(&mut self, tx: Item<'a, 'py>, tx_id: &Object<'py>) -> Built<'py> {
        let py = self.py;
        let code = number(item(tx, at::Transaction::result_code)?)?;
        let result = match self.transaction_results.get(&code) {
            Some(name) => name.clone(),
            None => {
                let name = call(&self.asked.transaction_result, [tx])?;
                self.transaction_results.insert(code, name.clone());
                name
            }
        };
        let fee_bump = !item(tx, at::Transaction::fee_source)?.is_none();
        let fee = if fee_bump && truth(item(tx, at::Transaction::is_soroban)?)? {
            call(&self.asked.fee_charged, [tx, self.protocol_version])?
        } else {
            item(tx, at::Transaction::fee_charged)?.to_owned()
        };
        let field = |field| item(tx, field).map(|value| value.to_owned());
        let (hash, inner_hash) = (field(at::Transaction::hash)?, field(at::Transaction::inner_hash)?);
        let (fee_bump, none) = (boolean(py, fee_bump)?, &self.none);
        self.transaction_row
            .row(py, [tx_id.clone(), hash, inner_hash, fee, result, fee_bump, none.clone(), none.clone()])
    }

    fn operation_row(&mut self, tx: Item<'a, 'py>, op: Item<'a, 'py>, operation_id: &Object<'py>) -> Built<'py> {
        let py = self.py;
        let kind = number(item(op, at::Operation::r#type)?)?;
        let name = match self.operation_types.get(&kind) {
            Some(name) => name.clone(),
            None => {
                let name = call(&self.asked.operation_type, [tx, op])?;
                self.operation_types.insert(kind, name.clone());
                name
            }
        };
        let (result, success) = self.operation_result(tx, op)?;
        let xdr = item(op, at::Operation::xdr)?.to_owned();
        self.operation_row.row(py, [operation_id.clone(), name, xdr, result, boolean(py, success)?])
    }

    fn operation_result(&mut self, tx: Item<'a, 'py>, op: Item<'a, 'py>) -> Result<(Object<'py>, bool), Raised> {
        let result = item(op, at::Operation::result)?;
        let key = if result.is_none() {
            (i64::MAX, 0, 0)
        } else {
            let part = |field| {
                let value = item(result, field)?;
                if value.is_none() { Ok(i64::MAX) } else { number(value) }
            };
            use at::OperationResult as Field;
            (part(Field::code)?, part(Field::r#type)?, part(Field::inner_code)?)
        };
        if let Some(found) = self.operation_results.get(&key) {
            return Ok(found.clone());
        }
        let name = call(&self.asked.operation_result, [tx, op])?;
        let success = checked(self.py, name.eq(&self.asked.success))?;
        self.operation_results.insert(key, (name.clone(), success));
        Ok((name, success))
    }

    /// Source, fee source, and every account in the fee's changes.
    fn of_transaction(&mut self, tx: Item<'a, 'py>, everyone: &mut Everyone<'py>) -> Result<(), Raised> {
        let changes = item(tx, at::Transaction::fee_changes)?;
        let mut accounts = Vec::with_capacity(2 + length(changes)?);
        accounts.push(self.addresses.account_of(item(tx, at::Transaction::source)?)?);
        let fee_source = item(tx, at::Transaction::fee_source)?;
        if !fee_source.is_none() {
            accounts.push(self.addresses.account_of(fee_source)?);
        }
        for change in items(changes)? {
            let change = change?;
            let post = item(change, at::Change::post)?;
            let entry = if post.is_none() { item(change, at::Change::pre)? } else { post };
            if number(item(change, at::Change::kind)?)? == RESTORED || entry.is_none() {
                accounts = self.told(call(&self.asked.transaction_participants, [tx])?)?;
                break;
            }
            if number(item(change, at::Change::r#type)?)? == ENTRY_OF_ACCOUNT {
                accounts.push(self.addresses.one(item(item(entry, at::Entry::data)?, at::AccountEntry::account_id)?)?);
            }
        }
        accounts.iter().for_each(|account| everyone.add(account));
        Ok(())
    }

    /// Source, the account it is aimed at, whoever sponsors what it creates.
    fn of_operation(
        &mut self,
        tx: Item<'a, 'py>,
        op: Item<'a, 'py>,
        success: bool,
    ) -> Result<Vec<Object<'py>>, Raised> {
        let body = item(op, at::Operation::body)?;
        let aimed_at = match number(item(op, at::Operation::r#type)?)? {
            // create account, payment, account merge; allow trust and set trustline flags: the first field
            0 | 1 | 7 | 8 | 21 => Some(item(body, 0usize)?),
            // path payments
            2 => Some(item(body, at::PathPaymentStrictReceive::destination)?),
            13 => Some(item(body, at::PathPaymentStrictSend::destination)?),
            // offers, change trust, inflation, data, sequence, claims, pools, times to live
            3 | 4 | 6 | 9 | 10 | 11 | 12 | 15 | 20 | 22 | 23 => None,
            _ => return self.asked_of_operation(tx, op, success),
        };
        if success && truth(item(tx, at::Transaction::is_soroban)?)? {
            return self.asked_of_operation(tx, op, success);
        }
        let source = item(op, at::Operation::source)?;
        let source = if source.is_none() { item(tx, at::Transaction::source)? } else { source };
        let mut accounts = vec![self.addresses.account_of(source)?];
        if let Some(address) = aimed_at {
            add(&mut accounts, self.addresses.account_of(address)?);
        }
        for change in items(item(op, at::Operation::changes)?)? {
            let (pre, post) = (item(change?, at::Change::pre)?, item(change?, at::Change::post)?);
            if pre.is_none() && !post.is_none() {
                let sponsor = item(post, at::Entry::sponsor)?;
                if !sponsor.is_none() {
                    add(&mut accounts, self.addresses.one(sponsor)?);
                    break;
                }
            }
        }
        Ok(accounts)
    }

    fn asked_of_operation(
        &mut self,
        tx: Item<'a, 'py>,
        op: Item<'a, 'py>,
        success: bool,
    ) -> Result<Vec<Object<'py>>, Raised> {
        let success = boolean(self.py, success)?;
        self.told(call(&self.asked.operation_participants, [tx, op, success.as_borrowed()])?)
    }

    /// The keys of the dictionary that Python gives for a set in order.
    fn told(&mut self, answer: Object<'py>) -> Result<Vec<Object<'py>>, Raised> {
        let keys = checked(self.py, answer.try_iter())?;
        keys.map(|key| self.addresses.made(checked(self.py, key)?)).collect()
    }
}

fn add<'py>(accounts: &mut Vec<Object<'py>>, account: Object<'py>) {
    if !accounts.iter().any(|known| same(known.as_borrowed(), account.as_borrowed())) {
        accounts.push(account);
    }
}
