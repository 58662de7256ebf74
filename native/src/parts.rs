//! An opened part (`schemas.parts.OpenPart`): dictionaries, and the packed columns of its families.
//!
//! What Python holds is checked again here, so that nothing it could hand over is read past its end.

use crate::python::{Object, Raised};
use crate::reading::{Item, checked, data, item, number, wrong};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use std::os::raw::c_char;

/// What keeps the bytes of a part alive while they are read.
pub struct OpenPart<'py> {
    addresses: Vec<Object<'py>>,
    words: Vec<Object<'py>>,
    families: Bound<'py, PyDict>,
}

/// The entries of its dictionaries.
pub struct Dictionaries<'a> {
    pub addresses: Vec<&'a [u8]>,
    pub words: Vec<&'a [u8]>,
}

/// The columns of one family.
pub struct Columns<'py> {
    pub count: usize,
    columns: Vec<Object<'py>>,
}

/// Indexes into a dictionary.
pub struct Places<'a> {
    packed: &'a [u8],
    wide: bool,
}

impl<'py> OpenPart<'py> {
    pub fn new(opened: Item<'_, 'py>) -> Result<Self, Raised> {
        let families = item(opened, 3usize)?.to_owned().cast_into::<PyDict>();
        Ok(OpenPart {
            addresses: items_of(item(opened, 0usize)?)?,
            words: items_of(item(opened, 1usize)?)?,
            families: checked(opened.py(), families.map_err(PyErr::from))?,
        })
    }

    pub fn dictionaries(&self) -> Result<Dictionaries<'_>, Raised> {
        Ok(Dictionaries {
            addresses: self.addresses.iter().map(|entry| data(entry.as_borrowed())).collect::<Result<_, _>>()?,
            words: self.words.iter().map(|entry| utf8(entry.as_borrowed())).collect::<Result<_, _>>()?,
        })
    }

    pub fn family(&self, name: &Bound<'py, PyString>) -> Result<Option<Columns<'py>>, Raised> {
        let py = name.py();
        let Some(packed) = checked(py, self.families.get_item(name))? else { return Ok(None) };
        let mut columns = items_of(packed.as_borrowed())?;
        if columns.is_empty() {
            return wrong(py, format!("family {name} has no columns"));
        }
        let count = number(columns.remove(0).as_borrowed())?;
        match usize::try_from(count) {
            Ok(count) => Ok(Some(Columns { count, columns })),
            Err(_) => wrong(py, format!("family {name} has {count} rows")),
        }
    }
}

impl<'py> Columns<'py> {
    /// Fixed-width values, as many as there are rows.
    pub fn fixed<const WIDTH: usize>(&self, py: Python<'py>, at: usize) -> Result<&[[u8; WIDTH]], Raised> {
        let (values, rest) = data(self.at(py, at)?)?.as_chunks();
        if values.len() != self.count || !rest.is_empty() {
            return wrong(py, format!("a column of {} values, expected {}", values.len(), self.count));
        }
        Ok(values)
    }

    pub fn places(&self, py: Python<'py>, at: usize) -> Result<Places<'_>, Raised> {
        let packed = data(self.at(py, at)?)?;
        let width = packed.len() / self.count.max(1);
        if packed.len() != width * self.count || (self.count > 0 && width != 2 && width != 4) {
            return wrong(py, format!("{} bytes of indexes for {} rows", packed.len(), self.count));
        }
        Ok(Places { packed, wide: width == 4 })
    }

    /// Values of any kind.
    pub fn objects(&self, py: Python<'py>, at: usize) -> Result<Vec<Object<'py>>, Raised> {
        let values = items_of(self.at(py, at)?)?;
        if values.len() != self.count {
            return wrong(py, format!("a column of {} values, expected {}", values.len(), self.count));
        }
        Ok(values)
    }

    fn at(&self, py: Python<'py>, at: usize) -> Result<Item<'_, 'py>, Raised> {
        match self.columns.get(at) {
            Some(column) => Ok(column.as_borrowed()),
            None => wrong(py, format!("a family of {} columns, expected more than {at}", self.columns.len())),
        }
    }
}

impl Places<'_> {
    /// The index of this row, None for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<usize> {
        if self.wide {
            let place = u32::from_le_bytes(self.packed.as_chunks().0[row]);
            (place != u32::MAX).then_some(place as usize)
        } else {
            let place = u16::from_le_bytes(self.packed.as_chunks().0[row]);
            (place != u16::MAX).then_some(usize::from(place))
        }
    }

    /// The entry of this row, None for NULL.
    #[inline]
    pub fn entry<'a, 'py>(
        &self,
        py: Python<'py>,
        row: usize,
        entries: &[&'a [u8]],
    ) -> Result<Option<&'a [u8]>, Raised> {
        let Some(place) = self.get(row) else { return Ok(None) };
        match entries.get(place) {
            Some(entry) => Ok(Some(entry)),
            None => wrong(py, format!("entry {place} of a dictionary of {}", entries.len())),
        }
    }
}

/// The items of a list, kept.
fn items_of<'py>(list: Item<'_, 'py>) -> Result<Vec<Object<'py>>, Raised> {
    let list = checked(list.py(), list.cast::<PyList>().map_err(PyErr::from))?;
    Ok(list.iter().collect())
}

/// A text in UTF-8.
pub fn utf8<'a>(value: Item<'a, '_>) -> Result<&'a [u8], Raised> {
    let mut size: isize = 0;
    // SAFETY: raises unless the value is a text, which keeps its UTF-8 as long as it lives.
    unsafe {
        let start: *const c_char = ffi::PyUnicode_AsUTF8AndSize(value.as_ptr(), &mut size);
        if start.is_null() {
            return Err(Raised);
        }
        Ok(std::slice::from_raw_parts(start.cast::<u8>(), size as usize))
    }
}
