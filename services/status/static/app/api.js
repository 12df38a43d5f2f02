/**
 * Every call of the page. This module alone knows the API key, and that the service is away.
 *
 * A GET waits until the service is back, so that an open page goes on by itself. A change is sent once: who sent it
 * must see that it failed.
 */

const KEY = "halftone.key";
const LONGEST_WAIT = 10_000;
const SILENCE = 45_000; // three heartbeats of an event stream

/** An answer that is no success: the problem document (RFC 9457), or `unreachable` where there was no answer. */
export class ApiProblem extends Error {
  /** @param {{status?: number, code?: string, title?: string, detail?: string, errors?: object[], error_count?: number}} problem
   *  @param {number | null} retryAfter Seconds. */
  constructor(problem, retryAfter = null) {
    super(problem.detail || problem.title || "The service gave no reason.");
    this.name = "ApiProblem";
    this.status = problem.status ?? 0;
    this.code = problem.code ?? "unknown";
    this.detail = this.message;
    this.errors = problem.errors ?? [];
    this.errorCount = problem.error_count ?? this.errors.length;
    this.retryAfter = retryAfter;
  }
}

/** Tells with `change` that `away` or `asking` (for a key) changed. */
class Service extends EventTarget {
  #outages = new Set();
  #asking = null;

  /** Whether some call waits for the service to come back. */
  get away() {
    return this.#outages.size > 0;
  }

  /** Null, or why a key is asked for: `missing` or `refused`. */
  get asking() {
    return this.#asking?.reason ?? null;
  }

  get hasKey() {
    return sessionStorage.getItem(KEY) !== null;
  }

  /** @param {object} call @param {boolean} failed */
  report(call, failed) {
    const before = this.away;
    if (failed) this.#outages.add(call);
    else this.#outages.delete(call);
    if (before !== this.away) this.#tell();
  }

  /** Resolves once a key was given; all calls that need one wait for the same dialog. */
  needKey() {
    if (this.#asking === null) {
      this.#asking = { reason: this.hasKey ? "refused" : "missing", ...Promise.withResolvers() };
      this.#tell();
    }
    return this.#asking.promise;
  }

  /** @param {string} key */
  setKey(key) {
    sessionStorage.setItem(KEY, key.replace(/[^!-~]/g, "")); // what no header holds would look like a service that is away
    const asking = this.#asking;
    this.#asking = null;
    asking?.resolve();
    this.#tell();
  }

  /** The calls that wait for a key fail. */
  refuseKey() {
    const asking = this.#asking;
    this.#asking = null;
    asking?.reject(new ApiProblem({ status: 401, code: "unauthorized", detail: "This needs an API key." }));
    this.#tell();
  }

  forgetKey() {
    sessionStorage.removeItem(KEY);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

export const service = new Service();

/**
 * @param {string} path
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} The JSON of the answer.
 */
export async function get(path, { signal } = {}) {
  return (await reached(path, { signal })).json();
}

/**
 * @param {string} path
 * @param {{body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function post(path, options = {}) {
  return parsed(await send(path, { ...options, method: "POST" }));
}

/** @param {string} path @param {{signal?: AbortSignal}} [options] */
export async function del(path, options = {}) {
  return parsed(await send(path, { ...options, method: "DELETE" }));
}

/**
 * The picture at a path that needs the key; revoke the URL when it is not shown any more.
 *
 * @param {string} path
 * @param {{signal?: AbortSignal}} [options]
 */
export async function blobUrl(path, { signal } = {}) {
  return URL.createObjectURL(await (await reached(path, { signal })).blob());
}

/**
 * Saves a file. Without a key the browser streams it to disk; with one, into the file that the user names where the
 * browser can do that, else by way of memory.
 *
 * @param {string} path
 * @param {string} name
 */
export async function download(path, name) {
  if (!service.hasKey) {
    await send(path, { method: "HEAD" }); // a problem is shown here, and is not saved as a file
    if (!service.hasKey) return save(path, name);
  }
  if (!window.showSaveFilePicker) {
    const url = await blobUrl(path);
    save(url, name);
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    return undefined;
  }
  const file = await window.showSaveFilePicker({ suggestedName: name }).catch(() => null);
  if (file === null) return undefined;
  const answer = await send(path, {});
  return answer.body.pipeTo(await file.createWritable());
}

/** @param {string} href @param {string} name */
function save(href, name) {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

/**
 * Server-sent events, with the key (an EventSource cannot send one), until `done`, 204 or the signal.
 *
 * @param {string} path
 * @param {(event: {type: string, id: string, data: any}) => void} onEvent
 * @param {{signal: AbortSignal}} options
 */
export async function stream(path, onEvent, { signal }) {
  let last = "";
  const headers = () => ({ Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) });
  for (let failures = 0; !signal.aborted; failures += 1) {
    const answer = await reached(path, { headers: headers(), signal });
    if (answer.status === 204) return;
    try {
      for await (const event of eventsOf(answer.body, signal)) {
        failures = 0;
        last = event.id || last;
        onEvent(event);
        if (event.type === "done") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error;
    }
    await pause(failures, signal);
  }
}

/** @param {ReadableStream<Uint8Array>} body @param {AbortSignal} signal */
async function* eventsOf(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let silence = 0;
  const watch = () => {
    clearTimeout(silence);
    silence = setTimeout(() => reader.cancel(), SILENCE);
  };
  try {
    let text = "";
    for (;;) {
      watch();
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
      text = blocks.pop();
      yield* blocks.map(eventOf).filter((event) => event !== null);
    }
  } finally {
    clearTimeout(silence);
    reader.cancel().catch(() => {});
  }
}

/** @param {string} block */
function eventOf(block) {
  const fields = { event: "message", id: "", data: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(event|id|data): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value;
  }
  return fields.data ? { type: fields.event, id: fields.id, data: JSON.parse(fields.data) } : null;
}

/** A GET that waits while the service is away or has no place. @returns {Promise<Response>} */
async function reached(path, { signal, ...init }) {
  const call = {};
  try {
    for (let failures = 0; ; failures += 1) {
      try {
        return await send(path, { ...init, signal });
      } catch (error) {
        if (!(error instanceof ApiProblem) || ![0, 429, 503].includes(error.status)) throw error;
        service.report(call, error.status !== 429);
        await pause(failures, signal, error.retryAfter);
      }
    }
  } finally {
    service.report(call, false);
  }
}

/** One call, repeated only to send a key that was asked for. @returns {Promise<Response>} */
async function send(path, { headers = {}, ...init }) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const authorization = key === null ? {} : { Authorization: `Bearer ${key}` };
    const answer = await fetch(path, { ...init, headers: { ...headers, ...authorization } }).catch((error) => {
      if (init.signal?.aborted) throw error;
      throw new ApiProblem({ code: "unreachable", detail: "Halftone cannot be reached." });
    });
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await problemOf(answer);
    if (key === sessionStorage.getItem(KEY)) await service.needKey();
  }
}

/** @param {Response} answer */
async function problemOf(answer) {
  const document = await answer.json().catch(() => ({ code: "unknown" }));
  const seconds = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  return new ApiProblem({ ...document, status: answer.status }, Number.isNaN(seconds) ? null : seconds);
}

/** @param {Response} answer */
function parsed(answer) {
  return answer.status === 204 ? null : answer.json();
}

/** Waits 1, 2, 4, 8, 10 s, and while the tab is hidden. */
async function pause(failures, signal, seconds = null) {
  const wait = Math.min(LONGEST_WAIT, Math.max(1000 * 2 ** Math.min(failures, 5), 1000 * (seconds ?? 0)));
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, wait);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
  await visible(signal);
}

/** Resolves when the tab can be seen. @param {AbortSignal} [signal] */
export async function visible(signal) {
  while (document.hidden && !signal?.aborted) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true, signal }));
  }
}
