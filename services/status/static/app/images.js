/** The images of a request, with filters. */

import { bytes, fileName, number, percent } from "./format.js";
import { html, nothing } from "./lit.js";
import { errorCode, imageBadge, savedRatio, thumbnail } from "./pieces.js";
import { RequestPart } from "./request-part.js";

const FILTERS = [
  ["", "All", ""],
  ["failed", "Failed", "status=failed"],
  ["kept", "Kept original", "kept_original=true"],
  ["saved", "Biggest saving", "sort=-saved"],
];

export class HtImages extends RequestPart {
  static properties = { filter: {} };

  constructor() {
    super();
    this.filter = "";
  }

  get source() {
    const query = FILTERS.find(([name]) => name === this.filter)?.[2] ?? "";
    return `/v1/requests/${this.requestId}/images?page_size=50&${query}`;
  }

  get unsettled() {
    return this.filter !== "" || this.page?.items.some((image) => image.status === "pending");
  }

  get images() {
    return this.page.items;
  }

  willUpdate(changed) {
    if (changed.has("filter") && !changed.has("requestId")) this.restart();
    super.willUpdate(changed);
  }

  render() {
    return html`<div class="stack">
      <nav class="choices" aria-label="Show">${FILTERS.map(([filter, name]) => html`<a class="button"
        href="#/requests/${this.requestId}/images${filter && `?show=${filter}`}" aria-current=${filter === this.filter ? "true" : "false"}>${name}</a>`)}</nav>
      ${super.render()}</div>`;
  }

  renderEmpty() {
    const texts = { failed: "No image failed.", kept: "No original was kept: every rendition is smaller.", "": "This request has no images." };
    return html`<div class="panel empty"><p>${texts[this.filter] ?? "No image is done yet."}</p></div>`;
  }

  renderItems(images) {
    return html`<div class="panel flush"><table class="images">
      <caption class="visually-hidden">Images</caption>
      <thead><tr><th scope="col"><span class="visually-hidden">Picture</span></th><th scope="col">Image</th><th scope="col" class="wide-only">State</th><th scope="col" class="figures wide-only">Before</th>
        <th scope="col" class="figures wide-only">After</th><th scope="col" class="figures">Saved</th><th scope="col" class="figures wide-only">Quality</th></tr></thead>
      <tbody>${images.map((image) => this.#row(image))}</tbody></table></div>`;
  }

  #row(image) {
    const { source, rendition, error } = image;
    return html`<tr>
      <td class="picture">${thumbnail(image, (chosen) => this.open(chosen))}</td>
      <th scope="row">${fileName(image.url)}<span class="quiet small below url" title=${image.url}>${image.url}</span>
        <span class="narrow-only">${imageBadge(image)}</span>
        ${error ? html`<span class="error-text below">${error.detail ?? error.code} ${errorCode(error.code, "image")} · ${number(image.attempts)} ${image.attempts === 1 ? "attempt" : "attempts"}</span>` : nothing}</th>
      <td class="wide-only">${imageBadge(image)}</td>
      <td class="figures wide-only">${bytes(source?.bytes)}<span class="quiet below">${size(source)}</span></td>
      <td class="figures wide-only">${bytes(rendition?.bytes)}<span class="quiet below">${size(rendition)}</span></td>
      <td class="figures">${percent(savedRatio(image))}</td>
      <td class="figures wide-only">${number(rendition?.quality)}</td>
    </tr>`;
  }
}

/** Its format and its pixels. */
function size(picture) {
  return picture?.format ? `${picture.format} ${picture.width ?? "?"}×${picture.height ?? "?"}` : nothing;
}

customElements.define("ht-images", HtImages);
