// The turn that runs: what its feed has told so far, and up to which number.

import { AnswerView } from "./answer.js";
import { ApprovalCard } from "./approval.js";
import { el, icon } from "./dom.js";
import { userMessage } from "./transcript.js";

export class LiveTurn {
  /** `decide(approvalId, choice)` answers what the model asks for. */
  constructor({ streamId, message, attachments, decide }) {
    this.streamId = streamId;
    this.decide = decide;
    this.approvals = new Map();
    this.seq = 0; // the last event that is shown
    this.text = "";
    this.ended = false;
    this.status = el("div.working");
    this.answer = el("li.answer", { "aria-busy": "true" }, el("h2.unseen", {}, "Answer"));
    this.view = this.newView();
    this.answer.append(this.status);
    this.user = message ? userMessage(message, attachments) : null;
    this.nodes = [this.user, this.answer].filter(Boolean);
    this.says("Waiting for the answer…");
  }

  newView() {
    const view = new AnswerView();
    view.live = true;
    this.answer.append(view.node);
    if (this.status.isConnected || this.status.parentNode) this.answer.append(this.status);
    return view;
  }

  says(text) {
    this.status.replaceChildren(el("span.spin"), text);
    this.status.hidden = !text;
  }

  /** Take the event with this number. False if one before it is missing. */
  take(seq, name, data) {
    if (seq <= this.seq) return true;
    if (seq !== this.seq + 1) return false;
    this.seq = seq;
    this[`on_${name}`]?.(data);
    return true;
  }

  on_token({ text }) {
    this.text += text;
    this.view.addText(text);
    if (this.text.trim()) this.says("");
  }

  on_reasoning({ text }) {
    this.view.addReasoning(text);
    this.says("Thinking…");
  }

  on_tool({ tid, name, args }) {
    this.view.startTool({ id: tid, name, args });
    this.says("");
  }

  on_tool_complete({ tid, preview, is_error: isError }) {
    this.view.endTool({ id: tid, result: preview, isError });
    this.says("Working…");
  }

  on_approval({ approval_id: id, tool, args, expires_at: expiresAt }) {
    const card = new ApprovalCard({ id, name: tool, args, expiresAt, decide: (choice) => this.decide(id, choice) });
    this.approvals.set(id, card);
    this.view.add(card.node);
    this.says("Waiting for your answer…");
  }

  on_approval_resolved({ approval_id: id, choice }) {
    this.approvals.get(id)?.close(choice);
    this.says(this.asking ? "Waiting for your answer…" : "Working…");
  }

  /** Does something wait for the reader? */
  get asking() {
    return !this.ended && [...this.approvals.values()].some((card) => card.open);
  }

  on_steered({ text }) {
    this.view.finish();
    const said = el("div", { className: "user" }, el("div.bubble", {}, text));
    this.answer.append(said);
    this.view = this.newView();
  }

  on_warning({ message }) {
    this.answer.insertBefore(el("div.note.calm", {}, icon("info"), el("div", {}, message)), this.view.node);
  }

  on_compressing({ message }) {
    this.says(`${message}…`);
  }

  on_compressed() {
    this.says("Waiting for the answer…");
  }

  /** It is over: what it was is in the transcript, or will be in a moment. */
  end() {
    this.ended = true;
    this.view.finish();
    for (const card of this.approvals.values()) card.close();
    this.says("");
    this.answer.setAttribute("aria-busy", "false");
  }

  remove() {
    for (const node of this.nodes) node.remove();
  }
}

