/**
 * A picture, small. Only a copy of the size that is shown stays in memory: a page of pictures as they are would need
 * some 8 MB for each of two megapixels.
 */

const SIDE = 112; // pixels: 56 of CSS, on a screen with twice as many

const near = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => target.show()),
  { rootMargin: "200px" },
);
let turn = Promise.resolve(); // one after the other: a decoded picture may be huge

/** Shows the picture at `src` once it is near the window; `data-shown` tells that it is there. */
export class HtThumb extends HTMLElement {
  static observedAttributes = ["src"];

  connectedCallback() {
    near.observe(this);
  }

  disconnectedCallback() {
    near.unobserve(this);
  }

  attributeChangedCallback() {
    this.replaceChildren();
    this.removeAttribute("data-shown");
    if (this.isConnected) near.observe(this);
  }

  show() {
    near.unobserve(this);
    turn = turn.then(() => this.#draw(this.getAttribute("src"))).catch(() => {});
  }

  async #draw(src) {
    if (!this.isConnected) return; // the page was turned
    const small = await createImageBitmap(await loaded(src), { resizeHeight: SIDE, resizeQuality: "medium" });
    if (src !== this.getAttribute("src")) return small.close();
    const canvas = Object.assign(document.createElement("canvas"), { width: small.width, height: small.height });
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(small);
    this.replaceChildren(canvas);
    this.setAttribute("data-shown", "");
  }
}

/**
 * The picture, past the browser's cache of pictures, which would keep it whole. An object store's, to which the service
 * redirects, may be shown by this page but not read: that one comes as an element.
 *
 * @param {string} src
 * @returns {Promise<Blob | HTMLImageElement>}
 */
async function loaded(src) {
  const answer = await fetch(src, { redirect: "manual" });
  if (answer.ok) return answer.blob();
  if (answer.type !== "opaqueredirect") throw new Error(`no picture at ${src}`);
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = reject;
    picture.src = src;
  });
}

customElements.define("ht-thumb", HtThumb);
