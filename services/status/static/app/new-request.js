/** Make a request: a CSV from a file or pasted, checked before anything is stored, with its options. */

import { post } from "./api.js";
import { bytes, number, plural } from "./format.js";
import { classMap, html, LitElement, live, nothing } from "./lit.js";
import { notify } from "./notices.js";
import { againLabel, problemNote } from "./pieces.js";
import "./requests.js";
import "./row-errors.js";

const HEADER = "S. No.,Product Name,Input Image Urls\n";
const TYPING_MS = 500;
const MODES = {
  absolute: ["The encoder’s quality", "One setting for all images, on the scale of image editors."],
  relative: ["Percent of each image’s quality", "Of the quality that each original has: one that was already compressed hard is not taken for a fine one."],
  bytes: ["Percent of each image’s bytes", "The best quality that needs at most this share of the original’s bytes."],
};
const FORMATS = {
  keep: ["Keep each format", "A JPEG stays a JPEG; nothing that links to your images needs to change."],
  jpeg: ["JPEG", "Shown everywhere; transparency becomes white."],
  png: ["PNG", "For drawings and logos; photos grow large."],
  webp: ["WebP", "Smaller than JPEG, with transparency; shown by all current browsers."],
  avif: ["AVIF", "The smallest, and the slowest to make."],
};
const STEPS = ["Drop your CSV", "Press Compress", "Open an image beside its original"];
const LABELS = { webhook_url: "Webhook", max_side: "Longest side" };

export class HtNewRequest extends LitElement {
  static properties = {
    manifest: { state: true }, // {name, body: Blob}
    pasting: { state: true },
    over: { state: true },
    checking: { state: true },
    checked: { state: true },
    problem: { state: true },
    sending: { state: true },
    options: { state: true },
  };

  constructor() {
    super();
    this.options = { mode: "absolute", quality: "50", format: "keep", max_side: "", webhook_url: "" };
    this.text = HEADER;
    this.#clear();
  }

  #clear() {
    clearTimeout(this.typing);
    this.check?.abort();
    this.key = null;
    Object.assign(this, { manifest: null, checked: null, problem: null, checking: false, sending: false });
  }

  connectedCallback() {
    super.connectedCallback();
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    window.addEventListener("dragover", (event) => this.#hover(event, true), { signal });
    window.addEventListener("dragleave", (event) => event.relatedTarget === null && this.#hover(event, false), { signal });
    window.addEventListener("drop", (event) => this.#drop(event), { signal });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.leaving.abort();
    this.#clear();
  }

  #hover(event, over) {
    event.preventDefault();
    this.over = over;
  }

  #drop(event) {
    this.#hover(event, false);
    const [file, ...others] = event.dataTransfer.files;
    if (others.length > 0) notify(`One request takes one file: ${file.name} was taken.`);
    if (file) this.#take(file.name, file);
    else if (event.dataTransfer.getData("text")) this.#paste(event.dataTransfer.getData("text"));
  }

  #paste(text) {
    this.#clear();
    this.pasting = true;
    this.text = text;
    if (text.trim() === "" || text.trim() === HEADER.trim()) return;
    this.typing = setTimeout(() => this.#take("Pasted rows", new Blob([text])), TYPING_MS);
  }

  /** Asks the service what it would take; nothing is stored. */
  async #take(name, body) {
    this.#clear();
    this.manifest = { name, body };
    this.checking = true;
    const { signal } = (this.check = new AbortController());
    try {
      this.checked = await post("/v1/requests?validate_only=true", { body, headers: { "Content-Type": "text/csv" }, signal });
    } catch (error) {
      const problem = await explained(error, body);
      if (signal.aborted) return;
      this.problem = problem;
      if (problem.errors?.length) this.checked = { valid: false, products: 0, images: 0, errors: problem.errors, error_count: problem.errorCount };
    }
    this.checking = false;
  }

  async #again() {
    await this.#take(this.manifest.name, this.manifest.body);
    await this.updateComplete;
    this.querySelector(".result button")?.focus();
  }

  async #send(event) {
    event.preventDefault();
    if (!this.checked || this.sending) return;
    const query = new URLSearchParams(Object.entries(this.options).filter(([, value]) => value !== ""));
    if (!this.checked.valid) query.set("on_invalid", "skip");
    this.key ??= newKey(); // the same one if this has to be sent again
    this.sending = true;
    this.problem = null;
    try {
      const headers = { "Content-Type": "text/csv", "Idempotency-Key": this.key };
      const request = await post(`/v1/requests?${query}`, { body: this.manifest.body, headers });
      if (this.isConnected) location.hash = `#/requests/${request.request_id}`;
      else notify("Your request is made; it stands first under Requests.");
    } catch (problem) {
      this.problem = await explained(problem, this.manifest.body);
      if (this.problem.code === "unreadable") this.checked = null; // it was another file
      await this.updateComplete;
      this.querySelector("[aria-invalid=true]")?.focus();
    }
    this.sending = false;
  }

  #set(name, value) {
    this.options = { ...this.options, [name]: value };
    this.key = null;
    if (refusedOption(this.problem) === name) this.problem = null;
  }

  render() {
    return html`<div class="stack loose">
      <div class="stack tight">
        <h1>New request</h1>
        ${steps(this.checked && this.#sendable() ? 2 : 1)}
      </div>
      <form class="new" @submit=${this.#send}>
        <div class="stack given">${this.#input()}${this.#result()}</div>
        ${this.#options()}
        <ht-requests recent></ht-requests>
      </form>
    </div>`;
  }

  #input() {
    return html`<section class=${classMap({ drop: true, over: Boolean(this.over), filled: this.manifest !== null })} aria-labelledby="csv">
      <div class="row apart"><h2 id="csv">Products</h2>
        <div class="choices" role="group" aria-label="How to give them">
          <button type="button" aria-pressed=${!this.pasting} @click=${() => { this.#clear(); this.pasting = false; }}>File</button>
          <button type="button" aria-pressed=${Boolean(this.pasting)} @click=${() => this.#paste(this.text)}>Paste rows</button>
        </div></div>
      ${this.pasting ? this.#textarea() : this.#file()}
      <p class="hint">A CSV with the columns <code>S. No.</code>, <code>Product Name</code> and <code>Input Image Urls</code>; several addresses in one cell are separated by commas.
        <button type="button" class="link" @click=${this.#sample}>Try a sample</button> or <a href="/app/sample.csv" download="products.csv">download it</a>; its pictures come from the internet.</p>
    </section>`;
  }

  async #sample() {
    this.#paste(await (await fetch("/app/sample.csv")).text());
  }

  #file() {
    const given = this.manifest;
    return html`<label class="target">
      <input class="visually-hidden" type="file" accept=".csv,.tsv,.txt,text/csv,text/plain" @change=${this.#choose}>
      ${given
        ? html`<strong>${given.name}</strong><span class="quiet small">${bytes(given.body.size)} · choose another file, or drop it here</span>`
        : html`<strong>${this.over ? "Drop it" : "Drop a CSV here"}</strong><span class="quiet small">or <span class="as-link">choose a file</span></span>`}
    </label>`;
  }

  #choose(event) {
    const [file] = event.target.files;
    if (file) this.#take(file.name, file);
    event.target.value = ""; // the same file, corrected, may be chosen again
  }

  #textarea() {
    return html`<div class="field"><label for="rows" class="visually-hidden">Rows</label>
      <textarea id="rows" rows="8" spellcheck="false" wrap="off" .value=${live(this.text)} @input=${(event) => this.#paste(event.target.value)}></textarea></div>`;
  }

  #result() {
    const filled = this.checking || this.checked !== null || this.problem !== null;
    return html`<section class=${classMap({ result: true, stack: true, panel: filled })} aria-label="The check">
      <div role="status">${this.checking ? html`<p class="quiet">Checking ${this.manifest.name}…</p>` : nothing}${this.checked ? this.#verdict() : nothing}</div>
      ${this.checked?.errors.length ? html`<ht-row-errors .errors=${this.checked.errors} .count=${this.checked.error_count}></ht-row-errors>` : nothing}
      ${problemNote(this.checked?.errors.length || refusedOption(this.problem) ? null : this.problem)}
      ${this.#sendable() ? this.#submit() : nothing}
      ${this.problem && !this.checked && isPassing(this.problem) ? html`<div><button type="button" @click=${this.#again}>${againLabel(this.problem, "Check again")}</button></div>` : nothing}
    </section>`;
  }

  #sendable() {
    return this.checked !== null && (this.checked.valid || this.checked.images > 0);
  }

  #verdict() {
    const { valid, products, images, errors, error_count: count } = this.checked;
    if (valid) return html`<p class="verdict"><span class="badge good">Ready</span> ${plural(products, "product")}, ${plural(images, "image")} <span class="quiet small">Nothing is stored yet.</span></p>`;
    return html`<p class="verdict"><span class="badge bad">${plural(count, "error")}</span> <span class="small">Nothing is stored. ${advice(errors, images > 0)}</span></p>`;
  }

  #submit() {
    const { valid, products, images } = this.checked;
    const text = valid ? `Compress ${plural(images, "image")}` : `Leave them out and compress ${plural(images, "image")} of ${plural(products, "product")}`;
    return html`<div class="row"><button class=${valid ? "primary" : ""} ?disabled=${this.sending}>${this.sending ? "Sending…" : text}</button></div>`;
  }

  #options() {
    const { mode, quality, format, max_side: side, webhook_url: webhook } = this.options;
    const input = (name) => (event) => this.#set(name, event.target.value);
    const refused = (name) => refusedOption(this.problem) === name;
    return html`<fieldset class="options panel">
      <legend><h2>Options</h2></legend>
      <div class="field"><label for="quality">Quality <output for="quality">${number(Number(quality))}${mode === "absolute" ? "" : " %"}</output></label>
        <input id="quality" type="range" min="1" max="95" .value=${live(quality)} @input=${input("quality")} aria-describedby="quality-hint">
        <p class="hint" id="quality-hint">Lower is smaller. A result that would be bigger than its original is not used.</p></div>
      ${select("mode", "Quality means", mode, MODES, input("mode"))}
      ${select("format", "Format", format, FORMATS, input("format"))}
      <div class="field"><label for="side">Longest side <span class="quiet">(optional)</span></label>
        <div class="row"><input id="side" type="number" min="1" max="65535" step="1" inputmode="numeric" placeholder="as it is" .value=${live(side)} @input=${input("max_side")} aria-invalid=${refused("max_side")} aria-describedby="side-error side-hint"> px</div>
        ${this.#refusal("max_side", "side-error")}
        <p class="hint" id="side-hint">Larger images are scaled down to it; smaller ones are left alone.</p></div>
      <div class="field"><label for="webhook">Webhook <span class="quiet">(optional)</span></label>
        <input id="webhook" type="url" placeholder="https://shop.example/hooks" .value=${live(webhook)} @input=${input("webhook_url")} aria-invalid=${refused("webhook_url")} aria-describedby="webhook-error webhook-hint">
        ${this.#refusal("webhook_url", "webhook-error")}
        <p class="hint" id="webhook-hint">Gets one signed POST when every image is done.</p></div>
    </fieldset>`;
  }

  /** What the service says against an option, in the page's own words for it. */
  #refusal(name, id) {
    const reason = refusedOption(this.problem) === name ? this.problem.detail.replace(OPTION, "").replace(/; it was '.*?'\./s, ".") : "";
    return html`<p class="error-text" id=${id} role="alert" ?hidden=${reason === ""}>${reason && `${LABELS[name]} ${reason}`}</p>`;
  }
}

/** What to do about the errors of a CSV. @param {object[]} errors @param {boolean} some Whether some rows are right. */
function advice(errors, some) {
  if (errors.some(({ code }) => code === "missing_header")) return html`The first line must name the columns: add <code>S. No., Product Name, Input Image Urls</code> above the products and give the file again.`;
  if (errors.every(({ line }) => line === null)) return "Give another file.";
  return `Correct the marked cells and give the file again${some ? ", or leave those rows out" : ""}.`;
}

const OPTION = /^The option (\w+) /;

/** The option with a field of its own that a problem is about. */
function refusedOption(problem) {
  const name = problem?.code === "invalid_option" ? OPTION.exec(problem.detail)?.[1] : null;
  return name in LABELS ? name : null;
}

/** Whether the same file may well be taken the next time. */
function isPassing({ status }) {
  return [0, 401, 429].includes(status) || status >= 500;
}

/** A file that the browser cannot read looks like a service that cannot be reached. */
async function explained(problem, body) {
  if (problem.status !== 0) return problem;
  const isReadable = await body.slice(0, 1).arrayBuffer().then(() => true, () => false);
  return isReadable ? problem : { code: "unreadable", detail: "This file cannot be read. It is a folder, or was changed or moved since you gave it: give it again." };
}

/** @param {number} current */
function steps(current) {
  return html`<ol class="path">${STEPS.map((text, index) => html`<li aria-current=${index + 1 === current ? "step" : "false"} ?data-done=${index + 1 < current}><span class="number" aria-hidden="true">${index + 1 < current ? "✓" : index + 1}</span> ${text}${index + 1 < current ? html`<span class="visually-hidden"> (done)</span>` : nothing}</li>`)}</ol>`;
}

function select(id, label, chosen, choices, change) {
  return html`<div class="field"><label for=${id}>${label}</label>
    <select id=${id} @change=${change} aria-describedby="${id}-hint">
      ${Object.entries(choices).map(([value, [name]]) => html`<option value=${value} ?selected=${value === chosen}>${name}</option>`)}
    </select>
    <p class="hint" id="${id}-hint">${choices[chosen][1]}</p></div>`;
}

/** 128 random bits; `randomUUID` exists over https only. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

customElements.define("ht-new-request", HtNewRequest);
