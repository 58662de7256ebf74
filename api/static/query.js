// The query page: an editor, examples that fill in real values, the result, and the schema by introspection.
"use strict";

const ENDPOINT = "/graphql/query";
const HEALTH_SECONDS = 5;
const LONGEST_COLOURED = 400000;
const byId = (id) => document.getElementById(id);
const queryBox = byId("query"), variablesBox = byId("variables"), statusBox = byId("status"), resultBox = byId("result");

const EXAMPLES = [
  ["Latest transactions", `query Latest($last: Int, $before: String) {
  transactions(last: $last, before: $before) {
    edges { node {
      hash ledgerNumber ledgerCreatedAt resultCode feeCharged
      operations(first: 3) { edges { node { operationType } } }
    } }
    pageInfo { startCursor hasPreviousPage }
  }
}`, () => ({ last: 5 })],
  ["A transaction by hash", `query Transaction($hash: String!) {
  transactionByHash(hash: $hash) {
    hash innerHash isFeeBump ledgerNumber ledgerCreatedAt feeCharged resultCode
    accounts { address }
    operations { edges { node { idString operationType successful resultCode } } }
    stateChanges { edges { node {
      type reason account { address }
      ... on StandardBalanceChange { tokenId amount }
    } } }
  }
}`, (sample) => ({ hash: sample.hash })],
  ["History of an account", `query History($address: String!, $first: Int, $after: String) {
  accountByAddress(address: $address) {
    stateChanges(first: $first, after: $after) {
      edges { node {
        __typename reason ledgerCreatedAt transaction { hash }
        ... on StandardBalanceChange { tokenId amount }
        ... on TrustlineChange { limit trustlineToken: tokenId }
        ... on MetadataChange { keyValue }
        ... on SignerChange { signerAddress signerWeights }
      } }
      pageInfo { endCursor hasNextPage }
    }
  }
}`, (sample) => ({ address: sample.address, first: 10 })],
  ["Payments of an account", `query Payments($address: String!) {
  accountByAddress(address: $address) {
    stateChanges(filter: { category: "BALANCE" }, last: 10) {
      edges { node {
        reason ledgerCreatedAt
        ... on StandardBalanceChange { tokenId amount toMuxedId }
      } }
    }
  }
}`, (sample) => ({ address: sample.address })],
  ["Balances", `query Balances($addresses: [String!]!) {
  balancesByAccountAddresses(addresses: $addresses) {
    address
    error
    balances {
      __typename balance tokenId tokenType
      ... on NativeBalance { minimumBalance }
      ... on TrustlineBalance { code issuer limit isAuthorized }
      ... on SACBalance { code issuer decimals }
    }
  }
}`, (sample) => ({ addresses: [sample.address] })],
  ["An operation by id", `query Operation($id: Int64!) {
  operationById(id: $id) {
    operationType successful operationXdr
    transaction { hash ledgerNumber }
    accounts { address }
    stateChanges { edges { node { type reason account { address } } } }
  }
}`, (sample) => ({ id: sample.operation })],
];

const SAMPLE = `{ transactions(last: 1) { edges { node { hash accounts { address }
  operations(first: 1) { edges { node { idString } } } } } } }`;
const INTROSPECTION = `{ __schema { queryType { name } mutationType { name } types { kind name description
  fields { name description type { ...T } args { name type { ...T } } } inputFields { name type { ...T } }
  enumValues { name } possibleTypes { name } } } }
  fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

async function send(query, variables, operationName) {
  const answer = await fetch(ENDPOINT, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ query, variables, operationName }),
  });
  return { status: answer.status, text: await answer.text() };
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- running ---------------------------------------------------------------------------------------------------------

function say(text, bad) {
  statusBox.textContent = text;
  statusBox.classList.toggle("bad", Boolean(bad));
}

// JSON is indented as text, never through numbers of JavaScript: ids of 64 bits keep every digit.
function indent(text) {
  let out = "", depth = 0;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) || [];
  tokens.forEach((token, index) => {
    const next = tokens[index + 1];
    if (token === "{" || token === "[") {
      const empty = next === "}" || next === "]";
      out += token;
      depth += 1;
      if (!empty) out += "\n" + "  ".repeat(depth);
    } else if (token === "}" || token === "]") {
      depth -= 1;
      const before = tokens[index - 1];
      out += (before === "{" || before === "[" ? "" : "\n" + "  ".repeat(depth)) + token;
    } else if (token === ",") out += ",\n" + "  ".repeat(depth);
    else out += token === ":" ? ": " : token;
  });
  return out;
}

function show(text) {
  resultBox.textContent = "";
  if (text.length > LONGEST_COLOURED) {
    resultBox.textContent = text;
    return;
  }
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*|true|false|null)/g;
  const pieces = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(pattern)) {
    pieces.append(text.slice(from, found.index));
    const kind = found[3] ? "number" : found[2] ? "name" : "string";
    pieces.append(element("span", { className: kind, textContent: found[1] || found[3] }), found[2] || "");
    from = found.index + found[0].length;
  }
  pieces.append(text.slice(from));
  resultBox.append(pieces);
}

function variables() {
  const text = variablesBox.value.trim();
  const value = text ? JSON.parse(text) : {};
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("an object is expected");
  return value;
}

// The operation in which the cursor stands, when the text holds several.
function operationName() {
  const names = [...queryBox.value.matchAll(/^\s*(?:query|mutation|subscription)\s+(\w+)/gm)];
  if (names.length < 2) return undefined;
  const before = names.filter((found) => found.index <= queryBox.selectionStart);
  return (before.length ? before[before.length - 1] : names[0])[1];
}

let nextPage = null;

async function run() {
  let given;
  try {
    given = variables();
  } catch (error) {
    say(`variables: ${error.message}`, true);
    variablesBox.focus();
    return;
  }
  localStorage.setItem("query", queryBox.value);
  localStorage.setItem("variables", variablesBox.value);
  const button = byId("run");
  button.disabled = true;
  say("running…");
  const started = performance.now();
  try {
    const { status, text } = await send(queryBox.value, given, operationName());
    const milliseconds = Math.round(performance.now() - started);
    const failed = status !== 200 || /^\{\s*"errors"/.test(text);
    say(`${failed ? "errors, " : ""}HTTP ${status}, ${milliseconds} ms, ${text.length.toLocaleString()} characters`, failed);
    show(indent(text));
    offerNext(text, given);
  } catch (error) {
    say(`no answer: ${error.message}`, true);
  } finally {
    button.disabled = false;
  }
}

// A next page is offered when the result has one and the query takes the cursor as a variable.
function offerNext(text, given) {
  const forward = /"hasNextPage":true/.test(text) && /"endCursor":"([^"]+)"/.exec(text);
  const backward = /"hasPreviousPage":true/.test(text) && /"startCursor":"([^"]+)"/.exec(text);
  nextPage = null;
  if (forward && /\$after\b/.test(queryBox.value)) nextPage = { ...given, after: forward[1] };
  else if (backward && /\$before\b/.test(queryBox.value)) nextPage = { ...given, before: backward[1] };
  byId("next").hidden = nextPage === null;
  byId("next").textContent = nextPage && nextPage.before ? "Older page" : "Next page";
}

// --- examples --------------------------------------------------------------------------------------------------------

async function sample() {
  const unknown = { hash: "0".repeat(64), address: "G...", operation: "0" };
  try {
    const { text } = await send(SAMPLE, {});
    const node = JSON.parse(text).data.transactions.edges[0].node;
    const operation = node.operations.edges[0];
    return { hash: node.hash, address: node.accounts[0].address, operation: operation ? operation.node.idString : "0" };
  } catch {
    return unknown;
  }
}

function listExamples() {
  for (const [title, query, fill] of EXAMPLES) {
    const button = element("button", { type: "button", className: "link", textContent: title });
    button.addEventListener("click", async () => {
      queryBox.value = query;
      variablesBox.value = JSON.stringify(fill(await sample()), null, 2);
      await run();
    });
    byId("examples").append(element("li", {}, button));
  }
}

// --- schema ----------------------------------------------------------------------------------------------------------

function typeText(type) {
  if (type.kind === "NON_NULL") return `${typeText(type.ofType)}!`;
  return type.kind === "LIST" ? `[${typeText(type.ofType)}]` : type.name;
}

function named(type) {
  return type.ofType ? named(type.ofType) : type.name;
}

function typeLink(type) {
  const button = element("button", { type: "button", className: "link", textContent: typeText(type) });
  button.addEventListener("click", () => {
    byId("search").value = "";
    narrow();
    const target = byId(`type-${named(type)}`);
    if (!target) return;
    target.open = true;
    target.querySelector("summary").focus();
    target.scrollIntoView({ block: "start" });
  });
  return button;
}

function fieldItem(field) {
  const args = (field.args || []).map((arg) => `${arg.name}: ${typeText(arg.type)}`).join(", ");
  const item = element("li", {}, element("code", { textContent: field.name }));
  if (args) item.append(element("span", { className: "faint", textContent: ` (${args})` }));
  item.append(": ", typeLink(field.type));
  if (field.description) item.append(element("p", { textContent: field.description }));
  return item;
}

function typeEntry(type) {
  const list = element("ul", {});
  for (const field of type.fields || type.inputFields || []) list.append(fieldItem(field));
  for (const value of type.enumValues || []) list.append(element("li", {}, element("code", { textContent: value.name })));
  for (const kind of type.possibleTypes || []) list.append(element("li", {}, "is a ", typeLink({ kind: "OBJECT", name: kind.name })));
  const entry = element("details", { id: `type-${type.name}` }, element("summary", { textContent: type.name }));
  if (type.description) entry.append(element("p", { textContent: type.description }));
  entry.append(list);
  return entry;
}

async function loadSchema() {
  const place = byId("schema");
  try {
    const { text } = await send(INTROSPECTION, {});
    const { data, errors } = JSON.parse(text);
    if (errors) throw new Error("the server does not show its schema");
    const roots = [data.__schema.queryType, data.__schema.mutationType].filter(Boolean).map((root) => root.name);
    const plain = ["String", "Int", "Boolean", "Float", "ID"];
    const types = data.__schema.types.filter((type) => !type.name.startsWith("__") && !plain.includes(type.name));
    types.sort((a, b) => roots.includes(b.name) - roots.includes(a.name) || a.name.localeCompare(b.name));
    place.replaceChildren(...types.map(typeEntry));
    place.firstElementChild.open = true;
  } catch (error) {
    place.replaceChildren(element("p", { className: "bad", textContent: error.message }));
  }
}

function narrow() {
  const wanted = byId("search").value.trim().toLowerCase();
  for (const entry of byId("schema").querySelectorAll("details")) {
    entry.hidden = Boolean(wanted) && !entry.textContent.toLowerCase().includes(wanted);
  }
}

// --- around ----------------------------------------------------------------------------------------------------------

function duration(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([least]) => seconds >= 2 * least) || [1, "s"];
  return `${Math.round(seconds / size)} ${unit}`;
}

async function showHealth() {
  const place = byId("health");
  try {
    const body = await (await fetch("/health")).json();
    const lag = body.lag_seconds === undefined ? "" : `, closed ${duration(body.lag_seconds)} ago`;
    place.textContent = body.status === "ok" ? `ledger ${body.backend_latest_ledger}${lag}` : body.error;
    place.classList.toggle("bad", body.status !== "ok");
  } catch {
    place.textContent = "the server does not answer";
    place.classList.add("bad");
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

setTheme(localStorage.getItem("theme"));
byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem("theme", dark ? "light" : "dark");
  setTheme(localStorage.getItem("theme"));
});
byId("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    run();
  }
});
byId("next").addEventListener("click", () => {
  if (nextPage) variablesBox.value = JSON.stringify(nextPage, null, 2);
  run();
});
byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(resultBox.textContent);
    say("copied");
  } catch {
    getSelection().selectAllChildren(resultBox);
    say("selected: copy with Ctrl+C");
  }
});
byId("search").addEventListener("input", narrow);
queryBox.value = localStorage.getItem("query") || EXAMPLES[0][1];
variablesBox.value = localStorage.getItem("variables") || JSON.stringify(EXAMPLES[0][2](), null, 2);
listExamples();
loadSchema();
showHealth();
setInterval(showHealth, HEALTH_SECONDS * 1000);
