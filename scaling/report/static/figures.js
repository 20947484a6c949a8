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
  if (box.closest(".first")) {
    // on one screen with the answer
    layout.height = narrow.matches ? 300 : Math.min(600, layout.height + 80);
    layout.showlegend = !narrow.matches;
  }
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
  asToolbar(box);
  box.dispatchEvent(new Event("drawn"));
}

function asToolbar(box) {
  // its buttons are one stop of the Tab key; the arrow keys go from one to the next
  const bar = box.querySelector(".modebar");
  if (!bar) return;
  const buttons = [...bar.querySelectorAll(".modebar-btn")];
  const stop = (at) => buttons.forEach((button, i) => (button.tabIndex = i === at ? 0 : -1));
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Tools of this figure");
  bar.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (buttons.indexOf(event.target) + step + buttons.length) % buttons.length;
    stop(next);
    buttons[next].focus();
  };
  stop(0);
}

const boxes = [...document.querySelectorAll(".plot")];
const isDrawn = (box) => box.classList.contains("js-plotly-plot");

function drawNext() {
  // a figure of a closed section has no size yet
  const box = boxes.find((box) => !isDrawn(box) && box.checkVisibility());
  if (!box) return;
  draw(box);
  setTimeout(drawNext);
}

drawNext();
for (const query of [narrow, dark]) {
  query.addEventListener("change", () => boxes.filter(isDrawn).forEach(draw));
}
