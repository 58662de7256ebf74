//! Reading the rows that Python holds. Items of a tuple are borrowed: the tuple keeps them, and rows never change.

use crate::python::{Built, Object, Raised, owned, pack};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::os::raw::c_char;

pub type Item<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// One field of a row, or one item of a plain tuple.
#[inline]
pub fn item<'a, 'py>(tuple: Item<'a, 'py>, index: impl Into<usize>) -> Result<Item<'a, 'py>, Raised> {
    // SAFETY: Python checks type and index; the reference lives as long as the tuple, which never changes.
    unsafe { Borrowed::from_ptr_or_opt(tuple.py(), ffi::PyTuple_GetItem(tuple.as_ptr(), index.into() as isize)) }
        .ok_or(Raised)
}

#[inline]
pub fn length(tuple: Item<'_, '_>) -> Result<usize, Raised> {
    // SAFETY: Python checks the type.
    let size = unsafe { ffi::PyTuple_Size(tuple.as_ptr()) };
    usize::try_from(size).map_err(|_| Raised)
}

/// The items of a tuple, in order.
#[inline]
pub fn items<'a, 'py>(tuple: Item<'a, 'py>) -> Result<impl Iterator<Item = Result<Item<'a, 'py>, Raised>>, Raised> {
    Ok((0..length(tuple)?).map(move |index| item(tuple, index)))
}

#[inline]
pub fn number(value: Item<'_, '_>) -> Result<i64, Raised> {
    // SAFETY: a live reference; what is no integer, or too big for 64 bits, raises.
    let number = unsafe { ffi::PyLong_AsLongLong(value.as_ptr()) };
    if number == -1 && PyErr::occurred(value.py()) { Err(Raised) } else { Ok(number) }
}

#[inline]
pub fn data<'a>(value: Item<'a, '_>) -> Result<&'a [u8], Raised> {
    let (mut start, mut size): (*mut c_char, isize) = (std::ptr::null_mut(), 0);
    // SAFETY: raises unless the value is bytes, whose content never changes and lives as long as the value.
    unsafe {
        if ffi::PyBytes_AsStringAndSize(value.as_ptr(), &mut start, &mut size) < 0 {
            return Err(Raised);
        }
        Ok(std::slice::from_raw_parts(start.cast::<u8>(), size as usize))
    }
}

#[inline]
pub fn truth(value: Item<'_, '_>) -> Result<bool, Raised> {
    // SAFETY: a live reference.
    match unsafe { ffi::PyObject_IsTrue(value.as_ptr()) } {
        -1 => Err(Raised),
        answer => Ok(answer != 0),
    }
}

#[inline]
pub fn same(one: Item<'_, '_>, other: Item<'_, '_>) -> bool {
    one.as_ptr() == other.as_ptr()
}

#[inline]
pub fn equal(one: Item<'_, '_>, other: Item<'_, '_>) -> Result<bool, Raised> {
    if same(one, other) {
        return Ok(true);
    }
    // SAFETY: live references.
    match unsafe { ffi::PyObject_RichCompareBool(one.as_ptr(), other.as_ptr(), ffi::Py_EQ) } {
        -1 => Err(Raised),
        answer => Ok(answer != 0),
    }
}

pub fn list<'py>(py: Python<'py>, items: Vec<Object<'py>>) -> Built<'py> {
    // SAFETY: the list is new and seen by nobody else until it is full; PyList_SetItem takes over each item.
    unsafe {
        let list = owned(py, ffi::PyList_New(items.len() as isize))?;
        for (index, item) in items.into_iter().enumerate() {
            if ffi::PyList_SetItem(list.as_ptr(), index as isize, item.into_ptr()) != 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

pub fn dict(py: Python<'_>) -> Result<Bound<'_, PyDict>, Raised> {
    // SAFETY: the call takes nothing, and gives a new dictionary or raises.
    let made = unsafe { owned(py, ffi::PyDict_New()) }?;
    checked(py, made.cast_into::<PyDict>().map_err(PyErr::from))
}

/// Call a function of Python.
pub fn call<'py, const N: usize>(function: &Object<'py>, arguments: [Item<'_, 'py>; N]) -> Built<'py> {
    let py = function.py();
    let arguments = pack(py, arguments.map(|argument| argument.to_owned()))?;
    // SAFETY: live references; the arguments are a tuple.
    unsafe { owned(py, ffi::PyObject_CallObject(function.as_ptr(), arguments.as_ptr())) }
}

/// From pyo3's kind of error to ours.
#[inline]
pub fn checked<T>(py: Python<'_>, result: PyResult<T>) -> Result<T, Raised> {
    result.map_err(|error| {
        error.restore(py);
        Raised
    })
}

pub fn wrong<T>(py: Python<'_>, message: String) -> Result<T, Raised> {
    PyValueError::new_err(message).restore(py);
    Err(Raised)
}

macro_rules! layouts {
    ($($row:ident { $($field:ident),* $(,)? })*) => {
        $(
            #[allow(non_camel_case_types, dead_code)]
            #[derive(Clone, Copy)]
            pub enum $row { $($field),* }

            impl From<$row> for usize {
                #[inline]
                fn from(field: $row) -> usize {
                    field as usize
                }
            }
        )*
        /// Rows of `lumenstream.xdr.rows` and their first fields.
        pub const LAYOUTS: &[(&str, &[&str])] = &[$((stringify!($row), &[$(stringify!($field)),*])),*];
    };
}

/// Where the fields stand that the loops read. `Classes::get` checks this against the Python classes.
pub mod at {
    layouts! {
        Ledger { version, header, transactions }
        LedgerHeader { sequence, hash, previous_hash, close_time, protocol_version }
        Transaction {
            order, hash, inner_hash, envelope_type, source, fee_source, seq_num, fee, memo, is_soroban, resource_fee,
            result_code, fee_charged, inner_result_code, meta_version, operations, fee_changes, changes_after,
            post_fee_changes,
        }
        Operation { r#type, source, body, xdr, result, changes, events }
        OperationResult { code, r#type, inner_code, value }
        Change { kind, r#type, pre, post, key }
        Entry { r#type, last_modified_ledger_seq, sponsor, data }
        AccountEntry {
            account_id, balance, seq_num, num_sub_entries, inflation_dest, flags, home_domain, thresholds, signers,
            buying_liabilities, selling_liabilities, num_sponsored, num_sponsoring, seq_ledger, seq_time, extension,
        }
        Signer { key, weight, sponsor }
        Asset { r#type, code, issuer }
        Payment { destination, asset, amount }
        PathPaymentStrictReceive { send_asset, send_max, destination, dest_asset, dest_amount }
        PathPaymentStrictSend { send_asset, send_amount, destination, dest_asset }
        PathPaymentResult { offers, last_destination, last_asset, last_amount }
        ClaimAtom { r#type, seller, pool_id, offer_id, asset_sold, amount_sold, asset_bought, amount_bought }
    }
}
