"""Print the XDR decoders of Lumenstream from the Stellar schema.

    python native/generate.py rust   <path to xdr.json> > native/src/xdr.rs
    python native/generate.py python <path to xdr.json> > lumenstream/xdr/_wire.py
    python native/generate.py names  <path to xdr.json> > lumenstream/xdr/_names.py

The schema is `xdr-definitions-json/xdr.json` of the `stellar-xdr` crate, version 30.0.0, which `cargo fetch` puts into the
registry folder. The first two outputs decode everything reachable from ROOTS. They are exactly as strict as that crate, and
stricter in one point: a boolean is 0 or 1. `native/src/cursor.rs` and `lumenstream/xdr/_cursor.py` hold the primitives that
the generated code calls.

Recursion. The reference decoder spends one level of its depth limit per nested read, primitives included. The generated code
counts the same levels, but only where they can run out: in types that reach or are reached from a recursive type ("deep").
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from typing import Any, NamedTuple

ROOTS = ("LedgerCloseMetaBatch", "BucketEntry", "HotArchiveBucketEntry")
# Types whose exact bytes the extraction needs (kept in the ledger rows, hashed, cached by, or compared).
SPANNED_TYPES = {
    "ConfigSettingEntry", "ContractIDPreimage", "FeeBumpTransaction", "LedgerCloseMeta", "LedgerEntry", "LedgerUpgrade",
    "Operation", "Transaction", "TransactionEnvelope", "TransactionV0",
}  # fmt: skip
# Single fields needed as bytes too: the variable parts of ledger keys, which order the changes of an operation.
SPANNED_FIELDS = {("TrustLineEntry", "asset"), ("ContractDataEntry", "contract"), ("ContractDataEntry", "key")}

INTEGERS = {"int": ("i32", 4, "i"), "unsigned_int": ("u32", 4, "I"), "hyper": ("i64", 8, "q"), "unsigned_hyper": ("u64", 8, "Q")}
BUILTIN_TYPEDEFS = {"uint32", "int32", "uint64", "int64"}
RUST_KEYWORDS = {"type", "fn", "in", "self", "match", "ref", "move", "box", "where", "loop", "final"}
UNBOUNDED = 0xFFFF_FFFF

Type = dict[str, Any]


class Schema:
    """Named definitions plus the properties of types that both outputs need."""

    def __init__(self, document: Type) -> None:
        self.constants = {d["name"]: d["value"] for d in document["definitions"] if d["kind"] == "const"}
        self.types: dict[str, Type] = {d["name"]: d for d in document["definitions"] if d["kind"] != "const"}
        self.reachable = {*ROOTS}.union(*(self._reachable_from(root) for root in ROOTS))
        recursive = {name for name in self.reachable if name in self._reachable_from(name)}
        below = {name for start in recursive for name in self._reachable_from(start)}
        above = {name for name in self.reachable if self._reachable_from(name) & recursive}
        self.recursive, self.deep = recursive, recursive | below | above
        self.names = sorted(self.reachable)

    def number(self, value: Any) -> int:
        if isinstance(value, int):
            return value
        if isinstance(value, dict):
            return self.number(value.get("value", value.get("name")))
        return self.number(self.constants[value]) if value in self.constants else int(value, 0)

    def limit(self, node: Type, key: str) -> int:
        return self.number(node[key]) if node.get(key) is not None else UNBOUNDED

    def _references(self, node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["name"]} if node.get("kind") == "ref" else set()
            return own.union(*(self._references(value) for key, value in node.items() if key != "source"))
        return set().union(*(self._references(value) for value in node)) if isinstance(node, list) else set()

    @cache
    def _direct(self, name: str) -> frozenset[str]:
        return frozenset(self._references(self.types[name]))

    @cache
    def _reachable_from(self, name: str) -> frozenset[str]:
        found: set[str] = set()
        pending = [name]
        while pending:
            for reference in self._direct(pending.pop()) - found:
                found.add(reference)
                pending.append(reference)
        return frozenset(found)

    def resolve(self, node: Type) -> Type:
        """Follow typedefs down to a primitive, a container, or a ref to an enum, struct or union."""
        while node["kind"] == "ref" and self.types[node["name"]]["kind"] == "typedef":
            node = self.types[node["name"]]["type"]
        return node

    def boxed(self, element: Type, owner: str) -> bool:
        """An optional of the type that holds it: a pointer, and one more level to the reference decoder."""
        return element["kind"] == "ref" and element["name"] == owner

    def is_deep(self, node: Type) -> bool:
        return bool(self._references(node) & self.deep)

    def arms(self, union: Type) -> list[tuple[str | None, int, Type | None]]:
        """(case name, value, body type or None for void) of every case."""
        found = []
        for arm in union["arms"]:
            if not arm.get("cases"):
                raise ValueError(f"{union['name']}: default arms are not supported")
            body = arm.get("type") if arm["name"] is not None else None
            found += [(case.get("name"), self.number(case["value"]), body) for case in arm["cases"]]
        return found

    def enum_values(self, name: str) -> list[int]:
        return sorted(self.number(member["value"]) for member in self.types[name]["members"])

    def smallest(self, node: Type, inside: frozenset[str] = frozenset()) -> int:
        """Fewest bytes any value of the type takes; what a claimed array length is checked against."""
        kind = node["kind"]
        if kind in INTEGERS:
            return INTEGERS[kind][1]
        if kind == "opaque_fixed":
            return (self.number(node["size"]) + 3) // 4 * 4
        if kind == "array":
            return self.number(node["count"]) * self.smallest(node["element"], inside)
        if kind != "ref":
            return 4  # bool, length or presence flag
        name = node["name"]
        definition = self.types[name]
        if name in inside:
            return 4
        inside |= {name}
        if definition["kind"] == "typedef":
            return self.smallest(definition["type"], inside)
        if definition["kind"] == "struct":
            return sum(self.smallest(field["type"], inside) for field in definition["fields"])
        if definition["kind"] == "union":
            return 4 + min(self.smallest(body, inside) if body else 0 for _, _, body in self.arms(definition))
        return 4

    def levels(self, node: Type) -> int:
        """Depth levels that reading the type always takes, before any array element, optional or union arm."""
        kind = node["kind"]
        if kind in INTEGERS or kind == "opaque_fixed":
            return 1
        if kind == "array":
            return 1 + self.levels(node["element"])
        if kind != "ref":
            return 2  # itself and the 32 bits it starts with
        definition = self.types[node["name"]]
        if definition["kind"] == "enum":
            return 2
        if definition["kind"] == "typedef":
            return (node["name"] not in BUILTIN_TYPEDEFS) + self.levels(definition["type"])
        if definition["kind"] == "struct":
            return 1 + max(self.levels(field["type"]) for field in definition["fields"])
        arms = self.arms(definition)
        certain = [self.levels(arms[0][2])] if len(arms) == 1 and arms[0][2] else []
        return 1 + max([self.levels(definition["discriminant"]["type"]), *certain])

    def arm_levels(self, union: str, body: Type | None) -> int:
        """Levels to check before reading a union arm that does not check itself; 0 when the union's own check covers it."""
        if body is None or union not in self.deep:
            return 0
        levels = self.levels(body)
        return levels if levels + 1 > self.levels({"kind": "ref", "name": union}) else 0

    def checks_itself(self, node: Type) -> bool:
        node = self.resolve(node)
        return node["kind"] == "ref" and self.types[node["name"]]["kind"] != "enum"

    def wrappers(self, node: Type) -> int:
        """Levels of the typedefs around the resolved type."""
        count = 0
        while node["kind"] == "ref" and self.types[node["name"]]["kind"] == "typedef":
            count += node["name"] not in BUILTIN_TYPEDEFS
            node = self.types[node["name"]]["type"]
        return count


# --- Rust -------------------------------------------------------------------------------------------------------------


def camel(name: str) -> str:
    name = re.sub(r"^(tx|op)(?=[A-Z])", "", name)
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_"))


def snake(name: str) -> str:
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    return name + "_" if name in RUST_KEYWORDS else name


class Rust:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.owner = ""  # the type being printed

    @cache
    def borrows(self, name: str) -> bool:
        names = self.schema._reachable_from(name) | {name}
        return any(self._holds_bytes(self.schema.types[n]) or self.schema._direct(n) & SPANNED_TYPES for n in names)

    def _holds_bytes(self, node: Any) -> bool:
        if isinstance(node, dict):
            if node.get("kind") in ("opaque_fixed", "opaque_var", "string"):
                return True
            return any(self._holds_bytes(value) for key, value in node.items() if key != "source")
        return isinstance(node, list) and any(self._holds_bytes(value) for value in node)

    def named(self, name: str) -> str:
        return name + ("<'a>" if self.borrows(name) else "")

    def type(self, node: Type) -> str:
        spanned = node["kind"] == "ref" and node["name"] in SPANNED_TYPES
        node = self.schema.resolve(node)
        kind = node["kind"]
        if kind in INTEGERS:
            return INTEGERS[kind][0]
        if kind == "bool":
            return "bool"
        if kind == "opaque_fixed":
            return f"&'a [u8; {self.schema.number(node['size'])}]"
        if kind in ("opaque_var", "string"):
            return "&'a [u8]"
        if kind in ("var_array", "array"):
            return f"Vec<{self.type(node['element'])}>"
        if kind == "optional":
            inner = self.type(node["element"])
            return f"Option<Box<{inner}>>" if self.schema.boxed(node["element"], self.owner) else f"Option<{inner}>"
        if self.schema.types[node["name"]]["kind"] == "enum":
            return "i32"
        return f"Spanned<'a, {self.named(node['name'])}>" if spanned else self.named(node["name"])

    def read(self, node: Type) -> str:
        """An expression that reads one value from the cursor `c`."""
        if node["kind"] == "ref" and node["name"] in SPANNED_TYPES:
            return f"c.spanned({node['name']}::read)?"
        wrappers, deep = self.schema.wrappers(node), self.schema.is_deep(node)
        inner = self.schema.resolve(node)
        kind = inner["kind"]
        if kind in INTEGERS:
            return f"c.{INTEGERS[kind][0]}()?"
        if kind == "bool":
            return "c.boolean()?"
        if kind == "opaque_fixed":
            return f"c.fixed::<{self.schema.number(inner['size'])}>()?"
        if kind in ("opaque_var", "string"):
            limit = self.schema.limit(inner, "max_size")
            return "c.opaque(u32::MAX)?" if limit == UNBOUNDED else f"c.opaque({limit})?"
        if kind == "array":
            return f"c.repeat({self.schema.number(inner['count'])}, |c| Ok({self.read(inner['element'])}))?"
        if kind == "var_array":
            limit = self.schema.limit(inner, "max_count")
            bounds = f"{self.schema.smallest(inner['element'])}, {'u32::MAX' if limit == UNBOUNDED else limit}"
            reader = f"|c| Ok({self.read(inner['element'])})"
            need = self.schema.levels(inner["element"])
            return f"c.deep_array({bounds}, {wrappers + 1}, {need}, {reader})?" if deep else f"c.array({bounds}, {reader})?"
        if kind == "optional":
            element = self.read(inner["element"])
            reader = f"|c| Ok(Box::new({element}))" if self.schema.boxed(inner["element"], self.owner) else f"|c| Ok({element})"
            if not deep:
                return f"c.optional({reader})?"
            entered = wrappers + 1 + self.schema.boxed(inner["element"], self.owner)
            return f"c.deep_optional({entered}, {self.schema.levels(inner['element'])}, {reader})?"
        name = inner["name"]
        if self.schema.types[name]["kind"] == "enum":
            return f"{name}::read(c)?"
        return f"c.deeper({wrappers}, {name}::read)?" if wrappers and deep else f"{name}::read(c)?"

    def scope(self, name: str) -> str:
        if name not in self.schema.deep:
            return f'c.scope("{name}", |c| '
        return f'c.deep_scope("{name}", {self.schema.levels({"kind": "ref", "name": name})}, |c| '

    def definition(self, name: str) -> str:
        definition = self.schema.types[name]
        self.owner = name
        if definition["kind"] == "enum":
            return self.enum(name)
        implement = f"impl<'a> {self.named(name)} {{\n    pub fn read(c: &mut Cursor<'a>) -> Read<Self> {{\n        "
        if definition["kind"] == "struct":
            fields = definition["fields"]
            members = "".join(f"    pub {snake(f['name'])}: {self.field_type(name, f)},\n" for f in fields)
            reads = "".join(f"            {snake(f['name'])}: {self.field_read(name, f)},\n" for f in fields)
            head = f"pub struct {self.named(name)} {{\n{members}}}\n"
            return f"{head}{implement}{self.scope(name)}Ok(Self {{\n{reads}        }}))\n    }}\n}}\n"
        return self.union(name, definition, implement)

    def field_type(self, owner: str, field: Type) -> str:
        plain = self.type(field["type"])
        return f"Spanned<'a, {plain}>" if (owner, field["name"]) in SPANNED_FIELDS else plain

    def field_read(self, owner: str, field: Type) -> str:
        plain = self.read(field["type"])
        return f"c.spanned(|c| Ok({plain}))?" if (owner, field["name"]) in SPANNED_FIELDS else plain

    def enum(self, name: str) -> str:
        values = self.schema.enum_values(name)
        contiguous = values == list(range(values[0], values[-1] + 1))
        pattern = f"{values[0]}..={values[-1]}" if contiguous and len(values) > 1 else " | ".join(map(str, values))
        return (
            f"pub struct {name};\nimpl {name} {{\n    pub fn read(c: &mut Cursor<'_>) -> Read<i32> {{\n"
            f'        c.enumeration("{name}", |v| matches!(v, {pattern}))\n    }}\n}}\n'
        )

    def union(self, name: str, definition: Type, implement: str) -> str:
        discriminant = definition["discriminant"]["type"]
        prefix = self.schema.types[discriminant["name"]].get("member_prefix", "") if discriminant["kind"] == "ref" else ""
        members, reads, numbers = "", "", ""
        for case, value, body in self.schema.arms(definition):
            short = (case or f"V{value}").removeprefix(prefix)
            variant = camel(short if short and not short[0].isdigit() else case or "")
            members += f"    {variant}({self.type(body)}),\n" if body else f"    {variant},\n"
            need = 0 if body and self.schema.checks_itself(body) else self.schema.arm_levels(name, body)
            read = f"({{ c.need({need})?; {self.read(body)} }})" if body and need else f"({self.read(body)})" if body else ""
            reads += f"            {value} => Self::{variant}{read},\n"
            numbers += f"            Self::{variant}{'(_)' if body else ''} => {value},\n"
        return (
            f"pub enum {self.named(name)} {{\n{members}}}\n{implement}{self.scope(name)}Ok(match c.i32()? {{\n{reads}"
            f"            other => return Err(c.unknown(other)),\n        }}))\n    }}\n"
            f"    #[inline]\n    pub fn discriminant(&self) -> i32 {{\n        match self {{\n{numbers}        }}\n    }}\n}}\n"
        )

    def output(self) -> str:
        names = [n for n in self.schema.names if self.schema.types[n]["kind"] != "typedef"]
        head = (
            "// Generated by native/generate.py from xdr.json of stellar-xdr 30.0.0. Do not edit.\n"
            "//! Stellar XDR types that borrow from the message bytes, and their strict decoder.\n"
            "//! Enums are plain `i32`s checked against their range; typedefs are resolved.\n"
            "#![allow(dead_code, clippy::all, non_camel_case_types)]\n\n"
            "use crate::cursor::{Cursor, Read, Spanned};\n\n"
        )
        return head + "\n".join(self.definition(name) for name in names)


# --- Python -----------------------------------------------------------------------------------------------------------


class Flat(NamedTuple):
    """A value of fixed layout: its `struct` format, the variables unpacked, checks on them, the expression that builds it."""

    layout: str
    names: list[str]
    checks: list[str]
    value: str


class Python:
    """Structs become dicts with the schema's field names, unions (discriminant, value), spanned values (value, bytes)."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.layouts: set[str] = set()
        self.enums: set[str] = set()
        self.owner = ""  # the type being printed

    def flat(self, node: Type, variable: str) -> Flat | None:
        if node["kind"] == "ref" and node["name"] in SPANNED_TYPES:
            return None
        node = self.schema.resolve(node)
        kind = node["kind"]
        if kind in INTEGERS:
            return Flat(INTEGERS[kind][2], [variable], [], variable)
        if kind == "bool":
            return Flat("I", [variable], [f"{variable} > 1 and c.bad_boolean({variable})"], f"{variable} == 1")
        if kind == "opaque_fixed":
            size = self.schema.number(node["size"])
            return Flat(f"{size}s", [variable], [], variable) if size % 4 == 0 else None
        if kind != "ref":
            return None
        definition = self.schema.types[node["name"]]
        if definition["kind"] == "enum":
            self.enums.add(node["name"])
            return Flat("i", [variable], [f"{variable} in {node['name']} or c.bad_enum({variable}, '{node['name']}')"], variable)
        if definition["kind"] == "struct":
            parts = [(f["name"], self.flat(f["type"], f"{variable}_{f['name']}")) for f in definition["fields"]]
            if any(part is None for _, part in parts):
                return None
            return self._joined([(name, part) for name, part in parts if part is not None])
        arms = self.schema.arms(definition)
        body = arms[0][2]
        if len(arms) != 1:
            return None
        tag, value = f"{variable}_tag", arms[0][1]
        check = f"{tag} == {value} or c.bad_case({tag}, '{node['name']}')"
        if body is None:
            return Flat("i", [tag], [check], f"({value}, None)")
        inner = self.flat(body, variable)
        if inner is None:
            return None
        return Flat("i" + inner.layout, [tag, *inner.names], [check, *inner.checks], f"({value}, {inner.value})")

    @staticmethod
    def _joined(parts: list[tuple[str, Flat]]) -> Flat:
        return Flat(
            "".join(part.layout for _, part in parts),
            [name for _, part in parts for name in part.names],
            [check for _, part in parts for check in part.checks],
            "{" + ", ".join(f"'{name}': {part.value}" for name, part in parts) + "}",
        )

    def unpack(self, flat: Flat) -> list[str]:
        self.layouts.add(flat.layout)
        targets = ", ".join(flat.names) + ("," if len(flat.names) == 1 else "")
        size = sum((int(count or 1) if code == "s" else int(count or 1) * (8 if code in "qQ" else 4))
                   for count, code in re.findall(r"(\d*)([iIqQs])", flat.layout))  # fmt: skip
        return [f"{targets} = _{flat.layout}(c.data, c.pos)", f"c.pos += {size}", *flat.checks]

    def read(self, node: Type) -> str:
        if node["kind"] == "ref" and node["name"] in SPANNED_TYPES:
            return f"c.spanned({node['name']})"
        wrappers, deep = self.schema.wrappers(node), self.schema.is_deep(node)
        inner = self.schema.resolve(node)
        kind = inner["kind"]
        if kind in INTEGERS:
            return f"c.{INTEGERS[kind][0]}()"
        if kind == "bool":
            return "c.boolean()"
        if kind == "opaque_fixed":
            return f"c.fixed({self.schema.number(inner['size'])})"
        if kind in ("opaque_var", "string"):
            return f"c.opaque({self.schema.limit(inner, 'max_size')})"
        if kind == "array":
            return f"c.repeat({self.schema.number(inner['count'])}, {self.reader(inner['element'])})"
        if kind == "var_array":
            bounds = f"{self.schema.smallest(inner['element'])}, {self.schema.limit(inner, 'max_count')}"
            reader = self.reader(inner["element"])
            need = self.schema.levels(inner["element"])
            return f"c.deep_array({bounds}, {wrappers + 1}, {need}, {reader})" if deep else f"c.array({bounds}, {reader})"
        if kind == "optional":
            reader = self.reader(inner["element"])
            if not deep:
                return f"c.optional({reader})"
            entered = wrappers + 1 + self.schema.boxed(inner["element"], self.owner)
            return f"c.deep_optional({entered}, {self.schema.levels(inner['element'])}, {reader})"
        name = inner["name"]
        if self.schema.types[name]["kind"] == "enum":
            self.enums.add(name)
            return f"c.enumeration({name}, '{name}')"
        return f"c.deeper({wrappers}, {name})" if wrappers and deep else f"{name}(c)"

    def reader(self, node: Type) -> str:
        """The same as a function of the cursor."""
        expression = self.read(node)
        direct = re.fullmatch(r"(\w+)\(c\)", expression) or re.fullmatch(r"c\.(\w+)\(\)", expression)
        if direct is None:
            return f"lambda c: {expression}"
        return f"Cursor.{direct[1]}" if expression.startswith("c.") else direct[1]

    def enter(self, name: str) -> list[str]:
        if name not in self.schema.deep:
            return []
        return [f"c.depth >= {self.schema.levels({'kind': 'ref', 'name': name})} or c.too_deep()", "c.depth -= 1"]

    def definition(self, name: str) -> str:
        definition = self.schema.types[name]
        self.owner = name
        body = self.enter(name)
        leave = ["c.depth += 1"] if name in self.schema.deep else []
        if definition["kind"] == "struct":
            body += self.struct(name, definition, leave)
        else:
            body += self.union(definition, leave)
        return f"def {name}(c: Cursor) -> Any:\n" + "".join(f"    {line}\n" for line in body)

    def struct(self, name: str, definition: Type, leave: list[str]) -> list[str]:
        lines: list[str] = []
        values: list[tuple[str, str]] = []
        run: list[tuple[str, Flat]] = []

        def flush() -> None:
            if run:
                lines.extend(self.unpack(self._joined(run)))
                values.extend((field, flat.value) for field, flat in run)
                run.clear()

        for field in definition["fields"]:
            spanned = (name, field["name"]) in SPANNED_FIELDS
            variable = f"v_{field['name']}"
            flat = None if spanned else self.flat(field["type"], variable)
            if flat is not None:
                run.append((field["name"], flat))
                continue
            flush()
            read = f"c.spanned({self.reader(field['type'])})" if spanned else self.read(field["type"])
            lines.append(f"{variable} = {read}")
            values.append((field["name"], variable))
        flush()
        result = ", ".join(f"'{field}': {value}" for field, value in values)
        return [*lines, *leave, f"return {{{result}}}"]

    def union(self, definition: Type, leave: list[str]) -> list[str]:
        lines = ["tag = c.i32()"]
        bodies: dict[str, tuple[list[int], Type | None]] = {}
        for _, value, body in self.schema.arms(definition):
            bodies.setdefault(json.dumps(body), ([], body))[0].append(value)
        for position, (values, body) in enumerate(bodies.values()):
            test = f"tag == {values[0]}" if len(values) == 1 else f"tag in ({', '.join(map(str, values))})"
            lines.append(f"{'elif' if position else 'if'} {test}:")
            flat = self.flat(body, "value") if body else None
            need = self.schema.arm_levels(definition["name"], body)
            if need and (flat is not None or (body and not self.schema.checks_itself(body))):
                lines.append(f"    c.depth >= {need} or c.too_deep()")
            if flat is not None:
                lines += [f"    {line}" for line in self.unpack(flat)]
                lines.append(f"    value = {flat.value}") if flat.value != "value" else None
            else:
                lines.append(f"    value = {self.read(body) if body else 'None'}")
        return [*lines, "else:", "    c.unknown(tag)", *leave, "return (tag, value)"]

    def output(self) -> str:
        kinds = ("struct", "union")
        functions = [self.definition(n) for n in self.schema.names if self.schema.types[n]["kind"] in kinds]
        head = (
            "# Generated by native/generate.py from xdr.json of stellar-xdr 30.0.0. Do not edit.\n"
            '"""Strict wire decoder of Stellar XDR in pure Python: structs are dicts, unions (discriminant, value) pairs.\n\n'
            "Where the extraction needs the exact bytes of a value it is a (value, bytes) pair; the generator lists those.\n"
            '"""\n\nfrom __future__ import annotations\n\nfrom struct import Struct\nfrom typing import Any\n\n'
            "from lumenstream.xdr._cursor import Cursor\n\n"
        )
        layouts = "".join(f'_{layout} = Struct(">{layout}").unpack_from\n' for layout in sorted(self.layouts))
        enums = "".join(f"{n} = frozenset({self.schema.enum_values(n)})\n" for n in sorted(self.enums))
        return head + layouts + "\n" + enums + "\n\n" + "\n\n".join(functions)


# --- names ------------------------------------------------------------------------------------------------------------


class Names:
    """Names of enum values, for people."""

    ENUMS = ("LedgerEntryChangeType", "LedgerEntryType", "LedgerUpgradeType", "MemoType", "OperationResultCode", "OperationType",
             "SCErrorType", "SCErrorCode", "SCValType", "TransactionResultCode")  # fmt: skip

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def table(self, enum: str) -> dict[int, str]:
        members = self.schema.types[enum]["members"]
        return {self.schema.number(member["value"]): member["name"] for member in members}

    def output(self) -> str:
        head = (
            "# Generated by native/generate.py from xdr.json of stellar-xdr 30.0.0. Do not edit.\n"
            '"""Names of XDR enum values, as the schema writes them."""\n\n'
            "from __future__ import annotations\n\nfrom typing import Final\n\n"
        )
        tables = "".join(
            f"{snake(enum).upper()}: Final[dict[int, str]] = {self.lines(self.table(enum))}\n\n" for enum in self.ENUMS
        )
        results = "".join(
            f"    {number}: {self.lines(self.table(self.code_enum(body)), '    ')},\n"
            for _, number, body in self.schema.arms(self.schema.types["OperationResultTr"])
            if body is not None
        )
        comment = "# The result codes of each operation type.\n"
        return f"{head}{tables}{comment}OPERATION_CODES: Final[dict[int, dict[int, str]]] = {{\n{results}}}\n"

    def code_enum(self, body: Type) -> str:
        name: str = self.schema.types[body["name"]]["discriminant"]["type"]["name"]
        return name

    @staticmethod
    def lines(table: dict[int, str], indent: str = "") -> str:
        return "{\n" + "".join(f'{indent}    {number}: "{name}",\n' for number, name in table.items()) + indent + "}"


def main() -> None:
    output, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        schema = Schema(json.load(file))
    printers: dict[str, Rust | Python | Names] = {"rust": Rust(schema), "python": Python(schema), "names": Names(schema)}
    sys.stdout.write(printers[output].output())


if __name__ == "__main__":
    main()
