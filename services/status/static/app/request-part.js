/** A paged list of one request, read again while it shows what is not settled yet. */

import { visible } from "./api.js";
import { PagedList } from "./paged.js";

const LEAST_MS = 5000;

export class RequestPart extends PagedList {
  static properties = { requestId: {}, request: {} };

  /** Whether the page that is shown may change. */
  get unsettled() {
    return false;
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("requestId")) this.restart();
    else if (changed.has("request") && this.unsettled) this.#soon();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.due);
    this.due = undefined;
  }

  /** Reads again, once in 5 s however often the request's figures change; at once when it is finished. */
  #soon() {
    const finished = Boolean(this.request?.outcome);
    if (this.due !== undefined && !finished) return;
    clearTimeout(this.due);
    this.due = setTimeout(async () => {
      await visible(this.leaving.signal).catch(() => {});
      this.due = undefined;
      if (!this.leaving.signal.aborted) this.load();
    }, finished ? 0 : LEAST_MS);
  }

  /** The images of the page that is shown. */
  get images() {
    return [];
  }

  /** Shows an image beside its original; from there, the others of this page that are done or failed. */
  open(image) {
    const among = this.images.filter((other) => other.output_url || other.status === "failed");
    this.dispatchEvent(new CustomEvent("open-image", { bubbles: true, detail: { image, among } }));
  }
}
