//! `lumenstream._native`: from the bytes of a LedgerCloseMeta to the rows of `lumenstream/xdr/rows.py`.
//!
//! The whole message is decoded into borrowed structs before the first Python object exists. `lumenstream/xdr/_python.py`
//! is the same thing without a compiler.

mod addresses;
mod buckets;
mod changes;
mod contracts;
mod cursor;
mod entries;
mod ledger;
mod operations;
mod python;
mod results;
mod rows;
mod scval;
mod transactions;
#[rustfmt::skip] // generated
mod xdr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use python::{CollectorPause, Object, Raised};
use rows::{Builder, Classes};

fn decode_error(py: Python<'_>, message: String) -> PyErr {
    match Classes::get(py) {
        Ok(classes) => classes.decode_error(py, message),
        Err(error) => error,
    }
}

fn raised(py: Python<'_>, _: Raised) -> PyErr {
    PyErr::fetch(py)
}

/// The ledger as rows. Raises LedgerDecodeError, LedgerContentError.
#[pyfunction]
fn extract_ledger<'py>(py: Python<'py>, data: &[u8], network_id: &[u8]) -> PyResult<Object<'py>> {
    let network_id: &[u8; 32] =
        network_id.try_into().map_err(|_| PyValueError::new_err("a network id has 32 bytes"))?;
    let ledger = py.detach(|| ledger::decode(data)).map_err(|message| decode_error(py, message))?;
    let classes = Classes::get(py)?;
    let _pause = CollectorPause::new(py);
    let builder = Builder::new(py, classes, network_id).map_err(|e| raised(py, e))?;
    builder.ledger(&ledger).map_err(|e| raised(py, e))
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

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(extract_ledger, module)?)?;
    module.add_function(wrap_pyfunction!(read_header, module)?)?;
    module.add_function(wrap_pyfunction!(validate, module)?)?;
    module.add_function(wrap_pyfunction!(transaction_count, module)?)?;
    module.add_function(wrap_pyfunction!(split_batch, module)?)?;
    module.add_class::<buckets::BucketScanner>()
}
