/** What a request came to, as its report gives it: bytes, savings, speed, failures and image hosts. */

import { get, visible } from "./api.js";
import { bytes, exactTime, milliseconds, number, percent, plural } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";
import { againLabel, errorCode, problemNote } from "./pieces.js";
import { savingsPlot, throughputPlot } from "./charts.js";
import { styles } from "./styles.js";

await styles("plots.css");

/** Between two reports at least; and so many times what the last one took, since a huge request's costs seconds. */
const LIVE_MS = 10_000;
const LIVE_TIMES = 20;
const NONE_COMPRESSED = "No image is compressed yet.";

/** `live`: read the report again and again, while the tab can be seen. */
export class HtFigures extends LitElement {
  static properties = { requestId: { attribute: false }, live: { type: Boolean }, report: { state: true }, problem: { state: true } };

  constructor() {
    super();
    this.live = false;
    this.report = null;
    this.problem = null;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.following?.abort();
    this.following = null;
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.hasUpdated) this.#begin();
  }

  willUpdate(changed) {
    if (changed.has("requestId")) this.report = null;
    if (changed.has("requestId") || changed.has("live")) this.#begin();
  }

  /** Reads the report now; once more when the request has ended, since `live` changes then. */
  async #begin() {
    this.following?.abort();
    const { signal } = (this.following = new AbortController());
    try {
      do {
        const begun = performance.now();
        this.report = await get(`/v1/requests/${this.requestId}/report`, { signal });
        this.problem = null;
        const pause = Math.max(LIVE_MS, LIVE_TIMES * (performance.now() - begun));
        if (this.live) await new Promise((resolve) => setTimeout(resolve, pause));
        await visible(signal);
      } while (this.live && !signal.aborted);
    } catch (problem) {
      if (!signal.aborted) this.problem = problem;
    }
  }

  render() {
    const problem = this.problem && html`<div class="stack refused">${problemNote(this.problem)}<div><button @click=${this.#again}>${againLabel(this.problem)}</button></div></div>`;
    if (this.report === null) return problem ?? waiting();
    return html`${problem}${this.#figures()}`; // those that are known stay
  }

  #figures() {
    const { formats, failures, throughput, hosts, as_of: at } = this.report;
    if (formats.length === 0 && failures.length === 0) {
      return html`<div class="panel empty"><h2>${this.live ? "No figures yet" : "No figures"}</h2><p>${this.live ? "They begin when the first image is settled." : "No image was compressed, and none failed."}</p></div>`;
    }
    return html`
      <div class="figures-grid">
        ${part("bytes", "Bytes before and after", bytesBars(formats))}
        ${part("formats", "Saving by format", formatsTable(formats))}
        ${part("savings", "Distribution of savings", formats.length ? savingsPlot(this.report) : none(NONE_COMPRESSED))}
        ${part("throughput", "Throughput", throughputPlot(throughput))}
        ${part("failures", "Failures", failuresTable(failures))}
        ${part("hosts", "Image hosts", hostsTables(hosts))}
      </div>
      <p class="hint as-of">As of ${exactTime(at)}.</p>`;
  }

  #again() {
    this.problem = null;
    this.#begin();
  }
}

function part(name, heading, content) {
  return html`<section class="panel part part-${name}" aria-labelledby="figures-${name}"><h2 id="figures-${name}">${heading}</h2>${content}</section>`;
}

function waiting() {
  const parts = ["bytes", "formats", "savings", "throughput", "failures", "hosts"];
  return html`<div class="figures-grid" aria-busy="true"><span class="visually-hidden">Loading</span>
    ${parts.map((name) => html`<div class="panel part part-${name}"><div class="skeleton block"></div></div>`)}</div>`;
}

/** A bar of a part of the whole, beside the figure that it shows. @param {number} share 0 to 1. */
function bar(share, kind = "") {
  return html`<svg class="share ${kind}" aria-hidden="true"><rect class="ground" width="100%" height="100%"></rect><rect class="filled" width="${100 * Math.min(1, Math.max(0, share || 0))}%" height="100%"></rect></svg>`;
}

function bytesBars(formats) {
  const sum = (name) => formats.reduce((total, format) => total + format[name], 0);
  const [before, after] = [sum("source_bytes"), sum("rendition_bytes")];
  const row = (name, value, kind) => html`<div class="bytes-row"><dt>${name}</dt><dd class="figure">${bytes(value)}</dd><dd>${bar(value / Math.max(before, after), kind)}</dd></div>`;
  return html`<dl class="bytes-pair stack tight">${row("Before", before, "quiet")}${row("After", after, "")}</dl>
    <p class="quiet">${formats.length ? change(before, after) : NONE_COMPRESSED}</p>`;
}

function change(before, after) {
  if (before === after) return "As many bytes as before.";
  return html`<strong class=${after < before ? "good" : "bad"}>${bytes(Math.abs(before - after))}</strong> ${after < before ? "less" : "more"} to store and to send, ${percent(Math.abs(before - after) / before)}.`;
}

function formatsTable(formats) {
  if (formats.length === 0) return none(NONE_COMPRESSED);
  const ratio = (format) => (format.source_bytes ? (format.source_bytes - format.rendition_bytes) / format.source_bytes : null);
  const name = ({ source_format: from, rendition_format: to }) => html`${upper(from)}${from === to ? nothing : html` <span class="quiet">to</span> ${upper(to)}`}`;
  return html`<div class="scroll" tabindex="0" role="group" aria-labelledby="figures-formats"><table>
    <thead><tr><th scope="col">Format</th><th scope="col" class="figures">Images</th><th scope="col" class="figures">Before</th><th scope="col" class="figures">After</th><th scope="col" class="figures">Saved</th><th aria-hidden="true" class="bars"></th></tr></thead>
    <tbody>${formats.map((format) => html`<tr><th scope="row">${name(format)}</th><td class="figures">${number(format.images)}</td><td class="figures">${bytes(format.source_bytes)}</td>
      <td class="figures">${bytes(format.rendition_bytes)}</td><td class="figures">${percent(ratio(format))}</td><td aria-hidden="true" class="bars">${bar(ratio(format))}</td></tr>`)}</tbody></table></div>`;
}

function failuresTable(failures) {
  if (failures.length === 0) return none("No image failed.");
  const most = Math.max(...failures.map((failure) => failure.images));
  return html`<table>
    <thead><tr><th scope="col">Code</th><th scope="col" class="figures">Images</th><th aria-hidden="true" class="bars"></th></tr></thead>
    <tbody>${failures.map(({ code, images }) => html`<tr><th scope="row">${errorCode(code, "image")}</th><td class="figures">${number(images)}</td><td aria-hidden="true" class="bars">${bar(images / most, "bad")}</td></tr>`)}</tbody></table>`;
}

function hostsTables({ total, slowest, most_failing: failing }) {
  if (slowest.length === 0 && failing.length === 0) return none("No image was fetched yet.");
  return html`<p class="quiet small">${plural(total, "host")}${total > 10 ? "; the ten that stand out are shown" : ""}. Times are those of fetching an image.</p>
    <div class="two">${hostsTable("Slowest", slowest, "p95_ms", "")}
      ${failing.some((host) => host.failed) ? hostsTable("Most failing", failing.filter((host) => host.failed), "failed", "bad") : nothing}</div>`;
}

function hostsTable(heading, hosts, by, kind) {
  const most = Math.max(1, ...hosts.map((host) => host[by] ?? 0));
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${heading}><table class="hosts by-${by}">
    <caption>${heading}</caption>
    <thead><tr><th scope="col">Host</th><th scope="col" class="figures">Images</th><th scope="col" class="figures">Failed</th><th scope="col" class="figures">Median</th><th scope="col" class="figures"><abbr title="95th percentile">p95</abbr></th></tr></thead>
    <tbody>${hosts.map((host) => html`<tr><th scope="row"><span class="host">${breakable(host.host)}</span>${bar((host[by] ?? 0) / most, kind)}</th><td class="figures">${number(host.images)}</td><td class="figures">${number(host.failed)}</td>
      <td class="figures">${milliseconds(host.median_ms)}</td><td class="figures">${milliseconds(host.p95_ms)}</td></tr>`)}</tbody></table></div>`;
}

/** A long name goes over to the next line at its dots. @param {string} host */
function breakable(host) {
  return host.split(/(?<=[.:])/).map((part, at) => (at ? html`<wbr>${part}` : part));
}

function none(text) {
  return html`<p class="quiet">${text}</p>`;
}

/** @param {string | null} format */
function upper(format) {
  return format?.toUpperCase() ?? "Unknown";
}

customElements.define("ht-figures", HtFigures);
