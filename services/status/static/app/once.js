/** A secret that the service shows this once: to be copied, then taken from the screen. */

import { copy } from "./copy.js";
import { html, LitElement } from "./lit.js";

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

  #copy() {
    return copy(this.value, () => this.querySelector("input").select());
  }
}

customElements.define("ht-once", HtOnce);
