// The field one writes in, with its files and its draft.

import { MOST, chip, readAttachment } from "./attachments.js";
import { $, button, el, grow, isMac } from "./dom.js";
import { problem, toast } from "./says.js";

export class Composer {
  /** `onSend({text, files, now})` resolves to whether it was sent; `onChange(draft)`. */
  constructor({ onSend, onStop, onChange }) {
    this.field = $("prompt");
    this.files = [];
    this.busy = false;
    this.sending = null; // while a message is on its way: until it has arrived
    this.onSend = onSend;
    this.onChange = onChange;
    $("composer").onsubmit = (event) => { event.preventDefault(); this.send(false); };
    $("stop").onclick = onStop;
    $("attach").onclick = () => $("files").click();
    $("files").onchange = () => { this.attach([...$("files").files]); $("files").value = ""; };
    this.field.oninput = () => this.changed();
    this.field.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.altKey) return;
      event.preventDefault();
      this.send(event.ctrlKey || event.metaKey);
    };
    this.field.onpaste = (event) => {
      const files = [...event.clipboardData.files];
      if (!files.length) return;
      event.preventDefault();
      this.attach(files);
    };
    this.draw();
  }

  get draft() {
    return { text: this.field.value, files: this.files };
  }

  put({ text, files = [] }) {
    this.field.value = text;
    this.files = files;
    this.draw();
  }

  changed() {
    this.draw();
    this.onChange(this.draft);
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  async attach(files) {
    for (const file of files) {
      try {
        if (this.files.length >= MOST) throw new Error(`A message takes ${MOST} files at most.`);
        this.files = [...this.files, await readAttachment(file)];
      } catch (error) {
        toast(error.message, { error: true });
      }
    }
    this.changed();
    this.focus();
  }

  /** One after the other, so that they arrive in the order in which they were sent. */
  async send(now) {
    while (this.sending) {
      await this.sending;
      await null; // whoever was sending says so first
    }
    const text = this.field.value.trim();
    if (!text && !this.files.length) return;
    this.sending = this.deliver({ text: text || "See the attached files.", files: this.files, now });
    this.draw();
    await this.sending;
    this.sending = null;
    this.draw();
    if ($("composer").contains(document.activeElement)) this.focus();
  }

  async deliver(message) {
    const before = this.field.value;
    try {
      const sent = await this.onSend(message);
      this.forgetProblem?.();
      if (sent && this.field.value === before) this.put({ text: "" });
    } catch (error) {
      this.forgetProblem = problem(error);
    }
  }

  /** Another chat is being opened: what is sent now must not go to the one that is left. */
  async hold(opening) {
    const held = opening.then(() => {}, () => {});
    this.sending = held;
    await held;
    if (this.sending === held) this.sending = null;
    this.draw();
  }

  setBusy(busy) {
    this.busy = busy;
    this.draw();
  }

  draw() {
    grow(this.field);
    const something = Boolean(this.field.value.trim() || this.files.length);
    const stop = $("stop");
    if (stop.contains(document.activeElement) && !this.busy) this.focus();
    stop.hidden = !this.busy;
    const send = $("send");
    send.disabled = Boolean(this.sending) || !something;
    send.hidden = this.busy && !something;
    send.classList.toggle("labelled", this.busy);
    send.lastChild.nodeType === Node.TEXT_NODE && send.lastChild.remove();
    if (this.busy) send.append("Queue");
    const label = this.busy ? "Let it wait for its turn" : "Send";
    send.title = label;
    send.setAttribute("aria-label", this.busy ? `Queue: ${label}` : label);
    const mod = isMac ? "⌘" : "Ctrl";
    $("hint").textContent = this.busy
      ? `Enter lets it wait · ${mod}+Enter stops the answer and sends now · Esc stops`
      : "Enter sends · Shift+Enter makes a new line";
    const box = $("attached");
    box.hidden = !this.files.length;
    box.replaceChildren(...this.files.map((file, at) => el("li", {}, chip(file,
      button("icon", `Take away ${file.name}`, "close", () => {
        this.files = this.files.filter((_, index) => index !== at);
        this.changed();
        this.focus();
      })))));
  }
}
