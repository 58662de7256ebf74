//! A ledger's history as COPY tuples, from the packed columns of its parts: `sinks/timescale/streams.py` in Rust.
//!
//! Which family fills which table, and in what form, is told by `sinks/timescale/layouts.py`.

use crate::fields::{Fields, Stored};
use crate::links::{Everyone, Links, Numbering, copied, told};
use crate::parts::{Columns, Dictionaries, OpenPart, Places};
use crate::python::{Built, Object, Raised, bytes, int, pack};
use crate::reading::{call, checked, data, dict, list, wrong};
use crate::values;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

const CELL_BYTES: usize = 16; // a guess, for the first allocation

/// Table, number of its columns, and of each family that fills it: name, constant fields, steps (form, column).
type TableLayout<'py> = (Bound<'py, PyString>, i16, Vec<(Bound<'py, PyString>, Vec<u8>, Vec<(char, usize)>)>);
/// Table, whether rows with id 0 are left out, and of each family: name, columns of id and account.
type LinkLayout<'py> = (Bound<'py, PyString>, bool, Vec<(Bound<'py, PyString>, usize, usize)>);
/// Family of transactions, columns of its hash and inner hash.
type HashLayout<'py> = (Bound<'py, PyString>, usize, usize);

struct Batch {
    family: Py<PyString>,
    constant: Vec<u8>,
    steps: Vec<(char, usize)>,
}

struct Table {
    name: Py<PyString>,
    count: [u8; 2],
    batches: Vec<Batch>,
}

struct LinkTable {
    name: Py<PyString>,
    but_zero: bool,
    sources: Vec<(Py<PyString>, usize, usize)>,
}

#[pyclass(module = "lumenstream._native", frozen)]
pub struct HistoryStreams {
    json: Py<PyAny>,
    tables: Vec<Table>,
    links: Vec<LinkTable>,
    hashes: (Py<PyString>, usize, usize),
}

/// A column ready to be written, row by row.
enum Cell<'a, 'py> {
    Nulls(usize),
    Number(&'a [[u8; 8]]),
    Flag(&'a [[u8; 1]]),
    Hash(&'a [[u8; 32]]),
    Address(Places<'a>),
    Account(Places<'a>),
    Signer(Places<'a>),
    Word(Places<'a>),
    Value(Vec<Object<'py>>, values::Write),
    Json(Vec<Object<'py>>, &'a Object<'py>),
}

#[pymethods]
impl HistoryStreams {
    /// `json`: from a value to its field.
    #[new]
    fn new(
        json: Py<PyAny>,
        tables: Vec<TableLayout<'_>>,
        links: Vec<LinkLayout<'_>>,
        hashes: HashLayout<'_>,
    ) -> PyResult<Self> {
        let tables = tables.into_iter().map(|(name, columns, batches)| {
            let batches = batches.into_iter().map(|(family, constant, steps)| {
                if let Some((form, _)) = steps.iter().find(|(form, _)| !Cell::FORMS.contains(*form)) {
                    return Err(PyValueError::new_err(format!("no form {form}")));
                }
                Ok(Batch { family: family.unbind(), constant, steps })
            });
            Ok(Table { name: name.unbind(), count: columns.to_be_bytes(), batches: batches.collect::<PyResult<_>>()? })
        });
        let links = links.into_iter().map(|(name, but_zero, sources)| {
            let sources = sources.into_iter().map(|(family, id, account)| (family.unbind(), id, account));
            LinkTable { name: name.unbind(), but_zero, sources: sources.collect() }
        });
        Ok(HistoryStreams {
            json,
            tables: tables.collect::<PyResult<_>>()?,
            links: links.collect(),
            hashes: (hashes.0.unbind(), hashes.1, hashes.2),
        })
    }

    /// (COPY tuples and their number by table, transaction hashes, rows of each link table if asked for).
    ///
    /// `close_time`, `ledger`: fields that begin every row; links have only the first.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        parts: &Bound<'py, PyList>,
        close_time: &[u8],
        ledger: &[u8],
        participants: bool,
    ) -> PyResult<Object<'py>> {
        self.ledger(py, parts, (close_time, ledger), participants).map_err(|_| PyErr::fetch(py))
    }
}

impl HistoryStreams {
    fn ledger<'py>(
        &self,
        py: Python<'py>,
        parts: &Bound<'py, PyList>,
        (close_time, ledger): (&[u8], &[u8]),
        participants: bool,
    ) -> Built<'py> {
        let opened = parts.iter().map(|part| OpenPart::new(part.as_borrowed())).collect::<Result<Vec<_>, _>>()?;
        let dictionaries = opened.iter().map(OpenPart::dictionaries).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = opened.iter().zip(&dictionaries).collect();
        let history = dict(py)?;
        for table in &self.tables {
            let (rows, count) = self.table(py, table, &parts, &[close_time, ledger])?;
            entered(&history, table.name.bind(py), &rows, count)?;
        }
        let mut everyone = Everyone::default();
        let mut numberings: Vec<_> = dictionaries.iter().map(Numbering::new).collect();
        let mut tables = Vec::with_capacity(self.links.len());
        for table in &self.links {
            tables.push(table.links(py, &parts, &mut everyone, &mut numberings)?);
        }
        let (addresses, ranks) = everyone.ranks();
        let mut rows_told = Vec::with_capacity(tables.len());
        for (table, links) in self.links.iter().zip(tables) {
            let rows = links.sorted(&ranks);
            let count = 4_i16.to_be_bytes(); // close time, account, its id, and the id
            entered(
                &history,
                table.name.bind(py),
                &copied(py, &rows, &addresses, &[&count, close_time].concat())?,
                rows.len(),
            )?;
            rows_told.push(if participants { told(py, &rows, &addresses)? } else { list(py, Vec::new())? });
        }
        pack(py, [history.into_any(), self.transaction_hashes(py, &parts)?, list(py, rows_told)?])
    }

    fn table<'py>(
        &self,
        py: Python<'py>,
        table: &Table,
        parts: &[(&OpenPart<'py>, &Dictionaries<'_>)],
        begin: &[&[u8]; 2],
    ) -> Result<(Vec<u8>, usize), Raised> {
        let json = self.json.bind(py);
        let (mut rows, mut count) = (Fields::default(), 0);
        for batch in &table.batches {
            let prefix = [&table.count, begin[0], begin[1], &batch.constant].concat();
            for (part, dictionaries) in parts {
                let Some(columns) = part.family(batch.family.bind(py))? else { continue };
                let cells = batch.steps.iter().map(|(form, at)| Cell::of(py, *form, *at, &columns, json));
                let cells = cells.collect::<Result<Vec<_>, _>>()?;
                rows.0.reserve(columns.count * (prefix.len() + CELL_BYTES * cells.len()));
                for row in 0..columns.count {
                    rows.0.extend_from_slice(&prefix);
                    for cell in &cells {
                        cell.write(py, &mut rows, row, dictionaries)?;
                    }
                }
                count += columns.count;
            }
        }
        Ok((rows.0, count))
    }

    /// Outer and inner hashes.
    fn transaction_hashes<'py>(&self, py: Python<'py>, parts: &[(&OpenPart<'py>, &Dictionaries<'_>)]) -> Built<'py> {
        let (family, outer, inner) = &self.hashes;
        let mut found = Vec::new();
        for (part, _) in parts {
            let Some(columns) = part.family(family.bind(py))? else { continue };
            for hash in columns.fixed::<32>(py, *outer)? {
                found.push(bytes(py, hash)?);
            }
            found.extend(columns.objects(py, *inner)?.into_iter().filter(|hash| !hash.is_none()));
        }
        list(py, found)
    }
}

impl LinkTable {
    fn links<'a>(
        &self,
        py: Python<'_>,
        parts: &[(&'a OpenPart<'_>, &Dictionaries<'a>)],
        everyone: &mut Everyone<'a>,
        numberings: &mut [Numbering],
    ) -> Result<Links, Raised> {
        let mut links = Links::default();
        for ((part, dictionaries), numbering) in parts.iter().zip(numberings) {
            for (family, id, account) in &self.sources {
                let Some(columns) = part.family(family.bind(py))? else { continue };
                let rows = (columns.fixed(py, *id)?, &columns.places(py, *account)?, self.but_zero);
                links.add(py, everyone, numbering, dictionaries, rows)?;
            }
        }
        Ok(links)
    }
}

impl<'a, 'py> Cell<'a, 'py> {
    /// What `sinks.timescale.layouts.Form` calls its forms.
    const FORMS: &'static str = "0q?hamswdlityxj";

    fn of(
        py: Python<'py>,
        form: char,
        at: usize,
        columns: &'a Columns<'py>,
        json: &'a Object<'py>,
    ) -> Result<Self, Raised> {
        Ok(match form {
            '0' => Cell::Nulls(at),
            'q' => Cell::Number(columns.fixed(py, at)?),
            '?' => Cell::Flag(columns.fixed(py, at)?),
            'h' => Cell::Hash(columns.fixed(py, at)?),
            'a' => Cell::Address(columns.places(py, at)?),
            'm' => Cell::Account(columns.places(py, at)?),
            's' => Cell::Signer(columns.places(py, at)?),
            'w' => Cell::Word(columns.places(py, at)?),
            'd' => Cell::Value(columns.objects(py, at)?, values::digits),
            'l' => Cell::Value(columns.objects(py, at)?, values::bigint),
            'i' => Cell::Value(columns.objects(py, at)?, values::smallint),
            't' => Cell::Value(columns.objects(py, at)?, values::text),
            'y' => Cell::Value(columns.objects(py, at)?, values::bytes),
            'x' => Cell::Value(columns.objects(py, at)?, values::bytes_or_null),
            'j' => Cell::Json(columns.objects(py, at)?, json),
            other => return wrong(py, format!("no form {other}")),
        })
    }

    #[inline]
    fn write(&self, py: Python<'py>, to: &mut Fields, row: usize, of: &Dictionaries<'_>) -> Result<(), Raised> {
        match self {
            Cell::Nulls(count) => to.nulls(*count),
            Cell::Number(values) => to.int64(i64::from_le_bytes(values[row])),
            Cell::Flag(values) => to.boolean(values[row] != [0]),
            Cell::Hash(values) => to.raw(&values[row]),
            Cell::Word(places) => to.optional(places.entry(py, row, &of.words)?),
            Cell::Address(places) => match stored(py, places, row, of)? {
                Some(stored) => to.address(&stored),
                None => to.nulls(1),
            },
            Cell::Account(places) => match stored(py, places, row, of)? {
                Some(stored) => to.account(&stored),
                None => to.nulls(2),
            },
            Cell::Signer(places) => match stored(py, places, row, of)? {
                Some(stored) => to.signer(&stored),
                None => to.nulls(2),
            },
            Cell::Value(values, _) | Cell::Json(values, _) if values[row].is_none() => to.nulls(1),
            Cell::Value(values, write) => write(values[row].as_borrowed(), to)?,
            Cell::Json(values, json) => {
                let field = call(json, [values[row].as_borrowed()])?;
                to.0.extend_from_slice(data(field.as_borrowed())?);
            }
        }
        Ok(())
    }
}

fn stored<'a>(
    py: Python<'_>,
    places: &Places<'_>,
    row: usize,
    of: &Dictionaries<'a>,
) -> Result<Option<Stored<'a>>, Raised> {
    match places.entry(py, row, &of.addresses)? {
        None => Ok(None),
        Some(address) => match Stored::of(address) {
            Some(stored) => Ok(Some(stored)),
            None => wrong(py, "no storage form for an address".into()),
        },
    }
}

fn entered<'py>(
    history: &Bound<'py, PyDict>,
    table: &Bound<'py, PyString>,
    rows: &[u8],
    count: usize,
) -> Result<(), Raised> {
    let py = history.py();
    let pair = pack(py, [bytes(py, rows)?, int(py, count as i64)?])?;
    checked(py, history.set_item(table, pair))
}
