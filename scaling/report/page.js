// Draws the figures of the page from its embedded scene. Needs Plotly; explorer.js comes after.
// Names from outside reach the page as text only: textContent, or plain() where Plotly reads markup.
"use strict";

const scene = JSON.parse(document.getElementById("scene").textContent);
const narrow = matchMedia("(max-width: 720px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "pentagon", "x"];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e",
  "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

// ---- words and numbers ----

const plain = (text) => String(text).slice(0, 80)
  .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function power(x, digits = 3) {
  if (x === null || !isFinite(x)) return "unknown";
  if (x >= 1e-3 && x < 1e5) return String(Number(x.toPrecision(digits)));
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

function count(x) {
  if (x === null || !isFinite(x)) return "unknown";
  for (const [unit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (x >= 0.9995 * unit && x < 1e16) return Number((x / unit).toPrecision(3)) + letter;
  }
  return power(x);
}

function amount(text) {
  const found = /^\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([kmbt]?)\s*$/i.exec(text);
  if (!found) return null;
  const value = Number(found[1]) * { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[found[2].toLowerCase()];
  return value > 0 && isFinite(value) ? value : null;
}

const hover = (id, n, d, c, loss) =>
  `<b>${plain(id)}</b><br>N ${count(n)}<br>D ${count(d)}<br>C ${power(c)} FLOP<br>loss ${loss?.toFixed(4)}`;

// ---- look ----

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function shade(fraction) { // a perceptual scale, kept off the end that the ground would swallow
  const at = (dark.matches ? 0.3 + 0.7 * fraction : 0.84 * fraction) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const channels = [0, 1, 2].map((k) => {
    const [low, high] = [VIRIDIS[i], VIRIDIS[i + 1]].map((c) => parseInt(c.substr(1 + 2 * k, 2), 16));
    return Math.round(low + (at - i) * (high - low));
  });
  return `rgb(${channels.join(",")})`;
}

const budgetShade = (i) => i < 0 ? css("--faint") : shade(scene.budgets.length < 2 ? 0.4 : i / (scene.budgets.length - 1));
const budgetSymbol = (i) => i < 0 ? "circle" : SYMBOLS[i % SYMBOLS.length];
const scale = () => [0, 0.25, 0.5, 0.75, 1].map((x) => [x, shade(x)]);

function logTicks(values, write, wanted = 6, fine = [[1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.5, 1.8, 2, 2.3, 2.6, 3, 3.5, 4, 5, 6, 7, 8]]) {
  const known = values.filter((v) => v > 0);
  const [low, high] = [Math.min(...known) / 1.2, Math.max(...known) * 1.2];
  const candidates = [[1], [1, 3], [1, 2, 5], ...fine];
  let best = null;
  for (const steps of candidates) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      for (const s of steps) if (s * 10 ** e >= low && s * 10 ** e <= high) found.push(s * 10 ** e);
    }
    if (!best || Math.abs(found.length - wanted) < Math.abs(best.length - wanted)) best = found;
  }
  return { tickmode: "array", tickvals: best, ticktext: best.map(write) };
}

function axis(title, extra = {}) {
  return {
    title: { text: title, standoff: 8, font: { size: narrow.matches ? 12 : 13.5 } }, automargin: true,
    gridcolor: css("--rule"), linecolor: css("--faint"), zeroline: false, ticks: "outside",
    tickcolor: css("--faint"), ...extra,
  };
}

function powerOfTen(x) {
  const [mantissa, exponent] = x.toExponential(0).split("e");
  return `${mantissa === "1" ? "" : mantissa + "·"}10<sup>${Number(exponent)}</sup>`;
}

const flopAxis = (values, extra = {}) =>
  axis(scene.axes.flops, { type: "log", ...logTicks(values, powerOfTen, narrow.matches ? 4 : 6, [[1, 2, 3, 4, 5, 6, 7, 8, 9]]), ...extra });

function show(key, traces, layout) {
  const node = document.getElementById(`plot-${key}`);
  if (!node) return;
  Plotly.react(node, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
    margin: { l: 56, r: 12, t: 16, b: 48 }, height: narrow.matches ? 420 : 480, hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--faint"), font: { color: css("--ink") } },
    legend: { orientation: "h", x: 0, y: -0.2, yanchor: "top", font: { size: 12.5 } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--ink") },
    ...layout,
  }, {
    responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: key },
  });
}

const colorbar = (title, extra) => ({
  orientation: "h", x: 0.5, y: 1.01, yanchor: "bottom", len: narrow.matches ? 0.98 : 0.6, thickness: 10, outlinewidth: 0,
  title: { text: title, side: "top", font: { size: 12.5 } }, ...extra,
});

function pick(source, keep, x, y) {
  const index = source.run_id.map((_, i) => i).filter(keep);
  const take = (name) => index.map((i) => source[name][i]);
  return {
    x: take(x), y: take(y), hoverinfo: "text", type: "scatter", mode: "markers",
    hovertext: index.map((i) => hover(source.run_id[i], source.params[i], source.tokens[i], source.flops[i], source.loss[i])),
  };
}

const groups = () => [...new Set(scene.points.budget)].sort((a, b) => a - b);
const budgetName = (i) => i < 0 ? "no budget" : `C = ${power(scene.budgets[i])} FLOP`;

// ---- figures ----

function drawValleys() {
  const traces = [];
  for (const i of groups()) {
    const look = { color: budgetShade(i), symbol: budgetSymbol(i) };
    traces.push({ ...pick(scene.points, (k) => scene.points.budget[k] === i, "params", "loss"),
      name: budgetName(i), legendgroup: String(i), marker: { ...look, size: 9, line: { width: 1, color: css("--ground") } } });
    traces.push({ ...pick(scene.seeds, (k) => scene.seeds.budget[k] === i, "params", "loss"),
      legendgroup: String(i), showlegend: false, opacity: 0.45, marker: { ...look, size: 6 } });
  }
  for (const valley of scene.valleys) {
    const i = scene.budgets.indexOf(valley.flops);
    if (valley.curve) traces.push({ x: valley.curve.params, y: valley.curve.loss, mode: "lines", hoverinfo: "skip",
      line: { color: budgetShade(i), width: 2 }, legendgroup: String(i), showlegend: false });
    if (!valley.curve) continue;
    const ends = valley.n_interval;
    traces.push({ x: [valley.n_opt], y: [valley.loss], mode: "markers", legendgroup: String(i), showlegend: false,
      hoverinfo: "text", hovertext: [`<b>vertex at ${power(valley.flops)} FLOP</b><br>N* ${count(valley.n_opt)}` +
        (ends ? ` (${count(ends[0])} to ${count(ends[1])})` : "") + `<br>D* ${count(valley.d_opt)}<br>loss ${valley.loss.toFixed(4)}` +
        (valley.flags.length ? `<br>flags: ${plain(valley.flags.join(", "))}` : "")],
      marker: { symbol: "diamond-open", size: 13, color: css("--ink"), line: { width: 2 } },
      error_x: ends ? { type: "data", symmetric: false, array: [ends[1] - valley.n_opt],
        arrayminus: [valley.n_opt - ends[0]], color: css("--ink"), thickness: 1.5, width: 5 } : undefined });
  }
  show("valleys", traces, {
    xaxis: axis(scene.axes.params, { type: "log", ...logTicks(scene.points.params, count, narrow.matches ? 5 : 8) }),
    yaxis: axis(scene.axes.loss),
  });
}

function lineTraces(law, key, color, axes, first) {
  const { line, range } = law;
  const at = (keep, name) => line.flops.map((c, i) => keep(c) ? line[name][i] : null);
  const inside = (c) => c >= range[0] * 0.999 && c <= range[1] * 1.001;
  const known = line.flops.map((_, i) => i).filter((i) => line[`${key}_low`][i] !== null && line[`${key}_high`][i] !== null);
  const base = { ...axes, mode: "lines", hoverinfo: "skip", legendgroup: law.name, type: "scatter" };
  const text = line.flops.map((c, i) => `<b>${plain(law.name)}</b><br>C ${power(c)} FLOP<br>N* ${count(line.n[i])}<br>D* ${count(line.d[i])}`);
  return [
    { ...base, x: [...known.map((i) => line.flops[i]), ...known.slice().reverse().map((i) => line.flops[i])],
      y: [...known.map((i) => line[`${key}_low`][i]), ...known.slice().reverse().map((i) => line[`${key}_high`][i])],
      fill: "toself", fillcolor: color, opacity: 0.16, line: { width: 0 }, showlegend: false },
    { ...base, x: line.flops, y: line[key], line: { color, width: 1.6, dash: "dot" }, opacity: 0.55, showlegend: false },
    { ...base, x: line.flops, y: at(inside, key), hoverinfo: "text", hovertext: text, name: law.name, showlegend: first,
      line: { color, width: 2.6, dash: law.name.startsWith("Iso") ? "solid" : "dash" } },
  ];
}

function drawAllocation() {
  const traces = [];
  const panels = [["n", "n_opt", "n_interval", {}], ["d", "d_opt", "d_interval", { xaxis: "x2", yaxis: "y2" }]];
  for (const [key, value, ends, axes] of panels) {
    for (const [law, found] of Object.entries(scene.laws)) {
      if (found.line) traces.push(...lineTraces(found, key, css(`--${law}`), axes, key === "n"));
    }
    const shown = scene.valleys.filter((v) => v.curve && v[value]);
    traces.push({ ...axes, x: shown.map((v) => v.flops), y: shown.map((v) => v[value]), mode: "markers", name: "vertices of valleys",
      showlegend: key === "n" && shown.length > 0, legendgroup: "vertices", hoverinfo: "text",
      hovertext: shown.map((v) => `<b>vertex</b><br>C ${power(v.flops)} FLOP<br>N* ${count(v.n_opt)}<br>D* ${count(v.d_opt)}`),
      marker: { symbol: "diamond", size: 10, color: css("--ink") },
      error_y: { type: "data", symmetric: false, color: css("--ink"), thickness: 1.4, width: 5,
        array: shown.map((v) => v[ends] ? v[ends][1] - v[value] : 0), arrayminus: shown.map((v) => v[ends] ? v[value] - v[ends][0] : 0) } });
  }
  const lines = Object.values(scene.laws).filter((l) => l.line).map((l) => l.line);
  const all = (name) => lines.flatMap((l) => l[name]);
  const stacked = narrow.matches;
  show("allocation", traces, {
    height: stacked ? 760 : 500,
    xaxis: flopAxis(all("flops"), { domain: stacked ? [0, 1] : [0, 0.44], anchor: "y" }),
    xaxis2: flopAxis(all("flops"), { domain: stacked ? [0, 1] : [0.56, 1], anchor: "y2" }),
    yaxis: axis(scene.axes.params_opt,
      { type: "log", domain: stacked ? [0.58, 1] : [0, 1], ...logTicks(all("n"), count) }),
    yaxis2: axis(scene.axes.tokens_opt, { type: "log", domain: stacked ? [0, 0.4] : [0, 1], anchor: "x2", ...logTicks(all("d"), count) }),
    legend: { orientation: "h", x: 0, y: stacked ? -0.12 : -0.2, yanchor: "top" },
  });
}

function drawSurface() {
  if (!scene.surface) return;
  const traces = [];
  for (const { loss, paths } of scene.surface.lines) {
    for (const path of paths) {
      const last = path.flops.length - 1;
      traces.push({ x: path.flops, y: path.params, mode: path.labelled && !narrow.matches ? "lines+text" : "lines", showlegend: false, hoverinfo: "text",
        hovertext: `fitted loss ${loss}`, line: { color: css("--faint"), width: 1 }, textposition: "middle right", cliponaxis: false,
        text: path.flops.map((_, i) => i === last ? String(loss) : ""), textfont: { size: 11, color: css("--soft") } });
    }
  }
  const { line, range } = scene.laws.parametric;
  const inside = line.flops.map((_, i) => i).filter((i) => line.flops[i] >= range[0] * 0.999 && line.flops[i] <= range[1] * 1.001);
  traces.push({ x: inside.map((i) => line.flops[i]), y: inside.map((i) => line.n[i]), mode: "lines", name: "efficient frontier",
    line: { color: css("--parametric"), width: 3.5, dash: "dash" }, hoverinfo: "text",
    hovertext: inside.map((i) => `frontier<br>C ${power(line.flops[i])} FLOP<br>N* ${count(line.n[i])}`) });
  traces.push({ ...pick(scene.points, () => true, "flops", "params"), name: "runs",
    marker: { size: 8, color: scene.points.loss, colorscale: scale(), reversescale: false, line: { width: 1, color: css("--ground") },
      colorbar: colorbar(scene.axes.loss) } });
  show("surface", traces, { xaxis: flopAxis(scene.points.flops), margin: { l: 56, r: 44, t: 60, b: 48 },
    yaxis: axis(scene.axes.params, { type: "log", ...logTicks(scene.points.params, count, 8) }) });
}

function drawResiduals() {
  const { residual, flops, budget } = scene.points;
  if (!residual) return;
  const half = (Math.max(...flops) / Math.min(...flops)) ** 0.04; // of the bar of a mean
  const percents = { ...scene.points, percent: residual.map((r) => 100 * (Math.exp(r) - 1)) };
  const traces = [];
  for (const i of groups()) {
    const index = budget.map((_, k) => k).filter((k) => budget[k] === i);
    traces.push({ ...pick(percents, (k) => budget[k] === i, "flops", "percent"), name: budgetName(i),
      marker: { color: budgetShade(i), symbol: budgetSymbol(i), size: 8, line: { width: 1, color: css("--ground") } } });
    if (i < 0) continue;
    const mean = index.reduce((sum, k) => sum + percents.percent[k], 0) / index.length;
    const c = Math.exp(index.reduce((sum, k) => sum + Math.log(flops[k]), 0) / index.length);
    traces.push({ x: [c / half, c * half], y: [mean, mean], mode: "lines", line: { color: css("--ink"), width: 2 },
      showlegend: false, hoverinfo: "text", hovertext: `mean of this budget ${mean.toFixed(2)}%` });
  }
  show("residuals", traces, { xaxis: flopAxis(flops), yaxis: axis("observed / fitted loss − 1 (%)",
    { zeroline: true, zerolinecolor: css("--faint"), zerolinewidth: 1.5 }) });
}

function drawCurves() {
  if (!scene.curves.length) return;
  const logs = scene.curves.map((c) => Math.log10(c.params));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const color = (n) => shade(high > low ? (Math.log10(n) - low) / (high - low) : 0.5);
  const traces = scene.curves.map((c) => ({ x: c.flops, y: c.loss, mode: "lines", showlegend: false, opacity: 0.8,
    line: c.excluded ? { color: css("--faint"), width: 1.2, dash: "dot" } : { color: color(c.params), width: 1.3 },
    hoverinfo: "text", hovertext: c.flops.map((f, i) => `${hover(c.run_id, c.params, c.tokens[i], f, c.loss[i])} (training)` +
      (c.excluded ? `<br>excluded: ${plain(c.excluded)}` : "")) }));
  const ticks = logTicks(scene.curves.map((c) => c.params), count, 5);
  traces.push({ ...pick(scene.points, () => true, "flops", "loss"), showlegend: false,
    marker: { size: 8, color: scene.points.params.map(Math.log10), cmin: low, cmax: high, colorscale: scale(), line: { width: 1, color: css("--ground") },
      colorbar: colorbar(scene.axes.params, { tickvals: ticks.tickvals.map(Math.log10), ticktext: ticks.ticktext }) } });
  show("curves", traces, { xaxis: flopAxis(scene.curves.flatMap((c) => c.flops)), margin: { l: 56, r: 12, t: 60, b: 48 },
    yaxis: axis(`training loss; points: held-out (${scene.axes.loss_unit})`, { type: "log",
      ...logTicks(scene.curves.flatMap((c) => c.loss), (v) => String(Number(v.toPrecision(2))), 8) }) });
}

function draw() {
  drawAllocation();
  drawValleys();
  drawSurface();
  drawResiduals();
  drawCurves();
}

draw();
for (const query of [narrow, dark]) query.addEventListener("change", draw);
