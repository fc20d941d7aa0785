// A tool call that waits until somebody allows it: the same card in every tab, closed in all by the
// first answer.

import { button, el, icon } from "./dom.js";
import { clockToday } from "./format.js";
import { announce } from "./says.js";

const SETTLED_MS = 300; // what was answered long ago is told again after a reload, and is no news

const CHOICES = {
  once: ["check", "Allowed once"],
  session: ["check", "Allowed for this chat"],
  deny: ["stop", "Denied"],
  expired: ["stop", "Denied: nobody answered in time"],
};

export class ApprovalCard {
  /** `decide(choice)` tells the server; false if it has not worked. */
  constructor({ id, name, args, expiresAt, decide }) {
    this.name = name;
    this.open = true;
    const heading = `approval-${id}`;
    const act = (label, choice, kind = "") => button(kind, label, null, async () => {
      if (this.told) return;
      this.told = true; // the card keeps the focus until the answer is there
      this.told = Boolean(await decide(choice));
    });
    this.buttons = el("div.buttons", {},
      act("Allow once", "once", "primary"), act("Allow in this chat", "session"), act("Deny", "deny"));
    const shown = Object.keys(args ?? {}).length === 0 ? null
      : el("pre", { tabIndex: 0, role: "group", "aria-label": "Arguments" }, JSON.stringify(args, null, 2));
    this.node = el("section.approval", { role: "group", "aria-labelledby": heading },
      el("h3", { id: heading }, icon("alert"), el("span", {}, "Allow ", el("b", {}, name), "?")),
      el("p", {}, shown ? "The model wants to call this tool with:" : "The model wants to call this tool, without arguments."),
      shown,
      this.buttons,
      expiresAt && el("p.until", {}, `If nobody answers, it is denied at ${clockToday(expiresAt)}.`));
    setTimeout(() => {
      if (this.open && this.node.isConnected) announce(`Your answer is needed: may the model call ${name}? The question is at the end of the chat.`);
    }, SETTLED_MS);
  }

  /** Whoever answered, and wherever. Without a choice: its turn has ended. */
  close(choice) {
    if (!this.open) return;
    this.open = false;
    const [shape, word] = CHOICES[choice] ?? ["stop", "Not answered"];
    const focused = this.node.contains(document.activeElement);
    this.node.className = "approval closed";
    this.node.removeAttribute("aria-labelledby");
    this.node.tabIndex = -1;
    this.node.replaceChildren(icon(shape), el("span", {}, `${word}: `, el("b", {}, this.name)));
    if (focused) this.node.focus({ preventScroll: true });
    if (choice && this.node.isConnected) announce(`${word}: ${this.name}`);
  }
}
