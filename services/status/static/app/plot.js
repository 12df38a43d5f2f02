/** A plot over an axis, drawn by uPlot in the colours of the page. */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { html, LitElement } from "./lit.js";
import { styles } from "./styles.js";

await Promise.all([styles("../vendor/uplot/uPlot.min.css"), styles("plot.css")]);

const HEIGHT = 220;
const GAP = 6; // pixels between what is pointed at and its text
const DARK = matchMedia("(prefers-color-scheme: dark)");

/** The page's colours as a canvas takes them: it knows no `light-dark()`. @param {Element} element */
function coloursOf(element) {
  const probe = element.appendChild(document.createElement("span"));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["accent", "accent-soft", "bad", "bad-soft", "line", "text-quiet"];
  const colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  probe.remove();
  return { ...colours, font: `12px ${getComputedStyle(element).fontFamily}` };
}

/** An axis in the page's colours. @returns {uPlot.Axis} */
export function axis(colours, more = {}) {
  const grid = { stroke: colours.line, width: 1 };
  return { stroke: colours["text-quiet"], font: colours.font, grid, ticks: { ...grid, size: 4 }, border: { show: false }, ...more };
}

/**
 * Draws `data` with `options(colours)`; `label` says in words what is to be seen. `pointed(x)` gives the interval of the
 * axis that is pointed at, and the lines of text that stand beside it.
 */
export class HtPlot extends LitElement {
  static properties = { data: { attribute: false }, options: { attribute: false }, pointed: { attribute: false }, label: {} };

  #plot = null;
  #resized = new ResizeObserver(() => this.#fit());

  connectedCallback() {
    super.connectedCallback();
    DARK.addEventListener("change", this.#redraw);
    this.#resized.observe(this);
    if (this.hasUpdated) this.#redraw();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    DARK.removeEventListener("change", this.#redraw);
    this.#resized.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  updated(changed) {
    if (this.#plot === null || changed.has("options")) this.#redraw();
    else this.#plot.setData(this.data);
    this.#point();
  }

  render() {
    return html`<div class="plot" role="img" aria-label=${this.label}></div>`;
  }

  #redraw = () => {
    const place = this.querySelector(".plot");
    const { left, top } = this.#plot?.cursor ?? {};
    this.#plot?.destroy();
    this.#plot = new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 20, 0, 0],
        cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
        hooks: { setCursor: [this.#point] },
        ...this.options(coloursOf(this)),
      },
      this.data,
      place,
    );
    for (const name of ["band", "tip"]) {
      this.#plot.over.append(Object.assign(document.createElement("div"), { className: `plot-${name}`, hidden: true }));
    }
    if (left >= 0) this.#plot.setCursor({ left, top });
  };

  /** Marks the interval under the pointer. The same figures are in the table below, for whoever has no pointer. */
  #point = () => {
    const [band, tip] = this.#plot?.over.querySelectorAll(".plot-band, .plot-tip") ?? [];
    if (tip === undefined) return; // uPlot tells of its cursor before it is there
    const at = this.#plot.cursor.left;
    band.hidden = tip.hidden = !(at >= 0);
    if (tip.hidden) return;
    const { from, to, lines } = this.pointed(this.#plot.posToVal(at, "x"));
    const [begin, end] = [from, to].map((value) => this.#plot.valToPos(value, "x"));
    Object.assign(band.style, { left: `${begin}px`, width: `${end - begin}px` });
    tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    const [left, right] = [begin - GAP - tip.offsetWidth, end + GAP];
    tip.style.left = `${right + tip.offsetWidth > this.#plot.over.clientWidth ? Math.max(0, left) : right}px`;
  };

  #fit() {
    const width = this.querySelector(".plot")?.clientWidth;
    if (this.#plot !== null && width && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }
}

customElements.define("ht-plot", HtPlot);
