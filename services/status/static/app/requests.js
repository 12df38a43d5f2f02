/** All requests of the account, newest first. */

import { visible } from "./api.js";
import { ago, bytes, exactTime, number, percent } from "./format.js";
import { html } from "./lit.js";
import { PagedList } from "./paged.js";
import { bar, requestBadge } from "./pieces.js";

const RUNNING_MS = 5000;
const IDLE_MS = 60_000;
const FILTERS = [["", "All"], ["processing", "Running"], ["completed", "Completed"], ["failed", "Failed"], ["cancelled", "Cancelled"]];

export class HtRequests extends PagedList {
  static properties = { recent: { type: Boolean }, status: { state: true } };

  constructor() {
    super();
    this.recent = false;
    this.status = "";
  }

  get source() {
    const status = this.status ? `&status=${this.status}` : "";
    return `/v1/requests?page_size=${this.recent ? 5 : 50}${status}`;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#follow(this.leaving.signal);
  }

  async #follow(signal) {
    while (!signal.aborted) {
      await this.load();
      const running = this.page?.items.some((request) => request.outcome === null);
      await new Promise((resolve) => setTimeout(resolve, running ? RUNNING_MS : IDLE_MS));
      await visible(signal).catch(() => {});
    }
  }

  render() {
    if (this.recent) {
      if (this.page?.items.length === 0) return html``;
      return html`<section class="stack" aria-labelledby="recent">
        <div class="row apart"><h2 id="recent">Recent requests</h2><a class="small" href="#/requests">All requests</a></div>
        <div class="panel flush">${super.render()}</div></section>`;
    }
    return html`<div class="stack">
      <div class="row apart"><h1>Requests</h1><a class="button primary" href="#/">New request</a></div>
      <div class="choices" role="group" aria-label="Show">
        ${FILTERS.map(([status, name]) => html`<button aria-pressed=${this.status === status} @click=${() => this.#filter(status)}>${name}</button>`)}
      </div>
      <div class="panel flush">${super.render()}</div>
    </div>`;
  }

  #filter(status) {
    this.status = status;
    this.restart();
  }

  renderSteps() {
    return this.recent ? html`` : super.renderSteps();
  }

  renderEmpty() {
    return this.status
      ? html`<div class="empty"><p>No request is in this state.</p></div>`
      : html`<div class="empty"><img src="/app/mark.svg" width="40" height="40" alt=""><h2>No requests yet</h2>
          <p>A request is a CSV of products and the addresses of their images.</p>
          <div class="row"><a class="button primary" href="#/">Make the first one</a><a class="button" href="/app/sample.csv" download="products.csv">Sample CSV</a></div></div>`;
  }

  renderItems(requests) {
    return html`<div class="scroll"><table class="requests">
      <caption class="visually-hidden">Requests, newest first</caption>
      <thead><tr><th scope="col">Made</th><th scope="col">State</th><th scope="col" class="wide-only roomy">Progress</th><th scope="col" class="figures wide-only">Products</th>
        <th scope="col" class="figures wide-only">Images</th><th scope="col" class="figures wide-only">Failed</th><th scope="col" class="figures wide-only roomy">Before</th><th scope="col" class="figures">Saved</th></tr></thead>
      <tbody>${requests.map((request) => this.#row(request))}</tbody></table></div>`;
  }

  #row(request) {
    const { images } = request;
    return html`<tr>
      <th scope="row"><a class="nowrap" href="#/requests/${request.request_id}" title=${exactTime(request.created_at)}>${ago(request.created_at)}</a>
        <span class="mono quiet small">${request.request_id.slice(-8)}</span></th>
      <td>${requestBadge(request)}</td>
      <td class="wide-only roomy">${bar(request, "Progress")}</td>
      <td class="figures wide-only">${number(request.products)}</td>
      <td class="figures wide-only">${number(images.total)}</td>
      <td class="figures wide-only ${images.failed ? "failed" : "quiet"}">${number(images.failed)}</td>
      <td class="figures wide-only roomy">${bytes(request.bytes.source)}</td>
      <td class="figures">${percent(request.bytes.saved_ratio)}</td>
    </tr>`;
  }
}

customElements.define("ht-requests", HtRequests);
