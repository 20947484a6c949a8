// Numbers as people read and type them, as common/numbers.py writes them.

function compact(x, digits = 3) {
  if (x === null || !isFinite(x)) return "unknown";
  if (x === 0 || (x >= 1e-3 && x < 1e5)) return String(Number(x.toPrecision(digits)));
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

function count(x) {
  if (x === null || !isFinite(x)) return "unknown";
  const units = { T: 1e12, B: 1e9, M: 1e6, k: 1e3 };
  for (const [letter, unit] of Object.entries(units)) {
    if (x >= 0.9995 * unit && x < 1e16) return (x / unit).toPrecision(3) + letter;
  }
  return compact(x);
}

function hours(h) {
  if (h * 3600 < 120) return `${compact(h * 3600, 2)} s`;
  if (h < 2) return `${compact(h * 60, 3)} min`;
  return h < 48 ? `${compact(h, 3)} h` : `${compact(h / 24, 3)} days`;
}

const SCALES = { "": 1, k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 };
const UNITS = { "pf-day": 8.64e19, "pf-days": 8.64e19 };
for (const name of ["", "flop", "flops", "tokens", "bytes", "parameters", "days", "hours"]) {
  UNITS[name] = 1;
}
const DIGITS = String.raw`(?:\d{1,3}(?:,\d{3})+|\d+)\.?\d*|\.\d+`; // a comma divides thousands alone
const NUMBER = new RegExp(
  String.raw`^\s*(${DIGITS})(e[+-]?\d+)?\s*([kmbgt](?![a-z]))?\s*([a-z-]*)\s*$`,
  "i",
);

// Beyond these a product of several overflows, and no answer is a number.
const LEAST_AMOUNT = 1e-9;
const MOST_AMOUNT = 1e60;

// 1e20, 1,000, 70B, 1.4T tokens, 5 PF-days; null for what is no number from 1e-9 to 1e60.
function amount(text) {
  const [, digits, power = "", letter = "", word] = NUMBER.exec(text) ?? [];
  const unit = UNITS[word?.toLowerCase()];
  if (unit === undefined) return null;
  const value = Number(digits.replaceAll(",", "") + power) * SCALES[letter.toLowerCase()] * unit;
  return value >= LEAST_AMOUNT && value <= MOST_AMOUNT ? value : null;
}
