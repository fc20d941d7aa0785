// A menu at a button: arrow keys, Home, End, the first letter, Escape; focus goes back to the button.

import { el, icon } from "./dom.js";

let closeOpen = null;

/** `entries`: {label, icon, run, bad}, "-" for a line, or {text} for a remark. */
export function openMenu(anchor, entries, { onClose, label = "Actions" } = {}) {
  closeOpen?.();
  const menu = el("div.menu", { role: "menu", "aria-label": label });
  for (const entry of entries.filter(Boolean)) {
    if (entry === "-") menu.append(el("hr", { role: "separator" }));
    else if (entry.text) menu.append(el("p", { role: "none" }, entry.text));
    else {
      const item = el(`button${entry.bad ? ".bad" : ""}`, { type: "button", role: "menuitem", tabIndex: -1 });
      if (entry.icon) item.append(icon(entry.icon));
      item.append(entry.label);
      item.onclick = () => { close(true); entry.run(); };
      menu.append(item);
    }
  }
  const items = [...menu.querySelectorAll("[role=menuitem]")];
  const move = (index) => items[(index + items.length) % items.length].focus();

  function close(refocus) {
    if (closeOpen !== close) return;
    closeOpen = null;
    menu.remove();
    anchor.setAttribute("aria-expanded", "false");
    removeEventListener("pointerdown", outside, true);
    removeEventListener("resize", close);
    onClose?.();
    if (refocus) anchor.focus();
  }
  const outside = (event) => { if (!menu.contains(event.target)) close(false); };

  menu.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    const keys = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in keys) move(keys[event.key]);
    else if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (event.key.length === 1 && event.key !== " ") {
      const next = [...items.slice(at + 1), ...items].find((item) =>
        item.textContent.toLowerCase().startsWith(event.key.toLowerCase()));
      next?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  closeOpen = close;
  anchor.setAttribute("aria-expanded", "true");
  document.body.append(menu);
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + 4 + height < innerHeight;
  menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
  menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - height - 4)}px`;
  addEventListener("pointerdown", outside, true);
  addEventListener("resize", close);
  items[0]?.focus();
}

export const menuIsOpen = () => closeOpen !== null;
