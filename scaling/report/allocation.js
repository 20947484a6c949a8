// N* and D* against compute, and the explorer that reads those lines. Comes last and starts the page.

const DASHES = { isoflop: "solid", parametric: "dash", envelope: "dashdot" };
const drawn = { ...scene.laws, ...scene.others }; // with the fit compared with, keys `LAW-other`

function lineTraces(key, quantity, axes, first) {
  const law = drawn[key];
  const { line, range } = law;
  const color = css(`--${key}`);
  const at = (keep, name) => line.flops.map((c, i) => (keep(c) ? line[name][i] : null));
  const inside = (c) => c >= range[0] * 0.999 && c <= range[1] * 1.001;
  const known = line.flops
    .map((_, i) => i)
    .filter((i) => line[`${quantity}_low`][i] !== null && line[`${quantity}_high`][i] !== null);
  const base = {
    ...axes,
    mode: "lines",
    hoverinfo: "skip",
    legendgroup: law.name,
    type: "scatter",
  };
  const text = line.flops.map((c, i) => optimum(law.name, c, line.n[i], line.d[i]));
  return [
    {
      ...base,
      x: [
        ...known.map((i) => line.flops[i]),
        ...known
          .slice()
          .reverse()
          .map((i) => line.flops[i]),
      ],
      y: [
        ...known.map((i) => line[`${quantity}_low`][i]),
        ...known
          .slice()
          .reverse()
          .map((i) => line[`${quantity}_high`][i]),
      ],
      fill: "toself",
      fillcolor: color,
      opacity: 0.16,
      line: { width: 0 },
      showlegend: false,
    },
    {
      ...base,
      x: line.flops,
      y: line[quantity],
      line: { color, width: 1.6, dash: "dot" },
      opacity: 0.55,
      showlegend: false,
    },
    {
      ...base,
      x: line.flops,
      y: at(inside, quantity),
      hoverinfo: "text",
      hovertext: text,
      name: law.name,
      showlegend: first,
      line: { color, width: 2.6, dash: DASHES[key.replace("-other", "")] },
    },
  ];
}

function drawAllocation() {
  const traces = [];
  const panels = [
    ["n", "n_opt", "n_interval", {}],
    ["d", "d_opt", "d_interval", { xaxis: "x2", yaxis: "y2" }],
  ];
  for (const [key, value, ends, axes] of panels) {
    for (const [law, { line }] of Object.entries(drawn)) {
      if (line) traces.push(...lineTraces(law, key, axes, key === "n"));
    }
    const shown = scene.valleys.filter((v) => v.curve && v[value]);
    traces.push({
      ...axes,
      x: shown.map((v) => v.flops),
      y: shown.map((v) => v[value]),
      mode: "markers",
      name: "vertices of valleys",
      showlegend: key === "n" && shown.length > 0,
      legendgroup: "vertices",
      hoverinfo: "text",
      hovertext: shown.map((v) => optimum("vertex", v.flops, v.n_opt, v.d_opt)),
      marker: { symbol: "diamond", size: 10, color: css("--ink") },
      error_y: {
        type: "data",
        symmetric: false,
        color: css("--ink"),
        thickness: 1.4,
        width: 5,
        array: shown.map((v) => (v[ends] ? v[ends][1] - v[value] : 0)),
        arrayminus: shown.map((v) => (v[ends] ? v[value] - v[ends][0] : 0)),
      },
    });
  }
  const lines = Object.values(drawn)
    .filter((l) => l.line)
    .map((l) => l.line);
  const all = (name) => lines.flatMap((l) => l[name]);
  const stacked = narrow.matches;
  show("allocation", traces, {
    height: stacked ? 760 : 500,
    xaxis: flopAxis(all("flops"), { domain: stacked ? [0, 1] : [0, 0.44], anchor: "y" }),
    xaxis2: flopAxis(all("flops"), { domain: stacked ? [0, 1] : [0.56, 1], anchor: "y2" }),
    yaxis: axis(scene.axes.params_opt, {
      type: "log",
      domain: stacked ? [0.58, 1] : [0, 1],
      ...logTicks([...all("n"), ...all("n_low"), ...all("n_high")], count),
    }),
    yaxis2: axis(scene.axes.tokens_opt, {
      type: "log",
      domain: stacked ? [0, 0.4] : [0, 1],
      anchor: "x2",
      ...logTicks([...all("d"), ...all("d_low"), ...all("d_high")], count),
    }),
    legend: { orientation: "h", x: 0, y: stacked ? -0.12 : -0.2, yanchor: "top" },
  });
}

const byId = (id) => document.getElementById(id);

function between(xs, ys, x) {
  // straight in log-log; null where either side is unknown
  if (x < xs[0] * 0.9999 || x > xs[xs.length - 1] * 1.0001) return null;
  let i = 0;
  while (i < xs.length - 2 && xs[i + 1] < x) i++;
  if (ys[i] === null || ys[i + 1] === null) return null;
  const t = Math.min(1, Math.max(0, Math.log(x / xs[i]) / Math.log(xs[i + 1] / xs[i])));
  return Math.exp(Math.log(ys[i]) + t * Math.log(ys[i + 1] / ys[i]));
}

function answer(list, rows, beyond) {
  list.classList.toggle("beyond", beyond);
  list.replaceChildren(
    ...rows.map(([term, value, note]) => {
      const row = document.createElement("div"),
        dt = document.createElement("dt"),
        dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = value;
      if (note) {
        const small = document.createElement("small");
        small.textContent = note;
        dd.append(small);
      }
      row.append(dt, dd);
      return row;
    }),
  );
}

function explore(flops) {
  const law = scene.laws[byId("explore-law").value],
    { line, range } = law;
  const status = byId("explore-status"),
    read = (name) => between(line.flops, line[name], flops);
  const beyond = flops < range[0] * 0.999 || flops > range[1] * 1.001;
  const n = read("n");
  const span = `${power(range[0])} to ${power(range[1])} FLOP`;
  const distance =
    flops > range[1]
      ? `${power(flops / range[1], 2)} times above`
      : `${power(range[0] / flops, 2)} times below`;
  status.classList.toggle("beyond", beyond);
  status.textContent = !beyond
    ? `Inside the compute measured, ${span}.`
    : n === null
      ? `Too far from the compute measured, ${span}: no answer.`
      : `Extrapolated, ${distance} ` +
        `the compute measured (${span}). No interval covers an error of the form.`;
  const spread = (name, write) => {
    const [low, high] = [read(`${name}_low`), read(`${name}_high`)];
    return low === null || high === null
      ? "no interval here"
      : `90%: ${write(low)} to ${write(high)}`;
  };
  const loss = read("loss"),
    d = read("d");
  answer(
    byId("explore-answers"),
    n === null
      ? []
      : [
          ["optimal parameters N*", count(n), spread("n", count)],
          [`optimal ${scene.axes.token}s D*`, count(d), spread("d", count)],
          [`${scene.axes.token}s per parameter`, d === null ? "unknown" : power(d / n), ""],
          [
            `loss (${scene.axes.loss_unit})`,
            loss === null ? "none by this law" : loss.toFixed(3),
            loss === null ? "" : spread("loss", (x) => x.toFixed(3)),
          ],
        ],
    beyond,
  );
  const mark = (x) => ({
    type: "line",
    xref: x,
    yref: x === "x" ? "y domain" : "y2 domain",
    x0: flops,
    x1: flops,
    y0: 0,
    y1: 1,
    line: { color: css("--faint"), width: 1.5, dash: "dot" },
  });
  Plotly.relayout("plot-allocation", { shapes: n === null ? [] : [mark("x"), mark("x2")] });
}

function readModel() {
  const { E, A, B, alpha, beta } = scene.surface.constants;
  const surface = (n, d) => E + A * n ** -alpha + B * d ** -beta;
  const n = amount(byId("model-n").value),
    d = amount(byId("model-d").value);
  byId("model-n").setAttribute("aria-invalid", String(n === null));
  byId("model-d").setAttribute("aria-invalid", String(d === null));
  if (n === null || d === null) return answer(byId("model-answers"), [], false);
  const c = 6 * n * d;
  const best = Math.exp(
    (Math.log((alpha * A) / (beta * B)) + beta * Math.log(c / 6)) / (alpha + beta),
  );
  const least = surface(best, c / 6 / best),
    loss = surface(n, d);
  const outside = (value, values) => value < Math.min(...values) || value > Math.max(...values);
  const beyond = outside(n, scene.points.params) || outside(d, scene.points.tokens);
  answer(
    byId("model-answers"),
    [
      [
        `loss (${scene.axes.loss_unit})`,
        loss.toFixed(3),
        beyond ? "extrapolated: no run this size or length" : "inside the runs",
      ],
      ["compute C = 6 N D", `${power(c)} FLOP`, ""],
      [
        "least loss for this compute",
        least.toFixed(3),
        `at N = ${count(best)}, D = ${count(c / 6 / best)}; this model is ` +
          `${(loss - least).toFixed(3)} above`,
      ],
    ],
    beyond,
  );
}

function startExplorer() {
  const box = byId("explore-c"),
    slider = byId("explore-slider"),
    law = byId("explore-law");
  if (!box) return;
  const ends = () => {
    const f = scene.laws[law.value].line.flops;
    return [Math.log(f[0]), Math.log(f[f.length - 1])];
  };
  const fromBox = () => {
    const flops = amount(box.value);
    box.setAttribute("aria-invalid", String(flops === null));
    if (flops === null) return;
    const [low, high] = ends();
    slider.value = String((1000 * (Math.log(flops) - low)) / (high - low));
    explore(flops);
  };
  slider.addEventListener("input", () => {
    const [low, high] = ends();
    box.value = power(Math.exp(low + (slider.value / 1000) * (high - low)));
    box.setAttribute("aria-invalid", "false");
    explore(amount(box.value));
  });
  box.addEventListener("input", fromBox);
  law.addEventListener("change", fromBox);
  const { range, line } = scene.laws[law.value];
  box.value = power(Math.sqrt(range[0] * range[1]));
  fromBox();
  if (!scene.surface) return;
  // At first a model twice too large for its compute: it shows what being off the optimum costs.
  byId("model-n").value = count(2 * between(line.flops, line.n, Math.sqrt(range[0] * range[1])));
  byId("model-d").value = count(between(line.flops, line.d, Math.sqrt(range[0] * range[1])) / 2);
  for (const id of ["model-n", "model-d"]) byId(id).addEventListener("input", readModel);
  readModel();
}

function draw() {
  drawAllocation();
  drawValleys();
  drawSurface();
  drawResiduals();
  drawCurves();
  scene.charts.forEach(drawChart);
}

draw();
startExplorer();
for (const query of [narrow, dark]) {
  query.addEventListener("change", () => {
    draw();
    byId("explore-c")?.dispatchEvent(new Event("input")); // its mark in the figure
  });
}
