/** One image beside its original, over the page. */

import { fileName } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";

export class HtViewer extends LitElement {
  static properties = { requestId: {}, image: { state: true }, failed: { state: true } };

  /** @param {object} image */
  async show(image) {
    this.failed = await import("./compare.js").then(() => false, () => true);
    this.image = image;
    await this.updateComplete;
    this.querySelector("dialog").showModal();
  }

  render() {
    return html`<dialog class="viewer" aria-labelledby="viewer-title" @close=${() => { this.image = null; }} @click=${this.#beside}>
      ${this.image ? this.#content(this.image) : nothing}</dialog>`;
  }

  #content(image) {
    return html`<div class="stack">
      <div class="row apart"><h2 id="viewer-title">${fileName(image.url)}</h2>
        <button @click=${() => this.querySelector("dialog").close()}>Close</button></div>
      ${this.failed
        ? html`<p class="note bad" role="alert">The comparison could not be loaded.</p>`
        : html`<ht-compare .image=${image} .requestId=${this.requestId}></ht-compare>`}
    </div>`;
  }

  #beside(event) {
    if (event.target.localName === "dialog") event.target.close();
  }
}

customElements.define("ht-viewer", HtViewer);
