// One answer: reasoning, text and tool cards in the order in which they came. The same for one that is
// being written and for one from the transcript.

import { el, icon } from "./dom.js";
import { Prose } from "./markdown.js";

const SLOWER = 5; // a long text is drawn less often: its drawing takes a fifth of the time at most

export class AnswerView {
  constructor() {
    this.node = el("div.parts");
    this.part = null; // what is being written
    this.tools = new Map();
    this.text = "";
    this.drawn = 0;
  }

  get empty() {
    return !this.node.childElementCount;
  }

  // -- what comes ---------------------------------------------------------------------------

  addText(text) {
    this.text += text;
    if (this.part?.kind !== "text") {
      if (!text.trim()) return; // blank lines between two tools
      this.begin({ kind: "text", text: "", node: el("div.prose") });
      this.part.prose = new Prose(this.part.node);
    }
    this.part.text += text;
    this.later();
  }

  addReasoning(text) {
    if (this.part?.kind !== "reasoning") {
      const body = el("div.body");
      const label = el("span", {}, "Reasoning");
      const node = el("details.reasoning", {}, el("summary", {}, icon("turn", "turn"), label), body);
      this.begin({ kind: "reasoning", node, body, label });
      this.node.append(node);
    }
    this.part.body.append(text);
    if (this.live) this.part.label.textContent = "Reasoning…";
  }

  startTool({ id, name, args, done = false }) {
    const state = el("span.state");
    const details = el("dl");
    const node = el("details.tool", {},
      el("summary", {}, state, el("span.name", {}, name), el("span.gist", {}, gist(args)), icon("turn", "turn")), details);
    const tool = { node, state, details, name };
    this.begin({ kind: "tool", node });
    if (args && Object.keys(args).length) describe(details, "Arguments", pretty(args));
    this.tools.set(id, tool);
    if (this.live && !done) state.append(el("span.spin"), el("span.unseen", {}, "running"));
    else state.append(icon("check"), el("span.unseen", {}, "done"));
  }

  endTool({ id, result, isError = false, cut = false, notRun = false }) {
    const tool = this.tools.get(id);
    if (!tool || tool.ended) return;
    tool.ended = true;
    tool.node.classList.toggle("failed", isError);
    tool.node.classList.toggle("cut", cut);
    const word = isError ? "failed" : notRun ? "was not run" : cut ? "was cut off" : "done";
    tool.state.replaceChildren(icon(isError ? "alert" : cut ? "stop" : "check"), el("span.unseen", {}, word));
    if (result) describe(tool.details, isError ? "Error" : "Result", unfolded(result));
  }

  /** Something of its own between the parts. */
  add(node) {
    this.begin({ kind: "other", node });
  }

  begin(part) {
    this.settle();
    this.part = part;
    this.node.append(part.node);
  }

  settle() {
    if (this.part?.kind === "text") this.part.prose.show(this.part.text, true);
    if (this.part?.kind === "reasoning") this.part.label.textContent = "Reasoning";
    this.part = null;
  }

  finish() {
    this.settle();
    for (const id of this.tools.keys()) if (this.live) this.endTool({ id, cut: true });
  }

  // -- drawing ------------------------------------------------------------------------------

  later() {
    if (this.waiting) return;
    this.waiting = true;
    const draw = () => {
      if (performance.now() < this.drawn) return requestAnimationFrame(draw);
      this.waiting = false;
      const began = performance.now();
      if (this.part?.kind === "text") this.part.prose.show(this.part.text, !this.live);
      this.drawn = performance.now() + (performance.now() - began) * SLOWER;
      return undefined;
    };
    if (this.live) requestAnimationFrame(draw);
    else {
      this.waiting = false; // all of it is there: `finish` draws it
    }
  }
}

function gist(args) {
  const values = Object.values(args ?? {}).map((value) => (typeof value === "string" ? value : JSON.stringify(value)));
  return values.join(", ").replace(/\s+/g, " ").slice(0, 160);
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function unfolded(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function describe(list, name, text) {
  list.append(el("dt", {}, name), el("dd", {}, el("pre", { tabIndex: 0, role: "group", "aria-label": name }, text)));
}
