/** A plot over an axis, drawn by uPlot in the colours of the page. */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { html, LitElement } from "./lit.js";
import { styles } from "./styles.js";

await Promise.all([styles("../vendor/uplot/uPlot.min.css"), styles("plot.css")]);

const HEIGHT = 220;
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

/** Draws `data` with `options(colours)`; `label` says in words what is to be seen. */
export class HtPlot extends LitElement {
  static properties = { data: { attribute: false }, options: { attribute: false }, label: {} };

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

  updated() {
    if (this.#plot === null) this.#redraw();
    else this.#plot.setData(this.data);
  }

  render() {
    return html`<div class="plot" role="img" aria-label=${this.label}></div>`;
  }

  #redraw = () => {
    const place = this.querySelector(".plot");
    this.#plot?.destroy();
    this.#plot = new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 20, 0, 0],
        cursor: { show: false },
        ...this.options(coloursOf(this)),
      },
      this.data,
      place,
    );
  };

  #fit() {
    const width = this.querySelector(".plot")?.clientWidth;
    if (this.#plot !== null && width && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }
}

customElements.define("ht-plot", HtPlot);
