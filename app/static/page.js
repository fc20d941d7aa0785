// A plain chat page: the transcript is what the server says it is, a running answer is its feed.

const $ = (id) => document.getElementById(id);
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

let session = null; // the open session, as the server last told it
let source = null; // the feed of its running turn
let ending = null; // the feed of a turn that is done, and that may still bring a title
let failures = 0;
let asks = 0; // for the list

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const data = await response.json();
  if (!response.ok) throw Object.assign(new Error(data.error), { status: response.status });
  return data;
}

function notice(text, isError = false) {
  $("notice").textContent = text;
  $("notice").classList.toggle("error", isError);
}

const guarded = (action) => async (...args) => {
  try {
    await action(...args);
  } catch (error) {
    notice(error.message || "The server cannot be reached", true);
  }
};

// -- showing ------------------------------------------------------------------------------

function addRow(kind, text) {
  const list = $("transcript");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  list.append(item);
  if (atEnd) item.scrollIntoView({ block: "end" });
  return item;
}

function showRow(row) {
  const text = typeof row.content === "string" ? row.content : JSON.stringify(row.content);
  if (row.role === "user") return addRow("user", text);
  if (row.role === "tool") return addRow("tool", `${row.name ?? "tool"}: ${text}`);
  if (row._error) return addRow("error", text.replaceAll("**", "").replaceAll("*", ""));
  const item = addRow("assistant", text);
  if (row.reasoning) addReasoning(item, row.reasoning);
  return item;
}

function addReasoning(item, text) {
  const details = document.createElement("details");
  details.className = "reasoning";
  details.innerHTML = "<summary>Reasoning</summary>";
  details.append(text);
  item.prepend(details);
  return details;
}

function show(opened) {
  session = opened;
  history.replaceState(null, "", session.session_id ? `/session/${session.session_id}` : "/");
  showTitle(session.title);
  $("transcript").replaceChildren();
  session.messages.forEach(showRow);
  if (session.pending_user_message) addRow("user", session.pending_user_message);
  showQueue(session.queue ?? []);
  setBusy(false);
  if (session.active_stream_id) follow(session.active_stream_id);
}

function showTitle(title) {
  session.title = title;
  $("title").textContent = title === "Untitled" ? "New chat" : title;
  document.title = `${$("title").textContent} · Greenroom`;
}

function showQueue(waiting) {
  $("queue").replaceChildren(...waiting.map((row) => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    text.textContent = row.message;
    const change = (path, label, body) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.onclick = guarded(async () => {
        const more = body();
        if (more === null) return;
        const ids = { session_id: session.session_id, id: row.id };
        showQueue((await call(`/api/session/queue/${path}`, { ...ids, ...more })).queue);
      });
      return button;
    };
    const edited = () => {
      const message = prompt("Message", row.message);
      return message?.trim() ? { message } : null;
    };
    item.append(text, change("edit", "Edit", edited), change("remove", "Remove", () => ({})));
    return item;
  }));
}

function setBusy(busy) {
  $("stop").hidden = !busy;
  $("send").textContent = busy ? "Queue" : "Send";
  for (const id of ["undo", "retry"]) $(id).disabled = busy || !session?.messages.length;
  for (const id of ["rename", "delete"]) $(id).disabled = !session?.session_id;
}

async function refreshList() {
  const asked = ++asks;
  const { sessions } = await call("/api/sessions");
  if (asked !== asks) return; // an older answer must not hide a newer one
  $("sessions").replaceChildren(...sessions.map((row) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = (row.is_streaming ? "● " : "") + row.title;
    button.setAttribute("aria-current", String(row.session_id === session?.session_id));
    button.onclick = guarded(() => open(row.session_id));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

// -- a running turn -----------------------------------------------------------------------

function follow(streamId, cursor = 0, live = null) {
  source?.close();
  setBusy(true);
  const answer = live ?? { item: null, reasoning: null, text: null };
  const feed = source = new EventSource(`/api/chat/stream?stream_id=${streamId}&after_seq=${cursor}`);
  const on = (name, handle) => feed.addEventListener(name, (event) => {
    if (feed !== source && feed !== ending) return;
    cursor = Number(event.lastEventId.split(":")[1]);
    failures = 0;
    notice("");
    handle(JSON.parse(event.data));
  });
  const settle = (data) => {
    if (data.session) show(data.session);
  };
  const end = () => {
    feed.close();
    ending = null;
    if (feed !== source) return;
    source = null;
    setBusy(false);
  };
  on("context_status", () => {});
  on("token", ({ text }) => {
    if (!answer.text) {
      answer.item ??= addRow("assistant", "");
      answer.text = answer.item.appendChild(document.createTextNode(""));
    }
    answer.text.appendData(text);
    answer.item.scrollIntoView({ block: "nearest" });
  });
  on("reasoning", ({ text }) => {
    answer.item ??= addRow("assistant", "");
    answer.reasoning ??= addReasoning(answer.item, "");
    answer.reasoning.append(text);
  });
  on("tool", ({ name, args }) => {
    addRow("tool", `${name} ${JSON.stringify(args)}`);
    answer.item = answer.text = answer.reasoning = null;
  });
  on("tool_complete", ({ name, preview }) => addRow("tool", `${name}: ${preview}`));
  on("warning", ({ message }) => notice(message));
  on("compressing", ({ message }) => notice(message));
  on("done", (data) => { source = null; ending = feed; show(data.session); });
  on("title", ({ title }) => showTitle(title));
  on("stream_end", end);
  on("cancel", (data) => { end(); settle(data); });
  on("apperror", (data) => { end(); settle(data); notice(data.hint ?? "", true); });
  feed.onerror = () => {
    if (feed === ending) end();
    if (feed !== source) return;
    feed.close();
    notice("Reconnecting…");
    const wait = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)];
    setTimeout(() => feed === source && resume(streamId, cursor, answer), wait);
  };
}

async function resume(streamId, cursor, answer) {
  try {
    const status = await call(`/api/chat/stream/status?stream_id=${streamId}`);
    if (status.active || status.replay_available) follow(streamId, cursor, answer);
    else await open(session.session_id);
  } catch {
    source?.onerror();
  }
}

// -- what one can do ----------------------------------------------------------------------

function leave() {
  for (const feed of [source, ending]) feed?.close();
  source = ending = null;
}

async function open(sessionId) {
  leave();
  notice("");
  show((await call(`/api/session?session_id=${sessionId}`)).session);
  await refreshList();
}

// What another tab did: the server says what to look at, and we look. One stream tells of the list
// and of the open session alike, for a browser has but six connections for all tabs.
async function look({ session_id: changed, reason }) {
  await refreshList();
  if (!session?.session_id || (changed && changed !== session.session_id)) return;
  if (reason === "session_delete") {
    blank();
    notice("This chat was deleted");
    return;
  }
  const asked = session.session_id;
  const { session: now } = await call(`/api/session?session_id=${asked}`);
  if (asked !== session.session_id) return;
  if (source && source.url.includes(now.active_stream_id)) {
    showTitle(now.title);
    showQueue(now.queue);
  } else if (!source || now.active_stream_id) show(now);
}

async function send(event) {
  event.preventDefault();
  const message = $("prompt").value.trim();
  if (!message) return;
  if (!session?.session_id) show((await call("/api/session/new", {})).session);
  const body = { session_id: session.session_id, message, if_busy: "queue" };
  const started = await call("/api/chat/start", body);
  $("prompt").value = "";
  if (started.queued) {
    showQueue(started.queue);
    return;
  }
  if (source?.url.includes(started.stream_id)) return;
  session.messages.push({ role: "user", content: message });
  showTitle(started.title);
  addRow("user", message);
  follow(started.stream_id);
}

async function stop() {
  if (source) await call(`/api/chat/cancel?stream_id=${new URL(source.url).searchParams.get("stream_id")}`);
}

async function undo() {
  await call("/api/session/undo", { session_id: session.session_id });
  await open(session.session_id);
}

async function retry() {
  const { last_user_text: text, error } = await call("/api/session/retry", { session_id: session.session_id });
  if (error) throw new Error(error);
  await open(session.session_id);
  $("prompt").value = text;
  $("composer").requestSubmit();
}

async function rename() {
  const title = prompt("Title", session.title);
  if (!title) return;
  await call("/api/session/rename", { session_id: session.session_id, title });
  await open(session.session_id);
}

async function remove() {
  if (!confirm(`Delete “${session.title}”?`)) return;
  const gone = session.session_id;
  leave();
  await call("/api/session/delete", { session_id: gone });
  blank();
  await refreshList();
}

function blank() {
  leave();
  show({ session_id: null, title: "Untitled", messages: [] });
  $("prompt").focus();
}

async function showAgent() {
  const { agent } = await call("/health");
  const share = agent.progress == null ? "" : ` ${Math.round(agent.progress * 100)} %`;
  const waiting = agent.state !== "ready";
  $("agent").textContent = waiting ? `${agent.detail}${share}` : [agent.agent, agent.model].filter(Boolean).join(" · ");
  if (waiting) setTimeout(guarded(showAgent), 1000);
}

$("composer").onsubmit = guarded(send);
$("prompt").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
};
for (const [id, action] of Object.entries({ new: blank, stop, undo, retry, rename, delete: remove })) {
  $(id).onclick = guarded(action);
}

const list = new EventSource("/api/sessions/events");
list.addEventListener("sessions_changed", (event) => guarded(look)(JSON.parse(event.data)));

const wanted = location.pathname.match(/^\/session\/([0-9A-Za-z_-]+)$/)?.[1];
blank();
await guarded(showAgent)();
await guarded(refreshList)();
if (wanted) await guarded(open)(wanted);
