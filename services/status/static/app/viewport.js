/** The part of a picture that is looked at: how large its pixels are, and where its middle is. Pure. */

/** CSS pixels for one of the picture, at most; more where even that leaves a part of the stage empty. */
export const MAX_SCALE = 16;

export class Viewport {
  /** CSS pixels for a pixel of the picture. */
  scale = 1;
  /** The offset of the picture's middle from the stage's, in CSS pixels. */
  x = 0;
  y = 0;
  #stage = [1, 1];
  #fitted = true;

  /** @param {number} width @param {number} height Of the picture, in its own pixels. */
  constructor(width, height) {
    this.picture = [width, height];
  }

  /** Fits the picture into a stage of another size, unless it was zoomed. @param {number} width @param {number} height */
  resize(width, height) {
    if (width === 0 || height === 0) return; // it is not shown yet
    this.#stage = [width, height];
    this.zoomTo(this.#fitted ? this.fit : this.scale);
  }

  /** The scale that shows the whole picture; it is never enlarged for that. */
  get fit() {
    return Math.min(1, this.#fill);
  }

  /** Whether the picture is larger than its stage, and may be moved. */
  get movable() {
    return this.#room(0) > 0.5 || this.#room(1) > 0.5;
  }

  /** The picture's size on the screen and the place of its upper left corner in the stage, on whole pixels: it stays sharp. */
  get box() {
    const [width, height] = this.picture.map((side) => side * this.scale);
    const [left, top] = [this.#stage[0] - width + 2 * this.x, this.#stage[1] - height + 2 * this.y].map((twice) => Math.round(twice / 2));
    return { left, top, width, height };
  }

  /**
   * Zooms so that what is at a point of the stage stays there.
   *
   * @param {number} scale
   * @param {number} [atX] From the stage's middle, in CSS pixels.
   * @param {number} [atY]
   */
  zoomTo(scale, atX = 0, atY = 0) {
    const next = Math.min(Math.max(MAX_SCALE, this.#fill), Math.max(this.fit, scale));
    const factor = next / this.scale;
    this.scale = next;
    this.#fitted = next === this.fit;
    this.moveTo(atX - (atX - this.x) * factor, atY - (atY - this.y) * factor);
  }

  /** Moves by parts of the stage. @param {number} dx @param {number} dy */
  moveByParts(dx, dy) {
    this.moveTo(this.x + dx * this.#stage[0], this.y + dy * this.#stage[1]);
  }

  /** No part of the stage is left empty that the picture could fill. @param {number} x @param {number} y */
  moveTo(x, y) {
    this.x = Math.min(this.#room(0), Math.max(-this.#room(0), x));
    this.y = Math.min(this.#room(1), Math.max(-this.#room(1), y));
  }

  get #fill() {
    return Math.min(this.#stage[0] / this.picture[0], this.#stage[1] / this.picture[1]);
  }

  /** How far the picture may go to either side. @param {0 | 1} axis */
  #room(axis) {
    return Math.max(0, (this.picture[axis] * this.scale - this.#stage[axis]) / 2);
  }
}
