// The page, put together: which chat is open, and what the keys and buttons do.

import "./account.js";
import "./appearance.js";
import { Actions } from "./actions.js";
import { Agent, welcome } from "./agent.js";
import { at, whenSlow } from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { told } from "./dialogs.js";
import { suspectDisk } from "./disk.js";
import { $, button, chord, drawIcons, el } from "./dom.js";
import { Drafts } from "./drafts.js";
import { closeDrawer, drawerIsOpen, isNarrow, openDrawer } from "./drawer.js";
import { onDrop } from "./dropping.js";
import { Follow } from "./follow.js";
import { SessionList } from "./list.js";
import { menuIsOpen, openMenu } from "./menu.js";
import { Queue } from "./queue.js";
import { announce, guarded, problem, reachable, toast } from "./says.js";
import { TabStream } from "./stream.js";

drawIcons();
$("search-keys").textContent = chord("K");

// -- its parts ------------------------------------------------------------------------------

const drafts = new Drafts();
const agent = new Agent(() => showWelcome());
const follow = new Follow($("scroll"), $("transcript"), $("latest"));

const chat = new Chat({
  follow,
  queue: new Queue({
    onLost: (text) => {
      keep(text);
      composer.focus();
      toast("The message that you were editing waits no more. What you wrote is in the field.");
    },
  }),
  acts: {
    retry: guarded(() => chat.retry()),
    edit: guarded((index, text, files) => chat.edit(index, text, files)),
    branch: guarded((keep) => actions.branch(keep)),
  },
  hooks: {
    onShown: shown,
    onBusy: (busy) => { composer.setBusy(busy); nameTab(); },
    onGone: gone,
    onMoved: () => history.replaceState(null, "", address(chat.id)),
    onTurn: () => agent.look(),
    onQuiet: suspectDisk,
    onMissing: () => stream.open(),
    onNew: () => { history.pushState(null, "", address(chat.id)); stream.open(); list.refresh(); },
    onUnsent: (draft) => { composer.put(draft); composer.changed(); },
    newIn: () => (isProject(list.scope.value) ? { project_id: list.scope.value } : {}),
  },
});

const composer = new Composer({
  onSend: async (sent) => {
    const id = chat.id;
    const accepted = await chat.send(sent);
    if (accepted) drafts.sent(id);
    return accepted;
  },
  onStop: () => chat.stop(),
  onChange: (draft) => drafts.save(chat.id, draft),
});

const list = new SessionList({
  onOpen: guarded(open),
  menuFor: (row, anchor, onClose) => openMenu(anchor, actions.entries(row), { onClose, label: `Actions for ${row.title}` }),
  onRows: (rows) => { showWelcome(); nameOf(rows); },
});

const actions = new Actions({ chat, list, onOpen: open, onBlank: blank });

const stream = new TabStream({
  where: () => chat.where(),
  onEvent: (name, data, id) => {
    if (name === "hello" || name === "changed") list.refresh();
    if (name === "hello") agent.look();
    chat.hear(name, data, id);
  },
  onState: connection,
});

/** Words that have lost their place: they go where one writes, and with it into the draft. */
function keep(text) {
  const { text: before, files } = composer.draft;
  composer.put({ text: before ? `${before}\n\n${text}` : text, files });
  composer.changed();
}

addEventListener("login-ended", () => {
  for (const field of document.querySelectorAll("li.user textarea, #queue textarea")) keep(field.value);
});

const coarse = () => matchMedia("(pointer: coarse)").matches;
const isProject = (scope) => scope !== "" && scope !== "archived";
const address = (id) => at(id ? `/session/${id}` : "/");
const inAddress = () => location.pathname.slice(at("").length).match(/^\/session\/([0-9A-Za-z_-]+)$/)?.[1] ?? null;

// -- which chat is open ---------------------------------------------------------------------

async function open(id, { push = true } = {}) {
  closeDrawer();
  if (id !== chat.id) {
    const opening = chat.open(id);
    composer.hold(opening);
    if (!(await opening)) return;
    putDraft();
    stream.open();
  }
  if (inAddress() !== chat.id) history[push ? "pushState" : "replaceState"](null, "", address(chat.id));
  shown();
  if (!coarse()) composer.focus();
}

function blank({ push = true } = {}) {
  closeDrawer();
  chat.blank();
  putDraft();
  if (push && location.pathname !== address(null)) history.pushState(null, "", address(null));
  stream.open();
  composer.focus();
}

let begun = false;

/** Of the chat that is open now. What was written before the page was ready comes after it. */
function putDraft() {
  const early = begun ? "" : composer.draft.text;
  begun = true;
  composer.put(drafts.of(chat.session));
  if (early) keep(early);
}

function gone() {
  const { text, files } = composer.draft;
  blank();
  if (text || files.length) composer.put({ text, files });
  toast("This chat was deleted.");
}

function shown() {
  const { session } = chat;
  const title = !session || session.title === "Untitled" ? "New chat" : session.title;
  $("title").textContent = title;
  $("title").title = title;
  nameTab();
  $("session-menu").hidden = !session;
  list.select(chat.id);
  showWelcome();
}

function nameTab() {
  document.title = `${chat.asking ? "(?) " : chat.busy ? "● " : ""}${$("title").textContent} · Greenroom`;
}

function nameOf(rows) {
  const row = rows.find((one) => one.session_id === chat.id);
  if (row && row.title !== chat.session.title) {
    chat.session.title = row.title;
    shown();
  }
}

function showWelcome() {
  const empty = !chat.session && list.rows !== null;
  if (empty) {
    const said = JSON.stringify([agent.status, list.rows.length === 0]);
    if ($("welcome").dataset.said !== said) {
      $("welcome").dataset.said = said;
      welcome(agent, list.rows.length === 0, (text) => {
        composer.put({ text });
        composer.changed();
        composer.focus();
      });
    }
  }
  $("welcome").hidden = !empty;
}

addEventListener("popstate", guarded(async () => {
  const id = inAddress();
  if (id) await open(id, { push: false });
  else blank({ push: false });
}));

// -- the connection -------------------------------------------------------------------------

function connection(state, failures = 0, refusal = "") {
  const box = $("connection");
  if (state === "open") {
    reachable();
    if (box.hidden) return;
    if (box.contains(document.activeElement)) composer.focus();
    announce("Connected again.");
    box.hidden = true;
    box.replaceChildren();
    return;
  }
  if (box.hidden) announce("The connection is lost. Reconnecting.");
  const text = navigator.onLine === false ? "You are offline. Reconnecting…" : refusal ? `Not connected: ${refusal}. Trying again…` : failures > 4
    ? "Reconnecting… The server does not answer. Is it still running?" : "Reconnecting…";
  if (box.dataset.said === text && !box.hidden) return;
  box.dataset.said = text;
  box.hidden = false;
  box.replaceChildren(el("span.spin"), el("span", {}, text), button("", "Try now", null, () => stream.open()));
}

addEventListener("offline", () => connection("waiting"));

// -- buttons and keys -----------------------------------------------------------------------

$("new").onclick = $("new-top").onclick = () => blank();
$("projects").onclick = guarded(() => actions.projects());
$("import").onclick = () => $("import-file").click();
$("session-menu").onclick = () => {
  const row = list.rows?.find((one) => one.session_id === chat.id) ?? chat.session;
  openMenu($("session-menu"), actions.entries(row), { label: "Actions for this chat" });
};

const KEYS = [
  ["Enter", "Send; while an answer comes, let it wait for its turn"],
  [chord("Enter"), "Stop the answer and send at once"],
  ["Shift Enter", "A new line"],
  ["Esc", "Stop the answer; close what is open"],
  [chord("K"), "Search chats"],
  ["↑ ↓", "Move in the list; → leads to a chat's actions"],
  ["Alt N", "New chat"],
];
$("keys").onclick = () => told("Keyboard", el("table", {}, el("tbody", {}, KEYS.map(([keys, what]) =>
  el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, keys)), el("td", {}, what))))));

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (document.querySelector("dialog[open]") || menuIsOpen()) return;
  if (command && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (isNarrow() && !drawerIsOpen()) openDrawer();
    $("search").focus();
    $("search").select();
  } else if (event.altKey && event.code === "KeyN") {
    event.preventDefault();
    blank();
  } else if (event.key === "Escape" && !event.isComposing) {
    if (document.activeElement === $("search") && $("search").value) {
      $("search").value = "";
      list.type();
    } else if (document.activeElement === $("search") && !isNarrow()) composer.focus();
    else if (!closeDrawer() && chat.busy) chat.stop();
    else return;
    event.preventDefault();
  }
});

// -- files ----------------------------------------------------------------------------------

async function takeFiles(files) {
  try {
    const others = await actions.take(files);
    if (others.length) await composer.attach(others);
  } catch (error) {
    problem(error);
  }
}

$("import-file").onchange = async () => {
  const files = [...$("import-file").files];
  $("import-file").value = "";
  try {
    const others = await actions.take(files);
    if (others.length) toast(`${others[0].name} is not an exported chat: choose a JSON file that Greenroom has exported.`, { error: true });
  } catch (error) {
    problem(error);
  }
};

onDrop(takeFiles);

// -- begin ----------------------------------------------------------------------------------

const AGAIN_MS = 1500;

async function begin(wanted) {
  if (inAddress() !== wanted) return; // the reader has gone elsewhere
  try {
    await open(wanted, { push: false });
  } catch (error) {
    if (error.unreachable) {
      connection("waiting");
      setTimeout(() => begin(wanted), AGAIN_MS);
      return;
    }
    if (error.status !== 404) problem(error);
    blank();
    if (error.status === 404) toast("There is no such chat any more. It may have been deleted.", { error: true });
  }
}

whenSlow(suspectDisk);
agent.look();
list.refresh();
if (inAddress()) await begin(inAddress());
else blank({ push: false });
