/**
 * Loads a stylesheet of this page. A module that awaits it defines its element only when that can be shown as it should
 * look, so that nothing moves; a stylesheet that cannot be had keeps no element back.
 *
 * @param {string} name Beside this module.
 * @returns {Promise<void>}
 */
export function styles(name) {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = new URL(name, import.meta.url).href;
    link.onload = link.onerror = () => resolve();
    document.head.append(link);
  });
}
