// What is being written in each chat. The server keeps it; until it has it, this browser does.

import { call, post } from "./api.js";

const PAUSE_MS = 600;
const NEW = "new"; // the chat that does not exist yet

const user = document.querySelector("meta[name=user]")?.content; // another one's are not shown

const slot = (sessionId) => ["draft", user, sessionId ?? NEW].filter(Boolean).join(" ");

function stored(sessionId) {
  try {
    return JSON.parse(localStorage.getItem(slot(sessionId)));
  } catch {
    return null;
  }
}

function store(sessionId, draft) {
  try {
    if (draft) localStorage.setItem(slot(sessionId), JSON.stringify(draft));
    else localStorage.removeItem(slot(sessionId));
  } catch {
    // No room, or storage is switched off: the server has it in a moment.
  }
}

/** Who uses this browser next is perhaps somebody else. */
export function forgetDrafts() {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith("draft ")) localStorage.removeItem(key);
  } catch {
    // Then there is nothing of it.
  }
}

export class Drafts {
  constructor() {
    this.timers = new Map();
    addEventListener("pagehide", () => this.flush());
  }

  /** What this browser has and the server has not is newer. */
  of(session) {
    const own = stored(session?.session_id);
    const kept = own ?? session?.composer_draft ?? {};
    return { text: kept.text ?? "", files: (kept.files ?? []).filter((file) => file && typeof file === "object") };
  }

  save(sessionId, draft) {
    const empty = !draft.text && !draft.files.length;
    store(sessionId, empty && !sessionId ? null : draft);
    if (!sessionId) return;
    clearTimeout(this.timers.get(sessionId));
    this.timers.set(sessionId, setTimeout(() => this.send(sessionId, draft), PAUSE_MS));
  }

  async send(sessionId, draft) {
    this.timers.delete(sessionId);
    try {
      await call("/api/session/draft", { session_id: sessionId, ...draft });
      if (JSON.stringify(stored(sessionId)) === JSON.stringify(draft)) store(sessionId, null);
    } catch {
      // It stays here, and is sent with the next change.
    }
  }

  /** The page goes: what waits for a pause is sent now. */
  flush() {
    for (const [sessionId, timer] of this.timers) {
      clearTimeout(timer);
      const draft = stored(sessionId);
      if (!draft) continue;
      post("/api/session/draft", { session_id: sessionId, ...draft });
    }
    this.timers.clear();
  }

  sent(sessionId) {
    store(null, null);
    if (sessionId) this.save(sessionId, { text: "", files: [] });
  }
}
