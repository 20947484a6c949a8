// Draws the figures that the page holds as JSON, in the colours of the ground and with the layout of
// the screen's width: one after the other, so that the page answers meanwhile. Needs Plotly.

const narrow = matchMedia("(max-width: 720px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const byId = (id) => document.getElementById(id);
const textOf = (id) => byId(id).textContent;
const onDark = JSON.parse(textOf("dark"));

function recolour(key, value) {
  return dark.matches && typeof value === "string" && Object.hasOwn(onDark, value)
    ? onDark[value]
    : value;
}

function draw(box) {
  const key = box.id.replace("plot-", "");
  const figure = JSON.parse(textOf(`figure-${key}`), recolour);
  const layout = narrow.matches ? figure.narrow : figure.layout;
  layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  Plotly.react(box, figure.data, layout, {
    responsive: true,
    displaylogo: false,
    displayModeBar: narrow.matches ? false : "hover",
    // A list of what may be there: plotly's defaults grew a button that uploads the figure.
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    // No address to send it to, were that button there all the same.
    plotlyServerURL: "",
    showSendToCloud: false,
    toImageButtonOptions: { format: "svg", filename: key },
  });
  box.dispatchEvent(new Event("drawn"));
}

const boxes = [...document.querySelectorAll(".plot")];
const isDrawn = (box) => box.classList.contains("js-plotly-plot");

function drawNext() {
  const box = boxes.find((box) => !isDrawn(box));
  if (!box) return;
  draw(box);
  setTimeout(drawNext);
}

drawNext();
addEventListener("beforeprint", () => boxes.filter((box) => !isDrawn(box)).forEach(draw));
for (const query of [narrow, dark]) {
  query.addEventListener("change", () => boxes.filter(isDrawn).forEach(draw));
}
