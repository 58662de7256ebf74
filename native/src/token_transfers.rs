//! Whose balance moved: the loop of `processors.token_transfers` over payments, offers and path payments, which are nearly all
//! that moves. Fees of contract calls and every other kind of operation are asked of Python.

use crate::participants::Addresses;
use crate::python::{Built, Object, Raised, bytes, int, none};
use crate::reading::{Item, at, call, checked, data, item, items, number, truth};
use crate::rows::{RowType, WordHasher};
use crate::toids;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

const LIQUIDITY_POOL: u8 = 11 << 3;
const CLAIMABLE_BALANCE: u8 = 1 << 3;
const FEE_OPERATION_ID: i64 = 0;
const RECONCILED_BELOW_PROTOCOL: i64 = 8;

/// What Python knows better: classes, reasons, and functions of `processors.token_transfers`.
#[derive(FromPyObject)]
pub struct Asked<'py> {
    pub balance_row: Object<'py>,
    pub native_token: Object<'py>,
    pub debit: Object<'py>,
    pub credit: Object<'py>,
    pub mint: Object<'py>,
    pub burn: Object<'py>,
    pub fee: Object<'py>,
    pub operation: Object<'py>,
    pub token_of: Object<'py>,
}

struct Loop<'a, 'py> {
    py: Python<'py>,
    asked: &'a Asked<'py>,
    row: RowType,
    none: Object<'py>,
    addresses: Addresses<'py>,
    tokens: HashMap<usize, Object<'py>, BuildHasherDefault<WordHasher>>,
    balances: &'a Bound<'py, PyList>,
}

/// The operation whose movements are told.
struct Place<'py> {
    to_id: Object<'py>,
    operation_id: Object<'py>,
    state_change_id: i64,
}

/// Appends rows to `balances`, and what Python is asked for to `balances` and `accounts`.
pub fn token_transfers<'py>(
    asked: &Asked<'py>,
    ledger: Item<'_, 'py>,
    balances: &Bound<'py, PyList>,
    accounts: &Bound<'py, PyList>,
) -> Result<(), Raised> {
    let py = ledger.py();
    let mut moves = Loop {
        py,
        asked,
        row: checked(py, RowType::of(&asked.balance_row))?,
        none: none(py),
        addresses: Addresses::new(py)?,
        tokens: HashMap::default(),
        balances,
    };
    let protocol = item(item(ledger, at::Ledger::header)?, at::LedgerHeader::protocol_version)?;
    let reconciled = number(protocol)? < RECONCILED_BELOW_PROTOCOL;
    for tx in items(item(ledger, at::Ledger::transactions)?)? {
        let tx = tx?;
        let to_id = toids::transaction_id(ledger, number(item(tx, at::Transaction::order)?)?)?;
        let tx_id = int(py, to_id)?;
        moves.fee(tx, &tx_id)?;
        if !matches!(number(item(tx, at::Transaction::result_code)?)?, 0 | 1) {
            continue;
        }
        for (index, op) in items(item(tx, at::Transaction::operations)?)?.enumerate() {
            let op = op?;
            let operation_id = int(py, to_id + index as i64 + 1)?;
            let mut place = Place { to_id: tx_id.clone(), operation_id, state_change_id: 0 };
            if reconciled || !moves.operation(tx, op, &mut place)? {
                let (to_id, operation_id) = (place.to_id.as_borrowed(), place.operation_id.as_borrowed());
                let rows = [balances, accounts].map(|rows| rows.as_any().as_borrowed());
                call(&asked.operation, [tx, op, to_id, operation_id, protocol, rows[0], rows[1]])?;
            }
        }
    }
    Ok(())
}

impl<'a, 'py> Loop<'a, 'py> {
    fn fee(&mut self, tx: Item<'_, 'py>, tx_id: &Object<'py>) -> Result<(), Raised> {
        let py = self.py;
        if truth(item(tx, at::Transaction::is_soroban)?)? {
            let row = call(&self.asked.fee, [tx, tx_id.as_borrowed()])?;
            return if row.is_none() { Ok(()) } else { checked(py, self.balances.append(row)) };
        }
        let fee = item(tx, at::Transaction::fee_charged)?;
        let charged = number(fee)?;
        if charged == 0 {
            return Ok(());
        }
        let payer = item(tx, at::Transaction::fee_source)?;
        let payer = if payer.is_none() { item(tx, at::Transaction::source)? } else { payer };
        let payer = self.addresses.account_of(payer)?;
        let reason = if charged > 0 { &self.asked.debit } else { &self.asked.credit };
        let operation_id = int(py, FEE_OPERATION_ID)?;
        let mut place = Place { to_id: tx_id.clone(), operation_id, state_change_id: 0 };
        self.add(&mut place, reason, &payer, &self.asked.native_token, fee)
    }

    /// Whether the operation was dealt with; if not, nothing was told of it.
    fn operation(&mut self, tx: Item<'_, 'py>, op: Item<'_, 'py>, place: &mut Place<'py>) -> Result<bool, Raised> {
        let (kind, body) = (number(item(op, at::Operation::r#type)?)?, item(op, at::Operation::body)?);
        let source = item(op, at::Operation::source)?;
        let source = if source.is_none() { item(tx, at::Transaction::source)? } else { source };
        match kind {
            1 => {
                let source = self.addresses.account_of(source)?;
                let destination = self.addresses.account_of(item(body, at::Payment::destination)?)?;
                let (asset, amount) = (item(body, at::Payment::asset)?, item(body, at::Payment::amount)?);
                self.moved(place, asset, &source, &destination, amount)?;
            }
            2 | 3 | 4 | 12 | 13 => {
                let Some(result) = success(op)? else { return Ok(false) };
                let source = self.addresses.account_of(source)?;
                // The claim atoms are the first field of the results of offers and of path payments.
                self.trades(place, item(result, 0usize)?, &source)?;
                let (destination, asset, amount) = match kind {
                    2 => {
                        use at::PathPaymentStrictReceive as Body;
                        (Body::destination.into(), Body::dest_asset.into(), item(body, Body::dest_amount)?)
                    }
                    13 => {
                        use at::PathPaymentStrictSend as Body;
                        let amount = item(result, at::PathPaymentResult::last_amount)?;
                        (Body::destination.into(), Body::dest_asset.into(), amount)
                    }
                    _ => return Ok(true),
                };
                let (destination, asset): (usize, usize) = (destination, asset);
                let destination = self.addresses.account_of(item(body, destination)?)?;
                self.moved(place, item(body, asset)?, &source, &destination, amount)?;
            }
            // set options, change trust, data, sequence, sponsorships, times to live: nothing moves
            5 | 6 | 10 | 11 | 16 | 17 | 18 | 25 | 26 => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Each trade is two movements: what the seller gave, then what the seller got.
    fn trades(&mut self, place: &mut Place<'py>, atoms: Item<'_, 'py>, source: &Object<'py>) -> Result<(), Raised> {
        use at::ClaimAtom as Atom;
        for atom in items(atoms)? {
            let atom = atom?;
            let seller = item(atom, Atom::seller)?;
            let seller = if seller.is_none() {
                let mut pool = vec![LIQUIDITY_POOL];
                pool.extend_from_slice(data(item(atom, Atom::pool_id)?)?);
                self.addresses.made(bytes(self.py, &pool)?)?
            } else {
                self.addresses.one(seller)?
            };
            self.moved(place, item(atom, Atom::asset_sold)?, &seller, source, item(atom, Atom::amount_sold)?)?;
            self.moved(place, item(atom, Atom::asset_bought)?, source, &seller, item(atom, Atom::amount_bought)?)?;
        }
        Ok(())
    }

    /// What both sides see of a movement: a mint when the issuer sends, a burn when the issuer receives, else a transfer.
    fn moved(
        &mut self,
        place: &mut Place<'py>,
        asset: Item<'_, 'py>,
        source: &Object<'py>,
        destination: &Object<'py>,
        amount: Item<'_, 'py>,
    ) -> Result<(), Raised> {
        let asked = self.asked;
        let issuer = item(asset, at::Asset::issuer)?;
        let issuer = if issuer.is_none() { None } else { Some(self.addresses.one(issuer)?) };
        let is_issuer = |account: &Object<'py>| issuer.as_ref().is_some_and(|issuer| issuer.is(account));
        let token = self.token(asset)?;
        let (from, to) = (holder(source)?, holder(destination)?);
        match (is_issuer(source), is_issuer(destination)) {
            (true, false) => {
                self.add(place, &asked.mint, source, &token, amount)?;
                if to == Holder::Account {
                    self.add(place, &asked.credit, destination, &token, amount)?;
                }
            }
            (false, true) => {
                self.add(place, &asked.burn, destination, &token, amount)?;
                if from == Holder::Account {
                    self.add(place, &asked.debit, source, &token, amount)?;
                }
            }
            _ if from == Holder::ClaimableBalance || to == Holder::ClaimableBalance => {}
            _ => {
                if from == Holder::Account {
                    self.add(place, &asked.debit, source, &token, amount)?;
                }
                if from == Holder::Pool || to != Holder::Pool {
                    self.add(place, &asked.credit, destination, &token, amount)?;
                }
            }
        }
        Ok(())
    }

    fn token(&mut self, asset: Item<'_, 'py>) -> Built<'py> {
        let identity = asset.as_ptr() as usize;
        if let Some(token) = self.tokens.get(&identity) {
            return Ok(token.clone());
        }
        let token = call(&self.asked.token_of, [asset])?;
        self.tokens.insert(identity, token.clone());
        Ok(token)
    }

    fn add(
        &self,
        place: &mut Place<'py>,
        reason: &Object<'py>,
        account: &Object<'py>,
        token: &Object<'py>,
        amount: Item<'_, 'py>,
    ) -> Result<(), Raised> {
        let py = self.py;
        place.state_change_id += 1;
        let items = [
            place.to_id.clone(),
            place.operation_id.clone(),
            int(py, place.state_change_id)?,
            reason.clone(),
            account.clone(),
            token.clone(),
            amount.to_owned(),
            self.none.clone(),
        ];
        checked(py, self.balances.append(self.row.row(py, items)?))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Account,
    Pool,
    ClaimableBalance,
}

fn holder(address: &Object<'_>) -> Result<Holder, Raised> {
    Ok(match data(address.as_borrowed())?.first() {
        Some(&LIQUIDITY_POOL) => Holder::Pool,
        Some(&CLAIMABLE_BALANCE) => Holder::ClaimableBalance,
        _ => Holder::Account,
    })
}

/// What the success of an operation carries; None when the result is none of success, which Python refuses.
fn success<'a, 'py>(op: Item<'a, 'py>) -> Result<Option<Item<'a, 'py>>, Raised> {
    let result = item(op, at::Operation::result)?;
    if result.is_none() || number(item(result, at::OperationResult::code)?)? != 0 {
        return Ok(None);
    }
    let inner = item(result, at::OperationResult::inner_code)?;
    if inner.is_none() || number(inner)? != 0 {
        return Ok(None);
    }
    let value = item(result, at::OperationResult::value)?;
    Ok(if value.is_none() { None } else { Some(value) })
}
