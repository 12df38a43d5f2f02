/** Figures and times as people read them. Every function gives "–" for null. */

const NONE = "–";
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const ONE_DIGIT = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"];
const AGES = [
  [60, 1, "second"],
  [3600, 60, "minute"],
  [86_400, 3600, "hour"],
  [7 * 86_400, 86_400, "day"],
];

/** They would show gpj.exe as exe.jpg, and turn what stands beside it. */
const TURNING = /[\p{Cc}\p{Bidi_Control}]/u;

/** @param {number | null | undefined} value "12,345" */
export function number(value) {
  return value == null ? NONE : WHOLE.format(value);
}

/** @param {number | null | undefined} value Of bytes; decimal units, as the API's limits: "1.2 MB" */
export function bytes(value) {
  if (value == null) return NONE;
  let [amount, unit] = [Math.abs(value), 0];
  while (amount >= 999.5 && unit < BYTE_UNITS.length - 1) [amount, unit] = [amount / 1000, unit + 1];
  const shown = unit === 0 || amount >= 99.95 ? WHOLE.format(amount) : ONE_DIGIT.format(amount);
  return `${value < 0 ? "−" : ""}${shown} ${BYTE_UNITS[unit]}`;
}

/** @param {number | null | undefined} ratio 0.633 is "63.3%"; never rounded up to a whole that is not reached. */
export function percent(ratio) {
  if (ratio == null) return NONE;
  const tenths = ratio < 1 ? Math.min(Math.round(ratio * 1000), 999) : Math.round(ratio * 1000);
  return `${tenths < 0 ? "−" : ""}${tenths % 1000 === 0 ? Math.abs(tenths) / 10 : ONE_DIGIT.format(Math.abs(tenths) / 10)}%`;
}

/** @param {number | null | undefined} seconds "0.8 s", "42 s", "3 min 20 s", "2 h 5 min" */
export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds < 10 && !Number.isInteger(seconds)) return `${ONE_DIGIT.format(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${WHOLE.format(Math.floor(whole / 3600))} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** @param {number | null | undefined} value Of milliseconds: "120 ms", "3.2 s" */
export function milliseconds(value) {
  if (value == null) return NONE;
  return value < 1000 ? `${Math.round(value)} ms` : duration(value / 1000);
}

/** @param {number | null | undefined} value Per second: "8.3", "120" */
export function rate(value) {
  if (value == null) return NONE;
  return value < 99.95 ? ONE_DIGIT.format(value) : WHOLE.format(value);
}

/** @param {string | null | undefined} iso "22 Nov 2026, 14:05" */
export function dateTime(iso) {
  return iso == null ? NONE : DAY_AND_TIME.format(new Date(iso));
}

/** @param {string | null | undefined} iso To the second, with the zone; for a title. */
export function exactTime(iso) {
  return iso == null ? "" : EXACT.format(new Date(iso));
}

/** @param {string | null | undefined} iso "5 minutes ago"; a date after a week. */
export function ago(iso, now = Date.now()) {
  if (iso == null) return NONE;
  const seconds = (Date.parse(iso) - now) / 1000;
  const age = AGES.find(([limit]) => Math.abs(seconds) < limit);
  return age ? RELATIVE.format(Math.round(seconds / age[1]), age[2]) : dateTime(iso);
}

/** @param {number} count @param {string} one @param {string} [many] "1 image", "2 images" */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** @param {string} url The last part of its path, or its host. */
export function fileName(url) {
  const parts = URL.parse(url);
  if (parts === null) return url;
  const name = parts.pathname.split("/").filter(Boolean).at(-1) ?? parts.host;
  try {
    const decoded = decodeURIComponent(name);
    return TURNING.test(decoded) ? name : decoded;
  } catch {
    return name;
  }
}
