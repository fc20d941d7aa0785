// On narrow screens the list is a drawer over the chat, and the chat cannot be reached while it is open.

import { $ } from "./dom.js";

const narrow = matchMedia("(max-width: 800px)");

export const isNarrow = () => narrow.matches;
export const drawerIsOpen = () => document.body.classList.contains("drawer");

export function openDrawer() {
  document.body.classList.add("drawer");
  $("backdrop").hidden = false;
  $("main").inert = true;
  $("open-drawer").setAttribute("aria-expanded", "true");
  $("close-drawer").focus();
}

/** False if it was not open. */
export function closeDrawer() {
  if (!drawerIsOpen()) return false;
  document.body.classList.remove("drawer");
  $("backdrop").hidden = true;
  $("main").inert = false;
  $("open-drawer").setAttribute("aria-expanded", "false");
  $("open-drawer").focus();
  return true;
}

$("open-drawer").onclick = openDrawer;
$("close-drawer").onclick = closeDrawer;
$("backdrop").onclick = closeDrawer;
narrow.onchange = closeDrawer;
