// Telling the reader: toasts for eyes, a live region for ears.

import { $, button, el, icon } from "./dom.js";

const SHORT_MS = 5000;

/** For a screen reader alone. */
export function announce(text) {
  const region = $("says");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

/** An error stays until it is put away; what merely informs goes by itself. */
export function toast(text, { error = false, action = null } = {}) {
  const close = () => node.remove();
  const node = el(
    error ? "div.toast.error" : "div.toast",
    { role: error ? "alert" : "status" },
    icon(error ? "alert" : "check"),
    el("p", {}, text),
    action && button("quiet", action.label, null, () => { close(); action.run(); }),
    button("icon", "Dismiss", "close", close),
  );
  const box = $("toasts");
  for (const old of box.children) if (old.querySelector("p").textContent === text) old.remove();
  while (box.children.length > 2) box.firstChild.remove();
  box.append(node);
  if (!error) setTimeout(close, action ? SHORT_MS * 2 : SHORT_MS);
  return close;
}

export const problem = (error, action = null) => {
  if (error.status === undefined) console.error(error);
  const close = toast(error.message || "Something went wrong on this page. Reload it.", { error: true, action });
  if (error.unreachable) forgetAway = close;
  return close;
};

let forgetAway = () => {};

/** The server is there again: that it was away is no news any more. */
export const reachable = () => forgetAway();

/** Let an action fail with a word to the reader. */
export const guarded = (action) => async (...args) => {
  try {
    return await action(...args);
  } catch (error) {
    problem(error);
    return undefined;
  }
};
