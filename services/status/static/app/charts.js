/** The two plots of a report that are drawn over an axis, each with its words and its table. */

import { number, percent, plural, rate } from "./format.js";
import { html, nothing } from "./lit.js";
import { axis } from "./plot.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const COUNTS = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const WHOLE = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5].map((power) => digit * 10 ** power)).sort((one, other) => one - other);
const SECONDS = [1, 2, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440].map((minutes) => 60 * minutes)];
const STEPS = uPlot.paths.stepped({ align: 1 });
const compact = (_, values) => values.map((value) => COUNTS.format(value));

/** How many images saved how much. */
export function savingsPlot({ savings, kept_original: kept }) {
  const images = savings.reduce((sum, bucket) => sum + bucket.images, 0);
  if (images === 0) return html`<p class="quiet">No image is compressed yet.</p>`;
  const most = savings.reduce((best, bucket) => (bucket.images > best.images ? bucket : best));
  const largest = most.images > 1 ? `The largest group, ${number(most.images)} of ${number(images)} images, became ${between(most)} smaller. ` : "";
  const words = `${largest}${plural(kept, "image")} kept as ${kept === 1 ? "it was" : "they were"}, of ${number(images)}.`;
  const data = [savings.map((bucket) => (bucket.from + bucket.to) / 2), savings.map((bucket) => bucket.images)];
  return plotted(words, data, savingsOptions, html`
    <thead><tr><th scope="col">Saved</th><th scope="col" class="figures">Images</th></tr></thead>
    <tbody>${savings.map((bucket) => html`<tr><th scope="row">${between(bucket)}</th><td class="figures">${number(bucket.images)}</td></tr>`)}</tbody>`);
}

/** Images settled per second, over the time of the run. */
export function throughputPlot({ interval_seconds: seconds, points }) {
  if (!points.some((point) => point.completed || point.failed)) return html`<p class="quiet">No image of this run has a time yet.</p>`;
  const speeds = points.map((point) => point.completed / seconds);
  const fastest = speeds.indexOf(Math.max(...speeds));
  const words = `Fastest: ${rate(speeds[fastest])} images/s, at ${clock(points[fastest])}.`;
  const failing = points.map((point) => point.failed / seconds);
  const times = points.map((point) => Date.parse(point.at) / 1000);
  const data = [[...times, times.at(-1) + seconds], [...speeds, speeds.at(-1)], [...failing, failing.at(-1)]]; // to the last interval's end
  const legend = html`<span class="key">completed per second</span> <span class="key of-failures">failed per second</span>`;
  return plotted(words, data, throughputOptions, html`
    <thead><tr><th scope="col">From</th><th scope="col" class="figures">Completed</th><th scope="col" class="figures">Failed</th><th scope="col" class="figures">Completed per second</th></tr></thead>
    <tbody>${points.map((point, at) => html`<tr><th scope="row">${clock(point)}</th><td class="figures">${number(point.completed)}</td><td class="figures">${number(point.failed)}</td><td class="figures">${rate(speeds[at])}</td></tr>`)}</tbody>`, legend);
}

function plotted(words, data, options, table, legend = nothing) {
  return html`<figure class="plotted"><ht-plot .data=${data} .options=${options} .label=${words}></ht-plot>
    <figcaption><p class="small">${legend}</p><p class="quiet small">${words}</p></figcaption>
    <details><summary class="small">The figures as a table</summary><div class="scroll" tabindex="0" role="group" aria-label="The figures as a table"><table>${table}</table></div></details></figure>`;
}

const savingsOptions = (colours) => ({
  scales: { x: { time: false, range: () => [0, 1] }, y: { range: (_, least, most) => [0, Math.max(1, most * 1.05)] } },
  axes: [axis(colours, { values: (_, values) => values.map((value) => `${Math.round(value * 100)}%`), grid: { show: false }, size: 30 }), axis(colours, { values: compact, size: 48, incrs: WHOLE })],
  series: [{}, { fill: colours.accent, width: 0, paths: uPlot.paths.bars({ size: [0.86, 48], radius: 0.15 }), points: { show: false } }],
});

const throughputOptions = (colours) => ({
  scales: { x: { range: (_, from, to) => [from, to] }, y: { range: (_, least, most) => [0, Math.max(1, most * 1.05)] } },
  axes: [axis(colours, { values: (_, values) => values.map(clockOf), size: 30, space: 80, incrs: SECONDS }), axis(colours, { values: compact, size: 48 })],
  series: [
    {},
    { stroke: colours.accent, fill: colours["accent-soft"], width: 2, paths: STEPS, points: { show: false } },
    { stroke: colours.bad, width: 2, paths: STEPS, points: { show: false } },
  ],
});

function between({ from, to }) {
  return from === 0 ? `less than ${percent(to)}` : `${percent(from)} to ${percent(to)}`;
}

function clock({ at }) {
  return TIME.format(new Date(at));
}

/** @param {number} seconds Since 1970. */
function clockOf(seconds) {
  return TIME.format(new Date(seconds * 1000));
}
