/** The account: what it uses and may use, its keys and its signing secret, and what was done with them. */

import { get, post, service } from "./api.js";
import { confirmed, keepFocus } from "./dialog.js";
import { bytes, dateTime, exactTime, number } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";
import { againLabel, problemNote } from "./pieces.js";
import { styles } from "./styles.js";
import "./audit.js";
import "./keys.js";
import "./once.js";

await Promise.all([styles("account.css"), styles("cards.css")]);

const ROTATION = {
  heading: "Replace the signing secret?",
  text: "Webhooks are signed with the new secret at once, and for a while with the old one too. Receivers must learn the new one until then.",
  action: "Replace it",
};

export class HtAccount extends LitElement {
  static properties = { account: { state: true }, problem: { state: true }, secret: { state: true }, refused: { state: true } };

  constructor() {
    super();
    this.account = null;
    this.problem = null;
    this.secret = null;
    this.refused = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#read();
  }

  /** What is shown stays until the answer comes. */
  async #read() {
    this.problem = null;
    try {
      this.account = await get("/v1/account");
    } catch (problem) {
      this.problem = problem;
    }
  }

  async #again() {
    await this.#read();
    await this.updateComplete;
    keepFocus();
  }

  render() {
    if (this.problem) return html`<div class="stack"><h1>Account</h1>${problemNote(this.problem)}<div><button @click=${this.#again}>${againLabel(this.problem)}</button></div></div>`;
    const account = this.account;
    return html`<div class="stack loose">
      <header class="stack tight"><h1>Account${account ? html` <span class="quiet">${account.name}</span>` : nothing}</h1>${account ? this.#who(account) : html`<p class="skeleton">…</p>`}</header>
      ${account ? usage(account) : html`<div class="panel usage skeleton" aria-busy="true"><span class="visually-hidden">Loading</span></div>`}
      ${account ? this.#administration(account) : nothing}
    </div>`;
  }

  #who({ key_id: id, scopes }) {
    if (id === null) return html`<p class="quiet">This Halftone asks for no key: whoever reaches it may do everything.</p>`;
    return html`<div class="row"><p class="quiet">This tab uses the key <code>ht_${id}</code>, which may ${words(scopes)}.</p>
      <button class="link small" @click=${this.#forget}>Use another key</button></div>`;
  }

  #administration({ scopes, key_id: own }) {
    if (!scopes.includes("admin")) {
      return html`<section class="panel stack tight" aria-labelledby="no-admin"><h2 id="no-admin">Keys, signing secret and audit log</h2>
        <p class="quiet">They are shown to keys that may <code>admin</code>. This one may not. Whoever runs this Halftone makes such a key with <code>make key NAME=${this.account.name} SCOPES=read,write,admin</code>.</p></section>`;
    }
    return html`<ht-keys .own=${own} @changed=${this.#changed}></ht-keys>
      ${this.#signing()}
      <ht-audit></ht-audit>`;
  }

  #signing() {
    return html`<section class="panel stack" aria-labelledby="signing">
      <div class="row apart"><h2 id="signing">Signing secret</h2><button class="danger" @click=${this.#rotate}>Replace</button></div>
      <p class="quiet">Every webhook is signed with it. <a href="/docs">The API page</a> says how a receiver verifies that.</p>
      ${problemNote(this.refused)}
      ${this.secret
        ? html`<ht-once .value=${this.secret.signing_secret} .heading=${"The new signing secret"} @kept=${this.#kept}>
          </ht-once><p class="small quiet">The old one signs too until ${dateTime(this.secret.previous_until)}.</p>`
        : nothing}
    </section>`;
  }

  #kept() {
    this.secret = null;
    this.querySelector("[aria-labelledby=signing] button").focus();
  }

  #changed() {
    this.querySelector("ht-audit").restart();
    this.#read();
  }

  async #rotate() {
    if (!(await confirmed(ROTATION))) return;
    try {
      this.secret = await post("/v1/account/signing-secret/rotate");
      this.refused = null;
      this.#changed();
    } catch (problem) {
      this.refused = problem;
    }
  }

  #forget() {
    service.forgetKey();
    this.account = null;
    this.#read();
  }
}

function usage({ limits, usage: used }) {
  return html`<section class="panel stack usage" aria-labelledby="usage"><h2 id="usage">Usage</h2>
    <dl class="meters">
      ${meter("Requests under way", used.open_requests, limits.open_requests, number)}
      ${meter("Images today", used.images_today, limits.images_per_day, number, html`<span title=${exactTime(used.day_ends_at)}>Starts again from 0 on ${dateTime(used.day_ends_at)}</span>`)}
      ${meter("Stored renditions", used.stored_bytes, limits.stored_bytes, bytes)}
    </dl>
    <p class="quiet small">${pace("Calls", limits.calls_per_second, "per second")} ${pace("Uploads", limits.uploads_per_minute, "per minute")}</p></section>`;
}

function meter(name, value, limit, shown, hint = nothing) {
  const of = limit === null ? "no limit" : `of ${shown(limit)}`;
  const share = limit ? Math.min(100, (100 * value) / limit) : 0;
  return html`<div><dt class="small">${name}</dt><dd class="amount">${shown(value)} <span class="quiet">${of}</span></dd>
    <dd><svg class="meter ${share >= 90 ? "full" : ""}" ?data-none=${limit === null} aria-hidden="true"><rect class="ground" width="100%" height="100%"></rect><rect class="filled" width="${share}%" height="100%"></rect></svg></dd>
    ${hint === nothing ? nothing : html`<dd class="hint">${hint}</dd>`}</div>`;
}

function pace(what, limit, time) {
  return limit === null ? `${what}: no limit.` : `${what}: at most ${number(limit)} ${time}.`;
}

/** @param {string[]} scopes */
function words(scopes) {
  return new Intl.ListFormat("en").format(scopes);
}

customElements.define("ht-account", HtAccount);
