// The one stream of this tab, for as long as the tab is looked at.
//
// Read with fetch, not EventSource: the server's comments every five seconds show that the line is
// alive, so one that a sleeping laptop or a dead network left behind is noticed and replaced.

import { at, logIn, query } from "./api.js";

const SILENCE_MS = 14_000;
const LOOK_MS = 2_000;
const WAITS_MS = [250, 500, 1000, 2000, 3000];
const HIDDEN_MS = 10_000; // then the connection is given back: a browser has six for all tabs

export class TabStream {
  /** `where()` says what to ask for; `onState` hears "open", or "waiting", how often, and what the server has against it. */
  constructor({ where, onEvent, onState }) {
    this.where = where;
    this.onEvent = onEvent;
    this.onState = onState;
    this.failures = 0;
    this.life = 0;
    this.aborter = null;
    this.timer = null;
    this.lastByte = 0;
    this.lastLook = Date.now();
    setInterval(() => this.look(), LOOK_MS);
    addEventListener("online", () => this.open());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    document.addEventListener("visibilitychange", () => this.seen());
  }

  /** Ask anew, now: for another session, or because the old connection may be dead. */
  open() {
    const life = ++this.life;
    clearTimeout(this.timer);
    this.aborter?.abort();
    this.aborter = new AbortController();
    this.lastByte = Date.now();
    this.paused = false;
    this.run(life, this.aborter.signal);
  }

  close() {
    this.life++;
    clearTimeout(this.timer);
    this.aborter?.abort();
    this.aborter = null;
  }

  async run(life, signal) {
    let refusal = "";
    try {
      const response = await fetch(at(query("/api/tab/events", this.where())), { signal, cache: "no-store" });
      if (response.status === 401) logIn();
      if (!response.ok) refusal = (await response.json()).error;
      if (!response.ok) throw new Error(refusal);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (life !== this.life) return;
        if (done) break;
        this.lastByte = Date.now();
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) this.take(part, life);
        if (life !== this.life) return;
      }
    } catch {
      // However it ended, there is but one thing to do.
    }
    if (life === this.life) this.again(life, refusal);
  }

  take(part, life) {
    const event = { id: null, name: "", data: "" };
    for (const line of part.split("\n")) {
      if (line.startsWith("id: ")) event.id = line.slice(4);
      else if (line.startsWith("event: ")) event.name = line.slice(7);
      else if (line.startsWith("data: ")) event.data = line.slice(6);
    }
    if (!event.name || life !== this.life) return;
    if (event.name === "hello") {
      this.failures = 0;
      this.onState("open");
    }
    this.onEvent(event.name, JSON.parse(event.data), event.id);
  }

  again(life, refusal) {
    const wait = WAITS_MS[Math.min(this.failures++, WAITS_MS.length - 1)];
    this.onState("waiting", this.failures, refusal);
    this.timer = setTimeout(() => life === this.life && this.open(), wait * (0.8 + Math.random() * 0.4));
  }

  look() {
    const now = Date.now();
    const slept = now - this.lastLook > LOOK_MS * 5;
    this.lastLook = now;
    if (this.aborter && !this.paused && (slept || now - this.lastByte > SILENCE_MS)) {
      this.onState("waiting", ++this.failures);
      this.open();
    }
  }

  seen() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.close();
        this.paused = true;
      }, HIDDEN_MS);
    } else if (this.paused || Date.now() - this.lastByte > SILENCE_MS) this.open();
  }
}
