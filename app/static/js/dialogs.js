// Questions to the reader, each in a <dialog>: the browser keeps the focus in it and gives it back.

import { button, el } from "./dom.js";

/** Show `content(close)`; resolves with what `close` was given, null if it was dismissed. */
export function dialog(title, content, { large = false } = {}) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    let answer = null;
    const close = (value = null) => { answer = value; node.close(); };
    const node = el(`dialog${large ? ".large" : ""}`, { "aria-labelledby": "dialog-title" });
    node.append(el("h2", { id: "dialog-title", tabIndex: -1 }, title), ...[content(close)].flat());
    node.onclick = (event) => { if (event.target === node) close(); };
    node.onclose = () => {
      node.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    };
    document.body.append(node);
    node.showModal();
    (node.querySelector("[autofocus], input, select") ?? node.querySelector("h2")).focus();
    node.querySelector("input[type=text]")?.select();
  });
}

export const buttons = (...nodes) => el("div.buttons", {}, ...nodes);

export function confirmed(title, text, label) {
  return dialog(title, (close) => [
    el("p", {}, text),
    buttons(
      button("", "Cancel", null, () => close(), { autofocus: true }),
      button("danger", label, null, () => close(true)),
    ),
  ]);
}

export function askText(title, { label, value = "", save = "Save", text = "", maxLength = 80 }) {
  return dialog(title, (close) => {
    const field = el("input", { type: "text", id: "dialog-field", value, maxLength, required: true, autocomplete: "off" });
    const form = el("form", {},
      text && el("p", {}, text),
      el("label", { htmlFor: "dialog-field" }, label),
      field,
      buttons(button("", "Cancel", null, () => close()), el("button.primary", { type: "submit" }, save)),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      if (field.value.trim()) close(field.value.trim());
    };
    return form;
  });
}

export function told(title, ...content) {
  return dialog(title, (close) => [
    ...content,
    buttons(button("primary", "Close", null, () => close())),
  ], { large: true });
}
