/** Small parts that several views are made of. */

import { fileName, number, percent } from "./format.js";
import { html, nothing } from "./lit.js";
import "./thumb.js";

const STATES = { completed: "good", failed: "bad", cancelled: "off", pending: "off", processing: "running" };
const OUTCOMES = { success: ["good", "Completed"], partial: ["warn", "Partly failed"], none: ["bad", "Failed"] };

/** The state of a request. */
export function requestBadge(request) {
  const [kind, text] =
    request.status === "cancelled" ? ["off", "Cancelled"]
    : request.outcome ? OUTCOMES[request.outcome]
    : [STATES[request.status], request.status === "pending" ? "Waiting" : "Running"];
  return html`<span class="badge ${kind}">${text}</span>`;
}

/** The state of an image. */
export function imageBadge(image) {
  const text = image.rendition?.kept_original ? "Kept original" : `${image.status[0].toUpperCase()}${image.status.slice(1)}`;
  return html`<span class="badge ${image.rendition?.kept_original ? "off" : STATES[image.status]}">${text}</span>`;
}

/** How far a request is; `label` names it to screen readers. */
export function bar(request, label) {
  const { total, completed, failed, cancelled } = request.images;
  const settled = completed + failed + cancelled;
  return html`<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="progressbar" aria-label=${label}
      aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${settled} aria-valuetext="${percent(request.progress)}, ${number(settled)} of ${number(total)} images">
    <rect class="bar-done" height="10" width=${(1000 * completed) / total}></rect>
    <rect class="bar-failed" height="10" x=${(1000 * completed) / total} width=${(1000 * failed) / total}></rect>
    <rect class="bar-cancelled" height="10" x=${(1000 * (completed + failed)) / total} width=${(1000 * cancelled) / total}></rect>
  </svg>`;
}

/** Renditions are public: the path on our own origin, whatever name the service calls itself by. */
export function renditionPath(image) {
  return image.output_url ? new URL(image.output_url).pathname : null;
}

/** A small picture that opens the comparison, or a sign that tells why there is none. */
export function thumbnail(image, open) {
  const name = fileName(image.url);
  const path = renditionPath(image);
  if (image.status === "failed") {
    return html`<button class="thumb failed" title="${name}: ${image.error.detail ?? image.error.code}" @click=${() => open(image)} aria-label="Why ${name} failed, image ${image.number}">!</button>`;
  }
  if (path === null) {
    return html`<span class="thumb none ${image.status}" title="${name}: ${image.status}"><span aria-hidden="true">${image.status === "pending" ? "" : "–"}</span><span class="visually-hidden">${name}: ${image.status}</span></span>`;
  }
  return html`<button class="thumb" title=${name} @click=${() => open(image)} aria-label="Compare ${name}, image ${image.number}">
    <ht-thumb src=${path}></ht-thumb></button>`;
}

/** What was saved, of bytes. */
export function savedRatio(image) {
  const [before, after] = [image.source?.bytes, image.rendition?.bytes];
  return before && after != null ? (before - after) / before : null;
}

/** An error's code, which leads to what happened and what to do. @param {"image" | "row"} of */
export function errorCode(code, of) {
  return html`<a class="code" href="/docs/problems/${of}-errors#${code}"><code>${code}</code></a>`;
}

/** What the button is called that tries again: without a key it asks for one. */
export function againLabel(problem, text = "Try again") {
  return problem.status === 401 ? "Enter a key" : text;
}

/** @param {unknown} problem */
export function problemNote(problem) {
  return problem ? html`<p class="note bad" role="alert">${problem.detail ?? String(problem)}</p>` : nothing;
}
