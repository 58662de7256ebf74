//! Making Python objects with every allocation checked.
//!
//! A failed call leaves Python's error indicator set and returns `Raised`; the boundary in `lib.rs` turns it into a `PyErr`.

use pyo3::ffi;
use pyo3::prelude::*;
use std::os::raw::{c_char, c_int};

/// Python's error indicator is set.
#[derive(Clone, Copy, Debug)]
pub struct Raised;

pub type Object<'py> = Bound<'py, PyAny>;
pub type Built<'py> = Result<Object<'py>, Raised>;

/// Own a new reference, or notice that there is none.
///
/// # Safety
/// `pointer` is null with an exception set, or a new reference that nobody else owns.
#[inline]
pub unsafe fn owned(py: Python<'_>, pointer: *mut ffi::PyObject) -> Built<'_> {
    // SAFETY: as promised by the caller.
    unsafe { Bound::from_owned_ptr_or_opt(py, pointer) }.ok_or(Raised)
}

#[inline]
pub fn none(py: Python<'_>) -> Object<'_> {
    py.None().into_bound(py)
}

#[inline]
pub fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Built<'py> {
    // SAFETY: pointer and length belong to one slice; slices are never longer than isize::MAX.
    unsafe { owned(py, ffi::PyBytes_FromStringAndSize(data.as_ptr().cast::<c_char>(), data.len() as isize)) }
}

#[inline]
pub fn string<'py>(py: Python<'py>, text: &str) -> Built<'py> {
    // SAFETY: as for `bytes`; the content is valid UTF-8.
    unsafe { owned(py, ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast::<c_char>(), text.len() as isize)) }
}

/// Valid UTF-8 as str, anything else as bytes.
#[inline]
pub fn text<'py>(py: Python<'py>, data: &[u8]) -> Built<'py> {
    match std::str::from_utf8(data) {
        Ok(valid) => string(py, valid),
        Err(_) => bytes(py, data),
    }
}

#[inline]
pub fn int(py: Python<'_>, value: impl Into<i64>) -> Built<'_> {
    // SAFETY: any value is allowed.
    unsafe { owned(py, ffi::PyLong_FromLongLong(value.into())) }
}

#[inline]
pub fn unsigned(py: Python<'_>, value: u64) -> Built<'_> {
    // SAFETY: any value is allowed.
    unsafe { owned(py, ffi::PyLong_FromUnsignedLongLong(value)) }
}

pub fn boolean(py: Python<'_>, value: bool) -> Built<'_> {
    // SAFETY: any value is allowed.
    unsafe { owned(py, ffi::PyBool_FromLong(value.into())) }
}

/// `high * 2^64 + low`: how integers wider than 64 bits are put together.
pub fn shifted<'py>(py: Python<'py>, high: Object<'py>, low: u64) -> Built<'py> {
    let (bits, low) = (int(py, 64)?, unsigned(py, low)?);
    // SAFETY: all operands are live references.
    unsafe {
        let moved = owned(py, ffi::PyNumber_Lshift(high.as_ptr(), bits.as_ptr()))?;
        owned(py, ffi::PyNumber_Or(moved.as_ptr(), low.as_ptr()))
    }
}

/// A tuple of what `make` gives for each value.
#[inline]
pub fn tuple<'py, T>(py: Python<'py>, values: &[T], mut make: impl FnMut(&T) -> Built<'py>) -> Built<'py> {
    // SAFETY: the tuple is new and seen by nobody else until it is full; PyTuple_SetItem takes over each item.
    unsafe {
        let tuple = owned(py, ffi::PyTuple_New(values.len() as isize))?;
        for (index, value) in values.iter().enumerate() {
            fill(&tuple, index, make(value)?)?;
        }
        Ok(tuple)
    }
}

/// A plain tuple of these items.
#[inline]
pub fn pack<'py, const N: usize>(py: Python<'py>, items: [Object<'py>; N]) -> Built<'py> {
    // SAFETY: as for `tuple`.
    unsafe {
        let tuple = owned(py, ffi::PyTuple_New(N as isize))?;
        for (index, item) in items.into_iter().enumerate() {
            fill(&tuple, index, item)?;
        }
        Ok(tuple)
    }
}

/// Put an item into a tuple under construction.
///
/// # Safety
/// `tuple` is a tuple that nobody else has seen yet.
#[inline]
pub unsafe fn fill(tuple: &Object<'_>, index: usize, item: Object<'_>) -> Result<(), Raised> {
    // SAFETY: as promised; the index is checked by Python, and the reference to the item is given away.
    let status: c_int = unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), index as isize, item.into_ptr()) };
    if status == 0 { Ok(()) } else { Err(Raised) }
}

/// Keeps Python's cyclic collector off while a ledger's rows are built: nothing in them can be garbage yet.
pub struct CollectorPause {
    was_enabled: bool,
}

impl CollectorPause {
    pub fn new(_py: Python<'_>) -> Self {
        // SAFETY: the interpreter is attached, as the token proves.
        CollectorPause { was_enabled: unsafe { ffi::PyGC_Disable() } == 1 }
    }
}

impl Drop for CollectorPause {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: only created, and therefore dropped, while the interpreter is attached.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}
