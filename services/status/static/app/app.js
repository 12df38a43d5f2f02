/** The frame of the page: which view the address names, what is going on, and who may ask. */

import { service } from "./api.js";
import { html, LitElement, nothing } from "./lit.js";
import { notices } from "./notices.js";
import "./dialog.js";

const NOTICE_MS = 6000;
const ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const ROUTES = [
  [/^\/?$/, "new", "New request", () => import("./new-request.js")],
  [/^\/requests$/, "requests", "Requests", () => import("./requests.js")],
  [new RegExp(`^/requests/(${ID})(?:/(images|figures|deliveries))?$`), "request", "Request", () => import("./request.js")],
  [/^\/account$/, "account", "Account", () => import("./account.js")],
];
const NAVIGATION = [
  ["new", "#/", "New"],
  ["requests", "#/requests", "Requests"],
  ["account", "#/account", "Account"],
];

/** @param {string} hash */
function routeOf(hash) {
  const [path, query] = hash.replace(/^#/, "").split("?");
  for (const [pattern, view, title, load] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return { view, title, load, id: match[1], tab: match[2] ?? "products", show: new URLSearchParams(query).get("show") ?? "" };
  }
  return { view: "unknown", title: "Not found", load: async () => {} };
}

export class HtApp extends LitElement {
  static properties = { route: { state: true }, notice: { state: true }, failed: { state: true } };

  constructor() {
    super();
    this.notice = "";
    this.failed = false;
    service.addEventListener("change", () => this.requestUpdate());
    notices.addEventListener("notice", (event) => this.#show(event.detail));
    window.addEventListener("hashchange", () => this.#go({ focus: true }));
    this.#go({ focus: false });
  }

  async #go({ focus }) {
    const route = (this.going = routeOf(location.hash));
    const moved = route.view !== this.route?.view || route.id !== this.route?.id;
    const failed = await route.load().then(() => false, () => true);
    if (route !== this.going) return; // the address is another one by now
    this.failed = failed;
    this.route = route;
    if (moved) document.title = `${route.title} – Halftone`;
    await this.updateComplete;
    if (focus && moved) {
      window.scrollTo(0, 0);
      this.querySelector("main")?.focus({ preventScroll: true });
    }
  }

  #show(text) {
    this.notice = text;
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => { this.notice = ""; }, NOTICE_MS);
  }

  render() {
    return html`
      <a class="skip" href="#main" @click=${this.#skip}>Skip to content</a>
      <header class="top">
        <a class="brand" href="#/"><img src="/app/mark.svg" width="22" height="22" alt=""> Halftone</a>
        <nav aria-label="Main">
          ${NAVIGATION.map(([view, href, name]) => html`<a href=${href} aria-current=${this.#isAt(view) ? "page" : "false"}>${name}</a>`)}
          <a href="/docs">API</a>
        </nav>
      </header>
      <div role="status" class="away" ?hidden=${!service.away}>
        ${service.away ? "Halftone cannot be reached. This page goes on by itself as soon as it is back." : nothing}
      </div>
      <main id="main" tabindex="-1" aria-label=${this.route?.title ?? nothing}>${this.#view()}</main>
      <div role="status" class="notice" ?data-shown=${this.notice !== ""}>${this.notice}</div>
      <ht-key-dialog .reason=${service.asking}></ht-key-dialog>`;
  }

  #skip(event) {
    event.preventDefault();
    this.querySelector("main").focus();
  }

  #isAt(view) {
    return this.route?.view === view || (view === "requests" && this.route?.view === "request");
  }

  #view() {
    if (this.failed) return html`<div class="empty"><h1>This view could not be loaded</h1><button @click=${() => location.reload()}>Load the page again</button></div>`;
    switch (this.route?.view) {
      case "new": return html`<ht-new-request></ht-new-request>`;
      case "requests": return html`<ht-requests></ht-requests>`;
      case "request": return html`<ht-request .requestId=${this.route.id} .tab=${this.route.tab} .filter=${this.route.show}></ht-request>`;
      case "account": return html`<ht-account></ht-account>`;
      case "unknown": return html`<div class="empty"><h1>There is no such page</h1><p>The address may be mistyped.</p><a class="button" href="#/">New request</a></div>`;
      default: return nothing;
    }
  }
}

customElements.define("ht-app", HtApp);
