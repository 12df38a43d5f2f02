/** Short messages of what was done: shown for a while, and read out by screen readers. */

export const notices = new EventTarget();

/** @param {string} text A sentence. */
export function notify(text) {
  notices.dispatchEvent(new CustomEvent("notice", { detail: text }));
}
