"""SQL and the rows it gives, one module per table family. Functions take the database and plain values, and give named tuples.

Children of many parents are read in one statement from parallel arrays (ids, close times): a child has its parent's close time,
so each look-up touches one chunk of the hypertable (spec/data.md 8.2, 8.3).
"""
