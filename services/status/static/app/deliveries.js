/** The webhooks of a request: each delivery with its attempts, and sending it again. */

import { post } from "./api.js";
import { confirmed } from "./dialog.js";
import { ago, exactTime, milliseconds, plural } from "./format.js";
import { html, nothing, repeat } from "./lit.js";
import { notify } from "./notices.js";
import { PagedList } from "./paged.js";
import { problemNote } from "./pieces.js";
import { headersTable } from "./signed.js";
import { styles } from "./styles.js";

await Promise.all([styles("deliveries.css"), styles("cards.css")]);

/** After a redelivery the answer of the receiver is looked for soon, later as seldom as anything idle. */
const SOON_MS = [1000, 2000, 4000, 8000, 16_000];
const IDLE_MS = 60_000;
const STATES = {
  pending: ["running", "Waiting to be sent"],
  delivered: ["good", "Delivered"],
  stopped: ["bad", "Stopped: the receiver answered 410"],
  exhausted: ["bad", "Given up after the last attempt"],
};
const QUESTION = {
  heading: "Send this event again?",
  text: "The receiver gets the same event with the same webhook-id, and may have handled it before.",
  action: "Send again",
  keep: "Not now",
};

export class HtDeliveries extends PagedList {
  static properties = { requestId: { attribute: false }, refused: { state: true } };

  constructor() {
    super();
    this.refused = null;
    this.soon = [];
  }

  get source() {
    return `/v1/requests/${this.requestId}/deliveries?page_size=20`;
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener("visibilitychange", this.#onVisible);
    if (this.hasUpdated) this.#read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener("visibilitychange", this.#onVisible);
    clearTimeout(this.timer);
  }

  willUpdate(changed) {
    if (!changed.has("requestId")) return;
    this.tokens = [""];
    this.page = null;
    this.#read();
  }

  /** Reads, and once more later while something is still to be sent. */
  async #read() {
    clearTimeout(this.timer);
    await this.load();
    if (this.leaving.signal.aborted || !this.page?.items.some((delivery) => delivery.status === "pending")) return;
    this.timer = setTimeout(() => document.hidden || this.#read(), this.soon.shift() ?? IDLE_MS);
  }

  #onVisible = () => {
    if (!document.hidden && this.page?.items.some((delivery) => delivery.status === "pending")) this.#read();
  };

  renderEmpty() {
    return html`<div class="panel empty"><h2>No webhook was due</h2>
      <p>With a webhook URL, Halftone sends a signed event there when the request has ended. Each attempt is listed here.</p></div>`;
  }

  renderItems(deliveries) {
    return html`<div class="stack">${problemNote(this.refused)}<ul class="stack deliveries">${repeat(deliveries, ({ id }) => id, (delivery) => html`<li>${this.#delivery(delivery)}</li>`)}</ul></div>`;
  }

  #delivery(delivery) {
    const [kind, text] = STATES[delivery.status];
    return html`<article class="panel stack" aria-label="${delivery.type} to ${delivery.url}">
      <header class="row apart">
        <div class="stack tight"><h2><code>${delivery.type}</code></h2><p class="small quiet mono">${delivery.url}</p></div>
        <div class="row"><span class="badge ${kind}">${text}</span><button @click=${() => this.#redeliver(delivery)}>Send again</button></div>
      </header>
      <dl class="delivery-facts small">
        <div><dt>webhook-id</dt><dd class="mono">${delivery.event_id}</dd></div>
        ${delivery.next_attempt_at ? html`<div><dt>Next attempt</dt><dd title=${exactTime(delivery.next_attempt_at)}>${ago(delivery.next_attempt_at)}</dd></div>` : nothing}
      </dl>
      <ht-body .text=${delivery.body}></ht-body>
      ${delivery.attempts.length ? attemptsTable(delivery.attempts) : html`<p class="quiet small">No attempt was made yet.</p>`}
    </article>`;
  }

  async #redeliver(delivery) {
    if (!(await confirmed(QUESTION))) return;
    try {
      await post(`/v1/deliveries/${delivery.id}/redeliver`);
      this.refused = null;
      notify("The event is sent again.");
    } catch (problem) {
      this.refused = problem;
    }
    this.soon = [...SOON_MS];
    this.#read();
  }
}

function attemptsTable(attempts) {
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Attempts"><table class="attempts cards">
    <caption class="quiet small">${plural(attempts.length, "attempt")}, the last one first</caption>
    <thead><tr><th scope="col" class="figures">No.</th><th scope="col">Sent</th><th scope="col">Answer</th><th scope="col" class="figures">Took</th><th scope="col">Body of the answer</th></tr></thead>
    <tbody>${repeat(attempts.toReversed(), ({ number }) => number, attemptRow)}</tbody></table></div>`;
}

function attemptRow(attempt) {
  const { number, at, status_code: code, error, duration_ms: took, response_excerpt: excerpt } = attempt;
  const good = code >= 200 && code < 300;
  const why = good || error === `HTTP ${code}` ? null : error; // the code stands beside it
  return html`<tr class="attempt"><td class="figures" data-label="No.">${number}</td><td class="nowrap" data-label="Sent"><time datetime=${at}>${exactTime(at)}</time></td>
    <td data-label="Answer"><span class="badge ${good ? "good" : "bad"}">${code ?? "No answer"}</span></td><td class="figures" data-label="Took">${milliseconds(took)}</td>
    <td class="answer" data-label="Body"><div>${why ? html`<p class="quiet">${why}</p>` : nothing}
      ${excerpt ? html`<details><summary>Begins with ${excerpt.slice(0, 40)}${excerpt.length > 40 ? "…" : ""}</summary><pre tabindex="0">${excerpt}</pre></details>` : why ? nothing : html`<span class="quiet">Empty</span>`}</div></td></tr>
    <tr class="sent-with"><td colspan="5">${attempt.request_headers ? headersTable(attempt) : html`<span class="quiet">No signature headers are known: nothing was sent, no result was reported, or an earlier version sent it.</span>`}</td></tr>`;
}

customElements.define("ht-deliveries", HtDeliveries);
