//! A position in the message bytes, and the primitives that the generated decoder is made of.
//!
//! Failing is cheap to carry: readers return `Stop`, the cursor keeps what happened and the path of types around it.

use std::fmt;
use std::ops::Deref;

/// Levels of nesting a message may have, counted as the reference decoder counts its own limit.
const MAX_DEPTH: u32 = 500;

/// The value cannot be decoded; `Cursor::failure` says why.
#[derive(Debug)]
pub struct Stop;

pub type Read<T> = Result<T, Stop>;

/// A value together with the exact bytes it was decoded from.
pub struct Spanned<'a, T> {
    pub value: T,
    pub xdr: &'a [u8],
}

impl<T> Deref for Spanned<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

enum Reason {
    Short { wanted: usize },
    Unknown(i32),
    NotBoolean(u32),
    Padding,
    TooLong { length: u32, limit: u32 },
    TooMany { count: u32, remaining: usize },
    TooDeep,
    Trailing(usize),
}

pub struct Cursor<'a> {
    data: &'a [u8],
    position: usize,
    depth: u32,
    reason: Option<Reason>,
    /// Types around the failure, innermost first.
    path: Vec<&'static str>,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Cursor { data, position: 0, depth: MAX_DEPTH, reason: None, path: Vec::new() }
    }

    /// Fails unless every byte has been read.
    pub fn finish(&mut self) -> Read<()> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(self.stop(Reason::Trailing(extra))),
        }
    }

    #[inline]
    fn remaining(&self) -> usize {
        self.data.len() - self.position
    }

    #[cold]
    fn stop(&mut self, reason: Reason) -> Stop {
        self.reason = Some(reason);
        Stop
    }

    #[cold]
    fn leave_failed(&mut self, name: &'static str) {
        self.path.push(name);
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        match self.data[self.position..].first_chunk::<N>() {
            Some(bytes) => {
                self.position += N;
                Ok(bytes)
            }
            None => Err(self.stop(Reason::Short { wanted: N })),
        }
    }

    #[inline]
    pub fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_be_bytes(*self.bytes()?))
    }

    #[inline]
    pub fn i32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(*self.bytes()?))
    }

    #[inline]
    pub fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_be_bytes(*self.bytes()?))
    }

    #[inline]
    pub fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(*self.bytes()?))
    }

    /// A boolean or the presence flag of an optional: 0 or 1, nothing else.
    #[inline]
    pub fn boolean(&mut self) -> Read<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.back(4, Reason::NotBoolean(other))),
        }
    }

    #[inline]
    pub fn enumeration(&mut self, name: &'static str, known: impl Fn(i32) -> bool) -> Read<i32> {
        let value = self.i32()?;
        if known(value) {
            return Ok(value);
        }
        self.leave_failed(name);
        Err(self.unknown(value))
    }

    /// The discriminant just read belongs to no arm of its union.
    #[cold]
    pub fn unknown(&mut self, value: i32) -> Stop {
        self.back(4, Reason::Unknown(value))
    }

    /// A failure at the start of what was just read.
    #[cold]
    fn back(&mut self, length: usize, reason: Reason) -> Stop {
        self.position -= length;
        self.stop(reason)
    }

    #[inline]
    fn padding(&mut self, length: usize) -> Read<()> {
        let wanted = length.wrapping_neg() % 4;
        match self.data[self.position..].get(..wanted) {
            Some(padding) if padding.iter().all(|byte| *byte == 0) => {
                self.position += wanted;
                Ok(())
            }
            Some(_) => Err(self.stop(Reason::Padding)),
            None => Err(self.stop(Reason::Short { wanted })),
        }
    }

    #[inline]
    pub fn fixed<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        let bytes = self.bytes()?;
        self.padding(N)?;
        Ok(bytes)
    }

    /// Variable opaque data or a string of at most `limit` bytes.
    #[inline]
    pub fn opaque(&mut self, limit: u32) -> Read<&'a [u8]> {
        let length = self.u32()?;
        if length > limit {
            return Err(self.back(4, Reason::TooLong { length, limit }));
        }
        let wanted = length as usize;
        match self.data[self.position..].get(..wanted) {
            Some(bytes) => {
                self.position += wanted;
                self.padding(wanted)?;
                Ok(bytes)
            }
            None => Err(self.stop(Reason::Short { wanted })),
        }
    }

    #[inline]
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.boolean()? { Ok(Some(read(self)?)) } else { Ok(None) }
    }

    /// Variable array. Space is reserved only for as many elements of `smallest` bytes as the message can still hold.
    #[inline]
    pub fn array<T>(&mut self, smallest: usize, limit: u32, read: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.count(smallest, limit)?;
        self.repeat(count, read)
    }

    #[inline]
    fn count(&mut self, smallest: usize, limit: u32) -> Read<usize> {
        let count = self.u32()?;
        if count > limit {
            return Err(self.back(4, Reason::TooLong { length: count, limit }));
        }
        let remaining = self.remaining();
        if count as usize > remaining / smallest.max(1) {
            return Err(self.back(4, Reason::TooMany { count, remaining }));
        }
        Ok(count as usize)
    }

    #[inline]
    pub fn repeat<T>(&mut self, count: usize, mut read: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    #[inline]
    pub fn spanned<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Spanned<'a, T>> {
        let start = self.position;
        let value = read(self)?;
        Ok(Spanned { value, xdr: &self.data[start..self.position] })
    }

    /// Read a named struct or union.
    #[inline]
    pub fn scope<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let result = read(self);
        if result.is_err() {
            self.leave_failed(name);
        }
        result
    }

    // The same for types on a recursive path: they spend levels of the depth limit.

    #[inline]
    pub fn need(&mut self, levels: u32) -> Read<()> {
        if self.depth >= levels { Ok(()) } else { Err(self.stop(Reason::TooDeep)) }
    }

    /// Read `levels` deeper. The caller has checked that they are available.
    #[inline]
    pub fn deeper<T>(&mut self, levels: u32, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.need(levels)?;
        self.depth -= levels;
        let result = read(self);
        self.depth += levels;
        result
    }

    #[inline]
    pub fn deep_scope<T>(
        &mut self,
        name: &'static str,
        levels: u32,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        self.scope(name, |c| {
            c.need(levels)?;
            c.deeper(1, read)
        })
    }

    #[inline]
    pub fn deep_optional<T>(
        &mut self,
        entered: u32,
        levels: u32,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        self.optional(|c| {
            c.need(entered + levels)?;
            c.deeper(entered, read)
        })
    }

    #[inline]
    pub fn deep_array<T>(
        &mut self,
        smallest: usize,
        limit: u32,
        entered: u32,
        levels: u32,
        read: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.count(smallest, limit)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        self.need(entered + levels)?;
        self.deeper(entered, |c| c.repeat(count, read))
    }
}

/// What `Cursor` says after a reader returned `Stop`: reason, offset and the types around it.
impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(Reason::Short { wanted }) => write!(f, "{wanted} more bytes expected, {} left", self.remaining())?,
            Some(Reason::Unknown(value)) => write!(f, "unknown value {value}")?,
            Some(Reason::NotBoolean(value)) => write!(f, "a boolean is 0 or 1, not {value}")?,
            Some(Reason::Padding) => write!(f, "padding is not zero")?,
            Some(Reason::TooLong { length, limit }) => write!(f, "length {length} is above its limit {limit}")?,
            Some(Reason::TooMany { count, remaining }) => {
                write!(f, "{count} elements cannot fit in the {remaining} bytes left")?;
            }
            Some(Reason::TooDeep) => write!(f, "nested deeper than {MAX_DEPTH} levels")?,
            Some(Reason::Trailing(extra)) => write!(f, "{extra} bytes after the end")?,
            None => write!(f, "not decoded")?,
        }
        write!(f, " at offset {}", self.position)?;
        for (index, name) in self.path.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { " in " } else { " < " })?;
        }
        Ok(())
    }
}
