"""From a decoded ledger to what happened to whom: pure processors, one file each.

Read `participants` (who took part), `token_transfers` with `token_events` and `contract_events` (whose balance moved and why),
`effects` (what else operations did to accounts and trustlines), `accounts` and `trustlines` (what everyone holds afterwards) in
this order; then the others of `registry`. `view` has what all of them ask of a ledger, `merge` makes the last change out of many.

Each takes a `lumenstream.xdr.rows.Ledger` and returns a `schemas.parts.Part`; none does I/O. Where a loop is wrapped in
`lumenstream.xdr.fastest`, Rust runs it where it is built; the Python you read does the same (docs/decisions/0017). `handling`,
`agents` and `worker` hang the processors on Kafka.
"""
