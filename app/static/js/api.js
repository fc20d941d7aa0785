// Asking the server. An error says what happened and what one can do about it.

import { clock } from "./format.js";

const ADVICE = {
  413: "Send less at once.",
  507: "Make room on the server's disk, then try again.",
};

const LONG_S = 120;

function advice(status, wait) {
  if (status === 0) return `${navigator.onLine ? "Is it still running?" : "You are offline."} Nothing was changed; what you wrote is still here.`;
  if (status === 429 && wait > LONG_S) return `Try again at ${clock(Date.now() / 1000 + wait)}.`;
  return ADVICE[status];
}

export class ServerError extends Error {
  /** `wait`: after how many seconds the server would have us ask again. */
  constructor(status, text, data = {}, wait = 0) {
    const said = text.replace(/[.!?]?$/, (end) => end || ".");
    super([said, advice(status, wait)].filter(Boolean).join(" "));
    this.status = status;
    this.text = text;
    this.data = data;
  }

  get unreachable() {
    return this.status === 0;
  }
}

// Where another app has mounted this one; the server writes it into the page.
const ROOT = document.documentElement.dataset.root ?? "";

/** The address of one of the server's paths. */
export const at = (path) => ROOT + path;

// What shows the server that it is our page that asks, and not another one that this browser is on.
const csrf = document.querySelector("meta[name=csrf-token]")?.content;

/** POST while the page goes: nobody is left to hear the answer. */
export function post(path, body) {
  const headers = { "Content-Type": "application/json", ...(csrf && { "X-CSRF-Token": csrf }) };
  fetch(at(path), { method: "POST", headers, body: JSON.stringify(body), keepalive: true }).catch(() => {});
}

let leaving = false;
addEventListener("pageshow", () => { leaving = false; });

/** To the way in, and back here afterwards. `ended`: the reader did not mean to go. */
export function logIn({ ended = true } = {}) {
  if (leaving) return;
  leaving = true;
  if (ended) dispatchEvent(new Event("login-ended"));
  location.assign(at(query("/login", { next: location.pathname + location.search, ...(ended && { ended: 1 }) })));
}

const SLOW_MS = 3000;

let onSlow = () => {};

/** `tell` is called every few seconds while an answer is waited for. */
export const whenSlow = (tell) => { onSlow = tell; };

/** GET without a body, POST with one. A POST with a key is done once, however often it is sent. */
export async function call(path, body, { key, raw } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (key) headers["Idempotency-Key"] = key;
  if (csrf && body !== undefined) headers["X-CSRF-Token"] = csrf;
  const late = setInterval(() => onSlow(), SLOW_MS);
  let response;
  try {
    response = await fetch(at(path), {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new ServerError(0, "The server cannot be reached");
  } finally {
    clearInterval(late);
  }
  if (response.status === 401) logIn();
  let data;
  try {
    data = await response.json();
  } catch {
    throw new ServerError(response.status, `The server answered with ${response.status}`);
  }
  if (!response.ok || data.error) {
    const wait = Number(response.headers.get("Retry-After"));
    throw new ServerError(response.status, data.error ?? `The server answered with ${response.status}`, data, wait);
  }
  return data;
}

export const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");

export const query = (path, values) => `${path}?${new URLSearchParams(values)}`;
