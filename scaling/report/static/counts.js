// Parameters, FLOP and memory of a shape, without the page: as model/flops.py, model/families.py and
// training/device/memory.py, whose names these functions have. Integers, exact below 2^53.

const attention = (s) => (s.family === "lstm" ? 0 : s.n_layer * s.n_embd * s.block_size);
const tables = (s) => (s.tied_head ? 1 : 2);
const paddedVocabulary = (s) => Math.ceil(s.vocab_size / 128) * 128;
const innerWidth = (s) => s.n_inner ?? 8 * Math.max(1, Math.round(s.n_embd / 3));

// Weights by part, and those of them that multiply each token.
const PARTS = {
  gpt2: ({ n_layer: L, n_embd: d, block_size: T }) => [
    ["table of positions", T * d, 0],
    ["queries, keys, values", 3 * L * d * d, 3 * L * d * d],
    ["attention output", L * d * d, L * d * d],
    ["MLP", 8 * L * d * d, 8 * L * d * d],
    ["norms and biases", 13 * L * d + 2 * d, 0],
  ],
  llama: (s) => {
    const { n_layer: L, n_embd: d } = s;
    const pairs = d * d + 2 * d * (d / s.n_head) * (s.n_kv_head ?? s.n_head);
    const mlp = 3 * d * innerWidth(s);
    return [
      ["queries, keys, values", L * pairs, L * pairs],
      ["attention output", L * d * d, L * d * d],
      ["gated MLP", L * mlp, L * mlp],
      ["norms", 2 * L * d + d, 0],
    ];
  },
  lstm: ({ n_layer: L, n_embd: d }) => [
    ["input and recurrent weights", 8 * L * d * d, 8 * L * d * d],
    ["biases", 8 * L * d, 0],
  ],
};

// Rows of [part, parameters, training FLOP a token by the exact count].
function partsOf(s) {
  const table = s.vocab_size * s.n_embd;
  return [
    ["table of tokens", table, 0],
    ...PARTS[s.family](s).map(([name, params, multiply]) => [name, params, 6 * multiply]),
    ["attention scores and sums, causal", 0, 6 * attention(s)],
    [s.tied_head ? "head (the table of tokens again)" : "head", s.tied_head ? 0 : table, 6 * table],
  ];
}

function countsOf(s) {
  const d = s.n_embd;
  const total = partsOf(s).reduce((sum, [, params]) => sum + params, 0);
  const layers = PARTS[s.family](s).reduce((sum, [, , multiply]) => sum + multiply, 0);
  const head = s.vocab_size * d;
  const softmax = 3 * s.n_layer * s.n_head * s.block_size;
  const a4 = 3 * (2 * layers + 4 * attention(s) + softmax);
  const lookedUp = (s.family === "gpt2" ? s.block_size : 0) + (s.tied_head ? 0 : s.vocab_size);
  return {
    params_total: total,
    params_allocated: total + tables(s) * (paddedVocabulary(s) - s.vocab_size) * d,
    params_non_embedding: layers,
    params_matmul: layers + head,
    params_effective: layers + head + attention(s),
    flops_per_token_exact: 6 * (layers + head + attention(s)),
    flops_per_token_exact_full: 6 * (layers + head) + 12 * attention(s),
    flops_per_token_full_attention: 6 * total + 12 * attention(s),
    flops_per_token_nanogpt: 6 * total + 12 * attention(s) - 6 * lookedUp * d,
    flops_per_token_6n: 6 * total,
    flops_per_token_kaplan: 6 * layers,
    flops_per_token_kaplan_forward: 2 * layers + 2 * attention(s),
    flops_per_token_porian: 6 * (layers + head),
    flops_per_token_chinchilla: a4 + 12 * head,
    flops_per_token_chinchilla_a4: a4,
  };
}

// Bytes that a layer keeps of a token for the backward pass, compiled, in bf16.
const KEPT = {
  gpt2: (s) => 36 * s.n_embd,
  llama: (s) => 22 * s.n_embd + 7 * innerWidth(s),
  lstm: (s) => 56 * s.n_embd,
};

// Rows of [part, bytes] of training with AdamW on one GPU, compiled, in bf16 over float32 weights.
function memoryOf(s, tokens) {
  const weights = countsOf(s).params_allocated;
  return [
    ["weights, float32", 4 * weights],
    ["gradients, float32", 4 * weights],
    ["AdamW's two moments", 8 * weights],
    ["copy of the weights in bf16", 2 * weights],
    ["gradient of the table of tokens", 2 * paddedVocabulary(s) * s.n_embd],
    ["activations, estimated", tokens * (KEPT[s.family](s) * s.n_layer + 6 * s.n_embd)],
    ["logits", tokens * 2 * paddedVocabulary(s)],
  ];
}

const checkpointBytes = (s) => 12 * countsOf(s).params_allocated;
