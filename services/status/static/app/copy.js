/** Copying a text that stands on the page. */

import { notify } from "./notices.js";

/**
 * Without https the browser lets no page write to the clipboard: the text is marked for Ctrl+C instead.
 *
 * @param {string} text
 * @param {() => void | Promise<void>} mark Selects where the text stands.
 */
export async function copy(text, mark) {
  const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (!copied) await mark();
  notify(copied ? "Copied." : "Marked: copy it with Ctrl+C.");
}

/** @param {Element} element Its whole text is selected. */
export function select(element) {
  getSelection().selectAllChildren(element);
}
