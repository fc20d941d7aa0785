// The transcript: rows of the record become messages. What has not changed is not made again.

import { AnswerView } from "./answer.js";
import { filesOf } from "./attachments.js";
import { copyText } from "./clipboard.js";
import { $, button, el, grow, icon, submitOrLeave } from "./dom.js";
import { clock, duration, tokens } from "./format.js";
import { prose } from "./markdown.js";
import { announce } from "./says.js";
import { reminder } from "./secrets.js";

// Rows may come from a file that anybody wrote.
const listed = (value) => (Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : []);
const timeOf = ({ timestamp: at }) => (typeof at === "number" && at > 0 && at < 8e12 ? at : null);

export const textOf = (content) =>
  typeof content === "string" ? content
    : Array.isArray(content) ? content.map((part) => part?.text).filter((text) => typeof text === "string").join(" ") : "";

/** Rows put together to what is shown as one. Pure. `offset` is the index of the first row. */
export function itemsOf(rows, offset, anchor) {
  const items = [];
  let answer = null;
  rows.forEach((row, at) => {
    const index = offset + at;
    if (anchor && anchor.index === index && index > 0) {
      items.push({ kind: "divider", at: `divider ${index}`, summary: anchor.summary });
      answer = null;
    }
    if (row.role === "user" || row._error || row.role === "system") {
      const kind = row._error ? "error" : row.role;
      items.push({ kind, at: index, end: index + 1, rows: [row] });
      answer = null;
    } else if (answer && !row._partial) {
      answer.rows.push(row);
      answer.end = index + 1;
    } else {
      answer = { kind: "answer", at: index, end: index + 1, rows: [row] };
      items.push(answer);
    }
  });
  if (anchor && anchor.index === offset + rows.length && anchor.index > 0) {
    items.push({ kind: "divider", at: `divider ${anchor.index}`, summary: anchor.summary });
  }
  return items;
}

export class Transcript {
  /** `acts`: retry(), edit(index, text, files), branch(keep), and `cards`, the failed tools. */
  constructor(acts) {
    this.list = $("transcript");
    this.acts = acts;
    this.shown = new Map(); // by place: {said, node}
    this.live = null;
  }

  clear() {
    this.list.replaceChildren();
    this.shown.clear();
    this.live = null;
  }

  /** `live`: the turn that runs, or null. */
  show(session, rows, offset, live) {
    const failed = new Set(listed(session.tool_calls).filter((card) => card.is_error).map((card) => card.tid));
    const index = session.compression_anchor_visible_idx;
    const anchor = typeof index === "number" ? { index, summary: session.compression_anchor_summary ?? "" } : null;
    const items = itemsOf(rows, offset, anchor);
    const last = live ? null : items.findLast((item) => item.kind !== "divider");
    const left = new Map(this.shown);
    let place = this.list.firstChild;
    this.shown.clear();
    for (const item of items) {
      const isLast = item === last;
      const said = JSON.stringify([item, isLast]);
      let entry = left.get(item.at);
      if (entry?.said !== said) {
        if (entry?.node.querySelector("form")) entry.said = said; // it is being edited
        else entry = { said, node: this.make(item, failed, isLast) };
      }
      if (left.get(item.at) === entry) left.delete(item.at);
      this.shown.set(item.at, entry);
      if (place === entry.node) place = place.nextSibling;
      else this.list.insertBefore(entry.node, place);
    }
    for (const entry of left.values()) entry.node.remove();
    if (this.live && this.live !== live) this.live.remove();
    this.live = live;
    if (live) {
      for (const node of live.nodes) this.list.append(node);
    }
  }

  make(item, failed, isLast) {
    const node = this[item.kind](item, isLast, failed);
    node.classList.add("settled");
    return node;
  }

  // -- kinds of items -----------------------------------------------------------------------

  user(item) {
    const row = item.rows[0];
    const text = textOf(row.content);
    const node = userMessage(text, row.attachments);
    node.append(
      el("div.actions", {},
        timeOf(row) && el("time.facts", { dateTime: new Date(timeOf(row) * 1000).toISOString() }, clock(timeOf(row))),
        copyButton("Copy message", () => text),
        button("icon", "Edit and send again", "edit", () => this.edit(node, item)),
        button("icon", "Branch: a new chat that begins with all before this", "branch", () => this.acts.branch(item.at)),
      ),
    );
    return node;
  }

  edit(node, item) {
    const row = item.rows[0];
    const kept = [...node.childNodes];
    const field = el("textarea", { "aria-label": "Edited message", value: textOf(row.content) });
    const done = () => {
      node.replaceChildren(...kept);
      node.querySelector(".actions button[aria-label^=Edit]").focus();
    };
    const form = el("form", {}, field,
      el("div", {},
        el("p", {}, `${reminder(field.value)} What follows it is taken away.`),
        button("", "Cancel", null, done),
        el("button.primary", { type: "submit" }, "Send"),
      ));
    form.onsubmit = async (event) => {
      event.preventDefault();
      const text = field.value.trim();
      if (!text) return;
      form.inert = true;
      if (!(await this.acts.edit(item.at, text, row.attachments ?? []))) {
        form.inert = false;
        field.focus();
      }
    };
    submitOrLeave(field, done);
    node.replaceChildren(form);
    field.oninput = () => grow(field);
    grow(field);
    field.focus();
  }

  answer(item, isLast, failed) {
    const view = new AnswerView();
    for (const row of item.rows) fill(view, row, failed);
    for (const row of item.rows) {
      if (row.role === "tool") view.endTool({ id: row.tool_call_id, result: textOf(row.content), isError: failed.has(row.tool_call_id) });
    }
    view.finish();
    const facts = factsOf(item.rows);
    const at = timeOf(item.rows.at(-1));
    return el("li.answer", {}, el("h2.unseen", {}, "Answer"), view.node,
      el("div.actions", {},
        view.text.trim() && copyButton("Copy answer", () => view.text.trim()),
        isLast && button("icon", "Try again", "retry", () => this.acts.retry()),
        button("icon", "Branch: a new chat that begins with all up to here", "branch", () => this.acts.branch(item.end)),
        facts && el("span.facts", { title: at ? clock(at) : "" }, facts),
      ));
  }

  error(item, isLast) {
    const row = item.rows[0];
    const calm = row.provider_details_label === "Cancellation details" || row.type === "interrupted";
    const again = isLast && el("div.buttons", {}, button("", "Try again", "retry", () => this.acts.retry()));
    const details = row.provider_details && more(row.provider_details_label ?? "Details", row.provider_details);
    return el("li", {}, el(calm ? "div.note.calm" : "div.note", {}, icon(calm ? "info" : "alert"),
      el("div", {}, prose(textOf(row.content)), details, again)));
  }

  system(item) {
    return el("li", {}, more("Instructions to the model", textOf(item.rows[0].content)));
  }

  divider({ summary }) {
    const body = el("div.body", {}, summary);
    return el("li.divider", {}, el("span", {}, "From here on the model works from a summary of what is above"),
      summary && el("details.more", {}, el("summary", {}, icon("turn", "turn"), "The summary"), body));
  }
}

function fill(view, row, failed) {
  if (row.role === "tool") return;
  if (row.reasoning) view.addReasoning(row.reasoning);
  // Of an answer that was cut off it is not known between which words its tools were called.
  if (!row._partial) view.addText(textOf(row.content));
  for (const call of listed(row.tool_calls)) {
    view.startTool({ id: call.id, name: call.function?.name ?? "tool", args: parsed(call.function?.arguments) });
  }
  for (const card of listed(row._partial_tool_calls)) {
    view.startTool({ id: card.tid, name: card.name, args: card.args });
    view.endTool({ id: card.tid, result: card.snippet, isError: card.is_error || failed.has(card.tid), cut: card.done === false, notRun: card.not_run });
  }
  if (row._partial) view.addText(textOf(row.content));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text ? { arguments: text } : {};
  }
}

function factsOf(rows) {
  const last = rows.at(-1);
  const usage = last._turnUsage ?? {};
  const facts = [last._usedModel];
  if (typeof last._turnDuration === "number") facts.push(duration(last._turnDuration));
  if (usage.output_tokens) facts.push(tokens(usage.input_tokens ?? 0, usage.output_tokens, usage.estimated));
  if (rows.some((row) => row._partial)) facts.push("not complete");
  return facts.filter(Boolean).join(" · ");
}

const more = (name, text) =>
  el("details.more.details", {}, el("summary", {}, icon("turn", "turn"), name), el("pre", { tabIndex: 0, role: "group", "aria-label": name }, text));

function copyButton(label, text) {
  const node = button("icon", label, "copy", async () => {
    await copyText(text());
    node.replaceChildren(icon("check"));
    announce("Copied");
    setTimeout(() => node.replaceChildren(icon("copy")), 1500);
  });
  return node;
}

export function userMessage(text, attachments) {
  const files = filesOf(attachments);
  return el("li.user", {}, el("h2.unseen", {}, "You"), files, text && el("div.bubble", {}, text));
}
