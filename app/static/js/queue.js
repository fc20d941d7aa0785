// Messages that wait for their turn: read, edited and taken back here, in every tab.

import { call } from "./api.js";
import { $, button, el, icon } from "./dom.js";
import { guarded } from "./says.js";
import { reminder } from "./secrets.js";

export class Queue {
  constructor() {
    this.box = $("queue");
    this.sessionId = null;
    this.said = "";
  }

  show(sessionId, waiting) {
    const said = JSON.stringify([sessionId, waiting]);
    if (said === this.said) return;
    const edited = this.box.querySelector("form")?.dataset.id;
    if (edited && waiting.some((row) => row.id === edited)) return; // somebody is writing in it
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
    const item = el("li", {}, row.steer ? icon("turn") : null, el("span", { title: row.message, dir: "auto" }, row.message));
    item.append(
      button("icon", "Edit the waiting message", "edit", () => this.edit(item, row)),
      button("icon", "Remove the waiting message", "trash", guarded(() => this.change("remove", row))),
    );
    return item;
  }

  edit(item, row) {
    const field = el("textarea", { value: row.message, rows: 1, "aria-label": "Waiting message", "aria-describedby": "secret-hint" });
    const form = el("form", {}, el("p", { id: "secret-hint" }, reminder(row.message)), field, el("button.primary", { type: "submit" }, "Save"), button("", "Cancel", null, () => done()));
    form.dataset.id = row.id;
    const kept = [...item.childNodes];
    const done = () => {
      item.replaceChildren(...kept);
      item.querySelector("button")?.focus();
    };
    form.onsubmit = guarded(async (event) => {
      event.preventDefault();
      const message = field.value.trim();
      if (!message) return;
      form.remove();
      await this.change("edit", row, { message }).catch((error) => { done(); throw error; });
    });
    field.onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        done();
      }
    };
    item.replaceChildren(form);
    field.focus();
  }

  async change(how, row, more = {}) {
    const { queue } = await call(`/api/session/queue/${how}`, { session_id: this.sessionId, id: row.id, ...more });
    this.said = "";
    this.show(this.sessionId, queue);
    if (!this.box.contains(document.activeElement)) (this.box.querySelector("button") ?? $("prompt")).focus();
  }
}
