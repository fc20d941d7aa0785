// Files that are dragged onto the page, wherever on it.

import { $ } from "./dom.js";

const withFiles = (event) => event.dataTransfer?.types.includes("Files");

export function onDrop(take) {
  let inside = 0;
  const show = (count) => {
    inside = Math.max(0, count);
    $("drop").hidden = inside === 0;
  };
  addEventListener("dragenter", (event) => withFiles(event) && show(inside + 1));
  addEventListener("dragleave", (event) => withFiles(event) && show(inside - 1));
  addEventListener("dragover", (event) => withFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    show(0);
    take([...event.dataTransfer.files]);
  });
}
