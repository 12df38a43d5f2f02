/** The products of a request in the order of its CSV, with the pictures of each. */

import { plural } from "./format.js";
import { html } from "./lit.js";
import { RequestPart } from "./request-part.js";
import { thumbnail } from "./pieces.js";

export class HtProducts extends RequestPart {
  get source() {
    return `/v1/requests/${this.requestId}/products?page_size=50`;
  }

  get unsettled() {
    return this.page?.items.some((product) => product.images.some((image) => image.status === "pending"));
  }

  get images() {
    return this.page.items.flatMap((product) => product.images);
  }

  renderItems(products) {
    return html`<div class="panel flush"><table class="products">
      <caption class="visually-hidden">Products</caption>
      <thead><tr><th scope="col">S. No.</th><th scope="col">Product</th><th scope="col">Images</th></tr></thead>
      <tbody>${products.map((product) => html`<tr>
        <td class="quiet">${product.serial_number}</td>
        <th scope="row">${product.name}<span class="quiet small below">${plural(product.images.length, "image")}</span></th>
        <td><ul class="thumbs">${product.images.map((image) => html`<li>${thumbnail(image, (chosen) => this.open(chosen))}</li>`)}</ul></td>
      </tr>`)}</tbody></table></div>`;
  }
}

customElements.define("ht-products", HtProducts);
