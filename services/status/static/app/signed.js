/** What a webhook sends: the body, and the headers that sign it. To be verified by hand: each is copied exactly. */

import { copy, select } from "./copy.js";
import { bytes } from "./format.js";
import { html, LitElement } from "./lit.js";

const VIEWS = [[false, "Formatted"], [true, "As sent"]];

/** The body of a delivery, formatted or as it is sent; what is copied is always the latter. */
export class HtBody extends LitElement {
  static properties = { text: { attribute: false }, exact: { state: true } };

  constructor() {
    super();
    this.exact = false;
  }

  render() {
    return html`<details class="sent"><summary>Body, ${bytes(new Blob([this.text]).size)}</summary>
      <div class="stack tight">
        <div class="row apart">
          <div class="choices" role="group" aria-label="How the body is shown">${VIEWS.map(([exact, name]) => html`<button aria-pressed=${this.exact === exact} @click=${() => { this.exact = exact; }}>${name}</button>`)}</div>
          <button @click=${this.#copy}>Copy as sent</button>
        </div>
        <pre tabindex="0" role="group" aria-label="Body">${this.exact ? this.text : formatted(this.text)}</pre>
      </div></details>`;
  }

  #copy() {
    return copy(this.text, async () => {
      this.exact = true;
      await this.updateComplete;
      select(this.querySelector("pre"));
    });
  }
}

/**
 * The headers of an attempt.
 *
 * @param {{number: number, request_headers: Record<string, string>}} attempt
 */
export function headersTable({ number, request_headers: headers }) {
  return html`<details class="sent"><summary>Signature headers</summary>
    <table class="sent-headers"><caption class="visually-hidden">Signature headers of attempt ${number}</caption>
      <thead class="visually-hidden"><tr><th scope="col">Header</th><th scope="col">Value</th><th scope="col">Copy</th></tr></thead>
      <tbody>${Object.entries(headers).map(([name, value]) => html`<tr><th scope="row"><code>${name}</code></th><td><code>${value}</code></td>
        <td><button aria-label="Copy ${name} of attempt ${number}" @click=${copyValue}>Copy</button></td></tr>`)}</tbody></table></details>`;
}

function copyValue(event) {
  const value = event.currentTarget.closest("tr").querySelector(":scope > td code");
  return copy(value.textContent, () => select(value));
}

/** For reading alone: 1.0 becomes 1, and so it is not what was signed. */
function formatted(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

customElements.define("ht-body", HtBody);
