/** The two dialogs of the page: asking for the API key, and asking before something is destroyed. */

import { service } from "./api.js";
import { html, LitElement, nothing } from "./lit.js";

const REASONS = {
  missing: "This Halftone needs an API key. It is kept in this tab only, until you close it.",
  refused: "That key was not accepted. It may be mistyped, expired or revoked.",
};

/** Where what had the focus is gone, goes on at the view: a screen reader would start at the top of the page. */
export function keepFocus() {
  const held = document.activeElement;
  if (held === document.body || !held.checkVisibility()) document.querySelector("main")?.focus({ preventScroll: true });
}

/** Asks for the key while `reason` is set. */
export class HtKeyDialog extends LitElement {
  static properties = { reason: {} };

  updated() {
    const dialog = this.querySelector("dialog");
    if (this.reason && !dialog.open) dialog.showModal();
    if (!this.reason && dialog.open) dialog.close();
  }

  render() {
    return html`
      <dialog aria-labelledby="key-title" @cancel=${this.#refuse} @close=${keepFocus}>
        <form class="stack" @submit=${this.#give}>
          <h2 id="key-title">API key</h2>
          <p id="key-reason" class=${this.reason === "refused" ? "error-text" : "quiet"}>${REASONS[this.reason] ?? nothing}</p>
          <div class="field">
            <label for="key">Key</label>
            <input id="key" name="key" type="password" autocomplete="off" spellcheck="false" required
              placeholder="ht_…" aria-describedby="key-reason">
            <p class="hint">Made with <code>make key NAME=…</code> or by whoever runs this Halftone.</p>
          </div>
          <div class="row"><button class="primary">Continue</button><button type="button" @click=${this.#refuse}>Cancel</button></div>
        </form>
      </dialog>`;
  }

  #give(event) {
    event.preventDefault();
    const key = new FormData(event.target).get("key");
    event.target.reset();
    service.setKey(key);
  }

  #refuse(event) {
    event.preventDefault();
    service.refuseKey();
  }
}

/** @typedef {{heading: string, text: string, action: string, keep?: string}} Question `keep`: the button for no. */

/** Asks before something that cannot be undone; `ask()` resolves with the answer. */
export class HtConfirm extends LitElement {
  static properties = { heading: {}, text: {}, action: {}, keep: {} };

  constructor() {
    super();
    this.keep = "Keep it";
  }

  /** @param {Question} question @returns {Promise<boolean>} */
  async ask(question) {
    Object.assign(this, question);
    await this.updateComplete;
    const dialog = this.querySelector("dialog");
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    return dialog.returnValue === "yes";
  }

  render() {
    return html`
      <dialog aria-labelledby="confirm-title" aria-describedby="confirm-text">
        <div class="stack">
          <h2 id="confirm-title">${this.heading}</h2>
          <p id="confirm-text" class="quiet">${this.text}</p>
          <div class="row">
            <button class="danger primary" @click=${() => this.#close("yes")}>${this.action}</button>
            <button autofocus @click=${() => this.#close("no")}>${this.keep}</button>
          </div>
        </div>
      </dialog>`;
  }

  #close(answer) {
    this.querySelector("dialog").close(answer);
  }
}

/** @param {Question} question */
export async function confirmed(question) {
  const dialog = document.body.appendChild(new HtConfirm());
  try {
    return await dialog.ask(question);
  } finally {
    dialog.remove();
  }
}

customElements.define("ht-key-dialog", HtKeyDialog);
customElements.define("ht-confirm", HtConfirm);
