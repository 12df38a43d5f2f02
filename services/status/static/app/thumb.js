/**
 * A picture, small. Only a copy of the size that is shown stays in memory: a page of pictures as they are would need
 * some 8 MB for each of two megapixels. What is left of fetching and decoding them goes with the worker that did it,
 * since the browser would collect it only after some hundred.
 */

const SIDE = 112; // pixels: 56 of CSS, on a screen with twice as many
const MOST = 20; // pictures of one worker
const IDLE_MS = 1000;

const near = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => target.show()),
  { rootMargin: "200px" },
);
let turn = Promise.resolve(); // one after the other: a decoded picture may be huge

/** Shows the picture at `src` once it is near the window; `data-shown` tells that it is there. */
export class HtThumb extends HTMLElement {
  static observedAttributes = ["src"];
  #canvas = null;

  connectedCallback() {
    near.observe(this);
  }

  disconnectedCallback() {
    near.unobserve(this);
    this.#clear();
  }

  attributeChangedCallback() {
    this.#clear();
    if (this.isConnected) near.observe(this);
  }

  /** Frees the picture now: garbage of which the browser sees only some bytes may be left for minutes. */
  #clear() {
    this.removeAttribute("data-shown");
    this.#canvas?.getContext("bitmaprenderer").transferFromImageBitmap(null);
  }

  show() {
    near.unobserve(this);
    turn = turn.then(() => this.#draw(this.getAttribute("src"))).catch(() => {});
  }

  async #draw(src) {
    if (!this.isConnected) return; // the page was turned
    const small = await smallOf(src);
    if (!this.isConnected || src !== this.getAttribute("src")) return small.close();
    this.#canvas ??= this.appendChild(document.createElement("canvas"));
    Object.assign(this.#canvas, { width: small.width, height: small.height });
    this.#canvas.getContext("bitmaprenderer").transferFromImageBitmap(small);
    this.setAttribute("data-shown", "");
  }
}

const script = new URL("thumb-worker.js", import.meta.url).href;
/** What the page's policy asks for, in browsers that know such policies. */
const trusted = globalThis.trustedTypes?.createPolicy("thumb", { createScriptURL: () => script }).createScriptURL("") ?? script;
let worker = null;
let made = 0;
let idle;

function end() {
  worker?.terminate();
  worker = null;
  made = 0;
}

/**
 * The picture, past the browser's cache of pictures, which would keep it whole. An object store's, to which the service
 * redirects, may be shown by this page but not read: that one comes as an element.
 *
 * @param {string} src
 * @returns {Promise<ImageBitmap>}
 */
async function smallOf(src) {
  clearTimeout(idle);
  if (made === MOST) end();
  worker ??= new Worker(trusted);
  made += 1;
  const { small, redirected } = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage({ src: new URL(src, location.href).href, height: SIDE });
  });
  idle = setTimeout(end, IDLE_MS);
  if (small) return small;
  if (!redirected) throw new Error(`no picture at ${src}`);
  const picture = Object.assign(new Image(), { src });
  await picture.decode();
  return createImageBitmap(picture, { resizeHeight: SIDE, resizeQuality: "medium" });
}

customElements.define("ht-thumb", HtThumb);
