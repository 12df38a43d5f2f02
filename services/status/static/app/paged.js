/** A list of the API, a page at a time: 50 items are held, and the tokens of the pages before. */

import { get } from "./api.js";
import { keepFocus } from "./dialog.js";
import { number } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";
import { againLabel } from "./pieces.js";

/** Subclasses give `source` (path and query, without the token) and `renderItems()`. */
export class PagedList extends LitElement {
  static properties = { page: { state: true }, problem: { state: true }, loading: { state: true } };

  constructor() {
    super();
    this.page = null;
    this.problem = null;
    this.loading = false;
    this.tokens = [""];
    this.number = 1; // of the page that is shown
  }

  connectedCallback() {
    super.connectedCallback();
    this.leaving = new AbortController();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.leaving.abort();
  }

  /** Shows the first page of what `source` now names. */
  restart() {
    this.tokens = [""];
    this.page = null;
    return this.load();
  }

  /** Reads the page that is shown once more; what is there stays until the answer comes. */
  async load() {
    this.reading?.abort();
    const reading = (this.reading = new AbortController());
    const signal = AbortSignal.any([reading.signal, this.leaving.signal]);
    const url = new URL(this.source, location.origin);
    if (this.tokens.at(-1)) url.searchParams.set("page_token", this.tokens.at(-1));
    this.loading = true;
    try {
      this.page = await get(`${url.pathname}${url.search}`, { signal });
      this.number = this.tokens.length;
      this.problem = null;
    } catch (problem) {
      if (signal.aborted) return;
      this.problem = problem;
    }
    this.loading = false;
  }

  render() {
    if (this.problem) return this.renderProblem();
    if (this.page === null) return this.renderLoading();
    if (this.page.items.length === 0 && this.tokens.length === 1) return this.renderEmpty();
    return html`${this.renderItems(this.page.items)}${this.renderSteps()}`;
  }

  renderProblem() {
    return html`<div class="empty" role="alert"><p>${this.problem.detail ?? String(this.problem)}</p><button type="button" @click=${this.#again}>${againLabel(this.problem)}</button></div>`;
  }

  renderLoading() {
    return html`<div class="waiting" aria-busy="true"><span class="visually-hidden">Loading</span>
      ${[0, 1, 2, 3, 4].map(() => html`<div class="skeleton line"></div>`)}</div>`;
  }

  renderEmpty() {
    return html`<div class="empty"><p>There is nothing here.</p></div>`;
  }

  renderSteps() {
    const next = this.page.next_page_token;
    if (this.tokens.length === 1 && next === null) return nothing;
    return html`<nav class="steps" aria-label="Pages">
      <button ?disabled=${this.tokens.length === 1} @click=${() => this.#step(this.tokens.slice(0, -1))}>Previous</button>
      <span class="quiet small">Page ${number(this.number)}</span>
      <button ?disabled=${next === null} @click=${() => this.#step([...this.tokens, next])}>Next</button>
    </nav>`;
  }

  async #again() {
    await this.restart();
    await this.updateComplete;
    keepFocus();
  }

  async #step(tokens) {
    if (this.loading) return; // a second click would skip nothing, but count a page
    this.tokens = tokens;
    await this.load();
    this.scrollIntoView({ block: "start" });
  }
}
