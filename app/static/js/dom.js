// Making elements. Text is always text: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

const SHAPES = {
  archive: "M3 5h18v4H3z M5 9v10h14V9 M10 13h4",
  alert: "M12 8v5 M12 16.5v.01 M10.3 4 2.6 17.5A2 2 0 0 0 4.300 20.500h15.400a2 2 0 0 0 1.700-3L13.700 4a2 2 0 0 0-3.400 0z",
  branch: "M7 4v16 M7 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4z M7 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4z M17 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z M17 10c0 4-6 3-9.500 6",
  check: "m5 12.500 4.500 4.500L19 7.500",
  clip: "m20 11.500-8 8a5 5 0 0 1-7-7l8.500-8.500a3.300 3.300 0 0 1 4.700 4.700L9.700 17a1.600 1.600 0 0 1-2.400-2.300l7.500-7.500",
  close: "M6 6l12 12 M18 6 6 18",
  copy: "M9 9h11v11H9z M5 15H4V4h11v1",
  down: "M12 5v14 M6 13l6 6 6-6",
  download: "M12 4v11 M7 10.500l5 5 5-5 M4 20h16",
  edit: "M4 20h4L19 9l-4-4L4 16z M13 7l4 4",
  file: "M6 3h8l4 4v14H6z M14 3v4h4",
  folder: "M3 6h6l2 2.500h10V19H3z",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z M12 11v5 M12 8v.01",
  keyboard: "M3 6h18v12H3z M7 10v.01 M11 10v.01 M15 10v.01 M8 14h8",
  menu: "M4 7h16 M4 12h16 M4 17h16",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z",
  more: "M5 12v.01 M12 12v.01 M19 12v.01",
  picture: "M4 5h16v14H4z M4 16l5-5 4 4 3-3 4 4 M15.500 9v.01",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8z M4 20c1-4 4-5.500 8-5.500s7 1.500 8 5.500",
  pin: "M9 4h6l-1 6 3 3H7l3-3z M12 13v7",
  plus: "M12 5v14 M5 12h14",
  retry: "M4 11a8 8 0 0 1 14-4.500L20 9 M20 4v5h-5 M20 13a8 8 0 0 1-14 4.500L4 15 M4 20v-5h5",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z M20 20l-4-4",
  send: "M12 19V5 M6 11l6-6 6 6",
  stop: "M6 6h12v12H6z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z M12 2v2 M12 20v2 M2 12h2 M20 12h2 M5 5l1.500 1.500 M17.500 17.500 19 19 M5 19l1.500-1.500 M17.500 6.500 19 5",
  system: "M3 5h18v11H3z M9 20h6 M12 16v4",
  trash: "M4 7h16 M9 7V4h6v3 M6 7l1 13h10l1-13",
  turn: "m9 5 7 7-7 7",
  undo: "M9 14 4 9l5-5 M4 9h9a7 7 0 0 1 0 14h-2",
  upload: "M12 20V9 M7 13.500l5-5 5 5 M4 4h16",
  zip: "M4 9h16 M4 15h16 M9 5l3 3 3-3 M9 19l3-3 3 3",
};

export const $ = (id) => document.getElementById(id);

/** `el("p.quiet", {title: "x", onclick: f}, "text", child)`; what is null or false is left out. */
export function el(name, properties, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key in node && !key.startsWith("aria")) node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `i ${className}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  if (name === "more") path.setAttribute("stroke-width", "2.8");
  svg.append(path);
  return svg;
}

export function button(className, label, iconName, onclick, more = {}) {
  const onlyIcon = className.split(".").includes("icon");
  const named = onlyIcon ? { "aria-label": label, title: label } : {};
  const node = el(`button${className ? `.${className}` : ""}`, { type: "button", onclick, ...named, ...more });
  if (iconName) node.append(icon(iconName));
  if (!onlyIcon) node.append(label);
  return node;
}

/** The icons that the page's own HTML asks for. */
export function drawIcons(root = document) {
  for (const node of root.querySelectorAll("[data-icon]")) {
    node.prepend(icon(node.dataset.icon));
  }
}

const GROWS = CSS.supports("field-sizing", "content");

/** Make a text field as high as its text, where the browser does not do so itself. */
export function grow(field) {
  if (GROWS) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

/** A field in a form: Enter submits, Escape leaves; Shift and Enter is a new line. */
export function submitOrLeave(field, leave) {
  field.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      field.form.requestSubmit();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    }
  };
}

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
export const chord = (key) => (isMac ? `⌘${key}` : `Ctrl ${key}`);
