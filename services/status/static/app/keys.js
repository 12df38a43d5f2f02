/** The API keys of the account: make, rotate and revoke. A new key's text is shown once. */

import { del, post, service } from "./api.js";
import { confirmed } from "./dialog.js";
import { ago, dateTime, exactTime } from "./format.js";
import { html, nothing } from "./lit.js";
import { notify } from "./notices.js";
import { PagedList } from "./paged.js";
import { problemNote } from "./pieces.js";

const DAY_MS = 86_400_000;
const SCOPES = [
  ["read", "Read", "see requests, images and deliveries"],
  ["write", "Write", "make, retry, cancel and delete requests"],
  ["admin", "Admin", "manage keys and the signing secret"],
];
const LIVES = [["", "Never"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"]];

/** `own`: the id of the key that this tab uses. Fires `changed`, also when the tab takes another key. */
export class HtKeys extends PagedList {
  static properties = { own: { attribute: false }, made: { state: true }, refused: { state: true }, making: { state: true } };

  source = "/v1/keys?page_size=20";

  constructor() {
    super();
    this.made = null;
    this.refused = null;
    this.making = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.load();
  }

  render() {
    return html`<section class="panel stack" aria-labelledby="keys">
      <div class="row apart"><h2 id="keys">API keys</h2><button aria-expanded=${this.making} @click=${() => { this.making = !this.making; }}>New key</button></div>
      ${problemNote(this.refused)}
      ${this.making ? this.#form() : nothing}
      ${this.made ? this.#shownOnce() : nothing}
      ${super.render()}</section>`;
  }

  #form() {
    return html`<form class="note stack new-key" @submit=${this.#make}>
      <fieldset class="stack tight"><legend class="label">What it may do</legend>
        ${SCOPES.map(([scope, name, text]) => html`<label class="scope"><input type="checkbox" name="scopes" value=${scope} ?checked=${scope !== "admin"}> ${name} <span class="quiet">${text}</span></label>`)}</fieldset>
      <div class="field"><label for="life">It expires</label><select id="life" name="life">${LIVES.map(([days, name]) => html`<option value=${days}>${name}</option>`)}</select></div>
      <div class="row"><button class="primary">Make the key</button><button type="button" @click=${this.#done}>Cancel</button></div>
    </form>`;
  }

  #shownOnce() {
    const { key, replaces } = this.made;
    return html`<ht-once .value=${key} .heading=${"The new key"} @kept=${this.#done}></ht-once>
      ${replaces && replaces === this.own ? html`<p class="small">This tab still uses the old one. <button class="link small" @click=${() => this.#use(key)}>Use the new one here</button></p>` : nothing}`;
  }

  renderEmpty() {
    return html`<p class="quiet">The keys you make are listed here. ${this.own === null ? "None is needed while this Halftone asks for none." : nothing}</p>`;
  }

  renderItems(keys) {
    return html`<div class="scroll" tabindex="0" role="group" aria-labelledby="keys"><table class="keys cards">
      <thead><tr><th scope="col">Key</th><th scope="col">State</th><th scope="col">May</th><th scope="col">Made</th><th scope="col">Last used</th><th scope="col">Expires</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>${keys.map((key) => this.#row(key))}</tbody></table></div>`;
  }

  #row(key) {
    const state = stateOf(key);
    return html`<tr><th scope="row"><code>${key.prefix}</code>${key.key_id === this.own ? html` <span class="quiet small">this tab's</span>` : nothing}</th>
      <td data-label="State"><span class="badge ${state === "Valid" ? "good" : "off"}">${state}</span></td><td data-label="May">${key.scopes.join(", ")}</td>
      <td class="nowrap" data-label="Made" title=${exactTime(key.created_at)}>${ago(key.created_at)}</td><td class="nowrap" data-label="Last used" title=${exactTime(key.last_used_at)}>${key.last_used_at ? ago(key.last_used_at) : "Never"}</td>
      <td class="nowrap" data-label="Expires" title=${exactTime(key.expires_at)}>${key.expires_at ? dateTime(key.expires_at) : "Never"}</td>
      <td>${state === "Valid" ? html`<div class="row acts"><button aria-label="Rotate ${key.prefix}" @click=${() => this.#rotate(key)}>Rotate</button><button class="danger" aria-label="Revoke ${key.prefix}" @click=${() => this.#revoke(key)}>Revoke</button></div>` : nothing}</td></tr>`;
  }

  #make(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const days = Number(form.get("life"));
    const order = { scopes: form.getAll("scopes"), expires_at: days ? new Date(Date.now() + days * DAY_MS).toISOString() : null };
    return this.#change(async () => {
      this.made = await post("/v1/keys", { body: JSON.stringify(order), headers: { "Content-Type": "application/json" } });
      this.making = false;
    });
  }

  async #rotate(key) {
    const text = `A new key with the same rights takes the place of ${key.prefix}, which stays valid for one more day.`;
    if (!(await confirmed({ heading: "Rotate this key?", text, action: "Rotate it" }))) return;
    await this.#change(async () => {
      this.made = { ...(await post(`/v1/keys/${key.key_id}/rotate`)), replaces: key.key_id };
    });
  }

  async #revoke(key) {
    const own = key.key_id === this.own ? " This tab uses it, and will ask for another one." : "";
    const text = `Whoever uses ${key.prefix} is refused within seconds. This cannot be undone.${own}`;
    if (!(await confirmed({ heading: "Revoke this key?", text, action: "Revoke it" }))) return;
    await this.#change(async () => {
      await del(`/v1/keys/${key.key_id}`);
      if (key.key_id === this.own) service.forgetKey();
      notify(`${key.prefix} is revoked.`);
    });
  }

  /** Takes away what is open; the focus goes to the button that opens the next. */
  #done() {
    this.made = null;
    this.making = false;
    this.querySelector("button").focus();
  }

  #use(key) {
    service.setKey(key);
    this.#done();
    notify("This tab uses the new key.");
    this.dispatchEvent(new Event("changed"));
  }

  /** @param {() => Promise<void>} change */
  async #change(change) {
    try {
      await change();
      this.refused = null;
    } catch (problem) {
      this.refused = problem;
    }
    await this.load();
    await this.updateComplete;
    if (document.activeElement === document.body) this.querySelector("button").focus();
    this.dispatchEvent(new Event("changed"));
  }
}

function stateOf({ revoked_at: revoked, expires_at: expires }) {
  if (revoked) return "Revoked";
  return expires && Date.parse(expires) <= Date.now() ? "Expired" : "Valid";
}

customElements.define("ht-keys", HtKeys);
