//! Rows of a part to its columns and dictionaries: the loop of `schemas.parts.pack_rows`.

use crate::python::{Built, Object, Raised, bytes, int, owned, pack};
use crate::reading::{Item, checked, data, dict, item, length, list, number, wrong};
use crate::rows::WordHasher;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

const MISSING: u32 = u32::MAX;
const WIDEST_SHORT: usize = 0xFFFF;

/// A part's dictionary: each value once, in order of first use.
struct Dictionary<'py> {
    py: Python<'py>,
    places: Bound<'py, PyDict>,
    entries: Vec<Object<'py>>,
    /// Places by identity: values repeat mostly as the same object. The rows keep all of them while the part is packed.
    known: HashMap<usize, u32, BuildHasherDefault<WordHasher>>,
}

impl<'py> Dictionary<'py> {
    fn new(py: Python<'py>) -> Result<Self, Raised> {
        Ok(Dictionary { py, places: dict(py)?, entries: Vec::new(), known: HashMap::default() })
    }

    fn place(&mut self, value: Item<'_, 'py>) -> Result<u32, Raised> {
        if value.is_none() {
            return Ok(MISSING);
        }
        let identity = value.as_ptr() as usize;
        if let Some(place) = self.known.get(&identity) {
            return Ok(*place);
        }
        let place = match checked(self.py, self.places.get_item(value))? {
            Some(place) => number(place.as_borrowed())? as u32,
            None => {
                let place = self.entries.len() as u32;
                checked(self.py, self.places.set_item(value, int(self.py, place)?))?;
                self.entries.push(value.to_owned());
                place
            }
        };
        self.known.insert(identity, place);
        Ok(place)
    }

    /// 16-bit places, or 32-bit ones once the dictionary is longer than they reach; all ones for None.
    fn column(&mut self, rows: &[Object<'py>], at: usize) -> Built<'py> {
        let places = each(rows, at, |value| self.place(value))?;
        let packed: Vec<u8> = if self.entries.len() > WIDEST_SHORT {
            places.iter().flat_map(|place| place.to_le_bytes()).collect()
        } else {
            places.iter().flat_map(|place| (*place as u16).to_le_bytes()).collect()
        };
        bytes(self.py, &packed)
    }
}

/// What `read` makes of one field of every row.
fn each<'py, T>(
    rows: &[Object<'py>],
    at: usize,
    mut read: impl FnMut(Item<'_, 'py>) -> Result<T, Raised>,
) -> Result<Vec<T>, Raised> {
    rows.iter().map(|row| read(item(row.as_borrowed(), at)?)).collect()
}

/// The columns of every family, then the dictionaries for addresses, words and keys.
pub fn pack_rows<'py>(py: Python<'py>, families: &[(Bound<'py, PyList>, String)]) -> Built<'py> {
    let (mut addresses, mut words, mut keys) = (Dictionary::new(py)?, Dictionary::new(py)?, Dictionary::new(py)?);
    let mut packed = Vec::with_capacity(families.len());
    for (rows, kinds) in families {
        let rows: Vec<Object<'py>> = rows.iter().collect();
        for row in &rows {
            if length(row.as_borrowed())? != kinds.len() {
                return wrong(py, format!("a row without {} columns", kinds.len()));
            }
        }
        let columns = kinds.bytes().enumerate().map(|(at, kind)| match kind {
            b'a' => addresses.column(&rows, at),
            b'w' => words.column(&rows, at),
            b'k' => keys.column(&rows, at),
            b'q' => bytes(py, &each(&rows, at, number)?.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()),
            b'?' => bytes(py, &each(&rows, at, flag)?),
            b'h' => hashes(py, &rows, at),
            b'b' => list(py, each(&rows, at, big)?),
            b'o' => list(py, each(&rows, at, |value| Ok(value.to_owned()))?),
            other => wrong(py, format!("no column of kind {}", other as char)),
        });
        packed.push(list(py, columns.collect::<Result<_, _>>()?)?);
    }
    let [addresses, words, keys] = [addresses, words, keys].map(|dictionary| list(py, dictionary.entries));
    pack(py, [list(py, packed)?, addresses?, words?, keys?])
}

fn flag(value: Item<'_, '_>) -> Result<u8, Raised> {
    match number(value)? {
        byte @ 0..=255 => Ok(byte as u8),
        other => wrong(value.py(), format!("{other} in a column of booleans")),
    }
}

fn hashes<'py>(py: Python<'py>, rows: &[Object<'py>], at: usize) -> Built<'py> {
    let mut joined = Vec::with_capacity(32 * rows.len());
    for row in rows {
        joined.extend_from_slice(data(item(row.as_borrowed(), at)?)?);
    }
    bytes(py, &joined)
}

/// The integer, or its digits as text where MessagePack has no integer so wide.
fn big<'py>(value: Item<'_, 'py>) -> Built<'py> {
    let py = value.py();
    if value.is_none() {
        return Ok(value.to_owned());
    }
    let mut overflow = 0;
    // SAFETY: a live reference; what is no integer raises.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &mut overflow) };
    if number == -1 && PyErr::occurred(py) {
        return Err(Raised);
    }
    if overflow > 0 {
        // SAFETY: as above; too big for 64 bits raises too, which is dropped here.
        let number = unsafe { ffi::PyLong_AsUnsignedLongLong(value.as_ptr()) };
        if number != u64::MAX || PyErr::take(py).is_none() {
            return Ok(value.to_owned());
        }
    } else if overflow == 0 {
        return Ok(value.to_owned());
    }
    // SAFETY: a live reference.
    unsafe { owned(py, ffi::PyObject_Str(value.as_ptr())) }
}
