/** A secret that the service shows this once: to be copied, then taken from the screen. */

import { html, LitElement } from "./lit.js";
import { notify } from "./notices.js";

/** Fires `kept` when the person says that it is kept. */
export class HtOnce extends LitElement {
  static properties = { value: { attribute: false }, heading: { attribute: false } };

  firstUpdated() {
    this.querySelector("input").select();
  }

  render() {
    return html`<div class="note once stack tight" role="group" aria-label=${this.heading}>
      <p><strong>${this.heading}</strong>. It is shown this once: keep it now.</p>
      <div class="row"><input class="mono" readonly aria-label=${this.heading} .value=${this.value} @focus=${(event) => event.target.select()}>
        <button @click=${this.#copy}>Copy</button><button class="primary" @click=${() => this.dispatchEvent(new Event("kept"))}>I have kept it</button></div>
    </div>`;
  }

  /** Without https the browser lets no page write to the clipboard: the text is marked for Ctrl+C instead. */
  async #copy() {
    const copied = await navigator.clipboard?.writeText(this.value).then(() => true, () => false);
    if (!copied) this.querySelector("input").select();
    notify(copied ? "Copied." : "Marked: copy it with Ctrl+C.");
  }
}

customElements.define("ht-once", HtOnce);
