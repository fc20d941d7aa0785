// The inspector, put together: one stream, which is open only while somebody looks.

import "../js/appearance.js";
import { at, call, logIn, query } from "../js/api.js";
import { $, drawIcons } from "../js/dom.js";
import { SessionPanel } from "./session.js";
import { Tiles } from "./tiles.js";
import { Tree } from "./tree.js";

const RETRY_MS = 2000;

drawIcons();

let source = null;
let retry = null;
let paused = false;
let limit = 30;

const tiles = new Tiles($("tiles"));
const tree = new Tree({ onChoose: (id) => choose(id, { push: true }), onMore: (more) => { limit += more; listen(); } });
const panel = new SessionPanel({
  onClose: () => choose(null, { push: true }),
  onBusy: (now) => announce(now.busy ? "This chat is busy." : "This chat is idle."),
});

function announce(text) {
  $("says").textContent = text;
}

function state(name, text) {
  $("state").dataset.state = name;
  if ($("state").textContent !== text) $("state").textContent = text;
}

// -- the stream -----------------------------------------------------------------------------

function hush() {
  source?.close();
  source = null;
  clearTimeout(retry);
}

function listen() {
  hush();
  if (paused || document.hidden) return;
  const asked = panel.id ? { limit, session_id: panel.id } : { limit };
  const mine = (source = new EventSource(at(query("/api/inspector/events", asked))));
  const on = (name, take) => mine.addEventListener(name, (event) => { if (source === mine) take(JSON.parse(event.data)); });
  on("snapshot", (now) => {
    state("live", "Live");
    tiles.take(now);
    tree.take(now);
  });
  on("session", (now) => { if (panel.take(now)) remember(); });
  on("story", ({ facts }) => panel.hear(facts));
  mine.onerror = () => {
    if (source !== mine) return;
    hush();
    tiles.forget();
    state("waiting", "Reconnecting…");
    retry = setTimeout(listen, RETRY_MS);
    lookWhy(mine.url);
  };
}

/** An EventSource does not tell why it has ended. */
async function lookWhy(url) {
  const aborter = new AbortController();
  try {
    const response = await fetch(url, { signal: aborter.signal });
    if (response.status === 401) logIn();
    else if (!response.ok) state("waiting", `Not connected: ${(await response.json()).error}`);
  } catch {
    // It is not there: that is said already.
  }
  aborter.abort();
}

async function remember() {
  const { id } = panel;
  if (!id) return;
  try {
    const now = await call(query("/api/inspector/session", { session_id: id }));
    if (panel.id === id) panel.remember(now.past);
  } catch (error) {
    if (panel.id === id && error.status === 404) panel.take({ gone: true });
  }
}

// -- what is looked at ----------------------------------------------------------------------

function choose(id, { push = false } = {}) {
  const before = panel.id;
  panel.open(id);
  tree.chosen = id;
  for (const row of $("kinds").querySelectorAll("tr")) {
    row.classList.toggle("chosen", id !== null && row.querySelector("a")?.dataset.session === id);
  }
  $("back").href = at(id ? `/session/${encodeURIComponent(id)}` : "/");
  $("back").lastChild.textContent = id ? "Back to the chat" : "Chats";
  if (push) history.pushState(null, "", at(id ? query("/inspector", { session_id: id }) : "/inspector"));
  if (push && id) panel.box.focus({ preventScroll: matchMedia("(min-width: 1200px)").matches });
  else if (push) ($("kinds").querySelector(`a[data-session="${before}"]`) ?? $("tree")).focus();
  listen();
  remember();
}

$("pause").onclick = () => {
  paused = !paused;
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", String(paused));
  tiles.forget();
  state(paused ? "paused" : "waiting", paused ? "Paused" : "Connecting…");
  listen();
};

document.addEventListener("visibilitychange", () => {
  tiles.forget();
  listen();
});

const inAddress = () => new URLSearchParams(location.search).get("session_id");
addEventListener("popstate", () => choose(inAddress()));
addEventListener("pagehide", hush);
choose(inAddress());
