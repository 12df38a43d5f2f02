/** The faults of a CSV as a table: each at its row and line, in the column where it is. */

import { number } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";
import { errorCode } from "./pieces.js";

const COLUMNS = ["S. No.", "Product Name", "Input Image Urls"];

export class HtRowErrors extends LitElement {
  static properties = { errors: {}, count: {} };

  render() {
    return html`<div class="scroll panel flush" tabindex="0" role="region" aria-label="Errors in the CSV"><table class="faults">
      <thead><tr><th scope="col" class="figures">Line</th>${COLUMNS.map((name) => html`<th scope="col">${name}</th>`)}<th scope="col">What is wrong</th></tr></thead>
      <tbody>${this.errors.map((error) => this.#row(error))}</tbody></table></div>
      ${this.count > this.errors.length ? html`<p class="hint">These are the first ${number(this.errors.length)} of ${number(this.count)}.</p>` : nothing}`;
  }

  #row(error) {
    const cells = COLUMNS.map((name) => (name === error.column ? this.#cell(error) : html`<td class="quiet" aria-hidden="true">…</td>`));
    return html`<tr><th scope="row" class="figures">${error.line === null ? nothing : html`<span class="narrow-only">Line </span>`}${error.line === null ? "–" : number(error.line)}</th>
      ${COLUMNS.includes(error.column) ? cells : html`<td colspan="3" class="fault"><mark>${error.value ?? "the whole file"}</mark></td>`}
      <td class="why">${error.detail} ${errorCode(error.code, "row")}</td></tr>`;
  }

  #cell(error) {
    const which = error.url_index === null ? nothing : html` <span class="quiet">(address ${number(error.url_index)})</span>`;
    return html`<td class="fault"><span class="narrow-only quiet" aria-hidden="true">${error.column}</span><mark>${error.value || (error.code === "missing_header" ? "missing" : "empty")}</mark>${which}</td>`;
  }
}

customElements.define("ht-row-errors", HtRowErrors);
