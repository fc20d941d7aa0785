// Messages that wait for their turn: read, edited and taken back here, in every tab.

import { call } from "./api.js";
import { $, button, el, icon, submitOrLeave } from "./dom.js";
import { guarded } from "./says.js";
import { reminder } from "./secrets.js";

export class Queue {
  /** `onLost(text)`: what was edited no longer waits, and this was to be said instead. */
  constructor({ onLost }) {
    this.onLost = onLost;
    this.box = $("queue");
    this.sessionId = null;
    this.said = "";
  }

  show(sessionId, waiting) {
    this.waiting = waiting;
    const said = JSON.stringify([sessionId, waiting]);
    if (said === this.said) return;
    const form = this.box.querySelector("form");
    if (form && waiting.some((row) => row.id === form.dataset.id)) return; // somebody is writing in it
    if (form && !form.inert && sessionId === this.sessionId) this.onLost(form.querySelector("textarea").value);
    this.said = said;
    this.sessionId = sessionId;
    const focused = this.box.contains(document.activeElement);
    this.box.hidden = !waiting.length;
    const heading = waiting.length === 1 ? "1 message waits for its turn" : `${waiting.length} messages wait for their turn`;
    this.list = el("ol", {}, waiting.map((row) => this.row(row)));
    this.box.replaceChildren(el("h2", {}, heading), this.list);
    if (focused) (this.list.querySelector("button") ?? $("prompt")).focus();
  }

  row(row) {
    const name = `the waiting message “${row.message.trim().slice(0, 80)}”`;
    const item = el("li", {}, row.steer ? icon("turn") : null, el("span", { title: row.message, dir: "auto" }, row.message));
    item.append(
      button("icon", `Edit ${name}`, "edit", () => this.edit(item, row)),
      button("icon", `Remove ${name}`, "trash", guarded(() => this.change("remove", row))),
    );
    return item;
  }

  edit(item, row) {
    const open = this.box.querySelector("textarea");
    if (open) {
      open.focus();
      return;
    }
    const field = el("textarea", { value: row.message, rows: 1, "aria-label": "Waiting message", "aria-describedby": "secret-hint" });
    const form = el("form", {}, el("p", { id: "secret-hint" }, reminder(row.message)), field, el("button.primary", { type: "submit" }, "Save"), button("", "Cancel", null, () => done()));
    form.dataset.id = row.id;
    const kept = [...item.childNodes];
    const done = () => {
      item.replaceChildren(...kept);
      item.querySelector("button")?.focus();
      this.show(this.sessionId, this.waiting); // what has changed meanwhile
    };
    form.onsubmit = guarded(async (event) => {
      event.preventDefault();
      const message = field.value.trim();
      if (!message) return;
      form.inert = true;
      try {
        await this.change("edit", row, { message }, form);
      } catch (error) {
        form.inert = false;
        if (!form.isConnected) this.onLost(message);
        throw error;
      }
    });
    submitOrLeave(field, done);
    item.replaceChildren(form);
    field.focus();
  }

  async change(how, row, more = {}, form = null) {
    const { queue } = await call(`/api/session/queue/${how}`, { session_id: this.sessionId, id: row.id, ...more });
    form?.remove();
    this.said = "";
    this.show(this.sessionId, queue);
    if (!this.box.contains(document.activeElement)) (this.box.querySelector("button") ?? $("prompt")).focus();
  }
}
