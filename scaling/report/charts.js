// Draws the charts of the further laws from the scene: one shape for them all; after look.js.

const INKS = { first: "--isoflop", second: "--parametric", envelope: "--envelope" };
const MARKS = {
  vertex: { symbol: "diamond-open", color: "--ink", size: 12 },
  law: { symbol: "x-thin-open", color: "--parametric", size: 10 },
};

function chartAxis(stated, extra = {}) {
  const found = axis(stated.label, {
    type: "log",
    tickmode: "array",
    tickvals: stated.ticks.map(([value]) => value),
    ticktext: stated.ticks.map(([, text]) => text),
  });
  return { ...found, title: { ...found.title, ...extra } };
}

function chartLine(line, shadeOf) {
  return {
    x: line.x,
    y: line.y,
    mode: "lines",
    name: line.name ?? "",
    showlegend: line.name !== null,
    hoverinfo: "skip",
    line: {
      color: line.shade === null ? css(INKS[line.ink]) : shade(shadeOf(line.shade)),
      width: 2,
      dash: line.dash,
    },
  };
}

function chartMarker(series, chart, shadeOf) {
  const mark = MARKS[series.look];
  if (mark) return { ...mark, color: css(mark.color), line: { width: 2, color: css(mark.color) } };
  if (series.look === "faint") return { size: 6, color: css("--faint"), opacity: 0.6 };
  const ring = { size: 8, line: { width: 1, color: css("--ground") } };
  if (!series.shade) return { ...ring, color: css("--soft") };
  return {
    ...ring,
    color: series.shade.map(shadeOf),
    cmin: 0,
    cmax: 1,
    colorscale: scale(),
    colorbar: colorbar(chart.shade.label, {
      tickvals: chart.shade.ticks.map(([value]) => shadeOf(value)),
      ticktext: chart.shade.ticks.map(([, text]) => text),
    }),
  };
}

function chartPoints(series, chart, shadeOf) {
  const runs = scene.points;
  const said = (i) =>
    hover(runs.run_id[i], runs.params[i], runs.tokens[i], runs.flops[i], runs.loss[i]);
  return {
    x: series.x,
    y: series.y,
    type: "scatter",
    mode: "markers",
    name: series.name ?? "",
    showlegend: series.name !== null,
    hoverinfo: "text",
    hovertext: series.runs ? series.runs.map(said) : series.text,
    marker: chartMarker(series, chart, shadeOf),
  };
}

function drawChart(chart) {
  const { low, high } = chart.shade ?? { low: 1, high: 1 };
  // Within 0 and 1: a line may stand for a round value beside those of the points.
  const shadeOf = (v) =>
    high > low ? Math.min(1, Math.max(0, Math.log(v / low) / Math.log(high / low))) : 0.5;
  const points = (faint) =>
    chart.points
      .filter((series) => (series.look === "faint") === faint)
      .map((series) => chartPoints(series, chart, shadeOf));
  const lines = chart.lines.map((line) => chartLine(line, shadeOf));
  show(chart.key, [...points(true), ...lines, ...points(false)], {
    // Beside a horizontal colour bar Plotly takes the tick labels to have no height.
    xaxis: chartAxis(chart.x, chart.shade ? { standoff: 34 } : {}),
    yaxis: chartAxis(chart.y),
    margin: { l: 56, r: 12, t: chart.shade ? 60 : 16, b: 64 },
  });
}
