//! Who took part: the union of `schemas.participation.union_accounts`, over the packed columns of a ledger's parts.

use crate::fields::{Fields, Stored};
use crate::parts::{Dictionaries, Places};
use crate::python::{Built, Object, Raised, bytes, int, pack};
use crate::reading::{list, wrong};
use pyo3::prelude::*;
use std::collections::HashMap;

/// All addresses of a ledger that take part, each once.
#[derive(Default)]
pub struct Everyone<'a> {
    numbers: HashMap<&'a [u8], u32>,
    addresses: Vec<&'a [u8]>,
}

/// The numbers of the entries of one part's dictionary, filled as they are met.
pub struct Numbering(Vec<Option<u32>>);

impl Numbering {
    pub fn new(dictionaries: &Dictionaries<'_>) -> Self {
        Numbering(vec![None; dictionaries.addresses.len()])
    }
}

/// Rows of one link table: id, and the number of an address.
#[derive(Default)]
pub struct Links(Vec<(i64, u32)>);

impl Links {
    /// Add the accounts of a family's rows. `but_zero`: not those with id 0.
    pub fn add<'a>(
        &mut self,
        py: Python<'_>,
        everyone: &mut Everyone<'a>,
        numbering: &mut Numbering,
        dictionaries: &Dictionaries<'a>,
        (ids, accounts, but_zero): (&[[u8; 8]], &Places<'_>, bool),
    ) -> Result<(), Raised> {
        self.0.reserve(ids.len());
        for (row, id) in ids.iter().enumerate() {
            let Some(place) = accounts.get(row) else { return wrong(py, "a row without its account".into()) };
            let number = match numbering.0.get(place) {
                Some(Some(number)) => *number,
                Some(None) => {
                    let number = everyone.number(dictionaries.addresses[place]);
                    numbering.0[place] = Some(number);
                    number
                }
                None => return wrong(py, format!("entry {place} of a dictionary of {}", numbering.0.len())),
            };
            let id = i64::from_le_bytes(*id);
            if id != 0 || !but_zero {
                self.0.push((id, number));
            }
        }
        Ok(())
    }

    /// Each row once, in the order of id and address. `ranks` come from `Everyone::ranks`.
    pub fn sorted(mut self, ranks: &[u32]) -> Vec<(i64, u32)> {
        self.0.iter_mut().for_each(|(_, number)| *number = ranks[*number as usize]);
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

impl<'a> Everyone<'a> {
    fn number(&mut self, address: &'a [u8]) -> u32 {
        let next = self.addresses.len() as u32;
        let number = *self.numbers.entry(address).or_insert(next);
        if number == next {
            self.addresses.push(address);
        }
        number
    }

    /// The addresses in their order, and the place in it of each by its number.
    pub fn ranks(self) -> (Vec<&'a [u8]>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.addresses.len() as u32).collect();
        order.sort_unstable_by_key(|number| self.addresses[*number as usize]);
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, number)| ranks[*number as usize] = rank as u32);
        (order.iter().map(|number| self.addresses[*number as usize]).collect(), ranks)
    }
}

/// COPY tuples of a link table.
pub fn copied(py: Python<'_>, rows: &[(i64, u32)], addresses: &[&[u8]], prefix: &[u8]) -> Result<Vec<u8>, Raised> {
    const ROW_BYTES: usize = 64;
    let mut fields = Fields(Vec::with_capacity(rows.len() * (prefix.len() + ROW_BYTES)));
    for (id, rank) in rows {
        let address = addresses[*rank as usize];
        let Some(stored) = Stored::of(address) else { return wrong(py, "no storage form for an address".into()) };
        fields.0.extend_from_slice(prefix);
        fields.participant(&stored);
        fields.int64(*id);
    }
    Ok(fields.0)
}

/// The rows as a list of (id, address).
pub fn told<'py>(py: Python<'py>, rows: &[(i64, u32)], addresses: &[&[u8]]) -> Built<'py> {
    let mut made: Vec<Option<Object<'py>>> = vec![None; addresses.len()];
    let pairs = rows.iter().map(|(id, rank)| {
        let address = match &made[*rank as usize] {
            Some(address) => address.clone(),
            None => {
                let address = bytes(py, addresses[*rank as usize])?;
                made[*rank as usize] = Some(address.clone());
                address
            }
        };
        pack(py, [int(py, *id)?, address])
    });
    list(py, pairs.collect::<Result<_, _>>()?)
}
