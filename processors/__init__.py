"""From a decoded ledger to what happened to whom: pure processors, one file each.

Read `participants` (who took part), `token_transfers` (whose balance moved and why), `accounts` and `trustlines` (what everyone
holds afterwards) in this order. Each takes a `lumenstream.xdr.rows.Ledger` and returns a `schemas.parts.Part`; none does I/O.
"""
