// The arithmetic of the explorer, without the page: as scaling/fit/laws.py and
// scaling/fit/other_laws/published.py, whose names these functions have.
// N parameters, D tokens, C FLOP; a power law is {log_scale, slope, unit}.

const at = (law, c) => Math.exp(law.log_scale + law.slope * Math.log(c / law.unit));
const budgetOf = (law, y) => law.unit * Math.exp((Math.log(y) - law.log_scale) / law.slope);

function predictLoss(law, n, d) {
  if (law.kaplan) {
    const { log_N_c, log_D_c, alpha_N, alpha_D } = law.kaplan;
    const size = Math.exp((alpha_N / alpha_D) * (log_N_c - Math.log(n)));
    return (size + Math.exp(log_D_c) / d) ** alpha_D;
  }
  return law.surface ? lossAt(law.surface, reach(law.surface, n, d)) : null;
}

// h = A N^-alpha + B D^-beta, and the loss there: Hoffmann's, coupled or bounded.
const reach = (s, n, d) => s.A * n ** -s.alpha + s.B * d ** -s.beta;

function lossAt(s, h) {
  if (s.ceiling !== null) return s.E + ((s.ceiling - s.E) * h) / (1 + h);
  return s.E + (s.k === null ? h : h ** s.k);
}

function logG(s) {
  return (Math.log(s.alpha) + Math.log(s.A) - Math.log(s.beta) - Math.log(s.B)) / (s.alpha + s.beta);
}

// C of the budget whose least loss has that h.
function leastFlops(s, h) {
  const gamma = (s.alpha * s.beta) / (s.alpha + s.beta);
  const G = Math.exp(logG(s));
  return 6 * (h / (s.A * G ** -s.alpha + s.B * G ** s.beta)) ** (-1 / gamma);
}

function root(f, low, high) {
  // of a function that rises from below zero to above it
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

// (N, D) of least 6 N D + 2 N D_inf at a given h (Sardana et al. 2024).
function inferenceOptimum(s, h, served) {
  const rest = (x) => h - s.A * Math.exp(-s.alpha * x);
  const tokens = (x) => (s.B / rest(x)) ** (1 / s.beta);
  const slope = (x) =>
    1 - (s.alpha * s.A * Math.exp(-s.alpha * x)) / s.beta / rest(x) + served / (3 * tokens(x));
  const least = Math.log(s.A / h) / s.alpha;
  const x = root(slope, least + 1e-9, least + 60);
  return { n: Math.exp(x), d: tokens(x) };
}

// What `seen` is worth where only `unique` of it is new (Muennighoff et al. 2023).
function worth(seen, unique, halfLife) {
  if (seen <= unique) return seen;
  return unique * (1 - halfLife * Math.expm1(-(seen / unique - 1) / halfLife));
}

function bestSizeFor(law, d) {
  return at(law.n, budgetOf(law.d, d));
}

function repeatedLoss(law, n, d, unique, lives) {
  const distinct = Math.min(unique, d);
  const useful = Math.min(bestSizeFor(law, distinct), n);
  return predictLoss(law, worth(n, useful, lives.params), worth(d, distinct, lives.data));
}

// (N, D) of least loss at a budget where only `unique` tokens are distinct.
function repetitionOptimum(law, c, unique, lives) {
  const d = at(law.d, c);
  if (d <= unique) return { n: at(law.n, c), d };
  const s = law.surface;
  const useful = bestSizeFor(law, unique);
  const term = (scale, power, x, u, life) =>
    scale * power * worth(x, u, life) ** (-power - 1) * x * Math.exp(-Math.max(x / u - 1, 0) / life);
  const slope = (x) => {
    const n = Math.exp(x);
    const data = term(s.B, s.beta, c / 6 / n, unique, lives.data);
    return data - term(s.A, s.alpha, n, useful, lives.params);
  };
  const n = Math.exp(root(slope, Math.log(useful), Math.log(c / 6 / unique)));
  return { n, d: c / 6 / n };
}

// The 90% interval about an estimate: the stated ends' ratio to theirs, straight in log-log.
function interval(law, quantity, c, value) {
  const [flops, ...ends] = law.spread?.[quantity] ?? [[]];
  const last = flops.length - 1;
  if (value === null || last < 0 || c < flops[0] * 0.9999 || c > flops[last] * 1.0001) return null;
  let i = 0;
  while (i < last - 1 && flops[i + 1] < c) i++;
  const j = Math.min(i + 1, last);
  const t = j === i ? 0 : Math.log(c / flops[i]) / Math.log(flops[j] / flops[i]);
  const share = Math.min(1, Math.max(0, t));
  return ends.map((r) => value * Math.exp((1 - share) * Math.log(r[i]) + share * Math.log(r[j])));
}
