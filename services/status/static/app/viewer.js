/** One image beside its original, over the page; and the images before and after it. */

import { fileName, number } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export class HtViewer extends LitElement {
  static properties = { requestId: {}, image: { state: true }, failed: { state: true } };

  #leave = () => this.#close();

  connectedCallback() {
    super.connectedCallback();
    window.addEventListener("hashchange", this.#leave);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    window.removeEventListener("hashchange", this.#leave);
  }

  /** @param {{image: object, among: object[]}} chosen `among`: the images that can be stepped through. */
  async show({ image, among }) {
    const address = location.hash;
    this.failed = await import("./compare.js").then(() => false, () => true);
    if (address !== location.hash || !this.isConnected) return; // the page was left for another one
    Object.assign(this, { image, among });
    await this.updateComplete;
    await this.querySelector("ht-compare")?.updateComplete;
    const dialog = this.querySelector("dialog");
    if (!dialog.open) dialog.showModal();
  }

  render() {
    return html`<dialog class="viewer" aria-labelledby="viewer-title" @close=${() => { this.image = null; }} @click=${this.#beside} @keydown=${this.#onKey}>
      ${this.image ? this.#content(this.image) : nothing}</dialog>`;
  }

  #content(image) {
    return html`<div class="stack">
      <header><h2 id="viewer-title">${fileName(image.url)}</h2>${this.among.length > 1 ? this.#stepping() : nothing}
        <button @click=${this.#close}>Close</button></header>
      ${this.failed
        ? html`<p class="note bad" role="alert">The comparison could not be loaded.</p>`
        : html`<ht-compare .image=${image} .requestId=${this.requestId}></ht-compare>`}
    </div>`;
  }

  #stepping() {
    const at = this.among.indexOf(this.image);
    return html`<div class="row" role="group" aria-label="Images of this page">
      <button aria-label="Previous image" aria-disabled=${at === 0} @click=${() => this.#step(-1)}>←</button>
      <p class="small quiet" role="status"><span class="visually-hidden">${fileName(this.image.url)}, </span>${number(at + 1)} of ${number(this.among.length)}</p>
      <button aria-label="Next image" aria-disabled=${at === this.among.length - 1} @click=${() => this.#step(1)}>→</button>
    </div>`;
  }

  async #step(by) {
    this.image = this.among[this.among.indexOf(this.image) + by] ?? this.image;
    await this.updateComplete;
    await this.querySelector("ht-compare")?.updateComplete;
    if (!this.contains(document.activeElement)) this.querySelector(".stage, .compare-none")?.focus(); // the frame went with the image before
  }

  #onKey(event) {
    const by = STEPS[event.key];
    if (by === undefined || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#step(by);
  }

  #close() {
    this.querySelector("dialog")?.close();
  }

  #beside(event) {
    if (event.target.localName === "dialog") event.target.close();
  }
}

customElements.define("ht-viewer", HtViewer);
