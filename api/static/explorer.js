// The explorer: search, a ledger, a transaction, an account with its balances and a live list of what happened to it in words.
"use strict";

const ENDPOINT = "/graphql/query";
const SHOWN = 50;
const DECIMALS = 7;
const view = document.getElementById("view"), live = document.getElementById("live"), term = document.getElementById("term");
let events = null; // the stream of the page that is shown
let turn = 0; // answers for a page that was left are not shown

const CHANGE = `__typename idString type reason ledgerNumber ledgerCreatedAt account { address } operation { idString } transaction { hash }
  ... on StandardBalanceChange { tokenId amount }
  ... on AccountChange { creatorAddress destinationAddress }
  ... on SignerChange { signerAddress oldWeight newWeight }
  ... on SignerThresholdsChange { oldThreshold newThreshold }
  ... on MetadataChange { name oldValue newValue }
  ... on FlagsChange { flags }
  ... on TrustlineChange { trustlineToken: tokenId liquidityPoolId oldLimit newLimit }
  ... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId sponsoredTrustline sponsoredData signerAddress }
  ... on BalanceAuthorizationChange { trustlineToken: tokenId liquidityPoolId flags }
  ... on AllowanceChange { tokenId spender allowance: amount expirationLedger }`;
const TRANSACTION = "hash ledgerNumber ledgerCreatedAt resultCode feeChargedString isFeeBump";

async function ask(query, variables) {
  const answer = await fetch(ENDPOINT, {
    method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify({ query, variables }),
  });
  const body = await answer.json();
  if (body.errors) throw new Error(body.errors[0].message);
  if (!answer.ok) throw new Error(answer.status === 401 ? "this server answers signed requests only" : body.error || `status ${answer.status}`);
  return body.data;
}

// Text and elements; nothing from the network is ever read as HTML.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const short = (id) => (id.length > 16 ? `${id.slice(0, 6)}…${id.slice(-6)}` : id);
const link = (kind, id, text) => make("a", { href: `#/${kind}/${id}`, class: "id", title: id }, text || short(id));
const account = (address) => link("account", address);
const when = (text) => make("time", { datetime: text }, new Date(text).toLocaleString());
const fact = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];
const number = (value) => Number(value).toLocaleString();

function units(raw, decimals) {
  const negative = raw.startsWith("-"), digits = raw.replace("-", "").padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals), part = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return `${negative ? "-" : ""}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}${part ? `.${part}` : ""}`;
}

// What tokens are called: from the balances seen on this page's life.
const tokens = new Map();
function remember(balance) {
  const name = balance.__typename === "NativeBalance" ? "XLM" : balance.code || balance.symbol;
  if (name) tokens.set(balance.tokenId, { name, decimals: balance.decimals ?? DECIMALS });
}
function sum(tokenId, raw) {
  const token = tokens.get(tokenId);
  return token ? [`${units(raw, token.decimals)} ${token.name}`] : [`${number(raw)} units of `, link("account", tokenId)];
}
const asset = (tokenId, pool) =>
  pool ? ["shares of pool ", make("span", { class: "id", title: pool }, short(pool))]
    : tokenId ? [tokens.has(tokenId) ? tokens.get(tokenId).name : link("account", tokenId)] : ["a token"];

// What happened, said of the account it happened to.
const SENTENCES = {
  StandardBalanceChange: (c) => {
    const fee = c.operation === null;
    const verb = { DEBIT: fee ? "paid a fee of" : "sent", CREDIT: fee ? "got back of its fee" : "received", MINT: "issued", BURN: "took back" };
    const kind = { DEBIT: "out", CREDIT: "in" }[c.reason] || "";
    return [`${verb[c.reason]} `, make("span", { class: kind }, ...sum(c.tokenId, c.amount))];
  },
  AccountChange: (c) => c.reason === "CREATE"
    ? ["was created", ...(c.creatorAddress ? [" by ", account(c.creatorAddress)] : [])]
    : ["was merged", ...(c.destinationAddress ? [" into ", account(c.destinationAddress)] : [])],
  SignerChange: (c) => ({
    ADD: ["got signer ", account(c.signerAddress), ` with weight ${c.newWeight}`],
    UPDATE: ["changed signer ", account(c.signerAddress), ` from weight ${c.oldWeight ?? 0} to ${c.newWeight}`],
    REMOVE: ["removed signer ", account(c.signerAddress)],
  })[c.reason],
  SignerThresholdsChange: (c) => [`set its ${c.reason.toLowerCase()} threshold to ${c.newThreshold}`, c.oldThreshold === null ? "" : ` (was ${c.oldThreshold})`],
  MetadataChange: (c) => {
    const what = c.reason === "HOME_DOMAIN" ? "its home domain" : `data entry “${c.name}”`;
    if (c.newValue === null) return [`removed ${what}`];
    return [`set ${what}`, c.reason === "HOME_DOMAIN" ? ` to ${c.newValue}` : ""];
  },
  FlagsChange: (c) => [`${c.reason === "SET" ? "set" : "cleared"} its flags: ${c.flags.map(words).join(", ")}`],
  TrustlineChange: (c) => ({
    ADD: ["opened a trustline for ", ...asset(c.trustlineToken, c.liquidityPoolId)],
    UPDATE: ["changed the limit of its trustline for ", ...asset(c.trustlineToken, c.liquidityPoolId), ` to ${c.newLimit}`],
    REMOVE: ["closed its trustline for ", ...asset(c.trustlineToken, c.liquidityPoolId)],
  })[c.reason],
  ReservesChange: (c) => {
    const begins = c.reason === "SPONSOR";
    const what = c.claimableBalanceId ? ["a claimable balance"] : c.sponsoredData ? [`data entry “${c.sponsoredData}”`]
      : c.signerAddress ? ["signer ", account(c.signerAddress)] : c.sponsoredTrustline || c.liquidityPoolId
      ? ["a trustline for ", ...asset(c.sponsoredTrustline, c.liquidityPoolId)] : ["an account"];
    if (c.sponsorAddress) return [begins ? "is sponsored by " : "is no longer sponsored by ", account(c.sponsorAddress), ": ", ...what];
    return [begins ? "sponsors " : "no longer sponsors ", ...what, ...(c.sponsoredAddress ? [" of ", account(c.sponsoredAddress)] : [])];
  },
  BalanceAuthorizationChange: (c) => [
    `${c.reason === "SET" ? "was authorized for " : "lost authorization for "}`, ...asset(c.trustlineToken, c.liquidityPoolId),
    c.flags.length ? ` (${c.flags.map(words).join(", ")})` : "",
  ],
  AllowanceChange: (c) => ["lets ", account(c.spender), " spend ", ...sum(c.tokenId, c.allowance), ` until ledger ${c.expirationLedger}`],
};
const words = (flag) => flag.replaceAll("_", " ");
function sentence(change) {
  const say = SENTENCES[change.__typename];
  return (say && say(change)) || [`${change.type} ${change.reason}`.toLowerCase()];
}
function item(change, of) {
  const who = change.account.address === of ? [] : [account(change.account.address), " "];
  return make("li", { "data-id": change.idString }, make("span", {}, ...who, ...sentence(change)),
    make("span", { class: "faint" }, when(change.ledgerCreatedAt), " · ", link("transaction", change.transaction.hash, "transaction")));
}
const capped = (list) => { while (list.children.length > SHOWN) list.lastElementChild.remove(); };

// The stream of a page: rows at the top as they happen. The browser comes back by itself with the id of the last event.
function follow(path, list, row) {
  events = new EventSource(path);
  events.onopen = () => { live.textContent = "live: what happens appears at once"; };
  events.onerror = () => { live.textContent = "the connection was lost, trying again…"; };
  events.onmessage = (event) => {
    const made = row(JSON.parse(event.data));
    made.classList.add("new");
    list.prepend(made);
    capped(list);
  };
}
const stream = (path, cursor, ledger) =>
  path + (cursor ? `?after=${encodeURIComponent(cursor)}` : ledger === null ? "" : `?afterLedger=${ledger}`);

const ledgerItem = (l) => make("li", {}, make("span", {}, link("ledger", String(l.sequence), number(l.sequence)),
  ` ${number(l.transactionCount)} transactions, ${number(l.operationCount)} operations`), make("span", {}, when(l.closedAt)));
async function home() {
  const fields = "sequence closedAt transactionCount operationCount";
  const data = await ask(`{ ledgers(last: 20) { edges { cursor node { ${fields} } } } }`);
  const edges = data.ledgers.edges;
  const list = make("ol", { "aria-live": "polite", id: "ledgers" }, ...edges.map((edge) => ledgerItem(edge.node)).reverse());
  return { title: "Newest ledgers", content: [make("h2", {}, "Newest ledgers"), list],
    begin: () => follow(stream("/stream/ledgers", edges.at(-1)?.cursor, null), list, ledgerItem) };
}

async function ledgerPage(sequence) {
  const data = await ask(`query($sequence: UInt32!) { ledger(sequence: $sequence) { hash closedAt protocolVersion transactionCount
    successfulTransactionCount operationCount stateChangeCount transactions(first: ${SHOWN}) { edges { node { ${TRANSACTION} } } } } }`,
    { sequence: Number(sequence) });
  if (!data.ledger) throw new Error(`ledger ${sequence} was not ingested`);
  const l = data.ledger, shown = l.transactions.edges;
  return { title: `Ledger ${sequence}`, content: [
    make("h2", {}, `Ledger ${number(sequence)}`),
    make("dl", {}, ...fact("closed", when(l.closedAt)), ...fact("hash", make("span", { class: "id" }, l.hash)),
      ...fact("protocol", String(l.protocolVersion)),
      ...fact("transactions", `${number(l.transactionCount)}, of which ${number(l.successfulTransactionCount)} succeeded`),
      ...fact("operations", number(l.operationCount)), ...fact("changes", number(l.stateChangeCount)),
      ...fact("beside it", link("ledger", String(sequence - 1), "previous"), " · ", link("ledger", String(Number(sequence) + 1), "next"))),
    make("h3", {}, shown.length < l.transactionCount ? `First ${shown.length} transactions` : "Transactions"),
    make("ol", {}, ...shown.map((edge) => transactionItem(edge.node)))] };
}
const succeeded = (code) => /(TxSuccess|InnerSuccess)$/.test(code);
const outcome = (code) => make("span", { class: succeeded(code) ? "in" : "bad" }, succeeded(code) ? "succeeded" : code.replace("TransactionResultCode", ""));
const transactionItem = (t) => make("li", {}, make("span", {}, link("transaction", t.hash), " ", outcome(t.resultCode)),
  make("span", { class: "faint" }, when(t.ledgerCreatedAt)));

async function transactionPage(hash) {
  const data = await ask(`query($hash: String!) { transactionByHash(hash: $hash) { ${TRANSACTION} innerHash accounts { address }
    operations(first: 100) { edges { node { idString operationType successful resultCode } } }
    stateChanges(first: 100) { edges { node { ${CHANGE} } } } } }`, { hash });
  const t = data.transactionByHash;
  return { title: `Transaction ${short(hash)}`, content: [
    make("h2", { class: "id" }, t.hash),
    make("dl", {}, ...fact("outcome", outcome(t.resultCode)), ...fact("ledger", link("ledger", String(t.ledgerNumber), number(t.ledgerNumber))),
      ...fact("closed", when(t.ledgerCreatedAt)), ...fact("fee", `${units(t.feeChargedString, DECIMALS)} XLM${t.isFeeBump ? ", paid by a fee bump" : ""}`),
      ...fact("accounts", ...t.accounts.flatMap((a, index) => [index ? ", " : "", account(a.address)]))),
    make("h3", {}, "Operations"),
    make("ol", {}, ...t.operations.edges.map(({ node }) => make("li", {},
      make("span", {}, words(node.operationType.toLowerCase())), make("span", { class: node.successful ? "in" : "bad" }, node.resultCode)))),
    make("h3", {}, "What happened to whom"),
    make("ol", {}, ...t.stateChanges.edges.map((edge) => item(edge.node, null)))] };
}

async function accountPage(address) {
  const data = await ask(`query($address: String!) {
    balancesByAccountAddress(address: $address, poolShares: true) { __typename balance rawBalance tokenId
      ... on TrustlineBalance { code issuer } ... on SACBalance { code issuer decimals } ... on SEP41Balance { symbol decimals } }
    accountByAddress(address: $address) {
      stateChanges(last: ${SHOWN}) { edges { cursor node { ${CHANGE} } } }
      transactions(last: 10) { edges { node { ${TRANSACTION} } } } }
    ledgers(last: 1) { edges { node { sequence } } } }`, { address });
  const balances = data.balancesByAccountAddress, changes = data.accountByAddress.stateChanges.edges;
  balances.forEach(remember);
  const list = make("ol", { "aria-live": "polite", id: "changes" }, ...changes.map((edge) => item(edge.node, address)).reverse());
  const row = (b) => {
    const token = tokens.get(b.tokenId);
    const name = token ? token.name : b.__typename === "LiquidityPoolBalance" ? "pool shares" : "token";
    return make("tr", {}, make("td", {}, name), make("td", {}, b.issuer ? account(b.issuer) : b.__typename === "NativeBalance" ? "" : link("account", b.tokenId)),
      make("td", { class: "amount" }, units(b.rawBalance, token ? token.decimals : DECIMALS)));
  };
  const table = make("div", { class: "scroll" }, make("table", {}, make("caption", { class: "unseen" }, "Balances"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "token"), make("th", { scope: "col" }, "issuer or contract"), make("th", { scope: "col", class: "amount" }, "balance"))),
    make("tbody", {}, ...balances.map(row))));
  const files = ["transactions", "state-changes"].flatMap((kind) => ["csv", "ndjson"].map((form) =>
    make("a", { href: `/export/accounts/${address}/${kind}.${form}`, download: "" }, `${words(kind.replace("-", " "))} ${form}`)));
  return { title: `Account ${short(address)}`, content: [
    make("h2", { class: "id" }, address),
    make("h3", {}, "Balances"), balances.length ? table : make("p", { class: "faint" }, "none"),
    make("h3", {}, "What happened"), list, ...(changes.length ? [] : [make("p", { class: "faint" }, "nothing yet")]),
    make("h3", {}, "Transactions"), make("ol", {}, ...data.accountByAddress.transactions.edges.map((edge) => transactionItem(edge.node)).reverse()),
    make("h3", {}, "As a file"), make("p", {}, ...files.flatMap((file, index) => [index ? " · " : "", file]))],
    begin: () => follow(stream(`/stream/accounts/${address}/state-changes`, changes.at(-1)?.cursor, data.ledgers.edges[0]?.node.sequence ?? null), list, (change) => item(change, address)) };
}

const PAGES = { account: accountPage, transaction: transactionPage, ledger: ledgerPage };
function place(text) {
  if (/^[GCM][A-Z2-7]{55}(?:[A-Z2-7]{13})?$/.test(text)) return `#/account/${text}`;
  if (/^[0-9a-fA-F]{64}$/.test(text)) return `#/transaction/${text.toLowerCase()}`;
  return /^[0-9][0-9,\s]*$/.test(text) ? `#/ledger/${text.replace(/[^0-9]/g, "")}` : null;
}

async function show() {
  const mine = ++turn;
  events?.close();
  events = null;
  live.textContent = "";
  const [, kind, id] = location.hash.split("/");
  view.setAttribute("aria-busy", "true");
  let page;
  try {
    page = await (kind ? PAGES[kind] ? PAGES[kind](decodeURIComponent(id || "")) : Promise.reject(new Error("there is no such page")) : home());
  } catch (error) {
    page = { title: "Not found", content: [make("p", { class: "bad", role: "alert" }, error.message)] };
  }
  if (mine !== turn) return;
  document.title = `${page.title} · Lumenstream`;
  view.replaceChildren(...page.content);
  view.removeAttribute("aria-busy");
  page.begin?.();
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const found = place(term.value.trim());
  if (found) { location.hash = found; view.focus(); }
  else view.replaceChildren(make("p", { class: "bad", role: "alert" }, "Search for an address (G…, C… or M…), a transaction hash (64 hexadecimal digits) or a ledger's number."));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) { event.preventDefault(); term.focus(); }
});
addEventListener("hashchange", show);
show();
