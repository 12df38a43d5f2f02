/** The part of a picture that is looked at: its zoom, and where its middle is. Pure. */

export const MAX_ZOOM = 16;

export class Viewport {
  /** 1 fits the picture into its stage. */
  zoom = 1;
  /** The offset of the picture's middle from the stage's, in parts of the stage's width and height. */
  x = 0;
  y = 0;

  /**
   * Zooms so that what is at a point of the stage stays there.
   *
   * @param {number} zoom
   * @param {number} [atX] From the stage's middle, in parts of its width: -0.5 to 0.5.
   * @param {number} [atY]
   */
  zoomTo(zoom, atX = 0, atY = 0) {
    const next = Math.min(MAX_ZOOM, Math.max(1, zoom));
    const factor = next / this.zoom;
    this.zoom = next;
    this.moveTo(atX - (atX - this.x) * factor, atY - (atY - this.y) * factor);
  }

  /** Moves by parts of the stage. @param {number} dx @param {number} dy */
  moveBy(dx, dy) {
    this.moveTo(this.x + dx, this.y + dy);
  }

  /** The picture never leaves a part of the stage empty. @param {number} x @param {number} y */
  moveTo(x, y) {
    const most = (this.zoom - 1) / 2;
    this.x = Math.min(most, Math.max(-most, x));
    this.y = Math.min(most, Math.max(-most, y));
  }
}
