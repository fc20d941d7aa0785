// Light or dark: chosen here, or as the system has it. `theme.js` applies it before the page is drawn.

import { $, icon } from "./dom.js";
import { openMenu } from "./menu.js";

const ICONS = { system: "system", light: "sun", dark: "moon" };
const root = document.documentElement;

function set(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", theme);
  } catch {
    // Storage is switched off: it is for this visit.
  }
  show();
}

function show() {
  const theme = root.dataset.theme ?? "system";
  $("theme").replaceChildren(icon(ICONS[theme]));
  $("theme").setAttribute("aria-label", `Theme: ${theme}`);
}

$("theme").setAttribute("aria-haspopup", "menu");
$("theme").onclick = () => openMenu($("theme"), [
  { label: "Light", icon: "sun", run: () => set("light") },
  { label: "Dark", icon: "moon", run: () => set("dark") },
  { label: "As the system has it", icon: "system", run: () => set("system") },
], { label: "Theme" });
show();
