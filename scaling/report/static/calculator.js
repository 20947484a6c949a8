// The calculator: what a shape has of parameters, costs of FLOP and takes of memory, by part.

const calculate = (name) => byId(`calculate-${name}`);
const WHOLE = "n_layer n_head n_embd block_size vocab_size n_kv_head n_inner sequences".split(" ");
const OPTIONAL_SHAPE = new Set(["n_kv_head", "n_inner"]);
const CONVENTIONS = {
  params_total: ["all parameters", "Hoffmann et al. 2022"],
  params_allocated: ["all, with the table of tokens padded", "what memory holds"],
  params_non_embedding: ["without embeddings", "Kaplan et al. 2020"],
  params_matmul: ["in matrix products, head included", "Porian et al. 2024"],
  params_effective: ["effective: exact FLOP a token over 6", "the default here"],
  flops_per_token_exact: ["exact, causal attention", "the default here"],
  flops_per_token_exact_full: ["exact, full attention", "a kernel without a mask"],
  flops_per_token_full_attention: ["6 P + 12 L d T", "PaLM"],
  flops_per_token_nanogpt: ["the same less what is looked up", "nanoGPT, MFU"],
  flops_per_token_6n: ["6 P", "Hoffmann et al. 2022"],
  flops_per_token_porian: ["head, no attention", "Porian et al. 2024"],
  flops_per_token_kaplan: ["no head, no attention", "Kaplan et al. 2020"],
  flops_per_token_kaplan_forward: ["one forward pass", "Kaplan et al. 2020, table 1"],
  flops_per_token_chinchilla: ["appendix F", "Hoffmann et al. 2022"],
  flops_per_token_chinchilla_a4: ["the layers alone", "their table A4"],
};

const grouped = (x) => x.toLocaleString("en-US");

function bytes(x) {
  const units = { TB: 1e12, GB: 1e9, MB: 1e6, kB: 1e3 };
  const unit = Object.keys(units).find((name) => x >= units[name]);
  return unit ? `${(x / units[unit]).toPrecision(3)} ${unit}` : `${x} B`;
}

function readShape() {
  // null where a field that counts is no whole number, or the heads do not divide the width
  const shape = { family: calculate("family").value };
  shape.tied_head = shape.family !== "llama" || Boolean(calculate("tied_head").value);
  let sound = true;
  for (const box of document.querySelectorAll("#calculate-inputs [data-for]")) {
    box.hidden = !box.dataset.for.split(" ").includes(shape.family);
  }
  for (const name of [...WHOLE, "tokens"]) {
    const box = calculate(name);
    const left = box.value.trim() === "" && OPTIONAL_SHAPE.has(name);
    const value = left || box.parentElement.hidden ? null : amount(box.value);
    const counts = !left && !box.parentElement.hidden;
    const wrong = counts && (value === null || (name !== "tokens" && !Number.isInteger(value)));
    box.setAttribute("aria-invalid", String(wrong));
    sound &&= !wrong;
    shape[name] = value;
  }
  if (shape.family === "lstm") shape.n_head = 0;
  const [heads, kept] = [shape.n_head, shape.n_kv_head];
  if (shape.family !== "lstm" && (shape.n_embd % heads || (kept && heads % kept))) {
    calculate("n_head").setAttribute("aria-invalid", "true");
    return null;
  }
  return sound ? shape : null;
}

function sheet(title, columns, rows) {
  const head = element("tr", "", ...columns.map(heading));
  const lines = rows.map((cells) =>
    element("tr", "", ...cells.map((text, i) => cell(columns[i], text))),
  );
  const made = element("table", "", element("thead", "", head), element("tbody", "", ...lines));
  const box = element("div", "", element("h3", title), made);
  box.className = "table";
  return box;
}

function calculateAll() {
  const shape = readShape();
  if (shape === null) {
    calculate("status").textContent =
      "A field is no whole number, or the heads do not divide the width.";
    calculate("answers").replaceChildren();
    return;
  }
  const counts = countsOf(shape);
  const memory = memoryOf(shape, shape.sequences * shape.block_size);
  const held = memory.reduce((sum, [, size]) => sum + size, 0);
  const { params_total: all, flops_per_token_exact: exact } = counts;
  calculate("status").textContent =
    `${grouped(all)} parameters; ${compact(exact * shape.tokens)} FLOP for ${count(shape.tokens)} ` +
    `tokens; about ${bytes(held)} to train with a micro-batch of ${shape.sequences}; ` +
    `a checkpoint of ${bytes(checkpointBytes(shape))}.`;
  const share = (x, of) => `${((100 * x) / of).toFixed(1)}%`;
  const parts = partsOf(shape).map(([name, params, flops]) => [
    name, grouped(params), share(params, all), grouped(flops), share(flops, exact),
  ]);
  const conventions = Object.entries(CONVENTIONS).map(([name, [words, source]]) => [
    name.startsWith("params") ? "N" : "FLOP a token", words, grouped(counts[name]), source,
  ]);
  calculate("answers").replaceChildren(
    sheet("By part", ["part", "parameters", "share", "FLOP a token", "share of FLOP"], parts),
    sheet("By convention", ["count", "what counts", "number", "as in"], conventions),
    sheet("Memory of training", ["part", "bytes"], memory.map(([name, size]) => [name, bytes(size)])),
  );
}

function takeShape(text) {
  const [layers, heads, width] = text.split(" ");
  const shape = { n_layer: layers, n_head: heads, n_embd: width, block_size: 1024, vocab_size: 50257 };
  for (const [name, value] of Object.entries(shape)) calculate(name).value = value;
  calculate("family").value = "gpt2";
  calculateAll();
}

if (byId("calculator")) {
  calculate("inputs").addEventListener("input", calculateAll);
  calculate("shapes").addEventListener("click", (event) => {
    if (event.target.dataset.shape) takeShape(event.target.dataset.shape);
  });
  calculateAll();
}
