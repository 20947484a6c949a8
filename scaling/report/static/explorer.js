// The explorer: a question, in fields and in the address's fragment, answered by every law.

const values = JSON.parse(textOf("explorer-values"));
const FIELDS = [
  "by", "flops", "days", "money", "n", "d", "d2", "device", "count", "mfu", "price", "inference",
  "unique",
];
const MAY_BE_EMPTY = new Set(["d2", "inference", "unique"]);
const field = (name) => byId(`explore-${name}`);

// ---- arithmetic: from a question to one row a law ----

// FLOP of an hour of one device.
const hourly = (q) => values.devices[q.device] * (q.mfu / 100) * 3600;

function budget(q, law) {
  if (q.by === "flops") return q.flops;
  if (q.by === "days") return q.days * 24 * q.count * hourly(q);
  if (q.by === "money") return (q.money / q.price) * hourly(q);
  return q.by === "n" ? budgetOf(law.n, q.n) : budgetOf(law.d, q.d);
}

function spent(q, c) {
  const deviceHours = c / hourly(q);
  return { hours: deviceHours / q.count, cost: deviceHours * q.price };
}

// How many times outside the compute that a law was measured at; up to 1 inside, 0 if unknown.
const beyondOf = ({ range }, c) => (range ? Math.max(c / range[1], range[0] / c) : 0);

// The optimum of a law at the budget of a question.
function allocate(law, q) {
  const flops = budget(q, law);
  const beyond = beyondOf(law, flops);
  if (beyond > values.farthest) return { law, flops, beyond };
  const n = q.by === "n" ? q.n : at(law.n, flops);
  const d = q.by === "d" ? q.d : at(law.d, flops);
  const loss = predictLoss(law, n, d);
  const ends = {};
  for (const [name, value] of Object.entries({ n, d, loss })) {
    ends[name] = interval(law, name, flops, value);
  }
  const row = { law, flops, beyond, n, d, loss, ends, ...spent(q, flops) };
  if (law.surface && q.inference) {
    const best = inferenceOptimum(law.surface, reach(law.surface, n, d), q.inference);
    const total = (m) => 6 * m.n * m.d + 2 * m.n * q.inference;
    row.serving = { ...best, saved: 1 - total(best) / total({ n, d }) };
  }
  if (law.surface && q.unique) {
    const best = repetitionOptimum(law, flops, q.unique, values.half_lives);
    const found = repeatedLoss(law, best.n, best.d, q.unique, values.half_lives);
    row.repeating = { ...best, epochs: Math.max(1, best.d / q.unique), loss: found };
  }
  return row;
}

// One model by a law: its loss, and the compute it takes over the least that reaches that loss.
function judgeModel(law, n, d) {
  const loss = predictLoss(law, n, d);
  // A law of no loss says but at which budget this size is the best.
  const flops = loss === null ? budgetOf(law.n, n) : 6 * n * d;
  const least = law.surface ? leastFlops(law.surface, reach(law.surface, n, d)) : null;
  const beyond = beyondOf(law, flops);
  return { law, n, d, flops, loss, beyond, penalty: least === null ? null : flops / least - 1 };
}

// ---- the table ----

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

const SHORT = 24; // characters that stay on one line
const loss3 = (x) => x.toFixed(3);
const unitOf = (law) => law.unit ?? "";

function withEnds(value, ends, write) {
  if (value === null || value === undefined) return "none";
  return write(value) + (ends ? ` (${ends.map(write).join(" to ")})` : "");
}

function columnsOf(q) {
  const shown = [
    ["N*", (r) => withEnds(r.n, r.ends.n, count)],
    ["D*", (r) => withEnds(r.d, r.ends.d, count)],
    ["D*/N*", (r) => compact(r.d / r.n)],
    ["loss (nats)", (r) => withEnds(r.loss, r.ends.loss, loss3) + (r.loss ? unitOf(r.law) : "")],
  ];
  if (q.by === "n" || q.by === "d") {
    shown.push(["C (FLOP)", (r) => compact(r.flops)]);
    shown.push(["time", (r) => hours(r.hours)], ["cost", (r) => compact(r.cost)]);
  }
  if (q.inference) {
    const told = ({ n, d, saved }) =>
      `N ${count(n)}, D ${count(d)}: ${(100 * saved).toFixed(1)}% less compute in all`;
    shown.push(["same loss, serving counted", (r) => (r.serving ? told(r.serving) : "none")]);
  }
  if (q.unique) {
    const told = ({ law, repeating: { n, d, epochs, loss } }) =>
      `N ${count(n)}, D ${count(d)}, ${compact(epochs)} epochs: loss ${loss3(loss)}${unitOf(law)}`;
    shown.push(["with repeats", (r) => (r.repeating ? told(r) : "none")]);
  }
  if (q.times) {
    const grown = (r) => [r.law.n, r.law.d].map((law) => compact(q.times ** law.slope));
    shown.push([`for ${q.times}× the compute`, (r) => `N ×${grown(r)[0]}, D ×${grown(r)[1]}`]);
  }
  return shown;
}

function modelColumns(q) {
  const told = (m) => {
    const much = 100 * m.penalty;
    const cost = `${much < 10 ? much.toFixed(1) : much.toFixed(0)}% more compute than needed`;
    if (m.loss === null) return "none";
    return loss3(m.loss) + unitOf(m.law) + (m.penalty === null ? "" : `: ${cost}`);
  };
  const column = (d, at) => [`loss of ${count(q.n)} on ${count(d)}`, (r) => told(r.models[at])];
  const best = (r) => withEnds(at(r.law.d, budgetOf(r.law.n, q.n)), null, count);
  const shown = [column(q.d, 0), ...(q.d2 ? [column(q.d2, 1)] : [])];
  return [...shown, ["D at which this N is the best", best]];
}

function table(rows, columns) {
  const head = element("tr", "", ...["law", ...columns.map(([name]) => name)].map(heading));
  const body = rows.map((row) => {
    const cells = row.refused
      ? [cell("answer", row.refused)]
      : columns.map(([name, write]) => cell(name, write(row)));
    if (row.refused) cells[0].colSpan = columns.length;
    const notes = [row.law.note, row.said].filter(Boolean).map((note) => element("small", note));
    const shown = element("tr", "", cell("law", row.law.name, ...notes), ...cells);
    shown.classList.toggle("beyond", row.beyond > 1.001);
    return shown;
  });
  return element("table", "", element("thead", "", head), element("tbody", "", ...body));
}

function heading(name) {
  const made = element("th", name);
  made.scope = "col";
  return made;
}

function cell(name, text, ...notes) {
  const made = element("td", "", element("span", text, ...notes));
  made.dataset.label = name;
  made.classList.toggle("short", !notes.length && text.length <= SHORT);
  return made;
}

function saidOf({ law, flops, beyond, loss }) {
  if (!law.range) return "";
  const side = flops > law.range[1] ? "above" : "below";
  const where = beyond > 1.001 ? `${compact(beyond, 2)} times ${side}` : "inside";
  const reached = values.measured.filter(([c]) => c <= flops * 1.001).at(-1);
  const worse = law.own && reached && loss > values.noise * reached[1];
  const least = worse ? `; two runs of no more compute have ${loss3(reached[1])}` : "";
  const doubt = beyond > 1.001 && law.doubt ? `; ${law.doubt}` : "";
  return `${where} the compute measured${least}${doubt}`;
}

// ---- the question ----

// The value of a field, or what is wrong with it.
function readField(name, text, by) {
  if (!text.trim() && MAY_BE_EMPTY.has(name)) return { value: null };
  const isFree = name === "price" && by !== "money" && /^\s*(0+\.?0*|\.0+)\s*$/.test(text);
  const value = isFree ? 0 : amount(text);
  if (value === null) {
    return { wrong: "A field has no number in it: write 1e20, 70B, 1,000 or 5 PF-days." };
  }
  if (name === "mfu" && value > 100) return { wrong: "MFU is at most 100%." };
  return { value };
}

// `wrong` says what is, where a field that counts has no number that can be.
function readQuestion() {
  const q = { by: field("by").value, device: field("device").value };
  for (const name of FIELDS.filter((name) => name !== "by" && name !== "device")) {
    const box = field(name);
    const counts = (box.parentElement.dataset.for ?? q.by).split(" ").includes(q.by);
    box.parentElement.hidden = !counts;
    if (!counts) continue;
    const { value, wrong } = readField(name, box.value, q.by);
    q[name] = value;
    q.wrong ??= wrong;
    box.setAttribute("aria-invalid", String(wrong !== undefined));
  }
  const times = Number(field("flops").dataset.times);
  if (q.by === "flops" && times) q.times = times;
  return q;
}

function explore() {
  const q = readQuestion();
  const status = field("status");
  if (q.wrong) {
    status.textContent = q.wrong;
    field("answers").replaceChildren();
    mark([]);
    return;
  }
  const rows = answer(q);
  const c = q.by === "model" ? 6 * q.n * q.d : rows[0].flops;
  const device = `${compact(q.count)} ${q.device} at ${compact(q.mfu)}% MFU`;
  const each = q.by === "n" || q.by === "d" ? "Each law has its own compute" : `${compact(c)} FLOP`;
  const { hours: h, cost } = spent(q, c);
  const took = each.startsWith("Each") ? "" : `: ${hours(h)} on ${device}, cost ${compact(cost)}`;
  status.textContent = `${each}${took}.`;
  const columns = q.by === "model" ? modelColumns(q) : columnsOf(q);
  field("answers").replaceChildren(table(rows, columns));
  const answered = rows.filter((row) => !row.refused);
  mark(answered.flatMap((row) => row.models ?? [row]));
}

function answer(q) {
  return values.laws.map((law) => {
    const model = () => [q.d, q.d2].filter(Boolean).map((d) => judgeModel(law, q.n, d));
    const row = q.by === "model" ? { law, models: model() } : allocate(law, q);
    const far = row.models ? row.models[0] : row;
    row.beyond = far.beyond;
    row.said = saidOf(row.models ? { ...far, loss: null } : far);
    const guessed = !law.own && far.loss > values.guessing; // worse than guessing a token
    if (row.beyond > values.farthest || guessed) row.refused = "no answer";
    return row;
  });
}

function mark(points) {
  // the last series of the figure, which may not be drawn yet
  const box = byId("plot-explorer");
  if (!box.classList.contains("js-plotly-plot")) return;
  const hover = points.map((p) => `<b>${p.law.name}</b><br>N ${count(p.n)}<br>D ${count(p.d)}`);
  const [x, y] = ["n", "d"].map((name) => points.map((p) => p[name]));
  Plotly.restyle(box, { x: [x], y: [y], hovertext: [hover] }, [box.data.length - 1]);
}

// ---- the fragment ----

function writeFragment() {
  const state = new URLSearchParams();
  for (const name of FIELDS) {
    const box = field(name);
    if (!box.parentElement.hidden && box.value !== box.dataset.first) state.set(name, box.value);
  }
  history.replaceState(null, "", `#explorer${String(state) && "?"}${state}`);
}

function readFragment() {
  // a field that the fragment leaves out is at its first value; a device nobody has is left out
  const [name, query] = fragment();
  if (name !== "explorer" || !query) return;
  const asked = new URLSearchParams(query);
  for (const name of FIELDS) {
    const [box, value] = [field(name), asked.get(name)];
    const known = !box.options || [...box.options].some((option) => option.value === value);
    box.value = value !== null && known ? value : box.dataset.first;
  }
  field("flops").dataset.times = "";
  explore();
}

function ask(question) {
  const asked = new URLSearchParams(question);
  const times = Number(asked.get("times"));
  if (times) {
    const own = values.laws.find((law) => law.own);
    asked.set("by", "flops");
    asked.set("flops", compact(times * (own ? own.range[1] : START), 6));
  }
  for (const name of FIELDS) {
    if (asked.has(name)) field(name).value = asked.get(name);
    else if (name === "d2") field(name).value = "";
  }
  field("flops").dataset.times = times || "";
  explore();
  writeFragment();
}

const START = 1e21; // without a study: between the runs of Hoffmann et al. and the models of today

function startExplorer() {
  const own = values.laws.find((law) => law.own);
  field("flops").value = compact(own ? own.range[1] : START);
  field("mfu").value = compact(values.mfu);
  for (const name of FIELDS) field(name).dataset.first = field(name).value;
  byId("explore-inputs").addEventListener("input", () => {
    field("flops").dataset.times = "";
    explore();
    writeFragment();
  });
  byId("explore-questions").addEventListener("click", (event) => {
    if (event.target.dataset.question) ask(event.target.dataset.question);
  });
  byId("plot-explorer").addEventListener("drawn", explore);
  addEventListener("hashchange", readFragment);
  explore();
  readFragment();
}

if (byId("explorer")) startExplorer();
