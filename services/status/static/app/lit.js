/**
 * What the page uses of Lit. `LitElement` renders into the light DOM: one stylesheet holds for the whole page.
 */
import { ReactiveElement } from "../vendor/lit/reactive-element/reactive-element.js";
import { html, nothing, render, svg } from "../vendor/lit/lit-html/lit-html.js";

export { html, nothing, svg };
export { classMap } from "../vendor/lit/lit-html/directives/class-map.js";
export { live } from "../vendor/lit/lit-html/directives/live.js";
export { repeat } from "../vendor/lit/lit-html/directives/repeat.js";

/** An element that renders what `render()` returns whenever one of its `static properties` changes. */
export class LitElement extends ReactiveElement {
  createRenderRoot() {
    return this;
  }

  /** @param {Map<string, unknown>} changed */
  update(changed) {
    const template = this.render();
    super.update(changed);
    render(template, this, { host: this });
  }

  /** @returns {unknown} A template. */
  render() {
    return nothing;
  }
}
