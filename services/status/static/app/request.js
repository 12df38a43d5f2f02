/** One request: how far it is, what it saved, and its parts. The event stream is the only source of its figures. */

import { del, download, get, post, stream, visible } from "./api.js";
import { bytes, dateTime, duration, exactTime, fileName, number, percent, plural, rate } from "./format.js";
import { confirmed } from "./dialog.js";
import { html, LitElement, nothing } from "./lit.js";
import { notify } from "./notices.js";
import { bar, problemNote, requestBadge } from "./pieces.js";
import "./images.js";
import "./products.js";
import "./viewer.js";

const TABS = { products: "Products", images: "Images", figures: "Figures", deliveries: "Webhooks" };
const LAZY = { figures: () => import("./plots.js"), deliveries: () => import("./deliveries.js") };
const FAILURES_MS = 3000;
const FAILURES_SHOWN = 3;

export class HtRequest extends LitElement {
  static properties = {
    requestId: {}, tab: {}, filter: {},
    request: { state: true }, failures: { state: true }, problem: { state: true }, busy: { state: true }, loaded: { state: true },
  };

  constructor() {
    super();
    this.filter = "";
    this.failures = [];
    this.running = false; // whether it ever ran before the reader's eyes: then nothing moves when it ends
    this.loaded = {};
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.following?.abort();
    clearTimeout(this.failuresDue);
    this.failuresDue = undefined;
  }

  willUpdate(changed) {
    if (changed.has("requestId")) {
      Object.assign(this, { request: null, failures: [], problem: null, running: false });
      this.#follow();
    }
    if (changed.has("tab") && this.tab in LAZY) this.#need(this.tab);
  }

  async #need(tab) {
    const loaded = await LAZY[tab]().then(() => true, () => false);
    this.loaded = { ...this.loaded, [tab]: loaded };
  }

  async #follow() {
    this.following?.abort();
    const { signal } = (this.following = new AbortController());
    try {
      await stream(`/v1/requests/${this.requestId}/events`, (event) => this.#take(event.data), { signal });
    } catch (problem) {
      if (!signal.aborted) this.problem = problem;
    }
  }

  #take(request) {
    const failed = request.images.failed !== (this.request?.images.failed ?? 0);
    if (this.request?.outcome === null && request.outcome) notify(ending(request));
    this.request = request;
    this.running ||= request.outcome === null;
    document.title = `${request.outcome ? "" : `${percent(request.progress)} – `}${plural(request.images.total, "image")} – Halftone`;
    if (request.outcome && (failed || this.failuresDue !== undefined)) this.#readFailures();
    else if (failed) this.failuresDue ??= setTimeout(() => this.#readFailures(), this.failures.length ? FAILURES_MS : 0);
  }

  async #readFailures() {
    clearTimeout(this.failuresDue);
    this.failuresDue = undefined;
    const { signal } = this.following;
    try {
      await visible(signal);
      this.failures = (await get(`/v1/requests/${this.requestId}/images?status=failed&page_size=${FAILURES_SHOWN}`, { signal })).items;
    } catch (problem) {
      if (!signal.aborted) this.problem = problem;
    }
  }

  async #act(call, done) {
    this.busy = true;
    try {
      await call();
      if (done) notify(done);
      this.problem = null;
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
  }

  #retry() {
    return this.#act(async () => {
      this.request = await post(`/v1/requests/${this.requestId}/retry`);
      this.failures = [];
      this.#follow();
    }, "The failed images are tried again.");
  }

  async #cancel() {
    const { pending } = this.request.images;
    const question = { heading: "Cancel this request?", text: `${plural(pending, "image")} not done yet will not be compressed. What is done stays, and a retry takes up the rest.`, action: "Cancel the request" };
    if (await confirmed(question)) await this.#act(() => post(`/v1/requests/${this.requestId}/cancel`), "The request is being cancelled.");
  }

  async #delete() {
    const question = { heading: "Delete this request?", text: `Its ${plural(this.request.images.completed, "compressed image")} and their addresses will stop working. This cannot be undone.`, action: "Delete the request" };
    if (!(await confirmed(question))) return;
    await this.#act(async () => {
      await del(`/v1/requests/${this.requestId}`);
      location.hash = "#/requests";
    }, "The request was deleted.");
  }

  #download(part, name) {
    return this.#act(() => download(`/v1/requests/${this.requestId}/${part}`, `${name.replace(".", `-${this.requestId}.`)}`));
  }

  render() {
    if (this.request === null || this.request === undefined) return this.problem ? this.#missing() : this.#waiting();
    return html`<div class="stack loose" @open-image=${(event) => this.querySelector("ht-viewer").show(event.detail)}>
      ${this.#head()}${problemNote(this.problem)}${this.#progress()}
      <div class="stack">${this.#tabs()}${this.#part()}</div>
      <ht-viewer .requestId=${this.requestId}></ht-viewer>
    </div>`;
  }

  #missing() {
    return html`<div class="empty"><h1>${this.problem.status === 404 ? "There is no such request" : "The request could not be read"}</h1>
      <p>${this.problem.status === 404 ? "It may have been deleted, or the address is mistyped." : (this.problem.detail ?? String(this.problem))}</p><a class="button" href="#/requests">All requests</a></div>`;
  }

  #waiting() {
    return html`<div class="stack loose" aria-busy="true"><h1 class="quiet">Request</h1><div class="skeleton tall"></div></div>`;
  }

  #head() {
    const { request } = this;
    const retryable = request.images.failed + request.images.cancelled;
    return html`<header class="row apart wide">
      <div class="stack tight"><h1>${plural(request.products, "product")}, ${plural(request.images.total, "image")}</h1>
        <p class="quiet small">Made <time datetime=${request.created_at} title=${exactTime(request.created_at)}>${dateTime(request.created_at)}</time>${request.run > 1 ? ` · run ${number(request.run)}` : ""} · <span class="mono">${request.request_id}</span></p></div>
      <div class="row acts">
        ${request.outcome === null
          ? html`<button ?disabled=${this.busy} @click=${this.#cancel}>Cancel</button>`
          : html`<button class="danger" ?disabled=${this.busy} @click=${this.#delete}>Delete</button>
            ${retryable ? html`<button ?disabled=${this.busy} @click=${this.#retry}>Retry ${number(retryable)} ${request.images.cancelled ? "unfinished" : "failed"}</button>` : nothing}`}
        <button ?disabled=${this.busy} @click=${() => this.#download("output.csv", "output.csv")}>Download CSV</button>
        <button class=${request.outcome && request.images.completed ? "primary" : ""} ?disabled=${this.busy || !request.images.completed} @click=${() => this.#download("outputs.zip", "outputs.zip")}>Download ZIP</button>
      </div></header>`;
  }

  #progress() {
    const { request } = this;
    const { images, bytes: sums } = request;
    const running = request.outcome === null;
    return html`<section class="panel stack" aria-label="Progress">
      <div class="row apart">${requestBadge(request)}<span class="small quiet">${running
        ? html`${number(settledOf(request))} of ${number(images.total)} · ${request.eta_seconds === null ? "time left not known yet" : `${duration(request.eta_seconds)} left`}`
        : html`<time datetime=${request.finished_at} title=${exactTime(request.finished_at)}>${request.status === "cancelled" ? "Ended" : "Finished"} ${dateTime(request.finished_at)}</time>`}</span></div>
      ${bar(request, "Images done")}
      <dl class="facts">
        ${running
          ? html`<div><dt>Done</dt><dd>${percent(request.progress)}</dd></div><div><dt>Images/s</dt><dd>${rate(request.images_per_second)}</dd></div>`
          : html`<div><dt>Compressed</dt><dd>${number(images.completed)}</dd></div>${images.cancelled ? html`<div><dt>Cancelled</dt><dd>${number(images.cancelled)}</dd></div>` : html`<div><dt>Took</dt><dd>${duration(secondsOf(request))}</dd></div>`}`}
        <div><dt>Failed</dt><dd class=${images.failed ? "failed" : ""}>${number(images.failed)}</dd></div>
        <div><dt>Before</dt><dd>${bytes(sums.source)}</dd></div>
        <div><dt>After</dt><dd>${bytes(sums.rendition)}</dd></div>
        <div><dt>Saved</dt><dd class=${sums.saved_ratio === null ? "" : "saved"}>${percent(sums.saved_ratio)}</dd></div>
      </dl>
      ${this.running || images.failed ? this.#failures() : nothing}
    </section>`;
  }

  #failures() {
    const { failed } = this.request.images;
    const room = this.running ? FAILURES_SHOWN : Math.min(failed, FAILURES_SHOWN);
    return html`<div class="failures room-${room}"><div><h2 class="small">Failures</h2>
        ${failed > FAILURES_SHOWN ? html`<a class="small" href="#/requests/${this.requestId}/images?show=failed">All ${number(failed)}</a>` : nothing}</div>
      <ul aria-live="polite">${failed === 0
        ? html`<li class="quiet">${this.request.outcome ? "None." : "None so far."}</li>`
        : this.failures.map((image) => html`<li title=${image.error.detail ?? image.error.code}><a class="failed" href="#/requests/${this.requestId}/images?show=failed">${fileName(image.url)}</a> <span class="quiet">${image.error.detail ?? image.error.code}</span></li>`)}</ul></div>`;
  }

  #tabs() {
    return html`<nav class="tabs" aria-label="Parts of the request">${Object.entries(TABS).map(([tab, name]) => html`
      <a href="#/requests/${this.requestId}${tab === "products" ? "" : `/${tab}`}" aria-current=${tab === this.tab ? "page" : "false"}>${name}</a>`)}</nav>`;
  }

  #part() {
    if (this.tab in LAZY && this.loaded[this.tab] === false) return html`<div class="empty"><p>This part could not be loaded.</p><button @click=${() => location.reload()}>Load the page again</button></div>`;
    switch (this.tab) {
      case "images": return html`<ht-images .requestId=${this.requestId} .request=${this.request} .filter=${this.filter}></ht-images>`;
      case "figures": return html`<ht-figures .requestId=${this.requestId} .live=${this.request.outcome === null}></ht-figures>`;
      case "deliveries": return html`<ht-deliveries .requestId=${this.requestId}></ht-deliveries>`;
      default: return html`<ht-products .requestId=${this.requestId} .request=${this.request}></ht-products>`;
    }
  }
}

function settledOf({ images }) {
  return images.completed + images.failed + images.cancelled;
}

function ending({ status, images }) {
  const done = `${plural(images.completed, "image")} compressed`;
  return status === "cancelled" ? `Cancelled: ${done}, ${number(images.cancelled)} left as they were.` : `Finished: ${done}, ${number(images.failed)} failed.`;
}

function secondsOf(request) {
  return request.started_at && request.finished_at ? (Date.parse(request.finished_at) - Date.parse(request.started_at)) / 1000 : null;
}

customElements.define("ht-request", HtRequest);
