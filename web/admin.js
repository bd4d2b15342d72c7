"use strict";
// What the server says is text: it comes into the page as text nodes and never as markup, since group names, reasons and addresses are
// whatever clients made of them.

const $ = (id) => document.getElementById(id);

// All bounds in one place; times in milliseconds.
const POLL = 1000;             // the numbers
const POLL_LISTS = 3000;       // groups, slow clients, trouble; longer where an answer took long
const ANSWER = 8000;           // an answer that takes longer is given up
const POINTS = 120;            // of a chart
const LIVE_MAX = 400;          // rows of the tail: a page left open must not grow
const PAGE = 50;               // members at a time

// el makes an element; strings become text.
function el(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((c) => c != null));
  return made;
}
const SVG = "http://www.w3.org/2000/svg";
function svg(tag, props, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const bdi = (text) => el("bdi", {}, text);

// setText leaves alone what has not changed, so that a selection and a screen reader's place stay.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// sync makes the children of a list those of items, by key, and keeps elements and the focus where it can.
function sync(list, items, keyOf, make, update) {
  const known = list.rows_ || (list.rows_ = new Map());
  const focused = document.activeElement;
  const seen = new Set();
  items.forEach((item, i) => {
    const key = keyOf(item);
    if (seen.has(key)) return;
    seen.add(key);
    let node = known.get(key);
    if (!node) known.set(key, node = make(item));
    update(node, item);
    const at = list.children[seen.size - 1];
    if (at !== node) list.insertBefore(node, at || null);
  });
  for (const [key, node] of known) {
    if (!seen.has(key)) {
      node.remove();
      known.delete(key);
    }
  }
  if (focused && focused !== document.activeElement && list.contains(focused)) focused.focus({preventScroll: true});
}

// row makes a table row; cells: [class, content] or content.
function row(cells) {
  return el("tr", {}, ...cells.map((c) => Array.isArray(c) ? el("td", {className: c[0]}, c[1]) : el("td", {}, c)));
}

// Numbers.
const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const short1 = new Intl.NumberFormat("en", {maximumFractionDigits: 1});
function count(n) {
  return n < 1e6 ? whole.format(n) : n < 1e9 ? short1.format(n / 1e6) + " M" : short1.format(n / 1e9) + " G";
}
function rate(n) {
  return n == null ? "–" : n > 0 && n < 10 ? short1.format(n) : count(n);
}
function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1000 || unit === "GiB") return (n < 10 && unit !== "B" ? short1 : whole).format(n) + "\u00a0" + unit;
    n /= 1024;
  }
}
function many(n, what) {
  return count(n) + " " + what + (n === 1 ? "" : "s");
}
function seconds(s) {
  return s == null ? "–" : s < 1e-3 ? whole.format(s * 1e6) + "\u00a0µs" : s < 1 ? short1.format(s * 1e3) + "\u00a0ms" : short1.format(s) + "\u00a0s";
}
function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}
const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const day = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short"});
function time(at) {
  const date = new Date(at), today = new Date().toDateString() === date.toDateString();
  return el("time", {dateTime: date.toISOString(), title: date.toLocaleString()}, today ? clock.format(date) : day.format(date) + " " + clock.format(date).slice(0, 5));
}

// ask asks the server, and throws what it says.
async function ask(path, query) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query || {})) {
    for (const one of [].concat(value)) if (one !== "" && one != null) url.searchParams.append(name, one);
  }
  const answer = await fetch(url, {cache: "no-store", signal: AbortSignal.timeout(ANSWER)});
  if (!answer.ok) {
    const refused = new Error((await answer.text()).trim() || "status " + answer.status);
    refused.busy = answer.status === 503;
    throw refused;
  }
  return answer.json();
}

// Views. Only what is seen is asked for; nothing while the page is hidden.
const views = ["now", "cluster", "groups", "clients", "live", "why", "act"];
let view = "";
function show() {
  const [name, query] = location.hash.slice(1).split("?");
  const to = views.includes(name) ? name : "now";
  const changed = to !== view;
  view = to;
  for (const v of views) $("view-" + v).hidden = v !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#" + view) {
      link.setAttribute("aria-current", "page");
      link.parentNode.scrollLeft = link.offsetLeft - 24; // where the views are too many for the width
    } else link.removeAttribute("aria-current");
  }
  document.title = view === "now" ? "ringcast admin" : view[0].toUpperCase() + view.slice(1) + " · ringcast admin";
  const asked = new URLSearchParams(query || "");
  if (view === "why" && asked.has("client")) {
    $("why-client").value = asked.get("client");
    $("why-group").value = asked.get("group") || "";
    why();
  }
  if (view === "groups") openGroup(asked.get("name") || "");
  if (changed) {
    scrollTo(0, 0);
    listen();
    lists();
  }
}
addEventListener("hashchange", show);

// go shows a view for something.
function go(name, query) {
  const hash = "#" + name + "?" + new URLSearchParams(query);
  if (location.hash === hash) show();
  else location.hash = hash;
}

// State of the connection to the server.
let lostSince = 0;
function setState(state, text) {
  $("state").dataset.state = state;
  setText($("state"), text);
}
function lost(err) {
  if (err.busy) {
    setState("busy", "Busy");
    return;
  }
  lostSince = lostSince || Date.now();
  setState("lost", "Not answering");
  document.body.classList.add("stale");
  $("alert").hidden = false;
  setText($("alert"), "The server has not answered for " + ago(Date.now() - lostSince) + ". What you see is old.");
}
function found() {
  lostSince = 0;
  setState("ok", "Connected");
  document.body.classList.remove("stale");
  $("alert").hidden = true;
}

// The numbers. Rates are differences of two answers.
let before = null, apiThere = null, clusterThere = false;

// quantile of the waits between two answers, from counts by upper bound; null: there were none.
function quantile(a, b, q) {
  const total = b.lane_waited - a.lane_waited;
  if (total <= 0) return null;
  for (let i = 0; i < b.lane_waits.length; i++) {
    if (b.lane_waits[i][1] - a.lane_waits[i][1] >= q * total) return b.lane_waits[i][0];
  }
  return b.lane_waits.at(-1)[0];
}

const tiles = [
  {name: "Connections", of: (n) => n.total.clients, show: count,
    more: (n) => count(n.server.clients_max) + " at most" + (n.total.pending ? ", " + count(n.total.pending) + " in handshake" : "")},
  {name: "Deliveries", unit: "/s", of: (n, p, s) => (n.total.deliveries - p.total.deliveries) / s, show: rate,
    more: (n, p, s) => p ? rate((n.total.published - p.total.published) / s) + " publishes/s" : ""},
  {name: "Sent", unit: "/s", of: (n, p, s) => (n.total.bytes_out - p.total.bytes_out) / s, show: bytes,
    more: (n, p, s) => p ? bytes((n.total.bytes_in - p.total.bytes_in) / s) + "/s received" : ""},
  {name: "Refused", unit: "/s", of: (n, p, s) => (refusals(n) - refusals(p)) / s, show: rate, bad: (v) => v > 0,
    more: (n) => count(refusals(n)) + " since the start, " + count(n.total.command_errors) + " wrong"},
  {name: "Lane wait, 99 of 100", of: (n, p) => quantile(p, n, .99) || 0, show: (v) => v ? "≤ " + seconds(v) : "–", bad: (v) => v > .1,
    more: (n, p) => { const half = p && quantile(p, n, .5); return half ? "half of them ≤ " + seconds(half) : "nothing was measured"; }},
  {name: "Outboxes", of: (n) => n.total.outbox_bytes, show: bytes,
    more: (n) => n.total.slow ? many(n.total.slow, "slow client") : "nobody is slow"},
  {name: "History", of: (n) => n.server.history_bytes, show: bytes,
    more: (n) => many(n.server.history_messages, "message") + ", " + many(n.server.histories, "group")},
  {name: "Memory", of: (n) => n.server.memory_used, show: bytes, most: (n) => n.server.memory_limit,
    bad: (v, n) => n.server.memory_pressure !== "none",
    more: (n) => !n.server.memory_limit ? "there is no limit" : short1.format(100 * n.server.memory_used / n.server.memory_limit) + " % of " + bytes(n.server.memory_limit) +
      (n.server.memory_pressure !== "none" ? ", " + n.server.memory_pressure : "")},
];
function refusals(n) {
  return n.total.refused + n.total.refused_clients;
}

function buildTiles() {
  for (const t of tiles) {
    t.values = [];
    t.big = el("p", {className: "big"}, "–");
    t.small = el("p", {className: "more"}, "\u00a0");
    t.area = svg("path", {class: "area"});
    t.line = svg("path", {class: "line"});
    const base = svg("line", {class: "base", x1: 0, x2: POINTS - 1, y1: 39.5, y2: 39.5});
    t.chart = svg("svg", {viewBox: `0 0 ${POINTS - 1} 40`, preserveAspectRatio: "none", role: "img", "aria-label": t.name + ", the last two minutes"}, base, t.area, t.line);
    t.card = el("article", {className: "card tile"}, el("h3", {}, t.name), t.big, t.small, t.chart);
    $("tiles").append(t.card);
  }
}

function draw(t, most) {
  const n = t.values.length, top = Math.max(most || 0, ...t.values, 1e-9);
  const points = t.values.map((v, i) => `${POINTS - n + i},${(38 - 34 * v / top).toFixed(2)}`);
  if (n === 1) points.unshift(`${POINTS - 2},${points[0].split(",")[1]}`);
  t.line.setAttribute("d", "M" + points.join("L"));
  t.area.setAttribute("d", `M${points[0].split(",")[0]},40L${points.join("L")}L${POINTS - 1},40Z`);
}

function showNow(n) {
  const s = before ? (n.at - before.at) / 1000 : 0;
  if (before && (s <= 0 || n.server.started !== before.server.started)) before = null; // another server has taken its place
  for (const t of tiles) {
    if (t.of.length > 1 && !before) continue;
    const v = t.of(n, before, s);
    t.values.push(v);
    if (t.values.length > POINTS) t.values.shift();
    t.big.replaceChildren(t.show(v), t.unit ? el("i", {}, t.unit) : "");
    t.card.classList.toggle("bad", !!t.bad && t.bad(v, n));
    draw(t, t.most && t.most(n));
  }
  for (const t of tiles) setText(t.small, t.more(n, before, s) || "\u00a0");
  if (view === "now") showLoops(n, s);
  $("notes").hidden = !n.notes;
  setText($("notes"), (n.notes || []).join(" "));
  setText($("version"), n.version);
  $("version").title = n.version;
  setText($("uptime"), "up " + ago(n.at - Date.parse(n.server.started)));
  if (n.server.stopping) setState("busy", "Stopping");
  if (apiThere !== n.api) {
    apiThere = n.api;
    $("act-off").hidden = n.api;
    $("act-on").hidden = !n.api;
  }
  if (clusterThere !== n.cluster) {
    clusterThere = n.cluster;
    $("cluster-link").hidden = !clusterThere;
    if (view === "cluster") show(), lists();
  }
  before = n;
}

function showLoops(n, s) {
  const zero = (v, text) => el("span", {className: v ? "" : "zero"}, text);
  sync($("loops").tBodies[0], n.server.loops.map((l, i) => ({i, l, was: before && before.server.loops[i]})), (x) => x.i,
    () => row(["", "", ["wide", ""], "", ["wide", ""], ["wide", ""], "", ["wide", ""], ""]),
    (tr, {i, l, was}) => {
      const per = (name) => was ? (l[name] - was[name]) / s : null;
      const cells = [el("b", {}, String(i)), count(l.clients), count(l.groups), rate(per("deliveries")), per("bytes_out") == null ? "–" : bytes(per("bytes_out")),
        rate(per("passes")), zero(l.lane_depth, count(l.lane_depth)), zero(l.slow, count(l.slow)), zero(l.outbox_bytes, bytes(l.outbox_bytes))];
      cells.forEach((c, at) => tr.cells[at].replaceChildren(c));
    });
}

// Traces.
const clientLink = (id, group) => el("button", {type: "button", className: "link", title: "Why has it missed a message?", onclick: () => go("why", {client: id, group: group || ""})}, "client " + id);
const groupLink = (name) => el("button", {type: "button", className: "link", onclick: () => go("groups", {name})}, bdi(name));
function what(t) {
  const parts = [t.client ? clientLink(t.client, t.group) : el("span", {}, "a server")];
  const dim = (text) => parts.push(el("span", {className: "dim"}, text));
  const say = (text) => parts.push(el("span", {}, bdi(text)));
  if (t.others) dim("and " + count(t.others) + " more like it");
  if (t.group) parts.push(groupLink(t.group));
  switch (t.kind) {
    case "publish": dim(bytes(t.number || 0)); break;
    case "slow": say(t.reason); dim(bytes(t.number || 0) + " waited"); break;
    case "gap": say("was told of " + many(t.number, "missed message")); break;
    case "heal": say("was taken out, to come back for what it lost"); break;
    case "back": say(t.reason); dim(many(t.number || 0, "message")); break;
    case "close": say((t.code ? t.code + " " : "") + t.reason); break;
    case "refuse": say(t.code); dim(t.reason); break;
    case "token": say("a token is not good: " + t.reason); dim(t.code); break;
    case "connect": say(t.reason); break;
  }
  if (t.remote) dim(t.remote);
  if (t.times > 1) dim("× " + count(t.times));
  return el("span", {className: "what"}, ...parts);
}
function traceRow(t) {
  return el("li", {}, time(t.at), el("span", {className: "kind", "data-kind": t.kind}, t.kind), what(t));
}
function fillTraces(list, traces) {
  sync(list, traces, (t) => JSON.stringify(t), traceRow, () => {});
}

// The cluster, as this node sees it.
let clusterBefore = null;
async function loadCluster() {
  $("cluster-none").hidden = clusterThere;
  $("cluster-on").hidden = !clusterThere;
  if (!clusterThere) return;
  const c = await ask("/console/cluster"), at = Date.now(), was = clusterBefore;
  clusterBefore = {c, at};
  const per = (name) => count(c[name]) + (was && c[name] >= was.c[name] ? ", " + rate((c[name] - was.c[name]) * 1000 / (at - was.at)) + "/s" : "");
  const nodes = c.nodes || [], parts = c.partitions || [], leads = new Map();
  for (const p of parts) leads.set(p.leader, (leads.get(p.leader) || 0) + 1);
  const up = nodes.filter((n) => n.up).length, all = (name) => parts.reduce((sum, p) => sum + p[name], 0);
  $("cluster-sum").replaceChildren(bdi(c.name), up + " of " + count(nodes.length) + " nodes up");
  $("cluster-trouble").hidden = c.ready;
  setText($("cluster-trouble"), c.ready ? "" : "This node gets no clients: " + c.trouble + ".");
  setText($("cluster-node"), c.node);
  // Leaders that are no nodes are NATS servers of others.
  const strangers = [...leads.keys()].filter((name) => name && !nodes.some((n) => n.name === name)).sort().map((name) => ({name}));
  sync($("nodes").tBodies[0], [...nodes, ...strangers], (n) => n.name, (n) => row([["text", bdi(n.name)], ["text", ""], "", ""]), (tr, n) => {
    const mine = n.name === c.node, seen = Date.parse(n.seen);
    tr.cells[1].replaceChildren(n.up == null ? (c.store_dir ? "not heard of" : "a server of NATS") : mine ? "this one" : n.up ? "up" : el("span", {className: "alarm"}, "down"));
    tr.cells[2].replaceChildren(mine || n.up == null ? "" : seen > 0 ? ago(at - seen) + " ago" : "never");
    tr.cells[3].replaceChildren(el("b", {}, count(leads.get(n.name) || 0)));
  });
  facts($("cluster-facts"), {
    "Offered by it": per("offered"), "Ordered, of all nodes": per("ordered"),
    "Behind the log": many(all("lag"), "message"), "Wait for their place": count(all("queued")) + ", " + count(all("flying")) + " under way",
    "Repeated by key": count(c.repeated), "Sent again": count(c.resends),
    "Holes filled": count(c.holes_filled) + ", " + many(c.hole_messages, "message"), "Lost in holes": many(c.hole_lost, "message"),
    "Recalls of histories": count(c.recalls) + ", " + count(c.recalls_failed) + " failed, " + count(c.recalls_refused) + " refused",
    "Fast messages": count(c.fast_sent) + " sent, " + count(c.fast_heard) + " heard, " + count(c.fast_lost) + " lost",
    "Log": bytes(c.store_bytes) + " of " + bytes(c.store_max), "Nodes connect to": c.listen || "nothing here",
  });
  const refused = Object.entries(c.refused || {}).filter(([, n]) => n > 0).sort();
  facts($("cluster-refused"), Object.fromEntries(refused.map(([cause, n]) => [cause, count(n)])));
  $("cluster-refused-none").hidden = refused.length > 0;
  const alone = leads.get("") || 0;
  setText($("partitions-sum"), many(parts.length, "partition") + (alone ? ", " + count(alone) + " without a leader" : ""));
  const quiet = (n) => el("span", {className: n ? "" : "zero"}, count(n));
  sync($("partitions").tBodies[0], parts.map((p, i) => ({i, p})), (x) => x.i, () => row(["", ["text", ""], "", "", ["wide", ""], ["wide", ""]]), (tr, {i, p}) => {
    const leader = p.leader ? bdi(p.leader) : el("span", {className: "alarm"}, "nobody");
    [el("b", {}, String(i)), leader, count(p.tip), quiet(p.lag), quiet(p.queued), quiet(p.flying)].forEach((x, at) => tr.cells[at].replaceChildren(x));
  });
}

// Groups.
let group = "", membersFrom = 0;
async function loadGroups() {
  const by = document.querySelector("[name=by]:checked").value;
  const a = await ask("/console/groups", {match: $("groups-match").value, by, most: 100});
  const rows = a.rows || [];
  sync($("groups").tBodies[0], rows, (g) => g.name, (g) => row([
    ["text", groupLink(g.name)], "", "", ["wide", ""], ["wide", ""], ["wide", ""]]), (tr, g) => {
    tr.setAttribute("aria-selected", g.name === group);
    [el("b", {}, count(g.members)), rate(g.rate), count(g.offset), g.epoch ? count(g.kept) : "–", g.epoch ? bytes(g.bytes) : "–"].forEach((c, i) => tr.cells[i + 1].replaceChildren(c));
  });
  $("groups-none").hidden = rows.length > 0;
  setText($("groups-sum"), many(a.groups, "group") + ", " + many(a.members, "membership") +
    (a.rated < a.groups && a.rated ? ", rates of " + count(a.rated) : ""));
  return 10 * a.took_ms;
}

function openGroup(name) {
  if (name !== group) membersFrom = 0;
  group = name;
  $("group").hidden = !name;
  for (const tr of $("groups").tBodies[0].rows) tr.setAttribute("aria-selected", tr.cells[0].textContent === name);
  if (!name) return;
  setText($("group-name"), name);
  quietly(loadGroup);
}

async function loadGroup() {
  const name = group;
  if (!name) return;
  const g = await ask("/console/group", {name, from: membersFrom, most: PAGE});
  if (name !== group) return;
  facts($("group-facts"), {
    "Members": count(g.members), "Kind": g.kind, "Newest message": g.known ? "number " + count(g.offset) : "not known",
    "Epoch": g.epoch || "none", "History": g.history ? count(g.kept) + " of " + count(g.history) + ", " + bytes(g.bytes) : "none is kept",
    "Waits for passes": many(g.waiting, "message"),
  });
  const most = Math.max(1, ...g.on);
  $("group-on").replaceChildren(...g.on.map((n, i) => el("div", {title: "loop " + i + ": " + count(n)},
    svg("svg", {viewBox: "0 0 10 30", preserveAspectRatio: "none", "aria-hidden": "true"}, svg("rect", {x: 0, width: 10, y: 30 - 28 * n / most, height: Math.max(.5, 28 * n / most), rx: 1})), count(n))));
  const rows = g.rows || [];
  sync($("members").tBodies[0], rows, (c) => c.id, (c) => row([el("b", {}, String(c.id)), ["text", bdi(c.remote)], ["text wide", c.dialect], "", whyButton(c.id)]),
    (tr, c) => tr.cells[3].replaceChildren(outbox(c)));
  setText($("group-range"), rows.length ? count(g.from + 1) + " to " + count(g.from + rows.length) : "");
  $("members-back").disabled = g.from === 0;
  $("members-next").disabled = rows.length < PAGE;
}
const whyButton = (id) => el("button", {type: "button", className: "ask", "aria-label": "Why, client " + id, onclick: () => go("why", {client: id, group})}, "Why");
const outbox = (c) => el("span", {className: c.send_q ? "alarm" : "zero"}, bytes(c.send_q));

function facts(list, all) {
  sync(list, Object.entries(all), ([name]) => name, ([name]) => el("div", {}, el("dt", {}, name), el("dd", {}, bdi(""))), (div, [, text]) => setText(div.lastChild.firstChild, text));
}

// Slow clients, and trouble.
async function loadClients() {
  const rows = (await ask("/console/clients", {most: 100})).rows || [];
  sync($("clients").tBodies[0], rows, (c) => c.id, (c) => row([el("b", {}, String(c.id)), ["text", bdi(c.remote)], ["text wide", c.dialect || ""], ["text wide", ""], ["wide", String(c.loop)], ["wide", ""], ["wide", ""], "",
    el("button", {type: "button", className: "ask", "aria-label": "Why, client " + c.id, onclick: () => go("why", {client: c.id})}, "Why")]), (tr, c) => {
    [c.state, null, count(c.groups), bytes(c.bytes_out), outbox(c)].forEach((x, i) => x != null && tr.cells[i + 3].replaceChildren(x));
  });
  $("clients").hidden = !rows.length;
  $("clients-none").hidden = rows.length > 0;
  setText($("clients-sum"), before && before.total.slow ? count(before.total.slow) + " slow, " + bytes(before.total.outbox_bytes) + " wait for them" : "");
}
async function loadTrouble() {
  const a = await ask("/console/journal", {most: 100});
  // The same trouble of many clients, one after the other, is one line: else it would hide what is beside it.
  const folded = [];
  for (const t of a.traces || []) {
    const last = folded.at(-1);
    if (last && last.kind === t.kind && last.code === t.code && last.reason === t.reason && t.kind !== "slow") last.others = (last.others || 0) + 1;
    else folded.push(t);
  }
  fillTraces($("trouble"), folded.slice(0, 40));
  $("trouble-none").hidden = (a.traces || []).length > 0;
  setText($("trouble-since"), "since " + time(a.since).textContent);
}

// Live.
let source = null, paused = false, liveTimer = 0;
function listen() {
  if (source) source.close();
  source = null;
  const on = view === "live" && !paused && !document.hidden;
  setText($("live-state"), on ? "Connecting" : "Paused");
  setText($("live-go"), paused ? "Go on" : "Pause");
  if (!on) return;
  const url = new URL("/console/tail", location.origin);
  if ($("live-group").value) url.searchParams.set("group", $("live-group").value);
  if (/^\d+$/.test($("live-client").value)) url.searchParams.set("client", $("live-client").value);
  const wanted = [...document.querySelectorAll("#live-kinds input")];
  if (wanted.length && wanted.some((k) => !k.checked)) {
    const kinds = wanted.filter((k) => k.checked);
    if (!kinds.length) { // none is wanted
      setText($("live-state"), "Nothing is chosen");
      return;
    }
    for (const k of kinds) url.searchParams.append("kind", k.value);
  }
  source = new EventSource(url);
  let waiting = [];
  source.addEventListener("trace", (e) => {
    waiting.push(JSON.parse(e.data));
    if (waiting.length > LIVE_MAX) waiting.shift();
  });
  source.addEventListener("left", (e) => { // it comes behind what goes out with it
    setText($("live-left"), e.data === "0" ? "" : count(+e.data) + " left out");
    if (!waiting.length) return;
    $("live-none").hidden = true;
    const list = $("live"), at = list.scrollTop, tall = list.scrollHeight;
    list.prepend(...waiting.reverse().map(traceRow));
    waiting = [];
    while (list.childElementCount > LIVE_MAX) list.lastElementChild.remove();
    if (at > 4) list.scrollTop = at + list.scrollHeight - tall; // who reads further down is not moved
  });
  source.onopen = () => setText($("live-state"), "Listening");
  source.onerror = () => setText($("live-state"), "Not answering; tries again");
}
function listenAgain() {
  clearTimeout(liveTimer);
  if (!paused) setText($("live-state"), "Connecting");
  liveTimer = setTimeout(() => {
    $("live").replaceChildren();
    $("live-none").hidden = false;
    listen();
  }, 250);
}
function buildKinds(kinds) {
  if ($("live-kinds").childElementCount > 1) return;
  for (const kind of kinds) {
    $("live-kinds").append(el("label", {}, el("input", {type: "checkbox", value: kind, checked: true, onchange: listenAgain}), el("span", {}, kind)));
  }
}

// Why.
let whyAsked = 0;
async function why() {
  const client = $("why-client").value.trim(), name = $("why-group").value;
  const mine = ++whyAsked;
  let w;
  try {
    if (!/^\d+$/.test(client)) throw new Error("A client has a number here; the lists show it.");
    w = await ask("/console/why", {client, group: name});
  } catch (err) {
    if (mine === whyAsked) {
      $("why").hidden = true;
      $("why-none").hidden = false;
      setText($("why-none"), err.message);
    }
    return;
  }
  if (mine !== whyAsked) return;
  $("why-none").hidden = true;
  $("why").hidden = false;
  $("why-head").replaceChildren("Client " + client, name ? " and group " : "", name ? bdi(name) : "");
  $("verdict").replaceChildren(...(w.verdict || []).map((r) => el("li", {className: r.tone}, r.at ? time(r.at) : "", r.text)));
  const c = w.client, g = w.group;
  facts($("why-facts"), Object.assign(c ? {
    "Address": c.remote, "Protocol": c.dialect || "handshake", "Loop": String(c.loop), "Groups": count(c.groups), "Outbox": bytes(c.send_q), "Sent": bytes(c.bytes_out), "Received": bytes(c.bytes_in),
  } : {"Client": "not connected"}, name ? {
    "Group": g.known ? many(g.members, "member") : "not known now", "Newest message": g.known ? "number " + count(g.offset) : "–",
    "History": g.history ? many(g.kept, "message") : "none is kept",
  } : {}, w.name ? {"Name in the API": w.name} : {}));
  fillTraces($("why-traces"), (w.traces || []).slice().reverse());
  $("why-quiet").hidden = (w.traces || []).length > 0;
  $("why-since").replaceChildren("goes back to ", time(w.since), w.more ? "; older ones of it are left out" : "");
  $("disconnect-client").value = w.name || "";
}

// Act. The key is nowhere but in its field.
async function act(path, body, done) {
  done.className = "";
  setText(done, "…");
  try {
    const answer = await fetch(path, {method: "POST", headers: {"X-API-Key": $("key").value, "Content-Type": "application/json"},
      body: JSON.stringify(body), cache: "no-store", redirect: "error", signal: AbortSignal.timeout(ANSWER)});
    const text = await answer.text();
    let told = {};
    try { told = JSON.parse(text); } catch { /* not JSON: it is shown as it is */ }
    if (!answer.ok || told.error) throw new Error(told.error ? told.error.message + " (" + told.error.code + ")" : text.trim() || "status " + answer.status);
    done.className = "good";
    setText(done, "Done. " + (told.result && Object.keys(told.result).length ? JSON.stringify(told.result) : ""));
  } catch (err) {
    done.className = "bad";
    setText(done, err.message);
  }
}

// When what is asked for.
let numbersTimer = 0, listsTimer = 0;
async function quietly(load) {
  try {
    return await load();
  } catch (err) {
    if (err.name !== "AbortError") lost(err);
  }
}
async function numbers() {
  clearTimeout(numbersTimer);
  if (!document.hidden) {
    try {
      const n = await ask("/console/now");
      found();
      buildKinds(n.kinds);
      showNow(n);
    } catch (err) {
      lost(err);
    }
  }
  clearTimeout(numbersTimer);
  numbersTimer = setTimeout(numbers, POLL);
}
async function lists() {
  clearTimeout(listsTimer);
  let pause = 0;
  if (!document.hidden) {
    if (view === "cluster") await quietly(loadCluster);
    if (view === "groups") pause = await quietly(loadGroups), await quietly(loadGroup);
    if (view === "clients") await quietly(loadClients);
    if (view === "now") await quietly(loadTrouble);
  }
  clearTimeout(listsTimer);
  listsTimer = setTimeout(lists, Math.max(POLL_LISTS, pause || 0));
}

$("groups-form").addEventListener("submit", (e) => e.preventDefault());
$("groups-form").addEventListener("input", lists);
$("group-close").addEventListener("click", () => { location.hash = "#groups"; });
$("members-back").addEventListener("click", () => { membersFrom = Math.max(0, membersFrom - PAGE); quietly(loadGroup); });
$("members-next").addEventListener("click", () => { membersFrom += PAGE; quietly(loadGroup); });
$("live-form").addEventListener("submit", (e) => { e.preventDefault(); listenAgain(); });
$("live-form").addEventListener("input", listenAgain);
$("live-go").addEventListener("click", () => { paused = !paused; listen(); });
$("why-form").addEventListener("submit", (e) => { e.preventDefault(); go("why", {client: $("why-client").value.trim(), group: $("why-group").value}); });
$("key-form").addEventListener("submit", (e) => e.preventDefault());
$("key").addEventListener("input", () => { $("acts").hidden = !$("key").value; });
$("publish-form").addEventListener("submit", (e) => {
  e.preventDefault();
  let data = $("publish-data").value;
  if ($("publish-json").checked) {
    try { data = JSON.parse(data); } catch (err) {
      $("publish-done").className = "bad";
      setText($("publish-done"), "This is not JSON: " + err.message);
      return;
    }
  }
  act("/api/publish", {channel: $("publish-group").value, data}, $("publish-done"));
});
$("disconnect-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const body = {user: $("disconnect-user").value};
  if ($("disconnect-client").value) body.client = $("disconnect-client").value;
  if (!body.user && !body.client) {
    $("disconnect-done").className = "bad";
    setText($("disconnect-done"), "Name a user or a client.");
    return;
  }
  act("/api/disconnect", body, $("disconnect-done"));
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) { before = null; numbers(); lists(); } listen(); });

buildTiles();
show();
numbers();
