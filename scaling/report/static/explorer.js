// The explorer: N*, D* and the loss at a budget, read off the lines of a law, and the loss of one
// model, off the surface. Comes last.

const values = JSON.parse(textOf("explorer-values"));

// ---- numbers, as common/numbers.py writes them ----

function compact(x, digits = 3) {
  if (x === null || !isFinite(x)) return "unknown";
  if (x >= 1e-3 && x < 1e5) return String(Number(x.toPrecision(digits)));
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

function count(x) {
  if (x === null || !isFinite(x)) return "unknown";
  const units = { T: 1e12, B: 1e9, M: 1e6, k: 1e3 };
  for (const [letter, unit] of Object.entries(units)) {
    if (x >= 0.9995 * unit && x < 1e16) return (x / unit).toPrecision(3) + letter;
  }
  return compact(x);
}

function amount(text) {
  const found = /^\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([kmbt]?)\s*$/i.exec(text);
  if (!found) return null;
  const unit = { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[found[2].toLowerCase()];
  const value = Number(found[1]) * unit;
  return value > 0 && isFinite(value) ? value : null;
}

// ---- answers ----

function between(xs, ys, x) {
  // straight in log-log; null where either side is unknown
  if (x < xs[0] * 0.9999 || x > xs[xs.length - 1] * 1.0001) return null;
  let i = 0;
  while (i < xs.length - 2 && xs[i + 1] < x) i++;
  if (ys[i] === null || ys[i + 1] === null) return null;
  const t = Math.min(1, Math.max(0, Math.log(x / xs[i]) / Math.log(xs[i + 1] / xs[i])));
  return Math.exp(Math.log(ys[i]) + t * Math.log(ys[i + 1] / ys[i]));
}

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function answer(list, rows, beyond) {
  list.classList.toggle("beyond", beyond);
  list.replaceChildren(
    ...rows.map(([term, value, note]) => {
      const notes = note ? [element("small", note)] : [];
      return element("div", "", element("dt", term), element("dd", value, ...notes));
    }),
  );
}

function readAmount(box) {
  const value = amount(box.value);
  box.setAttribute("aria-invalid", String(value === null));
  return value;
}

function mark(flops) {
  // in both panels of the figure, which may not be drawn yet
  const box = byId("plot-allocation");
  if (!box?.classList.contains("js-plotly-plot")) return;
  const color = getComputedStyle(document.documentElement).getPropertyValue("--faint").trim();
  const line = { color, width: 1.5, dash: "dot" };
  const at = { type: "line", x0: flops, x1: flops, y0: 0, y1: 1, line };
  const shapes = [
    { ...at, xref: "x", yref: "y domain" },
    { ...at, xref: "x2", yref: "y2 domain" },
  ];
  Plotly.relayout(box, { shapes: flops === null ? [] : shapes });
}

function explore(flops) {
  const { line, range } = values.laws[byId("explore-law").value];
  const read = (name) => between(line.flops, line[name], flops);
  const [n, d, loss] = ["n", "d", "loss"].map(read);
  const beyond = flops < range[0] * 0.999 || flops > range[1] * 1.001;
  const span = `${compact(range[0])} to ${compact(range[1])} FLOP`;
  const distance =
    flops > range[1]
      ? `${compact(flops / range[1], 2)} times above`
      : `${compact(range[0] / flops, 2)} times below`;
  const status = byId("explore-status");
  status.classList.toggle("beyond", beyond);
  status.textContent = !beyond
    ? `Inside the compute measured, ${span}.`
    : n === null
      ? `Too far from the compute measured, ${span}: no answer.`
      : `Extrapolated, ${distance} ` +
        `the compute measured (${span}). The interval does not cover an error of the form.`;
  const spread = (name, write) => {
    const [low, high] = [read(`${name}_low`), read(`${name}_high`)];
    return low === null || high === null
      ? "no interval here"
      : `90%: ${write(low)} to ${write(high)}`;
  };
  const nats = (x) => x.toFixed(3);
  const rows = [
    ["optimal parameters N*", count(n), spread("n", count)],
    [`optimal ${values.token}s D*`, count(d), spread("d", count)],
    [`${values.token}s per parameter`, d === null ? "unknown" : compact(d / n), ""],
    loss === null
      ? [`loss (${values.loss_unit})`, "none by this law", ""]
      : [`loss (${values.loss_unit})`, nats(loss), spread("loss", nats)],
  ];
  answer(byId("explore-answers"), n === null ? [] : rows, beyond);
  mark(n === null ? null : flops);
}

function readModel() {
  const { E, A, B, alpha, beta, k, ceiling, params, tokens } = values.surface;
  const surface = (n, d) => {
    const h = A * n ** -alpha + B * d ** -beta;
    if (ceiling !== null) return E + ((ceiling - E) * h) / (1 + h);
    return E + (k === null ? h : h ** k);
  };
  const [n, d] = ["model-n", "model-d"].map((id) => readAmount(byId(id)));
  if (n === null || d === null) return answer(byId("model-answers"), [], false);
  const c = 6 * n * d;
  const best = Math.exp(
    (Math.log((alpha * A) / (beta * B)) + beta * Math.log(c / 6)) / (alpha + beta),
  );
  const least = surface(best, c / 6 / best);
  const loss = surface(n, d);
  const known = params !== null; // a saved fit does not hold its runs
  const outside = (value, ends) => value < ends[0] || value > ends[1];
  const beyond = known && (outside(n, params) || outside(d, tokens));
  const inside = known ? "inside the runs" : "";
  const note = beyond ? "extrapolated: no run this size or length" : inside;
  const optimum =
    `at N = ${count(best)}, D = ${count(c / 6 / best)}; this model is ` +
    `${(loss - least).toFixed(3)} above`;
  const rows = [
    [`loss (${values.loss_unit})`, loss.toFixed(3), note],
    ["compute C = 6 N D", `${compact(c)} FLOP`, ""],
    ["least loss for this compute", least.toFixed(3), optimum],
  ];
  answer(byId("model-answers"), rows, beyond);
}

// ---- inputs ----

function startExplorer(box, slider, law) {
  const ends = () => {
    const f = values.laws[law.value].line.flops;
    return [Math.log(f[0]), Math.log(f[f.length - 1])];
  };
  const fromBox = () => {
    const flops = readAmount(box);
    if (flops === null) return;
    const [low, high] = ends();
    slider.value = String((1000 * (Math.log(flops) - low)) / (high - low));
    explore(flops);
  };
  slider.addEventListener("input", () => {
    const [low, high] = ends();
    box.value = compact(Math.exp(low + (slider.value / 1000) * (high - low)));
    explore(readAmount(box));
  });
  box.addEventListener("input", fromBox);
  law.addEventListener("change", fromBox);
  byId("plot-allocation")?.addEventListener("drawn", fromBox); // its mark in the figure
  const { range, line } = values.laws[law.value];
  const middle = Math.sqrt(range[0] * range[1]);
  box.value = compact(middle);
  fromBox();
  if (!values.surface) return;
  // At first a model twice too large for its compute: it shows what being off the optimum costs.
  byId("model-n").value = count(2 * between(line.flops, line.n, middle));
  byId("model-d").value = count(between(line.flops, line.d, middle) / 2);
  for (const id of ["model-n", "model-d"]) byId(id).addEventListener("input", readModel);
  readModel();
}

if (byId("explorer")) {
  startExplorer(byId("explore-c"), byId("explore-slider"), byId("explore-law"));
}
