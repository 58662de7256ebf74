//! `lumenstream._native`: from the bytes of a LedgerCloseMeta to the rows of `lumenstream/xdr/rows.py`.
//!
//! The whole message is decoded into borrowed structs before the first Python object exists. `lumenstream/xdr/_python.py`
//! is the same thing without a compiler.
//!
//! And the inner loops of the processors over those rows, and of the sink over parts, each the twin of one in Python
//! (`lumenstream.xdr.fastest`).

mod addresses;
mod buckets;
mod changes;
mod columns;
mod contracts;
mod cursor;
mod entries;
mod fields;
mod history;
mod ledger;
mod links;
mod merging;
mod operations;
mod participants;
mod parts;
mod python;
mod reading;
mod results;
mod rows;
mod scval;
mod toids;
mod token_transfers;
mod transactions;
mod values;
#[rustfmt::skip] // generated
mod xdr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use python::{Built, CollectorPause, Object, Raised};
use rows::{Builder, Classes};
use xdr::LedgerCloseMeta;

fn decode_error(py: Python<'_>, message: String) -> PyErr {
    match Classes::get(py) {
        Ok(classes) => classes.decode_error(py, message),
        Err(error) => error,
    }
}

fn raised(py: Python<'_>, _: Raised) -> PyErr {
    PyErr::fetch(py)
}

/// Decode everything, then make rows of it with the collector at rest.
fn extract<'py>(
    py: Python<'py>,
    data: &[u8],
    network_id: &[u8],
    make: impl for<'a> FnOnce(&Builder<'py, 'a>, &LedgerCloseMeta<'a>) -> Built<'py>,
) -> PyResult<Object<'py>> {
    let network_id: &[u8; 32] =
        network_id.try_into().map_err(|_| PyValueError::new_err("a network id has 32 bytes"))?;
    let ledger = py.detach(|| ledger::decode(data)).map_err(|message| decode_error(py, message))?;
    let classes = Classes::get(py)?;
    let _pause = CollectorPause::new(py);
    let builder = Builder::new(py, classes, network_id).map_err(|e| raised(py, e))?;
    make(&builder, &ledger).map_err(|e| raised(py, e))
}

/// The ledger as rows. Raises LedgerDecodeError, LedgerContentError.
#[pyfunction]
fn extract_ledger<'py>(py: Python<'py>, data: &[u8], network_id: &[u8]) -> PyResult<Object<'py>> {
    extract(py, data, network_id, |builder, ledger| builder.ledger(ledger))
}

/// The details of each transaction. Raises LedgerDecodeError, LedgerContentError.
#[pyfunction]
fn extract_details<'py>(py: Python<'py>, data: &[u8], network_id: &[u8]) -> PyResult<Object<'py>> {
    extract(py, data, network_id, |builder, ledger| builder.details(ledger))
}

/// The header alone, without decoding what follows it. Raises LedgerDecodeError.
#[pyfunction]
fn read_header<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Object<'py>> {
    let header = ledger::decode_header(data).map_err(|message| decode_error(py, message))?;
    let builder = Builder::new(py, Classes::get(py)?, &[0; 32]).map_err(|e| raised(py, e))?;
    builder.header(&header).map_err(|e| raised(py, e))
}

/// Decode everything and build nothing. Raises LedgerDecodeError.
#[pyfunction]
fn validate(py: Python<'_>, data: &[u8]) -> PyResult<()> {
    py.detach(|| ledger::decode(data).map(drop)).map_err(|message| decode_error(py, message))
}

/// How many transactions the ledger holds. Raises LedgerDecodeError.
#[pyfunction]
fn transaction_count(py: Python<'_>, data: &[u8]) -> PyResult<usize> {
    let count = py.detach(|| ledger::decode(data).map(|ledger| ledger::transaction_count(&ledger)));
    count.map_err(|message| decode_error(py, message))
}

/// The bytes of each ledger of a LedgerCloseMetaBatch. Raises LedgerDecodeError.
#[pyfunction]
fn split_batch<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let batch = py.detach(|| ledger::decode_batch(data)).map_err(|message| decode_error(py, message))?;
    let found = PyList::empty(py);
    for ledger in &batch.ledger_close_metas {
        found.append(PyBytes::new(py, ledger.xdr))?;
    }
    Ok(found)
}

// --- inner loops of the processors ---------------------------------------------------------------------------------

/// Rows of families, each with the kinds of its columns, to (columns by family, addresses, words, keys).
#[pyfunction]
fn pack_rows<'py>(py: Python<'py>, families: Vec<(Bound<'py, PyList>, String)>) -> PyResult<Object<'py>> {
    columns::pack_rows(py, &families).map_err(|e| raised(py, e))
}

/// The changes that operations made to entries of a type.
#[pyfunction]
fn changes_of<'py>(ledger: &Object<'py>, entry_type: i64) -> PyResult<Object<'py>> {
    merging::changes_of(ledger.as_borrowed(), entry_type).map_err(|e| raised(ledger.py(), e))
}

/// From (key, order, change) to (order, change), one for each key.
#[pyfunction]
fn last_changes<'py>(changes: &Object<'py>) -> PyResult<Object<'py>> {
    let held = changes.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    merging::last_changes(changes.py(), &held).map_err(|e| raised(changes.py(), e))
}

/// (rank, change), one for each account.
#[pyfunction]
fn last_account_changes<'py>(ledger: &Object<'py>) -> PyResult<Object<'py>> {
    merging::last_account_changes(ledger.as_borrowed()).map_err(|e| raised(ledger.py(), e))
}

/// Rows of transactions, operations and who took part in them.
#[pyfunction]
fn participant_rows<'py>(asked: participants::Asked<'py>, ledger: &Object<'py>) -> PyResult<Object<'py>> {
    participants::participants(&asked, ledger.as_borrowed()).map_err(|e| raised(ledger.py(), e))
}

/// Appends the rows of a ledger's movements.
#[pyfunction]
fn movement_rows<'py>(
    asked: token_transfers::Asked<'py>,
    ledger: &Object<'py>,
    balances: &Bound<'py, PyList>,
    accounts: &Bound<'py, PyList>,
) -> PyResult<()> {
    let told = token_transfers::token_transfers(&asked, ledger.as_borrowed(), balances, accounts);
    told.map_err(|e| raised(ledger.py(), e))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(extract_ledger, module)?)?;
    module.add_function(wrap_pyfunction!(extract_details, module)?)?;
    module.add_function(wrap_pyfunction!(read_header, module)?)?;
    module.add_function(wrap_pyfunction!(validate, module)?)?;
    module.add_function(wrap_pyfunction!(transaction_count, module)?)?;
    module.add_function(wrap_pyfunction!(split_batch, module)?)?;
    module.add_class::<buckets::BucketScanner>()?;
    module.add_class::<history::HistoryStreams>()?;
    module.add_function(wrap_pyfunction!(pack_rows, module)?)?;
    module.add_function(wrap_pyfunction!(changes_of, module)?)?;
    module.add_function(wrap_pyfunction!(last_changes, module)?)?;
    module.add_function(wrap_pyfunction!(last_account_changes, module)?)?;
    module.add_function(wrap_pyfunction!(participant_rows, module)?)?;
    module.add_function(wrap_pyfunction!(movement_rows, module)?)
}
