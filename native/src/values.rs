//! Values of columns of any kind (`Kind.BIG`, `Kind.ANY`) as COPY fields. Each writes one value that is not None, or refuses it.

use crate::fields::Fields;
use crate::parts::utf8;
use crate::python::Raised;
use crate::reading::{Item, data, wrong};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};

const MAX_DIGITS: usize = 4300; // as `schemas.parts`

pub type Write = fn(Item<'_, '_>, &mut Fields) -> Result<(), Raised>;

/// An integer of any size, which comes as text where MessagePack has no integer so wide.
pub fn digits(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    match integer(value)? {
        Some(number) => to.digits(number),
        None => to.raw(canonical(value)?),
    }
    Ok(())
}

pub fn bigint(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    let number = match integer(value)? {
        Some(number) => i64::try_from(number).ok(),
        None => std::str::from_utf8(canonical(value)?).ok().and_then(|digits| digits.parse().ok()),
    };
    let Some(number) = number else { return wrong(value.py(), "a number beyond 64 bits".into()) };
    to.int64(number);
    Ok(())
}

pub fn smallint(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    let number = integer(value)?.and_then(|number| i16::try_from(number).ok());
    let Some(number) = number else { return wrong(value.py(), "not a number of 16 bits".into()) };
    to.int16(number);
    Ok(())
}

pub fn text(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    to.raw(text_of(value)?);
    Ok(())
}

pub fn bytes(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    to.raw(bytes_of(value)?);
    Ok(())
}

/// Nothing at all is NULL.
pub fn bytes_or_null(value: Item<'_, '_>, to: &mut Fields) -> Result<(), Raised> {
    let value = bytes_of(value)?;
    to.optional((!value.is_empty()).then_some(value));
    Ok(())
}

/// The number, None for what is no integer or beyond 64 bits, signed or not.
fn integer(value: Item<'_, '_>) -> Result<Option<i128>, Raised> {
    if !value.is_exact_instance_of::<PyInt>() {
        return Ok(None);
    }
    let mut overflow = 0;
    // SAFETY: a live reference to an integer: no error is left behind.
    let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &mut overflow) };
    if overflow == 0 {
        return Ok(Some(i128::from(number)));
    }
    // SAFETY: as above; what is negative or too big for 64 bits raises, which is dropped here.
    let number = unsafe { ffi::PyLong_AsUnsignedLongLong(value.as_ptr()) };
    if number == u64::MAX && PyErr::take(value.py()).is_some() { Ok(None) } else { Ok(Some(i128::from(number))) }
}

/// The digits of an integer as Python writes it.
fn canonical<'a>(value: Item<'a, '_>) -> Result<&'a [u8], Raised> {
    let digits = text_of(value)?;
    let magnitude = digits.strip_prefix(b"-").unwrap_or(digits);
    let fits = match magnitude {
        b"0" => digits.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < MAX_DIGITS && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if fits { Ok(digits) } else { wrong(value.py(), "a text that is not an integer".into()) }
}

fn text_of<'a>(value: Item<'a, '_>) -> Result<&'a [u8], Raised> {
    if value.is_instance_of::<PyString>() { utf8(value) } else { wrong(value.py(), "a value that is not text".into()) }
}

fn bytes_of<'a>(value: Item<'a, '_>) -> Result<&'a [u8], Raised> {
    if value.is_instance_of::<PyBytes>() { data(value) } else { wrong(value.py(), "a value that is not bytes".into()) }
}
