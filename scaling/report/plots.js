// Draws the figures of the page from its scene; after look.js.

const groups = () => [...new Set(scene.points.budget)].sort((a, b) => a - b);
const budgetName = (i) => (i < 0 ? "no budget" : `C = ${power(scene.budgets[i])} FLOP`);

function drawValleys() {
  const traces = [];
  for (const i of groups()) {
    const look = { color: budgetShade(i), symbol: budgetSymbol(i) };
    traces.push({
      ...pick(scene.points, (k) => scene.points.budget[k] === i, "params", "loss"),
      name: budgetName(i),
      legendgroup: String(i),
      marker: { ...look, size: 9, line: { width: 1, color: css("--ground") } },
    });
    traces.push({
      ...pick(scene.seeds, (k) => scene.seeds.budget[k] === i, "params", "loss"),
      legendgroup: String(i),
      showlegend: false,
      opacity: 0.45,
      marker: { ...look, size: 6 },
    });
  }
  for (const valley of scene.valleys) {
    const i = scene.budgets.indexOf(valley.flops);
    if (valley.curve)
      traces.push({
        x: valley.curve.params,
        y: valley.curve.loss,
        mode: "lines",
        hoverinfo: "skip",
        line: { color: budgetShade(i), width: 2 },
        legendgroup: String(i),
        showlegend: false,
      });
    if (!valley.curve) continue;
    const ends = valley.n_interval;
    traces.push({
      x: [valley.n_opt],
      y: [valley.loss],
      mode: "markers",
      legendgroup: String(i),
      showlegend: false,
      hoverinfo: "text",
      hovertext: [
        `<b>vertex at ${power(valley.flops)} FLOP</b><br>N* ${count(valley.n_opt)}` +
          (ends ? ` (${count(ends[0])} to ${count(ends[1])})` : "") +
          `<br>D* ${count(valley.d_opt)}<br>loss ${valley.loss.toFixed(4)}` +
          (valley.flags.length ? `<br>flags: ${plain(valley.flags.join(", "))}` : ""),
      ],
      marker: { symbol: "diamond-open", size: 13, color: css("--ink"), line: { width: 2 } },
      error_x: ends
        ? {
            type: "data",
            symmetric: false,
            array: [ends[1] - valley.n_opt],
            arrayminus: [valley.n_opt - ends[0]],
            color: css("--ink"),
            thickness: 1.5,
            width: 5,
          }
        : undefined,
    });
  }
  show("valleys", traces, {
    xaxis: axis(scene.axes.params, {
      type: "log",
      ...logTicks(scene.points.params, count, narrow.matches ? 5 : 8),
    }),
    yaxis: axis(scene.axes.loss),
  });
}

function drawSurface() {
  if (!scene.surface) return;
  const traces = [];
  for (const { loss, paths } of scene.surface.lines) {
    for (const path of paths) {
      const last = path.flops.length - 1;
      traces.push({
        x: path.flops,
        y: path.params,
        mode: path.labelled && !narrow.matches ? "lines+text" : "lines",
        showlegend: false,
        hoverinfo: "text",
        hovertext: `fitted loss ${loss}`,
        line: { color: css("--faint"), width: 1 },
        textposition: "middle right",
        cliponaxis: false,
        text: path.flops.map((_, i) => (i === last ? String(loss) : "")),
        textfont: { size: 11, color: css("--soft") },
      });
    }
  }
  const { line, range } = scene.laws.parametric;
  const inside = line.flops
    .map((_, i) => i)
    .filter((i) => line.flops[i] >= range[0] * 0.999 && line.flops[i] <= range[1] * 1.001);
  traces.push({
    x: inside.map((i) => line.flops[i]),
    y: inside.map((i) => line.n[i]),
    mode: "lines",
    name: "efficient frontier",
    line: { color: css("--parametric"), width: 3.5, dash: "dash" },
    hoverinfo: "text",
    hovertext: inside.map(
      (i) => `frontier<br>C ${power(line.flops[i])} FLOP<br>N* ${count(line.n[i])}`,
    ),
  });
  traces.push({
    ...pick(scene.points, () => true, "flops", "params"),
    name: "runs",
    marker: {
      size: 8,
      color: scene.points.loss,
      colorscale: scale(),
      reversescale: false,
      line: { width: 1, color: css("--ground") },
      colorbar: colorbar(scene.axes.loss),
    },
  });
  show("surface", traces, {
    xaxis: flopAxis(scene.points.flops),
    margin: { l: 56, r: 44, t: 60, b: 48 },
    yaxis: axis(scene.axes.params, { type: "log", ...logTicks(scene.points.params, count, 8) }),
  });
}

function drawResiduals() {
  const { residual, flops, budget } = scene.points;
  if (!residual) return;
  const half = (Math.max(...flops) / Math.min(...flops)) ** 0.04; // of the bar of a mean
  const percents = { ...scene.points, percent: residual.map((r) => 100 * (Math.exp(r) - 1)) };
  const traces = [];
  for (const i of groups()) {
    const index = budget.map((_, k) => k).filter((k) => budget[k] === i);
    traces.push({
      ...pick(percents, (k) => budget[k] === i, "flops", "percent"),
      name: budgetName(i),
      marker: {
        color: budgetShade(i),
        symbol: budgetSymbol(i),
        size: 8,
        line: { width: 1, color: css("--ground") },
      },
    });
    if (i < 0) continue;
    const mean = index.reduce((sum, k) => sum + percents.percent[k], 0) / index.length;
    const c = Math.exp(index.reduce((sum, k) => sum + Math.log(flops[k]), 0) / index.length);
    traces.push({
      x: [c / half, c * half],
      y: [mean, mean],
      mode: "lines",
      line: { color: css("--ink"), width: 2 },
      showlegend: false,
      hoverinfo: "text",
      hovertext: `mean of this budget ${mean.toFixed(2)}%`,
    });
  }
  show("residuals", traces, {
    xaxis: flopAxis(flops),
    yaxis: axis("observed / fitted loss − 1 (%)", {
      zeroline: true,
      zerolinecolor: css("--faint"),
      zerolinewidth: 1.5,
    }),
  });
}

function drawCurves() {
  if (!scene.curves.length) return;
  const logs = scene.curves.map((c) => Math.log10(c.params));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const color = (n) => shade(high > low ? (Math.log10(n) - low) / (high - low) : 0.5);
  const traces = scene.curves.map((c) => ({
    x: c.flops,
    y: c.loss,
    mode: "lines",
    showlegend: false,
    opacity: 0.8,
    line: c.excluded
      ? { color: css("--faint"), width: 1.2, dash: "dot" }
      : { color: color(c.params), width: 1.3 },
    hoverinfo: "text",
    hovertext: c.flops.map(
      (f, i) =>
        `${hover(c.run_id, c.params, c.tokens[i], f, c.loss[i])} (training)` +
        (c.excluded ? `<br>excluded: ${plain(c.excluded)}` : ""),
    ),
  }));
  const ticks = logTicks(
    scene.curves.map((c) => c.params),
    count,
    5,
  );
  traces.push({
    ...pick(scene.points, () => true, "flops", "loss"),
    showlegend: false,
    marker: {
      size: 8,
      color: scene.points.params.map(Math.log10),
      cmin: low,
      cmax: high,
      colorscale: scale(),
      line: { width: 1, color: css("--ground") },
      colorbar: colorbar(scene.axes.params, {
        tickvals: ticks.tickvals.map(Math.log10),
        ticktext: ticks.ticktext,
      }),
    },
  });
  show("curves", traces, {
    xaxis: flopAxis(scene.curves.flatMap((c) => c.flops)),
    margin: { l: 56, r: 12, t: 60, b: 48 },
    yaxis: axis(`loss during training (${scene.axes.loss_unit})`, {
      type: "log",
      ...logTicks(
        scene.curves.flatMap((c) => c.loss),
        (v) => String(Number(v.toPrecision(2))),
        8,
      ),
    }),
  });
}
