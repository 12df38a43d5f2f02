/** The two plots of a report that are drawn over an axis, each with its words and its table. */

import { number, plural, rate } from "./format.js";
import { html, nothing } from "./lit.js";
import { axis } from "./plot.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

const TO_THE_SECOND = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const TO_THE_MINUTE = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const WITH_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const COUNTS = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const WHOLE = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5].map((power) => digit * 10 ** power)).sort((one, other) => one - other);
const SECONDS = [1, 2, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440].map((minutes) => 60 * minutes)];
const UNITS = [[1, "second", "s"], [60, "minute", "min"], [3600, "hour", "h"]]; // of time, for speeds
const STEPS = uPlot.paths.stepped({ align: 1 });
const compact = (_, values) => values.map((value) => COUNTS.format(value));

/** How many images saved how much. */
export function savingsPlot({ savings, kept_original: kept }) {
  const images = savings.reduce((sum, bucket) => sum + bucket.images, 0);
  const most = savings.reduce((best, bucket) => (bucket.images > best.images ? bucket : best));
  const largest = most.images === images ? plural(images, "image") : `The largest group, ${number(most.images)} of ${number(images)} images,`;
  const words = `${largest} saved ${between(most)}.${kept ? ` ${plural(kept, "image was", "images were")} kept as ${kept === 1 ? "it was" : "they were"}.` : ""}`;
  const plot = {
    words,
    data: [savings.map((bucket) => (bucket.from + bucket.to) / 2), savings.map((bucket) => bucket.images)],
    options: savingsOptions,
    names: ["Images", "Saved, of the bytes before"],
    pointed(ratio) {
      const bucket = savings[Math.min(savings.length - 1, Math.floor(ratio * savings.length))];
      return { ...bucket, lines: [plural(bucket.images, "image"), `saved ${between(bucket)}`] };
    },
  };
  return plotted(plot, html`
    <thead><tr><th scope="col">Saved</th><th scope="col" class="figures">Images</th></tr></thead>
    <tbody>${savings.map((bucket) => html`<tr><th scope="row">${between(bucket)}</th><td class="figures">${number(bucket.images)}</td></tr>`)}</tbody>`);
}

/** Images settled, over the time of the run. */
export function throughputPlot({ interval_seconds: seconds, points }) {
  if (!points.some((point) => point.completed || point.failed)) return html`<p class="quiet">No image of this run has a time yet.</p>`;
  const most = Math.max(...points.map((point) => Math.max(point.completed, point.failed))) / seconds;
  const [length, unit, sign] = UNITS.find(([length]) => most * length >= 1) ?? UNITS.at(-1);
  const [completed, failed] = ["completed", "failed"].map((name) => points.map((point) => (point[name] * length) / seconds));
  const fastest = completed.indexOf(Math.max(...completed));
  const times = points.map((point) => Date.parse(point.at) / 1000);
  const clock = clockOf(times, seconds);
  const failing = failed.some(Boolean);
  const toTheEnd = (values) => [...values, values.at(-1)]; // of the last interval
  const plot = {
    words: `${completed[fastest] ? `Fastest: ${rate(completed[fastest])} images/${sign}, from ${clock(times[fastest])}.` : "No image of this run was completed."} Each step is ${span(seconds)}.`,
    data: [[...times, times.at(-1) + seconds], toTheEnd(completed), ...(failing ? [toTheEnd(failed)] : [])],
    options: (colours) => throughputOptions(colours, clock, failing),
    names: [html`Images per ${unit}: <span class="key">completed</span>${failing ? html`<span class="key of-failures">failed</span>` : nothing}`, `Time, ${zone(times[0])}`],
    pointed(time) {
      const at = Math.min(points.length - 1, Math.max(0, Math.floor((time - times[0]) / seconds)));
      const lines = [`${clock(times[at])} to ${clock(times[at] + seconds)}`, `${number(points[at].completed)} completed, ${rate(completed[at])}/${sign}`];
      return { from: times[at], to: times[at] + seconds, lines: failing ? [...lines, `${number(points[at].failed)} failed, ${rate(failed[at])}/${sign}`] : lines };
    },
  };
  return plotted(plot, html`
    <thead><tr><th scope="col">From</th><th scope="col" class="figures">Completed</th><th scope="col" class="figures">Failed</th><th scope="col" class="figures">Completed per ${unit}</th></tr></thead>
    <tbody>${points.map((point, at) => html`<tr><th scope="row">${clock(times[at])}</th><td class="figures">${number(point.completed)}</td><td class="figures">${number(point.failed)}</td><td class="figures">${rate(completed[at])}</td></tr>`)}</tbody>`);
}

/** `names`: of the upright axis and of the other. */
function plotted({ words, data, options, names, pointed }, table) {
  return html`<figure class="plotted"><p class="axis small">${names[0]}</p>
    <ht-plot .data=${data} .options=${options} .pointed=${pointed} .label=${words}></ht-plot>
    <p class="axis below small">${names[1]}</p>
    <figcaption><p class="quiet small">${words}</p></figcaption>
    <details><summary class="small">The figures as a table</summary><div class="scroll" tabindex="0" role="group" aria-label="The figures as a table"><table>${table}</table></div></details></figure>`;
}

const savingsOptions = (colours) => ({
  scales: { x: { time: false, range: () => [0, 1] }, y: { range: (_, least, most) => [0, Math.max(1, most * 1.05)] } },
  axes: [axis(colours, { values: (_, values) => values.map((value) => `${Math.round(value * 100)}%`), grid: { show: false }, size: 30 }), axis(colours, { values: compact, size: 48, incrs: WHOLE })],
  series: [{}, { fill: colours.accent, width: 0, paths: uPlot.paths.bars({ size: [0.86, 48], radius: 0.15 }), points: { show: false } }],
});

/** Failures are dashed, so that they can be told from what they cover without seeing their colour. */
const throughputOptions = (colours, clock, failing) => ({
  scales: { x: { range: (_, from, to) => [from, to] }, y: { range: (_, least, most) => [0, most * 1.05] } },
  axes: [
    axis(colours, { values: (_, values) => values.map(clock), size: 30, space: clock(0).length > 8 ? 120 : 80, incrs: SECONDS }),
    axis(colours, { values: compact, size: 48 }),
  ],
  series: [
    {},
    { stroke: colours.accent, fill: colours["accent-soft"], width: 2, paths: STEPS, points: { show: false } },
    ...(failing ? [{ stroke: colours.bad, width: 2, dash: [5, 4], paths: STEPS, points: { show: false } }] : []),
  ],
});

/** A range of savings, in whole per cent as its bounds are. */
function between({ from, to }) {
  const [least, most] = [from, to].map((ratio) => `${Math.round(100 * ratio)}%`);
  if (from === 0) return `less than ${most}`;
  return to === 1 ? `${least} or more` : `${least} to ${most}`;
}

/** The length of an interval: "5 s", "10 min", "2 h" */
function span(seconds) {
  const [length, , sign] = UNITS.findLast(([unit]) => seconds % unit === 0);
  return `${number(seconds / length)} ${sign}`;
}

/** As exact as the intervals are, and with the day where the run has more than one. @returns {(seconds: number) => string} */
function clockOf(times, interval) {
  const day = (seconds) => new Date(1000 * seconds).toDateString();
  const format = day(times[0]) !== day(times.at(-1)) && interval >= 60 ? WITH_DAY : interval < 60 ? TO_THE_SECOND : TO_THE_MINUTE;
  return (seconds) => format.format(new Date(1000 * seconds));
}

/** The zone in which times are shown. @param {number} seconds */
function zone(seconds) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(new Date(1000 * seconds));
  return parts.find((part) => part.type === "timeZoneName").value;
}
