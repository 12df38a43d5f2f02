/** What was done with the account, its keys and its signing secret, newest first. */

import { ago, dateTime, exactTime } from "./format.js";
import { html } from "./lit.js";
import { PagedList } from "./paged.js";

const ACTORS = { cli: "the command line", "no-key": "somebody without a key" };

export class HtAudit extends PagedList {
  source = "/v1/audit?page_size=20";

  connectedCallback() {
    super.connectedCallback();
    this.load();
  }

  render() {
    return html`<section class="panel stack" aria-labelledby="audit"><h2 id="audit">Audit log</h2>${super.render()}</section>`;
  }

  renderEmpty() {
    return html`<p class="quiet">Nothing yet. Each change of keys or of the signing secret is listed here, with who made it.</p>`;
  }

  renderItems(entries) {
    return html`<div class="scroll" tabindex="0" role="group" aria-labelledby="audit"><table class="audit cards">
      <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">On</th><th scope="col">By</th><th scope="col">Details</th></tr></thead>
      <tbody>${entries.map((entry) => html`<tr><td class="nowrap" data-label="When"><time datetime=${entry.at} title=${exactTime(entry.at)}>${ago(entry.at)}</time></td>
        <td data-label="What"><code>${entry.action}</code></td><td data-label="On"><code>${entry.target}</code></td><td data-label="By">${ACTORS[entry.actor] ?? html`<code>${entry.actor}</code>`}</td>
        <td class="quiet" data-label="Details">${details(entry)}</td></tr>`)}</tbody>
    </table></div>`;
  }
}

function details({ detail }) {
  const given = Object.entries(detail).filter(([, value]) => value !== null);
  return given.map(([name, value]) => html`<span class="detail">${name.replaceAll("_", " ")}: ${name.endsWith("_at") || name.endsWith("_until") ? dateTime(value) : [value].flat().join(", ")}</span> `);
}

customElements.define("ht-audit", HtAudit);
