// The open chat: what the server says it is. Rows come from its record, a running turn from its feed.
//
// Every event of a feed has a number. What has been shown is not shown again, and what is missing is
// asked for; when a turn is over the record has it, and takes its place.

import { call, newKey, query } from "./api.js";
import { $, el } from "./dom.js";
import { LiveTurn } from "./live.js";
import { announce, guarded, problem, toast } from "./says.js";
import { Transcript, textOf } from "./transcript.js";

const WINDOW = 60; // messages at first, and more at each look back
const MOST = 500;
const NOT_OF_THE_TRANSCRIPT = new Set(["turn_started", "compression_ended", "attention_pending", "attention_resolved"]);
const ENDINGS = new Set(["done", "cancel", "apperror"]);
const SKELETON_MS = 150;
const AGAIN_MS = 200;
const QUIET_MS = 4000;

const complete = (text) => `The answer is complete. ${text.trim().slice(0, 300)}`;

/** What became of a turn, as its last row tells. */
function outcome(row) {
  const text = textOf(row?.content);
  return row?.role === "assistant" && !row._error ? complete(text) : text.replaceAll("*", "");
}

export class Chat {
  /** `stream` is opened anew when another session is; `hooks`: onShown, onBusy, onGone, onTurn, onQuiet. */
  constructor({ follow, queue, acts, hooks }) {
    this.follow = follow;
    this.queue = queue;
    this.hooks = hooks;
    this.transcript = new Transcript(acts);
    this.session = null;
    this.rows = [];
    this.offset = 0;
    this.turn = null;
    this.over = new Set(); // turns whose end this tab has seen
    this.opening = 0;
    this.asked = 0;
    this.applied = 0;
    this.heard = 0; // when the stream last told of the turn
    setInterval(() => {
      if (this.busy && !document.hidden && performance.now() - this.heard > QUIET_MS) this.hooks.onQuiet();
    }, QUIET_MS / 2);
    $("earlier").onclick = () => this.showEarlier();
    $("scroll").addEventListener("scroll", () => {
      if ($("scroll").scrollTop < 300 && !$("earlier").hidden) this.showEarlier();
    }, { passive: true });
  }

  get id() {
    return this.session?.session_id ?? null;
  }

  get busy() {
    return this.turn !== null && !this.turn.ended;
  }

  /** The model waits until the reader allows something. */
  get asking() {
    return this.turn?.asking ?? false;
  }

  /** What the stream is to be asked for. */
  where() {
    if (!this.id) return {};
    const at = this.turn && !this.turn.ended ? { stream_id: this.turn.streamId, after_seq: this.turn.seq } : {};
    return { session_id: this.id, ...at };
  }

  // -- opening ------------------------------------------------------------------------------

  blank() {
    this.opening++;
    this.leave();
    this.hooks.onShown();
  }

  leave() {
    this.session = null;
    this.rows = [];
    this.offset = 0;
    this.turn = null;
    this.fresh = true;
    this.transcript.clear();
    this.queue.show(null, []);
    $("earlier").hidden = $("cut").hidden = true;
    $("scroll").scrollTop = 0;
    this.unskeleton();
    this.hooks.onBusy(false);
  }

  /** False if another one was opened meanwhile. If it throws, what was open is open still. */
  async open(sessionId) {
    const opening = ++this.opening;
    const waiting = setTimeout(() => this.skeleton(), SKELETON_MS);
    try {
      const asked = ++this.asked;
      const { session } = await call(query("/api/session", { session_id: sessionId, msg_limit: WINDOW }));
      if (opening !== this.opening) return false;
      this.leave();
      this.adopt(session, asked);
      this.follow.toEnd();
      return true;
    } finally {
      clearTimeout(waiting);
      if (opening === this.opening) this.unskeleton();
    }
  }

  skeleton() {
    this.unskeleton();
    $("scroll").classList.add("opening");
    const bars = ["mine", "", "", ""].map((kind, n) => {
      const bar = el(`i${kind ? `.${kind}` : ""}`);
      if (!kind) bar.style.width = `${[0, 92, 100, 64][n]}%`;
      return bar;
    });
    $("scroll").prepend(el("div.skeletons", { role: "status", "aria-label": "Loading the chat" }, ...bars));
  }

  unskeleton() {
    $("scroll").classList.remove("opening");
    $("scroll").querySelector(".skeletons")?.remove();
  }

  /** Begin to show a session that nobody has shown yet. */
  adopt(session, asked = ++this.asked) {
    this.fresh = true;
    this.apply(session, asked);
  }

  // -- what the server says -----------------------------------------------------------------

  /** Read the session again. What is asked for meanwhile is one more reading, after this one. */
  reload() {
    this.stale = true;
    this.reading ??= this.readWhileStale().finally(() => (this.reading = null));
    return this.reading;
  }

  async readWhileStale() {
    while (this.stale) {
      this.stale = false;
      await this.read();
    }
  }

  async read() {
    const id = this.id;
    if (!id) return;
    const opening = this.opening;
    const asked = ++this.asked;
    const shown = this.rows.filter((row) => row.role !== "tool").length;
    const limit = Math.min(MOST, Math.max(WINDOW, shown + 10));
    let session;
    try {
      ({ session } = await call(query("/api/session", { session_id: id, msg_limit: limit })));
    } catch (error) {
      if (error.status === 404 && opening === this.opening) this.hooks.onGone();
      else if (!error.unreachable) problem(error);
      return;
    }
    if (opening !== this.opening || asked < this.applied || !this.id) return;
    if (session.active_stream_id && this.over.has(session.active_stream_id)) {
      setTimeout(() => this.reload(), AGAIN_MS); // it was read before that turn was over
      return;
    }
    this.apply(session, asked);
  }

  apply(session, asked) {
    this.applied = asked;
    const moved = this.session && this.session.session_id !== session.session_id; // it was compressed
    this.session = session;
    const { messages, _messages_offset: from } = session;
    const kept = from - this.offset;
    const joins = kept > 0 && kept <= this.rows.length &&
      (kept === this.rows.length || JSON.stringify(this.rows[kept]) === JSON.stringify(messages[0]));
    this.rows = joins ? [...this.rows.slice(0, kept), ...messages] : messages;
    this.offset = joins ? this.offset : from;
    const running = session.active_stream_id;
    const older = this.turn !== null && asked <= this.turn.born; // it cannot know of our turn
    if (older && !this.turn.ended) {
      // What the stream has told since is newer.
    } else if (running && this.turn?.streamId !== running) {
      this.begin(running, session.pending_user_message, session.pending_attachments);
    } else if (!running && this.turn) {
      if (!this.turn.ended) announce(outcome(this.rows.at(-1))); // the record was faster than the stream
      this.over.add(this.turn.streamId);
      this.turn = null;
    }
    this.render();
    this.queue.show(session.session_id, session.queue ?? []);
    this.hooks.onBusy(this.busy);
    if (moved) this.hooks.onMoved();
    this.hooks.onShown();
  }

  render() {
    this.transcript.show(this.session, this.rows, this.offset, this.turn);
    $("earlier").hidden = $("cut").hidden = this.offset === 0;
    this.follow.grown();
  }

  begin(streamId, message, attachments) {
    const decide = guarded((id, choice) => this.decide(id, choice));
    this.turn = new LiveTurn({ streamId, message, attachments, decide });
    this.turn.born = this.asked;
    this.heard = performance.now();
    this.hooks.onTurn(this.turn);
  }

  /** A prompt of ours was accepted, and has its turn. */
  began(streamId, message, attachments) {
    if (this.over.has(streamId) || this.turn?.streamId === streamId) return;
    this.begin(streamId, message, attachments);
    this.render();
    this.follow.toEnd();
    this.hooks.onBusy(true);
  }

  async showEarlier() {
    if (this.looking || !this.offset) return;
    this.looking = true;
    const opening = this.opening;
    try {
      const { session } = await call(query("/api/session", { session_id: this.id, msg_limit: WINDOW, msg_before: this.offset }));
      if (opening !== this.opening || session._messages_offset >= this.offset) return;
      const focused = document.activeElement === $("earlier");
      this.rows = [...session.messages, ...this.rows];
      this.offset = session._messages_offset;
      this.follow.keepingPlace(() => this.render());
      if (focused && $("earlier").hidden) $("scroll").focus({ preventScroll: true });
    } catch (error) {
      problem(error);
    } finally {
      this.looking = false;
    }
  }

  // -- what the stream tells ----------------------------------------------------------------

  hear(name, data, id) {
    if (id !== null) this.hearTurn(name, data, id);
    else if (name === "hello") this.hello(data.session);
    else if (name === "turn_began") this.turnBegan(data);
    else if (name === "turn_gone") {
      this.over.add(data.stream_id);
      this.reload();
    } else if (name === "changed") this.changed(data);
  }

  hello(standing) {
    if (!this.id) return;
    if (!standing) {
      this.hooks.onGone();
      return;
    }
    const fresh = this.fresh;
    this.fresh = false;
    const { updated_at: at, message_count: count, active_stream_id: running } = this.session;
    const same = at === standing.updated_at && count === standing.message_count && (running ?? null) === standing.active_stream_id;
    if (!fresh || !same) this.reload();
  }

  turnBegan({ stream_id: streamId, message, attachments }) {
    if (this.over.has(streamId) || this.turn?.streamId === streamId || !this.session) return;
    if (message === undefined) {
      this.reload(); // it is over already
      return;
    }
    if (!this.turn) {
      this.began(streamId, message, attachments);
      return;
    }
    this.over.add(this.turn.streamId); // the record has it; what is shown of it stays until that is read
    this.turn.end();
    this.begin(streamId, message, attachments);
    this.hooks.onBusy(true);
    this.reload();
  }

  hearTurn(name, data, id) {
    const at = id.lastIndexOf(":");
    const streamId = id.slice(0, at);
    const seq = Number(id.slice(at + 1));
    if (name === "title" && this.session) {
      this.session.title = data.title;
      this.hooks.onShown();
    }
    const turn = this.turn;
    if (turn?.streamId !== streamId || turn.ended) return;
    this.heard = performance.now();
    const before = turn.seq;
    if (!turn.take(seq, name, data)) {
      this.hooks.onMissing();
      return;
    }
    if (name.startsWith("approval")) {
      this.hooks.onBusy(this.busy);
      this.follow.grown();
    }
    if (seq > before && ENDINGS.has(name)) this.end(turn, name, data);
  }

  end(turn, name, data) {
    turn.end();
    this.over.add(turn.streamId);
    this.hooks.onBusy(this.busy);
    if (name === "done") announce(complete(turn.text));
    else if (name === "cancel") announce("Stopped. What was written so far is kept.");
    else announce(`No complete answer: ${data.message ?? ""} ${data.hint ?? ""}`);
    this.reload();
  }

  changed({ session_ids: ids, reasons }) {
    if (!this.id || (ids && !ids.includes(this.id))) return;
    if (reasons.every((reason) => NOT_OF_THE_TRANSCRIPT.has(reason))) return;
    this.reload();
  }

  // -- what the reader does -----------------------------------------------------------------

  async stop() {
    if (!this.busy) return;
    const turn = this.turn;
    turn.says("Stopping…");
    try {
      await call("/api/chat/cancel", { stream_id: turn.streamId });
    } catch (error) {
      turn.says("");
      problem(error);
    }
  }

  /** The card closes when the stream says so, as it does in every other tab. */
  async decide(approvalId, choice) {
    await call("/api/approval/respond", { session_id: this.id, approval_id: approvalId, choice }, { key: newKey() });
    return true;
  }

  /** True once the server has it on disk. The same text sent again is the same request. */
  async send({ text, files, now }) {
    const about = JSON.stringify([this.id, text, files, now]);
    if (this.unsent?.about !== about) this.unsent = { about, key: newKey() };
    const { key } = this.unsent;
    const opening = this.opening;
    let session = this.session;
    if (!session) ({ session } = await call("/api/session/new", this.hooks.newIn(), { key: `${key}-new` }));
    const body = { session_id: session.session_id, message: text, if_busy: now ? "interrupt" : "queue" };
    if (files.length) body.attachments = files;
    const started = await call("/api/chat/start", body, { key });
    this.unsent = null;
    if (opening !== this.opening) return true; // the reader has gone elsewhere
    if (!this.session) {
      this.adopt({ ...session, title: started.title ?? session.title });
      this.began(started.stream_id, text, files);
      this.hooks.onNew();
      return true;
    }
    if (started.title) this.session.title = started.title;
    if (started.queued) {
      this.queue.show(this.id, started.queue);
      announce("It waits for its turn");
    } else if (now && this.turn && this.turn.streamId !== started.stream_id) this.reload();
    else this.began(started.stream_id, text, files);
    this.follow.toEnd();
    return true;
  }

  async retry() {
    await this.reload();
    const revision = this.session?.regeneration_revision;
    if (!revision) throw new Error("There is nothing to try again yet.");
    const body = { session_id: this.id, regenerate: true, regeneration_revision: revision };
    await call("/api/chat/start", body, { key: newKey() });
    await this.reload();
    this.follow.toEnd();
  }

  async undo() {
    const { removed_preview: preview } = await call("/api/session/undo", { session_id: this.id }, { key: newKey() });
    await this.reload();
    toast(`Taken away: “${preview}” and what was answered.`);
  }

  /** Cut before the row at `index`, and say this instead. The words are never lost. */
  async edit(index, text, files) {
    const id = this.id;
    try {
      await call("/api/session/truncate", { session_id: id, keep_count: index });
      await this.reload();
      await this.send({ text, files, now: false });
      return true;
    } catch (error) {
      if (this.id === id) this.hooks.onUnsent({ text, files });
      throw error;
    }
  }
}
