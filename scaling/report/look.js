// The page's scene, how it writes numbers, and how its figures look. Needs Plotly; comes first.
// Names from outside are text only: textContent, or plain() where Plotly reads markup.
"use strict";

const scene = JSON.parse(document.getElementById("scene").textContent);
const narrow = matchMedia("(max-width: 720px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const SYMBOLS = [
  "circle",
  "square",
  "diamond",
  "triangle-up",
  "cross",
  "triangle-down",
  "pentagon",
  "x",
];
const VIRIDIS = [
  "#440154",
  "#482878",
  "#3e4989",
  "#31688e",
  "#26828e",
  "#1f9e89",
  "#35b779",
  "#6ece58",
  "#b5de2b",
  "#fde725",
];

// ---- words and numbers ----

const plain = (text) =>
  String(text).slice(0, 80).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function power(x, digits = 3) {
  if (x === null || !isFinite(x)) return "unknown";
  if (x >= 1e-3 && x < 1e5) return String(Number(x.toPrecision(digits)));
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

function count(x) {
  if (x === null || !isFinite(x)) return "unknown";
  for (const [unit, letter] of [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (x >= 0.9995 * unit && x < 1e16) return Number((x / unit).toPrecision(3)) + letter;
  }
  return power(x);
}

function amount(text) {
  const found = /^\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([kmbt]?)\s*$/i.exec(text);
  if (!found) return null;
  const value =
    Number(found[1]) * { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[found[2].toLowerCase()];
  return value > 0 && isFinite(value) ? value : null;
}

const hover = (id, n, d, c, loss) =>
  `<b>${plain(id)}</b><br>N ${count(n)}<br>D ${count(d)}<br>C ${power(c)} FLOP<br>` +
  `loss ${loss?.toFixed(4)}`;

const optimum = (name, c, n, d) =>
  `<b>${plain(name)}</b><br>C ${power(c)} FLOP<br>N* ${count(n)}<br>D* ${count(d)}`;

// ---- look ----

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function shade(fraction) {
  // a perceptual scale, kept off the end that the ground would swallow
  const at = (dark.matches ? 0.3 + 0.7 * fraction : 0.84 * fraction) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const channels = [0, 1, 2].map((k) => {
    const [low, high] = [VIRIDIS[i], VIRIDIS[i + 1]].map((c) =>
      parseInt(c.substr(1 + 2 * k, 2), 16),
    );
    return Math.round(low + (at - i) * (high - low));
  });
  return `rgb(${channels.join(",")})`;
}

const budgetShade = (i) =>
  i < 0 ? css("--faint") : shade(scene.budgets.length < 2 ? 0.4 : i / (scene.budgets.length - 1));
const budgetSymbol = (i) => (i < 0 ? "circle" : SYMBOLS[i % SYMBOLS.length]);
const scale = () => [0, 0.25, 0.5, 0.75, 1].map((x) => [x, shade(x)]);

function logTicks(
  values,
  write,
  wanted = 6,
  fine = [
    [1, 1.5, 2, 3, 5, 7],
    [1, 1.2, 1.5, 1.8, 2, 2.3, 2.6, 3, 3.5, 4, 5, 6, 7, 8],
  ],
) {
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
    title: { text: title, standoff: 8, font: { size: narrow.matches ? 12 : 13.5 } },
    automargin: true,
    gridcolor: css("--rule"),
    linecolor: css("--faint"),
    zeroline: false,
    ticks: "outside",
    tickcolor: css("--faint"),
    ...extra,
  };
}

function powerOfTen(x) {
  const [mantissa, exponent] = x.toExponential(0).split("e");
  return `${mantissa === "1" ? "" : mantissa + "·"}10<sup>${Number(exponent)}</sup>`;
}

const flopAxis = (values, extra = {}) =>
  axis(scene.axes.flops, {
    type: "log",
    ...logTicks(values, powerOfTen, narrow.matches ? 4 : 6, [[1, 2, 3, 4, 5, 6, 7, 8, 9]]),
    ...extra,
  });

function show(key, traces, layout) {
  const node = document.getElementById(`plot-${key}`);
  if (!node) return;
  Plotly.react(
    node,
    traces,
    {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
      margin: { l: 56, r: 12, t: 16, b: 48 },
      height: narrow.matches ? 420 : 480,
      hovermode: "closest",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: {
        bgcolor: css("--panel"),
        bordercolor: css("--faint"),
        font: { color: css("--ink") },
      },
      legend: { orientation: "h", x: 0, y: -0.2, yanchor: "top", font: { size: 12.5 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--ink") },
      ...layout,
    },
    {
      responsive: true,
      displaylogo: false,
      displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: key },
    },
  );
}

const colorbar = (title, extra) => ({
  orientation: "h",
  x: 0.5,
  y: 1.01,
  yanchor: "bottom",
  len: narrow.matches ? 0.98 : 0.6,
  thickness: 10,
  outlinewidth: 0,
  title: { text: title, side: "top", font: { size: 12.5 } },
  ...extra,
});

function pick(source, keep, x, y) {
  const index = source.run_id.map((_, i) => i).filter(keep);
  const take = (name) => index.map((i) => source[name][i]);
  return {
    x: take(x),
    y: take(y),
    hoverinfo: "text",
    type: "scatter",
    mode: "markers",
    hovertext: index.map((i) =>
      hover(source.run_id[i], source.params[i], source.tokens[i], source.flops[i], source.loss[i]),
    ),
  };
}
