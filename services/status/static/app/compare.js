/** An image before and after: the original as it was fetched beside its rendition, under a divider. */

import { ApiProblem, blobUrl } from "./api.js";
import { bytes, number, percent } from "./format.js";
import { html, LitElement, nothing } from "./lit.js";
import { errorCode, renditionPath, savedRatio } from "./pieces.js";
import { styles } from "./styles.js";
import { Viewport } from "./viewport.js";

await styles("compare.css");

const STEP = 2;
const LARGE_STEP = 10;
const ZOOM_STEP = 1.5;
const PAN_STEP = 0.1; // of the stage
const SMALL = 160; // CSS pixels: the divider's knob would hide what is to be compared
const COARSE = matchMedia("(pointer: coarse)");
const DIVIDER_KEYS = {
  ArrowLeft: (at) => at - STEP,
  ArrowDown: (at) => at - STEP,
  ArrowRight: (at) => at + STEP,
  ArrowUp: (at) => at + STEP,
  PageDown: (at) => at - LARGE_STEP,
  PageUp: (at) => at + LARGE_STEP,
  Home: () => 0,
  End: () => 100,
};
const PAN_KEYS = {
  ArrowLeft: [PAN_STEP, 0],
  ArrowRight: [-PAN_STEP, 0],
  ArrowUp: [0, PAN_STEP],
  ArrowDown: [0, -PAN_STEP],
};

/**
 * Shows `image` (as the API lists it) of the request `requestId`. At most its two pictures are in memory: the
 * original's is let go with the image and with the element.
 */
export class HtCompare extends LitElement {
  static properties = { image: { attribute: false }, requestId: { attribute: false }, source: { state: true }, lost: { state: true } };

  /** Where the divider stands, in percent of the stage's width. */
  #divider = 50;
  #view = new Viewport(1, 1);
  #pointers = new Map();
  #shown = null;
  #loading = new AbortController();
  #resized = new ResizeObserver(() => this.#place());

  constructor() {
    super();
    this.#clear();
  }

  connectedCallback() {
    super.connectedCallback();
    this.#shown = null;
    this.#resized.observe(this);
    this.requestUpdate("image");
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resized.disconnect();
    this.#letGo();
    this.#clear();
  }

  willUpdate() {
    const shown = this.image && `${this.requestId}/${this.image.number}/${this.image.rendition?.sha256}`;
    if (!this.isConnected || shown === this.#shown) return;
    this.#shown = shown;
    this.#letGo();
    this.#clear();
    if (this.image?.rendition) this.#load();
  }

  updated() {
    const stage = this.querySelector(".stage");
    if (stage === null) return;
    stage.style.setProperty("--ratio", String(this.#view.picture[0] / this.#view.picture[1]));
    this.#place();
  }

  #clear() {
    /** @type {{state: "waiting" | "shown" | "gone" | "failed", url: string, why: string}} */
    this.source = { state: "waiting", url: "", why: "" };
    this.lost = false;
    this.#divider = 50;
    this.#view = new Viewport(this.image?.rendition?.width ?? 600, this.image?.rendition?.height ?? 400);
    this.#pointers.clear();
  }

  #letGo() {
    this.#loading.abort();
    if (this.source.url) URL.revokeObjectURL(this.source.url);
  }

  async #load() {
    const loading = new AbortController();
    this.#loading = loading;
    try {
      const path = `/v1/requests/${this.requestId}/images/${this.image.number}/source`;
      const url = await blobUrl(path, { signal: loading.signal });
      if (loading.signal.aborted) URL.revokeObjectURL(url);
      else this.source = { state: "shown", url, why: "" };
    } catch (error) {
      if (loading.signal.aborted) return;
      if (!(error instanceof ApiProblem)) throw error;
      this.source = { state: error.status === 410 ? "gone" : "failed", url: "", why: error.detail };
    }
  }

  render() {
    if (!this.image) return nothing;
    const { rendition, status, error } = this.image;
    if (status === "failed") return this.#without("This image failed", html`${error?.detail ?? ""} ${errorCode(error?.code, "image")}`);
    if (!rendition) return this.#without(status === "cancelled" ? "This image was cancelled" : "This image is not compressed yet", "");
    return html`
      <figure class="compare">
        ${this.#stage()}
        <div class="row apart tools">${this.#said()} ${this.#zooming()}</div>
        <figcaption class="sides">${this.#before()} ${this.#after()}</figcaption>
      </figure>`;
  }

  #without(heading, text) {
    return html`<div class="compare-none" tabindex="-1"><p><strong>${heading}</strong></p>${text && html`<p class="small">${text}</p>`}
      <p class="small"><a href=${this.image.url} target="_blank" rel="noreferrer">Open the original's address</a></p></div>`;
  }

  #stage() {
    const both = this.source.state === "shown";
    return html`
      <div class="stage" tabindex="0" role="group" autofocus aria-label="Picture: plus, minus and 0 zoom; arrow keys move it where it is larger than its frame" data-both=${both}
        @keydown=${this.#onPanKey} @dblclick=${this.#onDoubleClick} @wheel=${this.#onWheel} @pointerdown=${this.#onDown} @pointermove=${this.#onMove}
        @pointerup=${this.#onUp} @pointercancel=${this.#onUp}>
        ${both ? html`<div class="side before"><img src=${this.source.url} alt="Original of ${this.image.url}" draggable="false" @error=${this.#onUnreadable}></div>` : nothing}
        <div class="side after">
          ${this.lost
            ? html`<p class="note bad">The compressed picture could not be loaded.</p>`
            : html`<img src=${renditionPath(this.image)} alt="Compressed picture of ${this.image.url}" draggable="false" @error=${() => { this.lost = true; }}>`}
        </div>
        ${both ? html`<span class="tag left" aria-hidden="true">Original</span>` : nothing}
        ${this.lost ? nothing : html`<span class="tag right" aria-hidden="true">Compressed</span>`}
        ${both ? this.#handle() : nothing}
      </div>`;
  }

  #handle() {
    return html`
      <div class="divider" role="slider" tabindex="0" aria-label="Divider between original and compressed picture"
        aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="100" @keydown=${this.#onDividerKey}>
        <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true"><path d="M9 7l-5 5 5 5M15 7l5 5-5 5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>
      </div>`;
  }

  #said() {
    const said = {
      waiting: "Loading the original…",
      shown: COARSE.matches ? "Drag the divider. Pinch to zoom." : "Drag the divider, or use the arrow keys on it. + and − zoom.",
      gone: "The original is no longer kept.",
      failed: `The original cannot be shown: ${this.source.why}`,
    };
    return html`<p class="hint said" role="status">${said[this.source.state]}</p>`;
  }

  #zooming() {
    return html`
      <div class="row zooming" role="group" aria-label="Zoom">
        <button aria-label="Zoom out" @click=${() => this.#zoomBy(1 / ZOOM_STEP)}>−</button>
        <output class="small" aria-label="Size of the picture's pixels on the screen"></output>
        <button aria-label="Zoom in" @click=${() => this.#zoomBy(ZOOM_STEP)}>+</button>
        <button @click=${() => this.#zoomTo(this.#view.fit)}>Fit</button>
        <button @click=${() => this.#zoomTo(1)}>100%</button>
      </div>`;
  }

  #before() {
    const { source, url } = this.image;
    return html`
      <div><h3>Original</h3><p class="figure">${bytes(source?.bytes)}</p><p class="small quiet">${kind(source)}</p>
        <p class="small"><a href=${url} target="_blank" rel="noreferrer">Open the original's address</a></p></div>`;
  }

  #after() {
    const { rendition } = this.image;
    const saved = savedRatio(this.image);
    const quality = rendition.quality == null ? "" : `, quality ${rendition.quality}`;
    return html`
      <div><h3>Compressed</h3><p class="figure">${bytes(rendition.bytes)} ${saved > 0 ? html`<span class="saved">−${percent(saved)}</span>` : nothing}</p>
        <p class="small quiet">${kind(rendition)}${quality}${rendition.kept_original ? ", kept as it was: it could not be made smaller" : ""}</p>
        <p class="small"><a href=${renditionPath(this.image)} target="_blank">Open the compressed file</a></p></div>`;
  }

  #onUnreadable() {
    URL.revokeObjectURL(this.source.url);
    const format = this.image.source?.format ?? "its format";
    this.source = { state: "failed", url: "", why: `this browser does not read ${format}.` };
  }

  #zoomTo(scale, atX, atY) {
    this.#view.zoomTo(scale, atX, atY);
    this.#place();
  }

  #zoomBy(factor, atX, atY) {
    this.#zoomTo(this.#view.scale * factor, atX, atY);
  }

  #split(at) {
    this.#divider = Math.min(100, Math.max(0, at));
    this.#place();
  }

  /** Puts both pictures and the divider where they belong, without rendering. */
  #place() {
    const stage = this.querySelector(".stage");
    if (stage === null) return;
    this.#view.resize(stage.clientWidth, stage.clientHeight);
    const { box, scale, movable } = this.#view;
    for (const [name, value] of Object.entries(box)) stage.style.setProperty(`--${name}`, `${value}px`);
    stage.style.setProperty("--divider", `${this.#divider}%`);
    stage.toggleAttribute("data-movable", movable);
    stage.toggleAttribute("data-small", Math.min(box.width, box.height) < SMALL);
    stage.toggleAttribute("data-pixels", scale >= 2);
    this.querySelector(".zooming output").value = `${number(Math.round(scale * 100) || 1)}%`;
    const divider = this.querySelector(".divider");
    divider?.setAttribute("aria-valuenow", String(Math.round(this.#divider)));
    divider?.setAttribute("aria-valuetext", `${Math.round(this.#divider)}% original`);
  }

  #onDividerKey(event) {
    const move = DIVIDER_KEYS[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    this.#split(move(this.#divider));
  }

  #onPanKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = this.#view.movable ? PAN_KEYS[event.key] : undefined;
    if (pan) this.#view.moveByParts(...pan);
    else if (event.key === "+" || event.key === "=") this.#zoomBy(ZOOM_STEP);
    else if (event.key === "-") this.#zoomBy(1 / ZOOM_STEP);
    else if (event.key === "0") this.#zoomTo(this.#view.fit);
    else return;
    event.preventDefault();
    this.#place();
  }

  #onDoubleClick(event) {
    const [x, y] = this.#at(event);
    const { scale, fit } = this.#view;
    this.#zoomTo(scale > fit ? fit : Math.max(2 * scale, 1), x, y);
  }

  /** As in maps and drawing programs: the plain wheel scrolls the page, with Ctrl (and by a pinch) it zooms. */
  #onWheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.#zoomBy(Math.exp(-event.deltaY / 200), ...this.#at(event));
  }

  /** Where a pointer is from the stage's middle, in CSS pixels. */
  #at(event) {
    const box = this.querySelector(".stage").getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  }

  #onDown(event) {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const onDivider = event.target.closest(".divider") !== null;
    const [x, y] = this.#at(event);
    this.#pointers.set(event.pointerId, { x, y, divides: onDivider || !this.#view.movable });
    if (onDivider) event.target.closest(".divider").focus();
  }

  #onMove(event) {
    const from = this.#pointers.get(event.pointerId);
    if (from === undefined) return;
    const [x, y] = this.#at(event);
    const before = this.#spread();
    const [dx, dy] = [x - from.x, y - from.y];
    Object.assign(from, { x, y });
    if (this.#pointers.size === 2) this.#zoomBy(this.#spread() / before, ...this.#middle());
    else if (from.divides) this.#split(50 + (100 * x) / event.currentTarget.clientWidth);
    else this.#view.moveTo(this.#view.x + dx, this.#view.y + dy);
    this.#place();
  }

  #onUp(event) {
    this.#pointers.delete(event.pointerId);
  }

  /** How far two fingers are apart. */
  #spread() {
    const [one, other] = [...this.#pointers.values()];
    return other ? Math.hypot(one.x - other.x, one.y - other.y) || 1 : 1;
  }

  #middle() {
    const [one, other] = [...this.#pointers.values()];
    return [(one.x + other.x) / 2, (one.y + other.y) / 2];
  }
}

/** @param {{format: string | null, width: number | null, height: number | null} | null} picture */
function kind(picture) {
  if (!picture) return "";
  const size = picture.width ? ` · ${number(picture.width)} × ${number(picture.height)}` : "";
  return `${picture.format?.toUpperCase() ?? ""}${size}`;
}

customElements.define("ht-compare", HtCompare);
